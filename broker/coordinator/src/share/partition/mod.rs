//! A share partition: one partition as one share group sees it.
//!
//! ```text
//!        start offset                                          end offset
//!             ▼                                                     ▼
//!   settled … [ acquired | available | acknowledged | archived | … ] not yet looked at …
//!
//!   Available ──acquire──▶ Acquired ──accept──▶ Acknowledged
//!       ▲                     ├──reject, gap──▶ Archived (by way of Archiving where the group has a dead-letter queue)
//!       └──release, time-out──┘ (the same at the last delivery)
//! ```
//!
//! - `acquire` takes what the shell has read from the log and locks as much of it as the member may have.
//! - `acknowledge` and `release` change states at once and hand out a [`Write`]; until it is stored the records can be
//!   neither acquired nor forgotten, and if it fails they are again what they were.
//! - `tick` frees records whose lock has run out. That is stored too, but does not wait for it, as in Kafka.
//!
//! What was stored comes back by [`SharePartition::load`]. Acquisitions are not stored: after a crash an acquired record
//! is what it was before, so it is delivered again and never lost, and a crash costs no delivery.

mod acknowledge;
mod acquire;
mod batch;
mod dead_letters;

use std::collections::BTreeMap;

use strata_types::{Offset, TimestampMs};

pub use acknowledge::{AcknowledgeError, AcknowledgeType, AcknowledgementBatch};
pub use acquire::{AcquireMode, AcquireRequest, Acquired, BatchRange};
pub use dead_letters::{DeadLetterCause, DeadLetters};

use batch::{Batch, Entry};

/// What has become of a record, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeliveryState {
    Available = 0,
    Acquired = 1,
    Acknowledged = 2,
    /// On its way to the group's dead-letter queue (KIP-1191).
    Archiving = 3,
    Archived = 4,
}

impl DeliveryState {
    /// What a stored number says.
    pub fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::Available),
            1 => Some(Self::Acquired),
            2 => Some(Self::Acknowledged),
            3 => Some(Self::Archiving),
            4 => Some(Self::Archived),
            _ => None,
        }
    }

    pub const fn id(self) -> i8 {
        self as i8
    }

    /// Whether nothing more happens to the record.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Archived)
    }
}

/// A range of records in the same state, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateBatch {
    pub first_offset: i64,
    /// Inclusive.
    pub last_offset: i64,
    pub state: DeliveryState,
    pub delivery_count: i16,
}

/// A group's limits. They may change at any time, and hold from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareLimits {
    /// `share.partition.max.record.locks`: records between start and end; beyond, none are acquired.
    pub record_locks_max: i32,
    /// `share.delivery.count.limit`
    pub delivery_count_limit: i16,
    /// `share.record.lock.duration.ms`
    pub lock_duration_ms: i32,
    /// `share.renew.acknowledge.enable`
    pub renew_enabled: bool,
    /// `errors.deadletterqueue.topic.name`: whether the group has a dead-letter queue.
    pub dead_letters: bool,
}

impl Default for ShareLimits {
    fn default() -> Self {
        Self {
            record_locks_max: 2_000,
            delivery_count_limit: 5,
            lock_duration_ms: 30_000,
            renew_enabled: true,
            dead_letters: false,
        }
    }
}

/// Names a [`Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// State to be stored by the share coordinator; [`SharePartition::written`] wants to know how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Write {
    pub id: WriteId,
    pub start_offset: i64,
    /// Records from the start offset on that are settled, or will be with this write.
    pub delivery_complete_count: i32,
    pub batches: Vec<StateBatch>,
}

/// One share partition. Single-threaded: the shell keeps it behind a lock.
#[derive(Debug)]
pub struct SharePartition {
    limits: ShareLimits,
    /// The first record that is not settled (SPSO).
    start_offset: i64,
    /// The last offset in flight, or the next one to be read where nothing is.
    end_offset: i64,
    /// By first offset; they do not overlap. What is between two of them, the log does not have.
    batches: BTreeMap<i64, Batch>,
    next_write: u64,
    /// There may be records that are to go to the dead-letter queue.
    letters_wait: bool,
}

impl SharePartition {
    /// The partition as it was stored. `start_offset` is resolved: no -1.
    pub fn load(start_offset: i64, stored: &[StateBatch], limits: ShareLimits) -> Self {
        let mut sorted: Vec<StateBatch> = stored.to_vec();
        sorted.sort_by_key(|batch| batch.first_offset);
        let mut partition = Self {
            limits,
            start_offset,
            end_offset: start_offset,
            batches: BTreeMap::new(),
            next_write: 0,
            letters_wait: true,
        };
        let mut next = start_offset;
        for StateBatch { first_offset, last_offset, state, delivery_count } in sorted {
            let first = first_offset.max(next);
            if last_offset < first {
                continue;
            }
            // Between what is stored are records that were acquired, or are not there at all. Reading will tell.
            if first > next {
                partition.insert(Batch::new(next, first - 1, Entry::new(DeliveryState::Available, 0)));
            }
            let state = if state == DeliveryState::Acquired { DeliveryState::Available } else { state };
            partition.insert(Batch::new(first, last_offset, Entry::new(state, delivery_count)));
            next = last_offset + 1;
        }
        if next > start_offset {
            partition.end_offset = next - 1;
        }
        partition.advance_start();
        partition
    }

