//! The coordinator runtime: one replicated state machine behind one partition of an internal topic.
//!
//! ```text
//!             handle / tick                 appended              committed
//!  request ──▶ shard: state' + records ──▶ [gathering] ──▶ [appending] ──▶ [appended] ──▶ replies
//!                     │                        ▲                │
//!                     └── state applies at once┘     append_failed: state put back, replies become errors
//! ```
//!
//! It follows Kafka's coordinator runtime (KIP-848, "Group Coordinator"): an operation's records are applied to the
//! state at once, and its replies are held until the log has committed them. An operation without records depends on
//! what was written before it, so its reply is held by the last batch that is not yet committed. Requests that only
//! look are answered at once, from the committed state. What an operation wants done outside waits like its replies.
//!
//! At most one append is outstanding; what comes meanwhile gathers and becomes the next one. That batches by load, and
//! makes a failure simple: the failed batch and all that came after it are undone together.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use bytes::Bytes;
use strata_protocol::EncodeError;
use strata_types::{ErrorCode, Offset, TimestampMs, VerificationGuard};

use crate::shard::{
    Append, Outcome, OutcomeOf, RawRecord, Replay, ReplayError, ReplyId, Shard, TxnMarker, TxnProducer,
};

/// What a record costs in a batch beside its key and value, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;
/// What a marker counts for while it is not committed.
const MARKER_BYTES: usize = 100;

#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// The most bytes of records that one append may have; the internal topic's `max.message.bytes`.
    pub append_bytes_max: usize,
    /// The most bytes of records that may wait to be committed; from there on, requests that may write are refused
    /// with `COORDINATOR_NOT_AVAILABLE`.
    pub uncommitted_bytes_max: usize,
    /// How long a reply may wait for its records to be committed (`offsets.commit.timeout.ms`); then the client is
    /// told `COORDINATOR_NOT_AVAILABLE`, and the records take their course.
    pub write_timeout_ms: i64,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self {
            append_bytes_max: 1024 * 1024,
            uncommitted_bytes_max: 64 * 1024 * 1024,
            write_timeout_ms: 5_000,
        }
    }
}

/// What the shell must do now.
#[derive(Debug)]
#[must_use]
pub struct Effects<S: Shard> {
    /// Append this as one batch, then call [`Runtime::appended`] or [`Runtime::append_failed`].
    pub append: Option<Append>,
    /// Send these.
    pub replies: Vec<(ReplyId, S::Response)>,
    /// Carry these out. Their cause is committed; what becomes of them, the shell tells by requests.
    pub actions: Vec<S::Action>,
}

impl<S: Shard> Default for Effects<S> {
    fn default() -> Self {
        Self { append: None, replies: Vec::new(), actions: Vec::new() }
    }
}

/// Drives one [`Shard`]. Single-threaded: the shell calls it from one task.
#[derive(Debug)]
pub struct Runtime<S: Shard> {
    shard: S,
    options: RuntimeOptions,
    phase: Phase,
    /// The log's, exclusive.
    high_watermark: Offset,
    /// Not yet committed, oldest first: appended ones, then at most one being appended, then gathering ones.
    batches: VecDeque<Batch<S>>,
    uncommitted_bytes: usize,
    parked: BTreeMap<ReplyId, Parked<S::Response>>,
    /// Counts operations.
    operation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    Unloaded,
}

#[derive(Debug)]
struct Batch<S: Shard> {
    /// The state before the first operation of the batch.
    before: S::State,
    first_operation: u64,
    stage: Stage,
    bytes: usize,
    held: VecDeque<Held<S::Response>>,
    actions: Vec<S::Action>,
}

#[derive(Debug)]
enum Stage {
    Gathering(Append),
    Appending,
    Appended { last_offset: Offset },
}

#[derive(Debug)]
struct Held<R> {
    reply: ReplyId,
    response: R,
    deadline: TimestampMs,
}

#[derive(Debug)]
struct Parked<R> {
    otherwise: R,
    since_operation: u64,
}

impl<S: Shard> Runtime<S> {
    /// A coordinator whose partition's log has yet to be read: until [`loaded`](Self::loaded), requests are answered
    /// `COORDINATOR_LOAD_IN_PROGRESS`.
    pub fn new(shard: S, options: RuntimeOptions) -> Self {
        Self {
            shard,
            options,
            phase: Phase::Loading,
            high_watermark: Offset::ZERO,
            batches: VecDeque::new(),
            uncommitted_bytes: 0,
            parked: BTreeMap::new(),
            operation: 0,
        }
    }

