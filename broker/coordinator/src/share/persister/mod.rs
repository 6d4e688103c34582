//! The share coordinator of one `__share_group_state` partition: where share partitions keep what must outlive a crash.
//!
//! ```text
//!   InitializeShareGroupState ─▶ snapshot      WriteShareGroupState ─▶ update, update, … (every Nth is a snapshot)
//!   DeleteShareGroupState ─▶ tombstone         Read…, Read…Summary ─▶ from memory
//! ```
//!
//! - The state epoch names a life of the share partition: it grows with every (re)initialisation, and writes of an
//!   earlier life are refused. So are writes of a partition leader that another one has followed.
//! - Updates hold changes only, so the topic is not compacted: a [`PersisterRequest::SnapshotAll`] rewrites all state, and
//!   the shell deletes what is before it.

mod combine;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use strata_protocol::messages::{ShareSnapshotValue, ShareUpdateValue};
use strata_protocol::{EncodeError, Str};
use strata_types::{ErrorCode, PartitionId, TimestampMs};
use uuid::Uuid;

use crate::shard::{Outcome, OutcomeOf, RawRecord, ReplayError, ReplyId, Shard};
use crate::share::partition::StateBatch;

pub use record::PersisterRecord;

use combine::combine;

/// Batches that one share partition may have stored. Far more than may be in flight.
pub const STATE_BATCHES_MAX: usize = 32_768;

/// The start offset of a share partition that was never read: its group's `share.auto.offset.reset` decides.
pub const UNINITIALIZED_START_OFFSET: i64 = -1;

/// Names a share partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharePartitionKey {
    pub group: Str,
    pub topic_id: Uuid,
    pub partition: PartitionId,
}

impl SharePartitionKey {
    /// What decides which coordinator has it, as clients send it in FindCoordinator: `group:topicId:partition`.
    pub fn coordinator_key(&self) -> String {
        format!("{}:{}:{}", self.group, topic_id_text(self.topic_id), self.partition)
    }
}

/// A topic id as Kafka prints it: URL-safe base64 without padding.
pub fn topic_id_text(id: Uuid) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = id.as_u128();
    // 22 digits of 6 bits: the last one holds 2 bits of the id, followed by zeros.
    let digit = |index: u32| {
        let shift = 122_i32 - 6 * index as i32;
        if shift >= 0 { (bits >> shift) & 63 } else { (bits << -shift) & 63 }
    };
    (0..22).map(|index| char::from(DIGITS[digit(index) as usize])).collect()
}

#[derive(Debug, Clone)]
pub struct PersisterConfig {
    /// `share.coordinator.snapshot.update.records.per.snapshot`
    pub updates_per_snapshot: u32,
}

impl Default for PersisterConfig {
    fn default() -> Self {
        Self { updates_per_snapshot: 500 }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum PersisterRequest {
    Initialize {
        key: SharePartitionKey,
        state_epoch: i32,
        start_offset: i64,
    },
    /// `leader_epoch` -1: whoever asks is no leader.
    Read {
        key: SharePartitionKey,
        leader_epoch: i32,
    },
    /// -1 for what shall stay as it is.
    Write {
        key: SharePartitionKey,
        state_epoch: i32,
        leader_epoch: i32,
        start_offset: i64,
        delivery_complete_count: i32,
        batches: Vec<StateBatch>,
    },
    Delete {
        key: SharePartitionKey,
    },
    ReadSummary {
        key: SharePartitionKey,
    },
    /// Topics are gone: so goes what was stored of their partitions.
    TopicsDeleted {
        topic_ids: Vec<Uuid>,
    },
    /// Everything is written anew.
    SnapshotAll,
}

/// What a share partition's leader is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadState {
    pub state_epoch: i32,
    pub start_offset: i64,
    pub batches: Vec<StateBatch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSummary {
    pub state_epoch: i32,
    pub leader_epoch: i32,
    pub start_offset: i64,
    /// -1: not known.
    pub delivery_complete_count: i32,
}

/// Why not, with Kafka's words where it has other words than the code's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersisterError {
    pub code: ErrorCode,
    pub message: Option<&'static str>,
}

impl From<ErrorCode> for PersisterError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

const UNINITIALIZED_WRITE: PersisterError = PersisterError {
    code: ErrorCode::InvalidRequest,
    message: Some("Write operation on uninitialized share partition not allowed."),
};
const UNINITIALIZED_READ: PersisterError = PersisterError {
    code: ErrorCode::InvalidRequest,
    message: Some("Read operation on uninitialized share partition not allowed."),
};
const TOO_MANY_BATCHES: PersisterError = PersisterError {
    code: ErrorCode::InvalidRequest,
    message: Some("The share partition has too many state batches."),
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersisterResponse {
    Done(Result<(), PersisterError>),
    Read(Result<ReadState, PersisterError>),
    Summary(Result<StateSummary, PersisterError>),
}

/// What is stored of one share partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    snapshot_epoch: i32,
    pub state_epoch: i32,
    pub leader_epoch: i32,
    pub start_offset: i64,
    pub delivery_complete_count: i32,
    pub batches: Vec<StateBatch>,
    /// Updates since the snapshot.
    updates: u32,
}

pub type PersisterState = OrdMap<SharePartitionKey, Arc<Stored>>;

type PersisterOutcome = OutcomeOf<PersisterShard>;

/// The share coordinator.
#[derive(Debug)]
pub struct PersisterShard {
    config: PersisterConfig,
    state: PersisterState,
}

impl PersisterShard {
    pub fn new(config: PersisterConfig) -> Self {
        Self { config, state: OrdMap::new() }
    }

