//! A transactional id: who its producer is, and how far its transaction is.

use imbl::OrdSet;
use strata_types::{ProducerEpoch, ProducerId, TimestampMs};

use super::api::TxnPartition;
use crate::shard::TxnProducer;

/// No producer gets the last epoch: the coordinator needs it to fence the last one that does.
const LAST_PRODUCER_EPOCH: i16 = i16::MAX - 1;

/// Kafka's states, by their ids in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// The id has a producer, and no transaction yet.
    Empty = 0,
    Ongoing = 1,
    /// Decided; markers are being written.
    PrepareCommit = 2,
    PrepareAbort = 3,
    /// All markers are written.
    CompleteCommit = 4,
    CompleteAbort = 5,
    /// Never stored: the id expires. Kafka passes through it; tools may ask for it.
    Dead = 6,
    /// Never stored: the producer is being fenced. As above.
    PrepareEpochFence = 7,
}

impl TransactionState {
    const ALL: [Self; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
        Self::PrepareEpochFence,
    ];

    /// As tools show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    pub fn by_id(id: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i8 == id)
    }

    /// Whether the end of the transaction is decided, and not yet in all its partitions.
    pub const fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }
}

/// What is known of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub producer: TxnProducer,
    /// The id that the producer had before this state; not necessarily another one.
    pub previous_producer_id: ProducerId,
    /// The id that the producer has once its end is complete, when its epochs are used up; else none.
    pub next_producer_id: ProducerId,
    /// Of KIP-939: carried on, and used by nothing yet.
    pub next_producer_epoch: ProducerEpoch,
    /// What a producer that asks again would still believe to be its epoch. Not in the log, as in Kafka.
    pub last_epoch: ProducerEpoch,
    pub timeout_ms: i32,
    pub state: TransactionState,
    pub partitions: OrdSet<TxnPartition>,
    /// When the transaction began; -1 without one.
    pub started: TimestampMs,
    pub updated: TimestampMs,
    /// The version that the client spoke when the state changed last.
    pub client_version: i16,
}

impl Transaction {
    /// A new id's.
    pub(super) fn new(producer_id: ProducerId, timeout_ms: i32, now: TimestampMs) -> Self {
        Self {
            producer: TxnProducer { id: producer_id, epoch: ProducerEpoch::NONE },
            // As Kafka has it.
            previous_producer_id: producer_id,
            next_producer_id: ProducerId::NONE,
            next_producer_epoch: ProducerEpoch::NONE,
            last_epoch: ProducerEpoch::NONE,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: OrdSet::new(),
            started: -1,
            updated: now,
            client_version: 0,
        }
    }

    pub(super) fn is_epoch_exhausted(&self) -> bool {
        is_exhausted(self.producer.epoch)
    }

    /// The next state, of the same producer unless the caller says otherwise.
    pub(super) fn to(&self, state: TransactionState, now: TimestampMs) -> Self {
        Self { state, previous_producer_id: self.producer.id, updated: now, ..self.clone() }
    }

    /// The epoch that shuts the current producer out. At the last one, which no producer has, it stays.
    pub(super) fn fencing_epoch(&self) -> ProducerEpoch {
        ProducerEpoch(self.producer.epoch.0.saturating_add(1))
    }

    /// Whether an open transaction takes longer than its producer said.
    pub(super) fn is_overdue(&self, now: TimestampMs) -> bool {
        self.state == TransactionState::Ongoing && self.started + i64::from(self.timeout_ms) < now
    }
}

pub(super) const fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch.0 >= LAST_PRODUCER_EPOCH
}