    /// Takes in one record of the log, in the order of offsets; with the producer of its batch, if that was a
    /// transactional one.
    pub fn load(
        &mut self,
        key: Option<Bytes>,
        value: Option<Bytes>,
        producer: Option<TxnProducer>,
    ) -> Result<(), ReplayError> {
        if let Some(record) = S::decode(key.ok_or(ReplayError::NoKey)?, value)? {
            self.replay(producer, &record);
        }
        Ok(())
    }

    /// The same of a marker.
    pub fn load_marker(&mut self, marker: &TxnMarker) {
        self.shard.replay_marker(marker);
    }

    /// The log's end is reached, and committed: timers start, requests are served.
    pub fn loaded(&mut self, now: TimestampMs) -> Effects<S> {
        let mut effects = Effects::default();
        if self.phase == Phase::Loading {
            self.phase = Phase::Active;
            self.operate(now, None, &mut effects, |shard, outcome| shard.loaded(now, outcome));
        }
        self.pump(&mut effects);
        effects
    }

    pub fn handle(&mut self, now: TimestampMs, request: S::Request, reply: ReplyId) -> Effects<S> {
        let mut effects = Effects::default();
        let refusal = match self.phase {
            Phase::Loading => Some(ErrorCode::CoordinatorLoadInProgress),
            Phase::Unloaded => Some(ErrorCode::NotCoordinator),
            Phase::Active => None,
        };
        if let Some(code) = refusal {
            effects.replies.push((reply, S::refuse(&request, code)));
            return effects;
        }
        if let Some(response) = self.shard.query(self.committed_state(), &request) {
            effects.replies.push((reply, response));
            return effects;
        }
        if self.uncommitted_bytes >= self.options.uncommitted_bytes_max {
            effects.replies.push((reply, S::refuse(&request, ErrorCode::CoordinatorNotAvailable)));
            return effects;
        }
        let own = Some(reply);
        self.operate(now, own, &mut effects, |shard, outcome| shard.handle(now, request, reply, outcome));
        self.pump(&mut effects);
        effects
    }

    /// Does what is due. Call it at or after [`next_deadline`](Self::next_deadline); earlier calls do no harm.
    pub fn tick(&mut self, now: TimestampMs) -> Effects<S> {
        let mut effects = Effects::default();
        if self.phase == Phase::Active {
            self.time_out_held(now, &mut effects);
            let mut more = true;
            while more {
                self.operate(now, None, &mut effects, |shard, outcome| more = shard.tick(now, outcome));
            }
            self.pump(&mut effects);
        }
        effects
    }

    /// When to call [`tick`](Self::tick) next. Any call may change it.
    pub fn next_deadline(&self) -> Option<TimestampMs> {
        if self.phase != Phase::Active {
            return None;
        }
        let held = self.batches.iter().filter_map(|batch| batch.held.front()).map(|held| held.deadline).min();
        [self.shard.next_deadline(), held].into_iter().flatten().min()
    }

    /// The records last asked for are in the log, the last of them at `last_offset`.
    pub fn appended(&mut self, _now: TimestampMs, last_offset: Offset) -> Effects<S> {
        let mut effects = Effects::default();
        if let Some(batch) = self.batches.iter_mut().find(|batch| matches!(batch.stage, Stage::Appending)) {
            batch.stage = Stage::Appended { last_offset };
        }
        self.release_committed(&mut effects);
        self.pump(&mut effects);
        effects
    }

    /// The records last asked for are not in the log. Their operations, and all since, are undone.
    pub fn append_failed(&mut self, now: TimestampMs, code: ErrorCode) -> Effects<S> {
        let mut effects = Effects::default();
        let Some(at) = self.batches.iter().position(|batch| matches!(batch.stage, Stage::Appending)) else {
            return effects;
        };
        let code = client_error(code);
        let failed = self.batches.split_off(at);
        let first_operation = failed[0].first_operation;
        self.shard.restore(failed[0].before.clone());
        for batch in failed {
            self.uncommitted_bytes -= batch.bytes;
            let replies = batch.held.into_iter().map(|held| (held.reply, S::fail(held.response, code)));
            effects.replies.extend(replies);
        }
        // Requests that were parked meanwhile are in no state any more.
        let lost = self.parked.extract_if(.., |_, parked| parked.since_operation >= first_operation);
        effects.replies.extend(lost.map(|(reply, parked)| (reply, S::fail(parked.otherwise, code))));
        self.shard.reverted(now, &|reply| self.parked.contains_key(&reply));
        effects
    }

