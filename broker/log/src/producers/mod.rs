//! What the log knows of idempotent and transactional producers (KIP-98): the last batches of each, so that a batch
//! sent twice is written once, and none is written out of order; and which transactions are open.

mod snapshot;

use std::collections::{HashMap, VecDeque};

use strata_protocol::records::{Batch, BatchHeader, ControlType, DecompressLimit, Origin};
use strata_types::{Offset, ProducerEpoch, ProducerId, TimestampMs, VerificationGuard};

pub(crate) use self::snapshot::{list, list_in, path_of};
use crate::AppendError;
use crate::cleaner::LastOfProducer;

/// How many batches of a producer are remembered: as many as a producer may have in flight.
pub(crate) const BATCHES_REMEMBERED_MAX: usize = 5;

/// An idle producer is forgotten after this time unless `producer.id.expiration.ms` says otherwise.
pub const PRODUCER_ID_EXPIRATION_MS: i64 = 86_400_000;

/// How many producers a partition remembers. Beyond it, those idle for longest are forgotten first.
pub const PRODUCERS_MAX: usize = 1_000_000;

/// A marker is a few bytes.
const MARKER_BYTES_MAX: DecompressLimit = DecompressLimit(64 << 10);

/// A producer's batch in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: Offset,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: TimestampMs,
}

impl Remembered {
    pub(crate) fn first_offset(&self) -> Offset {
        self.last_offset + -i64::from(self.offset_delta)
    }

    fn first_sequence(&self) -> i32 {
        // Sequences go on with 0 after the largest.
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        (if first < 0 { first + (1 << 31) } else { first }) as i32
    }
}

/// A producer as `DescribeProducers` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerInfo {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    pub last_sequence: i32,
    pub last_timestamp: TimestampMs,
    /// −1: no marker was written for it yet.
    pub coordinator_epoch: i32,
    pub current_txn_start_offset: Option<Offset>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Producer {
    pub(crate) epoch: ProducerEpoch,
    /// Of this epoch, the newest last. Empty after a marker.
    pub(crate) batches: VecDeque<Remembered>,
    pub(crate) coordinator_epoch: i32,
    pub(crate) last_timestamp: TimestampMs,
    pub(crate) txn_start: Option<Offset>,
}

/// A transaction that a marker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    /// The marker's.
    pub(crate) last_offset: Offset,
    pub(crate) aborted: bool,
}

/// What a batch will do to its producer, once it is written.
pub(crate) enum Change {
    Data {
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        batch: Remembered,
        txn_start: Option<Offset>,
    },
    Marker {
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        timestamp: TimestampMs,
        offset: Offset,
        aborted: bool,
        /// Its epoch is above that of the transaction which it ends: that of the producer's next one.
        bumped: bool,
    },
}

impl Change {
    /// What a producer's batch of records at `first_offset` does.
    pub(crate) fn of_data(header: &BatchHeader, first_offset: Offset, timestamp: TimestampMs) -> Self {
        Self::Data {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            batch: Remembered {
                last_sequence: header.last_sequence(),
                last_offset: first_offset + i64::from(header.last_offset_delta),
                offset_delta: header.last_offset_delta,
                timestamp,
            },
            txn_start: header.is_transactional().then_some(first_offset),
        }
    }
}

/// Whether a producer's batch is news.
pub(crate) enum Verdict {
    /// It was appended before, at these offsets.
    Duplicate(Remembered),
    New(Option<Change>),
}

/// What an append must know of its transaction, beside its batches (KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnCheck {
    /// Nothing: transactions are not verified, or the batch is none's.
    Off,
    /// A transactional batch continues a transaction that is open here, or begins one that the transaction's coordinator
    /// knows of: that was asked under this guard.
    Verified(Option<VerificationGuard>),
    /// A marker of transaction version 2: its epoch is above that of the transaction which it ends.
    EpochBumped,
}

/// Questions that may be open in a partition. Beyond, the oldest are void: their producers ask again.
const VERIFICATIONS_MAX: usize = 10_000;

/// A producer whose next transactional batch is being verified.
struct Verification {
    guard: VerificationGuard,
    epoch: ProducerEpoch,
}

#[derive(Default)]
pub(crate) struct Producers {
    producers: HashMap<ProducerId, Producer>,
    verifications: HashMap<ProducerId, Verification>,
    guards_given: u64,
    /// Whether anything changed since the last snapshot.
    pub(crate) changed: bool,
}

