//! The share coordinator: what is refused, what is written, and that a reload is the same.

use strata_coordinator::share::partition::{DeliveryState, StateBatch};
use strata_coordinator::share::persister::{
    PersisterConfig, PersisterError, PersisterRequest, PersisterResponse, PersisterShard, ReadState,
    SharePartitionKey, StateSummary,
};
use strata_coordinator::{Append, Effects, RawRecord, ReplyId, Runtime, RuntimeOptions};
use strata_types::{ErrorCode, Offset};
use uuid::Uuid;

/// A share coordinator whose log takes everything at once.
pub(super) struct Persister {
    runtime: Runtime<PersisterShard>,
    config: PersisterConfig,
    pub(super) log: Vec<RawRecord>,
}

impl Persister {
    pub(super) fn new(updates_per_snapshot: u32) -> Self {
        let config = PersisterConfig { updates_per_snapshot };
        let mut runtime = Runtime::new(PersisterShard::new(config.clone()), RuntimeOptions::default());
        assert!(runtime.loaded(0).append.is_none());
        Self { runtime, config, log: Vec::new() }
    }

    pub(super) fn ask(&mut self, request: PersisterRequest) -> PersisterResponse {
        let mut effects: Effects<PersisterShard> = self.runtime.handle(0, request, ReplyId(0));
        if let Some(append) = effects.append.take() {
            let Append::Records { records, .. } = append else { panic!("{append:?}") };
            self.log.extend(records);
            let end = Offset(self.log.len() as i64);
            let appended = self.runtime.appended(0, Offset(end.0 - 1));
            assert!(appended.replies.is_empty());
            effects = self.runtime.committed(0, end);
        }
        effects.replies.pop().expect("an answer").1
    }

    /// Loads the log from `from` on into a new coordinator.
    pub(super) fn restart(&mut self, from: usize) {
        let mut runtime = Runtime::new(PersisterShard::new(self.config.clone()), RuntimeOptions::default());
        for record in &self.log[from..] {
            runtime.load(Some(record.key.clone()), record.value.clone(), None).unwrap();
        }
        let _ = runtime.loaded(0);
        let _ = runtime.committed(0, Offset(self.log.len() as i64));
        self.runtime = runtime;
    }

    pub(super) fn read(&mut self, leader_epoch: i32) -> Result<ReadState, PersisterError> {
        match self.ask(PersisterRequest::Read { key: key(0), leader_epoch }) {
            PersisterResponse::Read(read) => read,
            other => panic!("{other:?}"),
        }
    }

    fn summary(&mut self) -> StateSummary {
        match self.ask(PersisterRequest::ReadSummary { key: key(0) }) {
            PersisterResponse::Summary(summary) => summary.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn key(partition: i32) -> SharePartitionKey {
    SharePartitionKey { group: "g".into(), topic_id: Uuid::from_u128(7), partition }
}

pub(super) fn initialize(state_epoch: i32, start_offset: i64) -> PersisterRequest {
    PersisterRequest::Initialize { key: key(0), state_epoch, start_offset }
}

pub(super) fn write(
    state_epoch: i32,
    leader_epoch: i32,
    start: i64,
    batches: &[StateBatch],
) -> PersisterRequest {
    PersisterRequest::Write {
        key: key(0),
        state_epoch,
        leader_epoch,
        start_offset: start,
        delivery_complete_count: 3,
        batches: batches.to_vec(),
    }
}

fn accepted(first_offset: i64, last_offset: i64) -> StateBatch {
    StateBatch { first_offset, last_offset, state: DeliveryState::Acknowledged, delivery_count: 1 }
}

fn code(response: PersisterResponse) -> ErrorCode {
    match response {
        PersisterResponse::Done(done) => done.map_or_else(|error| error.code, |()| ErrorCode::None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_kept_of_partitions_that_were_not_initialized() {
    let mut persister = Persister::new(5);
    assert_eq!(code(persister.ask(write(0, 0, 0, &[]))), ErrorCode::InvalidRequest);
    assert_eq!(persister.read(0).unwrap_err().code, ErrorCode::InvalidRequest);
    assert_eq!(persister.summary().start_offset, -1);
    assert_eq!(code(persister.ask(PersisterRequest::Delete { key: key(0) })), ErrorCode::None);
    assert!(persister.log.is_empty());
}

#[test]
fn earlier_lives_and_earlier_leaders_are_fenced() {
    let mut persister = Persister::new(5);
    assert_eq!(code(persister.ask(initialize(4, 0))), ErrorCode::None);
    assert_eq!(code(persister.ask(initialize(3, 0))), ErrorCode::FencedStateEpoch);
    assert_eq!(code(persister.ask(write(3, 0, 0, &[]))), ErrorCode::FencedStateEpoch);
    assert!(persister.read(2).is_ok());
    assert_eq!(persister.read(1).unwrap_err().code, ErrorCode::FencedLeaderEpoch);
    assert_eq!(code(persister.ask(write(4, 1, 0, &[]))), ErrorCode::FencedLeaderEpoch);
    assert_eq!(code(persister.ask(write(4, 2, 0, &[]))), ErrorCode::None);
}

#[test]
fn what_was_written_is_read_after_a_restart_with_or_without_what_snapshots_replace() {
    let mut persister = Persister::new(3);
    persister.ask(initialize(1, -1));
    assert_eq!(
        persister.summary(),
        StateSummary { state_epoch: 1, leader_epoch: 0, start_offset: -1, delivery_complete_count: -1 }
    );
    for step in 0..10 {
        assert_eq!(code(persister.ask(write(1, 0, step, &[accepted(step + 5, step + 5)]))), ErrorCode::None);
        let expected =
            ReadState { state_epoch: 1, start_offset: step, batches: vec![accepted(5.max(step), step + 5)] };
        assert_eq!(persister.read(-1), Ok(expected.clone()));
        persister.restart(0);
        assert_eq!(persister.read(-1), Ok(expected));
    }
    assert_eq!(persister.summary().delivery_complete_count, 3);
    let live = persister.read(-1);
    // Of 11 records, snapshots are those at 0, 4 and 8: what is before the last one is redundant.
    persister.restart(8);
    assert_eq!(persister.read(-1), live);
    let end = persister.log.len();
    assert_eq!(code(persister.ask(PersisterRequest::SnapshotAll)), ErrorCode::None);
    persister.restart(end);
    assert_eq!(persister.read(-1), live);
}

#[test]
fn deleted_state_stays_deleted() {
    let mut persister = Persister::new(3);
    persister.ask(initialize(1, 0));
    persister.ask(PersisterRequest::Delete { key: key(0) });
    persister.restart(0);
    assert!(persister.read(-1).is_err());
    persister.ask(initialize(0, 5));
    assert_eq!(persister.read(-1).unwrap().start_offset, 5);
    persister.ask(PersisterRequest::TopicsDeleted { topic_ids: vec![Uuid::from_u128(7)] });
    assert!(persister.read(-1).is_err());
}