    /// The log's high watermark is now `high_watermark` (exclusive: all offsets below it are committed).
    pub fn committed(&mut self, _now: TimestampMs, high_watermark: Offset) -> Effects<S> {
        let mut effects = Effects::default();
        self.high_watermark = self.high_watermark.max(high_watermark);
        self.release_committed(&mut effects);
        effects
    }

    /// The partition's leadership is lost: every open request, and every later one, is answered `NOT_COORDINATOR`.
    pub fn unload(&mut self) -> Effects<S> {
        let mut effects = Effects::default();
        let code = ErrorCode::NotCoordinator;
        self.phase = Phase::Unloaded;
        for batch in mem::take(&mut self.batches) {
            let replies = batch.held.into_iter().map(|held| (held.reply, S::fail(held.response, code)));
            effects.replies.extend(replies);
        }
        let parked = mem::take(&mut self.parked).into_iter();
        effects.replies.extend(parked.map(|(reply, parked)| (reply, S::fail(parked.otherwise, code))));
        self.uncommitted_bytes = 0;
        effects
    }

    /// The shard, to look at.
    pub fn shard(&self) -> &S {
        &self.shard
    }

    /// The shard, to tell it what is no part of its state. Nothing that records tell of may be changed this way.
    pub fn shard_mut(&mut self) -> &mut S {
        &mut self.shard
    }

    /// The state that the committed records amount to.
    pub fn committed_state(&self) -> &S::State {
        self.batches.front().map_or(self.shard.state(), |batch| &batch.before)
    }

    /// Runs one operation as a transaction; `own` is the request that it handles.
    fn operate(
        &mut self,
        now: TimestampMs,
        own: Option<ReplyId>,
        effects: &mut Effects<S>,
        operation: impl FnOnce(&mut S, &mut OutcomeOf<S>),
    ) {
        self.operation += 1;
        let before = self.shard.state().clone();
        let mut outcome = Outcome::new();
        operation(&mut self.shard, &mut outcome);
        if let Err(code) = self.write(&before, &outcome) {
            self.undo(now, own, before, outcome, code, effects);
            return;
        }
        match self.batches.back_mut() {
            Some(batch) => batch.actions.extend(outcome.actions),
            None => effects.actions.extend(outcome.actions),
        }
        let since_operation = self.operation;
        for (reply, otherwise) in outcome.parked {
            self.parked.insert(reply, Parked { otherwise, since_operation });
        }
        let deadline = now + self.options.write_timeout_ms;
        for (reply, response) in outcome.replies {
            if self.parked.remove(&reply).is_none() && own != Some(reply) {
                continue; // answered before, by an operation that was undone
            }
            match self.batches.back_mut() {
                Some(batch) => batch.held.push_back(Held { reply, response, deadline }),
                None => effects.replies.push((reply, response)),
            }
        }
    }

    /// Puts the operation's records into gathering batches, and applies them. On an error nothing has been written.
    fn write(&mut self, before: &S::State, outcome: &OutcomeOf<S>) -> Result<(), ErrorCode> {
        if let Some(marker) = outcome.marker {
            self.open_batch(before.clone(), Append::Marker(marker), MARKER_BYTES);
            self.shard.replay_marker(&marker);
            return Ok(());
        }
        if outcome.records.is_empty() {
            return Ok(());
        }
        let (producer, guard) = (outcome.producer, outcome.guard);
        let encoded = outcome.records.iter().map(|(record, _)| S::encode(record));
        let encoded = encoded.collect::<Result<Vec<_>, EncodeError>>().map_err(|error| {
            tracing::error!(%error, "a coordinator record cannot be encoded");
            ErrorCode::UnknownServerError
        })?;
        debug_assert!(outcome.atomic || outcome.records.iter().all(|(_, replay)| *replay == Replay::Needed));
        let bytes: usize = encoded.iter().map(record_bytes).sum();
        if outcome.atomic && bytes > self.options.append_bytes_max {
            return Err(ErrorCode::RecordListTooLarge);
        }
        let empty = || Append::Records { records: Vec::new(), producer, guard };
        if outcome.atomic && !self.has_room(bytes, producer, guard) {
            self.open_batch(before.clone(), empty(), 0);
        }
        for ((record, replay), raw) in outcome.records.iter().zip(encoded) {
            if !outcome.atomic && !self.has_room(record_bytes(&raw), producer, guard) {
                self.open_batch(self.shard.state().clone(), empty(), 0);
            }
            self.push(raw);
            if *replay == Replay::Needed {
                self.replay(producer, record);
            }
        }
        Ok(())
    }