impl Producers {
    /// Checks a batch that is about to be appended at `first_offset`.
    pub(crate) fn check(
        &self,
        batch: &Batch,
        first_offset: Offset,
        origin: Origin,
        timestamp: TimestampMs,
        txn: TxnCheck,
    ) -> Result<Verdict, AppendError> {
        let header = batch.header();
        if !header.has_producer() {
            return Ok(Verdict::New(None));
        }
        let known = self.producers.get(&header.producer_id);
        if header.is_control() {
            let mut marker = marker(batch, known, first_offset, origin, timestamp)?;
            if let (Some(Change::Marker { bumped, .. }), TxnCheck::EpochBumped) = (&mut marker, txn) {
                *bumped = true;
                known.map_or(Ok(()), |known| check_bumped(known, header))?;
            }
            return Ok(Verdict::New(marker));
        }
        if let Some(known) = known
            && origin != Origin::Replica
        {
            // Coordinators write without sequences.
            if origin == Origin::Client
                && let Some(duplicate) = duplicate_of(known, header)
            {
                return Ok(Verdict::Duplicate(duplicate));
            }
            check_epoch(known, header)?;
            if origin == Origin::Client {
                check_sequence(known, header)?;
            }
            if known.txn_start.is_some() && !header.is_transactional() {
                // It would be read as the transaction's, or end up between its records.
                let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
                return Err(AppendError::NotInTransaction { producer_id, epoch });
            }
        }
        if let TxnCheck::Verified(guard) = txn
            && header.is_transactional()
        {
            self.check_verified(header, guard)?;
        }
        Ok(Verdict::New(Some(Change::of_data(header, first_offset, timestamp))))
    }

    /// Before a producer's transactional batch is appended: `None` if it continues a transaction that is open here.
    /// Otherwise its coordinator must be asked; the guard then goes with the append.
    pub(crate) fn begin_verification(
        &mut self,
        producer: ProducerId,
        epoch: ProducerEpoch,
    ) -> Option<VerificationGuard> {
        if self.has_ongoing(producer, epoch) {
            return None;
        }
        if let Some(verification) = self.verifications.get(&producer).filter(|known| known.epoch >= epoch) {
            return Some(verification.guard);
        }
        if self.verifications.len() >= VERIFICATIONS_MAX {
            self.verifications.clear();
        }
        self.guards_given += 1;
        let guard = VerificationGuard(self.guards_given);
        self.verifications.insert(producer, Verification { guard, epoch });
        Some(guard)
    }

    fn has_ongoing(&self, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        let known = self.producers.get(&producer);
        known.is_some_and(|known| known.txn_start.is_some() && known.epoch == epoch)
    }

    fn check_verified(
        &self,
        header: &BatchHeader,
        guard: Option<VerificationGuard>,
    ) -> Result<(), AppendError> {
        let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
        if self.has_ongoing(producer_id, epoch) {
            return Ok(());
        }
        let asked = self.verifications.get(&producer_id).map(|verification| verification.guard);
        if guard.is_some() && guard == asked {
            return Ok(());
        }
        Err(AppendError::NotInTransaction { producer_id, epoch })
    }

    /// Takes note of a batch that is written. If it ended a transaction, that is returned.
    pub(crate) fn apply(&mut self, change: &Change) -> Option<CompletedTxn> {
        self.changed = true;
        match *change {
            Change::Data { producer_id, epoch, batch, txn_start } => {
                self.make_room(producer_id);
                let producer = self.producers.entry(producer_id).or_insert_with(|| Producer::new(epoch));
                producer.at_epoch(epoch);
                if producer.batches.len() == BATCHES_REMEMBERED_MAX {
                    producer.batches.pop_front();
                }
                producer.batches.push_back(batch);
                producer.last_timestamp = batch.timestamp;
                if txn_start.is_some() {
                    producer.txn_start = producer.txn_start.or(txn_start);
                    self.verifications.remove(&producer_id);
                }
                None
            }
            Change::Marker { producer_id, epoch, coordinator_epoch, timestamp, offset, aborted, bumped } => {
                self.make_room(producer_id);
                // What was asked of the transaction that ends is void. Of the next one its producer may have asked
                // already: the end is answered before its markers are written (KIP-890), and the coordinator says yes
                // only once they are.
                let is_void = |asked: &Verification| asked.epoch < epoch || !bumped;
                if self.verifications.get(&producer_id).is_some_and(is_void) {
                    self.verifications.remove(&producer_id);
                }
                let producer = self.producers.entry(producer_id).or_insert_with(|| Producer::new(epoch));
                producer.at_epoch(epoch);
                producer.coordinator_epoch = coordinator_epoch;
                producer.last_timestamp = timestamp;
                let first_offset = producer.txn_start.take()?;
                Some(CompletedTxn { producer_id, first_offset, last_offset: offset, aborted })
            }
        }
    }

    /// Forgets producers that have been idle for too long and have no open transaction.
    pub(crate) fn expire(&mut self, now: TimestampMs, idle_ms_max: i64) {
        let before = self.producers.len();
        let oldest = now.saturating_sub(idle_ms_max);
        self.producers.retain(|_, producer| producer.txn_start.is_some() || producer.last_timestamp > oldest);
        self.changed |= self.producers.len() != before;
    }

