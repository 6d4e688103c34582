//! What a coordinator must be able to do for the [`Runtime`](crate::Runtime) to drive it.

use std::convert::Infallible;
use std::fmt::Debug;

use bytes::Bytes;
use strata_protocol::{DecodeError, EncodeError};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs, VerificationGuard};

/// Names an open request. The shell chooses the number; it must be unique among the requests that are still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// A record of the coordinator's internal topic: Kafka's own bytes, each with its `int16` prefix (the key's says which
/// record it is, the value's which version). No value means a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// In whose transaction records are written: they count once its marker says commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnProducer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

/// The end of a transaction in the coordinator's own partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnMarker {
    pub producer: TxnProducer,
    pub commit: bool,
    /// The transaction coordinator's, so that an earlier one's late markers are refused.
    pub coordinator_epoch: i32,
    /// Its epoch is above that of the transaction which it ends (KIP-890).
    pub is_bumped: bool,
}

/// What one append to the internal topic holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// A batch of records; with a producer, a transactional one without sequence numbers. Then the guard says whether the
    /// transaction is verified.
    Records { records: Vec<RawRecord>, producer: Option<TxnProducer>, guard: Option<VerificationGuard> },
    /// A control batch.
    Marker(TxnMarker),
}

/// Why a record of the log could not be read. It is worth a line in the log; loading goes on without it, as in Kafka.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("a coordinator record has no key")]
    NoKey,
    #[error("a coordinator record's key or value is cut short")]
    Truncated,
    #[error("version {version} of a {record} value is not known")]
    UnknownVersion { record: &'static str, version: i16 },
    #[error("a {record} record is of a state {state}, which there is not")]
    UnknownState { record: &'static str, state: i8 },
    #[error("a {record} record cannot be read: {source}")]
    Malformed { record: &'static str, source: DecodeError },
}

/// A replicated state machine: one group, transaction or share coordinator for one partition of its internal topic.
///
/// Every call of [`handle`](Shard::handle) or [`tick`](Shard::tick) is one transaction. What it says through
/// [`Outcome`] is either done entirely (records appended and committed, then replies sent) or not at all (the runtime
/// puts [`state`](Shard::state) back and answers with errors).
pub trait Shard {
    type Request: Debug;
    type Response: Debug;
    type Record: Debug;
    /// The whole of what requests can change. Cloned before each operation, so a clone must be O(1): use persistent maps.
    type State: Clone + Debug;
    /// What operations want done in the world outside, beside records and replies: [`Outcome::act`].
    /// [`Infallible`] where there is nothing of the kind.
    type Action: Debug;

    fn state(&self) -> &Self::State;

    /// Puts an earlier state back. Timers armed since may stay: they fire early and find nothing due.
    fn restore(&mut self, state: Self::State);

    /// After [`restore`](Shard::restore) undid operations whose replies are gone: forgets the parked replies that are
    /// no longer open, and arms the timers anew.
    fn reverted(&mut self, now: TimestampMs, is_open: &dyn Fn(ReplyId) -> bool);

    /// Answers a request that only looks. `committed` is the state that the committed records amount to.
    fn query(&self, committed: &Self::State, request: &Self::Request) -> Option<Self::Response>;

    /// Handles a request. It must reply to or park the request's `reply`.
    fn handle(
        &mut self,
        now: TimestampMs,
        request: Self::Request,
        reply: ReplyId,
        outcome: &mut OutcomeOf<Self>,
    );

    /// Does one thing that is due at `now`; `false` if there was none.
    fn tick(&mut self, now: TimestampMs, outcome: &mut OutcomeOf<Self>) -> bool;

    /// When [`tick`](Shard::tick) next has something to do, at the earliest.
    fn next_deadline(&self) -> Option<TimestampMs>;

    /// Applies a record to the state: from the log while loading, or a new one of an [`Outcome`].
    fn replay(&mut self, record: &Self::Record);

    /// The same of a record that a transaction wrote: it counts once [`replay_marker`](Shard::replay_marker) says so.
    /// Only for shards whose operations call [`Outcome::in_transaction`].
    fn replay_transactional(&mut self, producer: TxnProducer, record: &Self::Record) {
        let _ = producer;
        self.replay(record);
    }

    /// A transaction has ended, which may have written nothing here.
    fn replay_marker(&mut self, marker: &TxnMarker) {
        let _ = marker;
    }

    /// The log has been read to its end.
    fn loaded(&mut self, now: TimestampMs, outcome: &mut OutcomeOf<Self>);

    fn encode(record: &Self::Record) -> Result<RawRecord, EncodeError>;

    /// `None` for a record of a kind that this shard does not keep (a newer Kafka's): it is passed over.
    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self::Record>, ReplayError>;

    /// The answer `code` in the shape that the request asks for.
    fn refuse(request: &Self::Request, code: ErrorCode) -> Self::Response;

    /// What becomes of an answer whose records did not make it into the log.
    fn fail(response: Self::Response, code: ErrorCode) -> Self::Response;
}

/// The outcome of a shard's operations.
pub type OutcomeOf<S> = Outcome<<S as Shard>::Record, <S as Shard>::Response, <S as Shard>::Action>;

/// What an operation of a shard wants to happen.
#[derive(Debug)]
pub struct Outcome<Record, Response, Action = Infallible> {
    pub(crate) records: Vec<(Record, Replay)>,
    pub(crate) producer: Option<TxnProducer>,
    pub(crate) guard: Option<VerificationGuard>,
    pub(crate) marker: Option<TxnMarker>,
    pub(crate) actions: Vec<Action>,
    pub(crate) replies: Vec<(ReplyId, Response)>,
    pub(crate) parked: Vec<(ReplyId, Response)>,
    pub(crate) atomic: bool,
}

/// Whether the runtime must still apply a new record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    Needed,
    Done,
}

impl<Record, Response, Action> Outcome<Record, Response, Action> {
    pub(crate) fn new() -> Self {
        Self {
            records: Vec::new(),
            producer: None,
            guard: None,
            marker: None,
            actions: Vec::new(),
            replies: Vec::new(),
            parked: Vec::new(),
            atomic: true,
        }
    }

    /// Appends a record, and applies it.
    pub fn append(&mut self, record: Record) {
        self.records.push((record, Replay::Needed));
    }

    /// Appends a record that tells of a change which the handler has made itself, because what changed is more than
    /// what the record holds (a classic group's members have timers and parked replies).
    pub fn append_applied(&mut self, record: Record) {
        self.records.push((record, Replay::Done));
    }

    /// The operation's records are part of this producer's transaction, which has been verified under the guard.
    pub fn in_transaction(&mut self, producer: TxnProducer, guard: Option<VerificationGuard>) {
        self.producer = Some(producer);
        self.guard = guard;
    }

    /// Appends the marker that ends a transaction. An operation that does so appends nothing else.
    pub fn end_transaction(&mut self, marker: TxnMarker) {
        self.marker = Some(marker);
    }

    /// Has something done outside, once the operation's records are committed.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Forgets the records and replies of this operation so far: it comes to nothing.
    pub(crate) fn discard(&mut self) {
        self.records.clear();
        self.replies.clear();
        self.actions.clear();
    }

    /// The handler has made all changes itself that the records so far tell of.
    pub(crate) fn applied(&mut self) {
        self.records.iter_mut().for_each(|(_, replay)| *replay = Replay::Done);
    }

    /// Answers a request: this one, or one parked earlier. Sent when the records are committed.
    pub fn reply(&mut self, reply: ReplyId, response: Response) {
        self.replies.push((reply, response));
    }

    /// Leaves this request open, to be answered by a later operation. `otherwise` is what [`Shard::fail`] makes an
    /// error of, should there be no such operation.
    pub fn park(&mut self, reply: ReplyId, otherwise: Response) {
        self.parked.push((reply, otherwise));
    }

    /// The records may be appended in several batches: each of them makes sense alone (tombstones of expired offsets).
    /// Only for records that the runtime applies.
    pub fn allow_splitting(&mut self) {
        self.atomic = false;
    }
}