    fn initialize(
        &self,
        now: TimestampMs,
        key: SharePartitionKey,
        state_epoch: i32,
        start_offset: i64,
        outcome: &mut PersisterOutcome,
    ) -> Result<(), PersisterError> {
        let known = self.state.get(&key);
        if state_epoch != -1 && known.is_some_and(|known| known.state_epoch > state_epoch) {
            return Err(ErrorCode::FencedStateEpoch.into());
        }
        let stored = Stored {
            snapshot_epoch: known.map_or(0, |known| known.snapshot_epoch + 1),
            state_epoch,
            leader_epoch: 0,
            start_offset,
            // Nothing was delivered, if only there is a place to count from.
            delivery_complete_count: if start_offset == UNINITIALIZED_START_OFFSET { -1 } else { 0 },
            batches: Vec::new(),
            updates: 0,
        };
        outcome.append(snapshot(now, key, &stored));
        Ok(())
    }

    fn read(
        &self,
        key: SharePartitionKey,
        leader_epoch: i32,
        outcome: &mut PersisterOutcome,
    ) -> Result<ReadState, PersisterError> {
        let stored = self.state.get(&key).ok_or(UNINITIALIZED_READ)?;
        if leader_epoch != -1 && stored.leader_epoch > leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch.into());
        }
        let read = ReadState {
            state_epoch: stored.state_epoch,
            start_offset: stored.start_offset,
            batches: stored.batches.clone(),
        };
        // From here on, an earlier leader's writes are refused.
        if leader_epoch > stored.leader_epoch {
            let value = ShareUpdateValue {
                snapshot_epoch: stored.snapshot_epoch,
                leader_epoch,
                start_offset: stored.start_offset,
                delivery_complete_count: stored.delivery_complete_count,
                state_batches: Vec::new(),
                ..Default::default()
            };
            outcome.append(PersisterRecord::Update { key, value: Some(value) });
        }
        Ok(read)
    }

    fn write(
        &self,
        now: TimestampMs,
        request: PersisterRequest,
        outcome: &mut PersisterOutcome,
    ) -> Result<(), PersisterError> {
        let PersisterRequest::Write {
            key,
            state_epoch,
            leader_epoch,
            start_offset,
            delivery_complete_count,
            batches,
        } = request
        else {
            return Err(ErrorCode::UnknownServerError.into());
        };
        let stored = self.state.get(&key).ok_or(UNINITIALIZED_WRITE)?;
        if leader_epoch != -1 && stored.leader_epoch > leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch.into());
        }
        if state_epoch != -1 && stored.state_epoch > state_epoch {
            return Err(ErrorCode::FencedStateEpoch.into());
        }
        let sound = |batch: &StateBatch| 0 <= batch.first_offset && batch.first_offset <= batch.last_offset;
        if !batches.iter().all(sound) {
            return Err(ErrorCode::InvalidRequest.into());
        }
        let update = ShareUpdateValue {
            snapshot_epoch: stored.snapshot_epoch,
            leader_epoch,
            start_offset,
            delivery_complete_count,
            state_batches: combine(&[], &batches, start_offset).iter().map(record::to_update).collect(),
            ..Default::default()
        };
        let updated = stored.updated(&update);
        if updated.batches.len() > STATE_BATCHES_MAX {
            return Err(TOO_MANY_BATCHES);
        }
        if stored.updates >= self.config.updates_per_snapshot {
            let anew = Stored { snapshot_epoch: stored.snapshot_epoch + 1, ..updated };
            outcome.append(snapshot(now, key, &anew));
        } else {
            outcome.append(PersisterRecord::Update { key, value: Some(update) });
        }
        Ok(())
    }

    fn summary(state: &PersisterState, key: &SharePartitionKey) -> StateSummary {
        // Not to be initialized is no error here: the answer says that there is no start offset.
        state.get(key).map_or(
            StateSummary {
                state_epoch: 0,
                leader_epoch: 0,
                start_offset: UNINITIALIZED_START_OFFSET,
                delivery_complete_count: -1,
            },
            |stored| StateSummary {
                state_epoch: stored.state_epoch,
                leader_epoch: stored.leader_epoch,
                start_offset: stored.start_offset,
                delivery_complete_count: stored.delivery_complete_count,
            },
        )
    }

    fn forget_topics(&self, topic_ids: &[Uuid], outcome: &mut PersisterOutcome) {
        outcome.allow_splitting();
        for key in self.state.keys().filter(|key| topic_ids.contains(&key.topic_id)) {
            outcome.append(PersisterRecord::Snapshot { key: key.clone(), value: None });
        }
    }

    fn snapshot_all(&self, now: TimestampMs, outcome: &mut PersisterOutcome) {
        outcome.allow_splitting();
        for (key, stored) in &self.state {
            let anew = Stored { snapshot_epoch: stored.snapshot_epoch + 1, ..Stored::clone(stored) };
            outcome.append(snapshot(now, key.clone(), &anew));
        }
    }
}