    fn replay(&mut self, producer: Option<TxnProducer>, record: &S::Record) {
        match producer {
            Some(producer) => self.shard.replay_transactional(producer, record),
            None => self.shard.replay(record),
        }
    }

    /// Whether records of this transaction, or of none, can go with what gathers.
    fn has_room(&self, bytes: usize, of: Option<TxnProducer>, under: Option<VerificationGuard>) -> bool {
        self.batches.back().is_some_and(|batch| match &batch.stage {
            Stage::Gathering(Append::Records { producer, guard, .. }) => {
                (*producer, *guard) == (of, under) && batch.bytes + bytes <= self.options.append_bytes_max
            }
            _ => false,
        })
    }

    fn open_batch(&mut self, before: S::State, contents: Append, bytes: usize) {
        self.uncommitted_bytes += bytes;
        self.batches.push_back(Batch {
            before,
            first_operation: self.operation,
            stage: Stage::Gathering(contents),
            bytes,
            held: VecDeque::new(),
            actions: Vec::new(),
        });
    }

    fn push(&mut self, raw: RawRecord) {
        if let Some(Batch { stage: Stage::Gathering(Append::Records { records, .. }), bytes, .. }) =
            self.batches.back_mut()
        {
            *bytes += record_bytes(&raw);
            self.uncommitted_bytes += record_bytes(&raw);
            records.push(raw);
        }
    }

    /// Takes back an operation of which nothing was written.
    fn undo(
        &mut self,
        now: TimestampMs,
        own: Option<ReplyId>,
        before: S::State,
        outcome: OutcomeOf<S>,
        code: ErrorCode,
        effects: &mut Effects<S>,
    ) {
        self.shard.restore(before);
        let code = client_error(code);
        let mut orphans = false;
        for (reply, response) in outcome.replies.into_iter().chain(outcome.parked) {
            let was_parked = self.parked.remove(&reply).is_some();
            orphans |= was_parked;
            if !was_parked && own != Some(reply) {
                continue;
            }
            effects.replies.push((reply, S::fail(response, code)));
        }
        if orphans {
            self.shard.reverted(now, &|reply| self.parked.contains_key(&reply));
        }
    }

    /// Starts the next append, if none is outstanding.
    fn pump(&mut self, effects: &mut Effects<S>) {
        let next = self.batches.iter_mut().find(|batch| !matches!(batch.stage, Stage::Appended { .. }));
        if let Some(batch) = next
            && matches!(batch.stage, Stage::Gathering(_))
            && let Stage::Gathering(contents) = mem::replace(&mut batch.stage, Stage::Appending)
        {
            effects.append = Some(contents);
        }
    }

    fn release_committed(&mut self, effects: &mut Effects<S>) {
        while let Some(batch) = self.batches.front()
            && let Stage::Appended { last_offset } = batch.stage
            && last_offset < self.high_watermark
            && let Some(batch) = self.batches.pop_front()
        {
            self.uncommitted_bytes -= batch.bytes;
            effects.replies.extend(batch.held.into_iter().map(|held| (held.reply, held.response)));
            effects.actions.extend(batch.actions);
        }
    }

    fn time_out_held(&mut self, now: TimestampMs, effects: &mut Effects<S>) {
        let code = client_error(ErrorCode::RequestTimedOut);
        for batch in &mut self.batches {
            while let Some(held) = batch.held.pop_front_if(|held| held.deadline <= now) {
                effects.replies.push((held.reply, S::fail(held.response, code)));
            }
        }
    }
}

fn record_bytes(record: &RawRecord) -> usize {
    RECORD_OVERHEAD_BYTES + record.key.len() + record.value.as_ref().map_or(0, Bytes::len)
}

/// What a client is told when the internal topic's log says `code` (`CoordinatorOperationExceptionHelper`).
fn client_error(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}