    pub fn set_limits(&mut self, limits: ShareLimits) {
        self.limits = limits;
    }

    pub fn limits(&self) -> &ShareLimits {
        &self.limits
    }

    /// The first record that is not settled.
    pub fn start_offset(&self) -> Offset {
        Offset(self.start_offset)
    }

    /// Records in flight and settled that the start offset has not passed.
    pub fn delivery_complete_count(&self) -> i32 {
        let settled = self.batches.values().flat_map(Batch::runs).filter(|run| run.entry.state.is_terminal());
        i32::try_from(settled.map(batch::Run::len).sum::<i64>()).unwrap_or(i32::MAX)
    }

    /// Offsets between start and end, what counts against [`ShareLimits::record_locks_max`].
    pub fn in_flight_count(&self) -> i64 {
        if self.batches.is_empty() { 0 } else { self.end_offset - self.start_offset + 1 }
    }

    /// From where the log is to be read for the next member: the first record that is available, or what is not in
    /// flight yet.
    pub fn next_fetch_offset(&self) -> Offset {
        let mut runs = self.batches.values().flat_map(Batch::runs);
        let available = runs.find(|run| run.entry.is_available()).map(|run| run.first);
        Offset(available.unwrap_or_else(|| self.next_offset()))
    }

    /// Whether a member might get something.
    pub fn can_acquire(&self) -> bool {
        self.next_fetch_offset().0 != self.next_offset()
            || self.in_flight_count() < i64::from(self.limits.record_locks_max)
    }

    /// Whether `member` has acquired records.
    pub fn holds(&self, member: &str) -> bool {
        self.batches.values().flat_map(Batch::runs).any(|run| is_held_by(&run.entry, member))
    }

    /// When [`tick`](Self::tick) has something to do, at the earliest.
    pub fn next_deadline(&self) -> Option<TimestampMs> {
        let runs = self.batches.values().flat_map(Batch::runs);
        runs.filter(|run| run.entry.is_held())
            .filter_map(|run| run.entry.lock.as_ref())
            .map(|lock| lock.until)
            .min()
    }

    /// The log now starts at `offset`: records below it are gone, whatever their state. Whether anything changed.
    pub fn log_start_moved(&mut self, offset: Offset) -> bool {
        let Offset(offset) = offset;
        if offset <= self.start_offset {
            return false;
        }
        let kept = self.batches.split_off(&offset);
        let cut = std::mem::replace(&mut self.batches, kept)
            .pop_last()
            .and_then(|(_, batch)| batch.starting_at(offset));
        cut.into_iter().for_each(|batch| self.insert(batch));
        self.start_offset = offset;
        self.end_offset = self.end_offset.max(offset);
        self.advance_start();
        true
    }

    /// What became of a write. Members that wait should look again.
    pub fn written(&mut self, id: WriteId, stored: bool) {
        for batch in self.batches.values_mut() {
            batch.all_runs().iter_mut().for_each(|run| run.entry.finish(id, stored));
            batch.join_runs();
        }
        self.letters_wait = true;
        // Kafka moves the start only after a success; that of a time-out's records does not depend on it.
        self.advance_start();
    }

    /// The offset behind all that is in flight.
    fn next_offset(&self) -> i64 {
        if self.batches.is_empty() { self.end_offset } else { self.end_offset + 1 }
    }

    fn insert(&mut self, batch: Batch) {
        self.batches.insert(batch.first(), batch);
    }

    /// Moves the start past all that is settled.
    fn advance_start(&mut self) {
        while let Some(entry) = self.batches.first_entry() {
            match entry.get().runs().iter().find(|run| !run.entry.is_settled()).map(|run| run.first) {
                None => {
                    self.start_offset = entry.get().last() + 1;
                    entry.remove();
                }
                Some(unsettled) => {
                    self.start_offset = unsettled;
                    if unsettled > *entry.key()
                        && let Some(rest) = entry.remove().starting_at(unsettled)
                    {
                        self.insert(rest);
                    }
                    return;
                }
            }
        }
        // Nothing is left in flight.
        self.end_offset = self.end_offset.max(self.start_offset);
        self.start_offset = self.end_offset;
    }

    /// What is to be stored of the batches given.
    fn write(&mut self, id: WriteId, batches: Vec<StateBatch>) -> Write {
        Write {
            id,
            start_offset: self.start_offset,
            delivery_complete_count: self.delivery_complete_count(),
            batches: join_states(batches),
        }
    }

    fn next_write_id(&mut self) -> WriteId {
        self.next_write += 1;
        WriteId(self.next_write)
    }
}

fn is_held_by(entry: &Entry, member: &str) -> bool {
    entry.is_held() && entry.lock.as_ref().is_some_and(|lock| *lock.member == *member)
}

/// Neighbours of which the same is known become one.
pub(in crate::share) fn join_states(mut batches: Vec<StateBatch>) -> Vec<StateBatch> {
    batches.dedup_by(|next, batch| {
        let same = batch.last_offset + 1 == next.first_offset
            && (batch.state, batch.delivery_count) == (next.state, next.delivery_count);
        if same {
            batch.last_offset = next.last_offset;
        }
        same
    });
    batches
}