impl Stored {
    /// With what an update says.
    fn updated(&self, update: &ShareUpdateValue) -> Self {
        let or = |new: i64, old: i64| if new == -1 { old } else { new };
        let newer: Vec<StateBatch> = update
            .state_batches
            .iter()
            .map(|b| record::state(b.first_offset, b.last_offset, b.delivery_state, b.delivery_count))
            .collect();
        let start_offset = or(update.start_offset, self.start_offset);
        Self {
            leader_epoch: or(update.leader_epoch.into(), self.leader_epoch.into()) as i32,
            start_offset,
            delivery_complete_count: or(
                update.delivery_complete_count.into(),
                self.delivery_complete_count.into(),
            ) as i32,
            batches: combine(&self.batches, &newer, start_offset),
            updates: self.updates + 1,
            ..*self
        }
    }
}

fn snapshot(now: TimestampMs, key: SharePartitionKey, stored: &Stored) -> PersisterRecord {
    let value = ShareSnapshotValue {
        snapshot_epoch: stored.snapshot_epoch,
        state_epoch: stored.state_epoch,
        leader_epoch: stored.leader_epoch,
        start_offset: stored.start_offset,
        delivery_complete_count: stored.delivery_complete_count,
        create_timestamp: now,
        write_timestamp: now,
        state_batches: stored.batches.iter().map(record::to_snapshot).collect(),
        ..Default::default()
    };
    PersisterRecord::Snapshot { key, value: Some(value) }
}

impl Shard for PersisterShard {
    type Request = PersisterRequest;
    type Response = PersisterResponse;
    type Record = PersisterRecord;
    type State = PersisterState;
    type Action = std::convert::Infallible;

    fn state(&self) -> &PersisterState {
        &self.state
    }

    fn restore(&mut self, state: PersisterState) {
        self.state = state;
    }

    fn reverted(&mut self, _: TimestampMs, _: &dyn Fn(ReplyId) -> bool) {}

    fn query(&self, committed: &PersisterState, request: &PersisterRequest) -> Option<PersisterResponse> {
        match request {
            PersisterRequest::ReadSummary { key } => {
                Some(PersisterResponse::Summary(Ok(Self::summary(committed, key))))
            }
            _ => None,
        }
    }