    pub(crate) fn is_in_transaction(&self, producer: ProducerId) -> bool {
        self.producers.get(&producer).is_some_and(|producer| producer.txn_start.is_some())
    }

    pub(crate) fn infos(&self) -> Vec<ProducerInfo> {
        let info = |(id, producer): (&ProducerId, &Producer)| ProducerInfo {
            producer_id: *id,
            epoch: producer.epoch,
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            current_txn_start_offset: producer.txn_start,
        };
        self.producers.iter().map(info).collect()
    }

    /// Each one's last batch and epoch.
    pub(crate) fn last_of_each(&self) -> HashMap<ProducerId, LastOfProducer> {
        let last = |(id, producer): (&ProducerId, &Producer)| {
            let offset = producer.batches.back().map(|batch| batch.last_offset);
            (*id, LastOfProducer { offset, epoch: producer.epoch })
        };
        self.producers.iter().map(last).collect()
    }

    /// Where each open transaction began.
    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = (Offset, ProducerId)> + '_ {
        self.producers.iter().filter_map(|(id, producer)| Some((producer.txn_start?, *id)))
    }

    /// Room for one more; the limit is far above what a partition sees, so a scan is fine.
    fn make_room(&mut self, newcomer: ProducerId) {
        if self.producers.len() < PRODUCERS_MAX || self.producers.contains_key(&newcomer) {
            return;
        }
        let idle = self.producers.iter().filter(|(_, producer)| producer.txn_start.is_none());
        if let Some(longest) = idle.min_by_key(|(_, producer)| producer.last_timestamp).map(|(id, _)| *id) {
            self.producers.remove(&longest);
        }
    }
}

impl Producer {
    fn new(epoch: ProducerEpoch) -> Self {
        Self { epoch, batches: VecDeque::new(), coordinator_epoch: -1, last_timestamp: -1, txn_start: None }
    }

    fn at_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last_sequence)
    }
}

fn duplicate_of(known: &Producer, header: &BatchHeader) -> Option<Remembered> {
    if known.epoch != header.producer_epoch {
        return None;
    }
    let same = |batch: &&Remembered| {
        batch.first_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
    };
    known.batches.iter().find(same).copied()
}

fn check_epoch(known: &Producer, header: &BatchHeader) -> Result<(), AppendError> {
    if header.producer_epoch < known.epoch {
        return Err(AppendError::InvalidProducerEpoch {
            producer_id: header.producer_id,
            current: known.epoch,
            found: header.producer_epoch,
        });
    }
    Ok(())
}

/// Under version 2 a marker's epoch is that of the producer's next transaction: one that comes late must not end that.
fn check_bumped(known: &Producer, header: &BatchHeader) -> Result<(), AppendError> {
    if known.txn_start.is_some() && header.producer_epoch <= known.epoch {
        return Err(AppendError::InvalidProducerEpoch {
            producer_id: header.producer_id,
            current: known.epoch,
            found: header.producer_epoch,
        });
    }
    Ok(())
}

fn check_sequence(known: &Producer, header: &BatchHeader) -> Result<(), AppendError> {
    let expected = if header.producer_epoch != known.epoch {
        0
    } else {
        match known.last_sequence() {
            // A marker raised the epoch; what follows begins anew.
            -1 => 0,
            i32::MAX => 0,
            last => last + 1,
        }
    };
    if header.base_sequence == expected {
        return Ok(());
    }
    Err(AppendError::OutOfOrderSequence {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        expected,
        found: header.base_sequence,
    })
}

/// A control batch: the marker that ends a transaction, or one that concerns no producer.
fn marker(
    batch: &Batch,
    known: Option<&Producer>,
    offset: Offset,
    origin: Origin,
    timestamp: TimestampMs,
) -> Result<Option<Change>, AppendError> {
    let header = batch.header();
    let Some(record) = batch.records(MARKER_BYTES_MAX)?.next().transpose()? else { return Ok(None) };
    let aborted = match ControlType::of(&record) {
        Some(ControlType::Abort) => true,
        Some(ControlType::Commit) => false,
        _ => return Ok(None),
    };
    // version i16, coordinator epoch i32
    let coordinator_epoch = record.value.as_deref().and_then(|value| value.get(2..6));
    let coordinator_epoch = coordinator_epoch.map_or(-1, |e| i32::from_be_bytes([e[0], e[1], e[2], e[3]]));
    if let Some(known) = known
        && origin != Origin::Replica
    {
        check_epoch(known, header)?;
        if coordinator_epoch < known.coordinator_epoch {
            return Err(AppendError::CoordinatorFenced {
                current: known.coordinator_epoch,
                found: coordinator_epoch,
            });
        }
    }
    let (producer_id, epoch) = (header.producer_id, header.producer_epoch);
    let bumped = false;
    Ok(Some(Change::Marker { producer_id, epoch, coordinator_epoch, timestamp, offset, aborted, bumped }))
}