    fn handle(
        &mut self,
        now: TimestampMs,
        request: PersisterRequest,
        reply: ReplyId,
        outcome: &mut PersisterOutcome,
    ) {
        let response = match request {
            PersisterRequest::Initialize { key, state_epoch, start_offset } => {
                PersisterResponse::Done(self.initialize(now, key, state_epoch, start_offset, outcome))
            }
            PersisterRequest::Read { key, leader_epoch } => {
                PersisterResponse::Read(self.read(key, leader_epoch, outcome))
            }
            request @ PersisterRequest::Write { .. } => {
                PersisterResponse::Done(self.write(now, request, outcome))
            }
            PersisterRequest::Delete { key } => {
                if self.state.contains_key(&key) {
                    outcome.append(PersisterRecord::Snapshot { key, value: None });
                }
                PersisterResponse::Done(Ok(()))
            }
            PersisterRequest::ReadSummary { key } => {
                PersisterResponse::Summary(Ok(Self::summary(&self.state, &key)))
            }
            PersisterRequest::TopicsDeleted { topic_ids } => {
                self.forget_topics(&topic_ids, outcome);
                PersisterResponse::Done(Ok(()))
            }
            PersisterRequest::SnapshotAll => {
                self.snapshot_all(now, outcome);
                PersisterResponse::Done(Ok(()))
            }
        };
        outcome.reply(reply, response);
    }

    fn tick(&mut self, _: TimestampMs, _: &mut PersisterOutcome) -> bool {
        false
    }

    fn next_deadline(&self) -> Option<TimestampMs> {
        None
    }

    fn replay(&mut self, record: &PersisterRecord) {
        match record {
            PersisterRecord::Snapshot { key, value: None } => {
                self.state.remove(key);
            }
            PersisterRecord::Snapshot { key, value: Some(value) } => {
                let batches = value.state_batches.iter();
                let batches = batches.map(|b| {
                    record::state(b.first_offset, b.last_offset, b.delivery_state, b.delivery_count)
                });
                let stored = Stored {
                    snapshot_epoch: value.snapshot_epoch,
                    state_epoch: value.state_epoch,
                    leader_epoch: value.leader_epoch,
                    start_offset: value.start_offset,
                    delivery_complete_count: value.delivery_complete_count,
                    batches: batches.collect(),
                    updates: 0,
                };
                self.state.insert(key.clone(), Arc::new(stored));
            }
            // Without a snapshot an update says nothing: the share partition was deleted.
            PersisterRecord::Update { key, value } => {
                if let (Some(value), Some(stored)) = (value, self.state.get_mut(key)) {
                    *stored = Arc::new(stored.updated(value));
                }
            }
        }
    }

    fn loaded(&mut self, _: TimestampMs, _: &mut Outcome<PersisterRecord, PersisterResponse>) {}

    fn encode(record: &PersisterRecord) -> Result<RawRecord, EncodeError> {
        record.encode()
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<PersisterRecord>, ReplayError> {
        PersisterRecord::decode(key, value)
    }

    fn refuse(request: &PersisterRequest, code: ErrorCode) -> PersisterResponse {
        match request {
            PersisterRequest::Read { .. } => PersisterResponse::Read(Err(code.into())),
            PersisterRequest::ReadSummary { .. } => PersisterResponse::Summary(Err(code.into())),
            _ => PersisterResponse::Done(Err(code.into())),
        }
    }

    fn fail(response: PersisterResponse, code: ErrorCode) -> PersisterResponse {
        match response {
            PersisterResponse::Read(_) => PersisterResponse::Read(Err(code.into())),
            PersisterResponse::Summary(_) => PersisterResponse::Summary(Err(code.into())),
            PersisterResponse::Done(_) => PersisterResponse::Done(Err(code.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_are_printed_as_kafka_prints_them() {
        // Asked of Kafka's own Uuid.
        assert_eq!(topic_id_text(Uuid::from_u64_pair(1, 1)), "AAAAAAAAAAEAAAAAAAAAAQ");
        assert_eq!(topic_id_text(Uuid::from_u128(u128::MAX)), "_____________________w");
        let id = Uuid::from_u64_pair(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        assert_eq!(topic_id_text(id), "ASNFZ4mrze_-3LqYdlQyEA");
    }
}
