//! The group shard: groups of every type and the committed offsets of one `__consumer_offsets` partition.
//!
//! | file | what |
//! |---|---|
//! | `kind` | the one place where a group's type is decided, and what every type must answer |
//! | `classic/` | groups whose members assign among themselves |
//! | `modern/` | what the types have in common whose members are assigned to by the coordinator (KIP-848) |
//! | `streams/` | streams groups: tasks for the members of a Kafka Streams application (KIP-1071) |
//! | `consumer/`, `assignor/` | consumer groups of that kind; who gets what |
//! | `share/` | share groups (KIP-932): who is a member, and what it has |
//! | `offsets`, `admin` | OffsetCommit, OffsetFetch, OffsetDelete, expiry; ListGroups, DescribeGroups, DeleteGroups |
//! | `transactional` | offsets that transactions commit, until they end |
//! | `state`, `record` | what is known, and the records that bring it back |
//! | `timers`, `metadata` | what is late; what topics there are: no part of the state |

mod admin;
mod api;
mod assignor;
mod classic;
mod config;
mod consumer;
mod embedded;
mod kind;
mod metadata;
mod modern;
pub mod offset_fetch;
mod offsets;
mod record;
mod share;
mod state;
mod streams;
mod timers;
mod transactional;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::messages::{HeartbeatRequest, OffsetCommitRequest, OffsetCommitResponse};
use strata_protocol::{EncodeError, Str};
use strata_types::{ErrorCode, TimestampMs};

use crate::shard::{Outcome, RawRecord, ReplayError, ReplyId, Shard, TxnMarker, TxnProducer};

pub use api::{ClientContext, GroupRequest, GroupResponse, StreamsHeartbeat, refusal};
pub use classic::{ClassicGroup, ClassicState};
pub use config::{ConsumerConfig, GroupConfig, MigrationPolicy, ShareConfig, StreamsConfig};
pub use consumer::{Assigned, ConsumerGroup, ConsumerMember, MemberState};
pub use kind::{Failure, Group, GroupKind};
pub use metadata::{MetadataView, Overrides, TopicAccess, TopicInfo};
pub use modern::TopicPartitions;
pub use record::GroupRecord;
pub use share::{GroupAction, ShareGroup, ShareRequest, ShareResponse, ShareTopic};
pub use state::{CommittedOffset, GroupsState, OffsetKey};
pub use streams::{
    AssignedTasks, StreamsGroup, StreamsMember, StreamsMemberState, StreamsStatus, TaskId, Tasks,
};

use api::heartbeat_reply;
use classic::{Context, Join};
use metadata::Metadata;
use streams::SoftStates;
use timers::{Timer, TimerKey, Timers};

type GroupOutcome = Outcome<GroupRecord, GroupResponse, GroupAction>;

#[derive(Debug)]
pub struct GroupShard {
    config: GroupConfig,
    state: GroupsState,
    timers: Timers,
    metadata: Metadata,
    /// When share groups' partitions were last asked to be initialized, by group.
    share_initializing: HashMap<Str, TimestampMs>,
    streams: SoftStates,
    /// When offsets are next looked through for expired ones; none while loading.
    next_expiry_check: Option<TimestampMs>,
}

impl GroupShard {
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            state: GroupsState::default(),
            timers: Timers::default(),
            metadata: Metadata::default(),
            share_initializing: HashMap::new(),
            streams: SoftStates::default(),
            next_expiry_check: None,
        }
    }

    /// The topics are these now. Groups notice when they next have something to do.
    pub fn set_metadata(&mut self, view: Arc<dyn MetadataView>) {
        let state = &self.state;
        self.metadata.set(view, |group| state.groups.contains_key(group));
        self.share_initializing.retain(|group, _| state.groups.contains_key(group));
        self.streams.retain(|group| state.groups.contains_key(group));
    }

    fn join(&mut self, now: TimestampMs, join: Join, outcome: &mut GroupOutcome) {
        let mut cx = Context { now, config: &self.config, outcome, wake: None };
        if let Err(code) = join.validate(&cx) {
            join.refuse(&mut cx, code);
            return;
        }
        let group = self.state.group(&join.request.group_id);
        match group {
            Some(Group::Consumer(_)) => self.join_consumer(now, join, outcome),
            Some(Group::Streams(_)) => self.join_streams(now, join, outcome),
            Some(Group::Classic(_)) | None => self.join_classic(now, join, outcome),
            Some(Group::Share(_)) => join.refuse(&mut cx, ErrorCode::InconsistentGroupProtocol),
        }
    }

    fn commit(
        &mut self,
        now: TimestampMs,
        request: &OffsetCommitRequest,
        version: i16,
        outcome: &mut GroupOutcome,
    ) -> OffsetCommitResponse {
        let mut cx = Context { now, config: &self.config, outcome, wake: None };
        let response = self.state.commit_offsets(&mut cx, request, version);
        if let Some(at) = cx.wake {
            self.timers.arm(&request.group_id.detached(), Timer::Group, at);
        }
        response
    }

    fn timer_fired(&mut self, now: TimestampMs, key: TimerKey, outcome: &mut GroupOutcome) {
        match self.state.group(&key.group) {
            Some(Group::Classic(_)) => self.look_at(now, &key.group, outcome),
            Some(Group::Consumer(_)) => self.consumer_timer_fired(now, key, outcome),
            Some(Group::Share(_)) => self.share_timer_fired(&key, outcome),
            Some(Group::Streams(_)) => self.streams_timer_fired(now, key, outcome),
            None => {}
        }
    }

    /// Arms the timers of all groups, which have none.
    fn arm_all(&mut self, now: TimestampMs) {
        let groups: Vec<_> = self.state.groups.values().cloned().collect();
        for group in groups {
            match group.as_ref() {
                Group::Classic(group) => self.rearm(&group.id),
                Group::Consumer(group) => self.arm_consumer(now, group),
                Group::Share(group) => self.arm_share(now, group),
                Group::Streams(group) => self.arm_streams(now, group),
            }
        }
    }
}

impl GroupShard {
    /// Heartbeat, which classic members send to groups of either kind.
    fn heartbeat(
        &mut self,
        now: TimestampMs,
        request: &HeartbeatRequest,
        outcome: &mut GroupOutcome,
    ) -> ErrorCode {
        match self.state.group(&request.group_id) {
            Some(Group::Consumer(_)) => self.classic_heartbeat_to_consumer(now, request),
            _ => self.heartbeat_classic(now, request, outcome),
        }
    }

    /// What a member may see is kept only for as long as a regular expression waits to be resolved.
    fn forget_access_unless_needed(&mut self, group_id: &Str) {
        if !self.timers.is_armed(group_id, Timer::Regex) {
            self.metadata.take_access(group_id);
        }
    }
}

impl Shard for GroupShard {
    type Request = GroupRequest;
    type Response = GroupResponse;
    type Record = GroupRecord;
    type State = GroupsState;
    type Action = GroupAction;

    fn state(&self) -> &GroupsState {
        &self.state
    }

    fn restore(&mut self, state: GroupsState) {
        self.state = state;
    }

    fn reverted(&mut self, now: TimestampMs, is_open: &dyn Fn(ReplyId) -> bool) {
        self.timers.clear();
        self.metadata.forget();
        self.share_initializing.clear();
        self.streams.forget_topologies();
        let group_ids: Vec<Str> = self.state.groups.keys().cloned().collect();
        for group_id in group_ids {
            if let Some(group) = self.state.classic_mut(&group_id) {
                group.forget_replies(now, is_open);
            }
        }
        self.arm_all(now);
    }

    fn query(&self, committed: &GroupsState, request: &GroupRequest) -> Option<GroupResponse> {
        match request {
            GroupRequest::OffsetFetch { group, require_stable: false } => {
                Some(GroupResponse::OffsetFetch(committed.fetch_offsets(group)))
            }
            GroupRequest::DescribeGroups { group_ids, version } => {
                Some(GroupResponse::DescribeGroups(committed.describe(group_ids, *version)))
            }
            GroupRequest::ConsumerGroupDescribe { group_ids } => {
                let described = group_ids.iter().map(|id| self.describe_consumer(committed, id));
                Some(GroupResponse::ConsumerGroupDescribe(described.collect()))
            }
            GroupRequest::Share(request) => self.share_query(committed, request).map(GroupResponse::Share),
            GroupRequest::StreamsGroupDescribe { group_ids } => {
                let described = group_ids.iter().map(|id| self.describe_streams(committed, id));
                Some(GroupResponse::StreamsGroupDescribe(described.collect()))
            }
            GroupRequest::ListGroups { request } => {
                Some(GroupResponse::ListGroups(Ok(committed.list(request))))
            }
            _ => None,
        }
    }

    fn handle(
        &mut self,
        now: TimestampMs,
        request: GroupRequest,
        reply: ReplyId,
        outcome: &mut GroupOutcome,
    ) {
        let response = match request {
            GroupRequest::Join { request, client, new_member } => {
                return self.join(now, Join { request, client, new_member, reply }, outcome);
            }
            GroupRequest::Sync { request } => match self.state.group(&request.group_id) {
                Some(Group::Consumer(_)) => GroupResponse::Sync(self.sync_consumer(now, &request)),
                _ => return self.sync_classic(now, &request, reply, outcome),
            },
            GroupRequest::Heartbeat { request } => {
                GroupResponse::Heartbeat(heartbeat_reply(self.heartbeat(now, &request, outcome)))
            }
            GroupRequest::Leave { request, version } => {
                let left = match self.state.group(&request.group_id) {
                    Some(Group::Consumer(_)) => self.leave_consumer(now, &request, version, outcome),
                    _ => self.leave_classic(now, &request, version, outcome),
                };
                GroupResponse::Leave(left)
            }
            GroupRequest::ConsumerGroupHeartbeat { request, client, new_member, access } => {
                let group_id = request.group_id.clone();
                self.metadata.resolve_as(&group_id, access);
                let response = self.consumer_heartbeat(now, &request, &client, new_member, outcome);
                self.forget_access_unless_needed(&group_id);
                GroupResponse::ConsumerGroupHeartbeat(response)
            }
            GroupRequest::ConsumerGroupDescribe { group_ids } => {
                let described = group_ids.iter().map(|id| self.describe_consumer(&self.state, id));
                GroupResponse::ConsumerGroupDescribe(described.collect())
            }
            GroupRequest::Share(request) => GroupResponse::Share(self.share(now, request, outcome)),
            GroupRequest::StreamsGroupHeartbeat { request, client } => {
                let heartbeat = self.streams_heartbeat(now, &request, &client, outcome);
                GroupResponse::StreamsGroupHeartbeat(Box::new(heartbeat))
            }
            GroupRequest::StreamsGroupDescribe { group_ids } => {
                let described = group_ids.iter().map(|id| self.describe_streams(&self.state, id));
                GroupResponse::StreamsGroupDescribe(described.collect())
            }
            GroupRequest::OffsetCommit { request, version } => {
                GroupResponse::OffsetCommit(self.commit(now, &request, version, outcome))
            }
            GroupRequest::OffsetFetch { group, .. } => {
                GroupResponse::OffsetFetch(self.state.fetch_stable_offsets(&group))
            }
            GroupRequest::TxnOffsetCommit { request, guard } => {
                let mut cx = Context { now, config: &self.config, outcome, wake: None };
                GroupResponse::TxnOffsetCommit(self.state.commit_txn_offsets(&mut cx, &request, guard))
            }
            GroupRequest::EndTransaction { marker } => {
                outcome.end_transaction(marker);
                GroupResponse::EndTransaction(ErrorCode::None)
            }
            GroupRequest::DescribeGroups { group_ids, version } => {
                GroupResponse::DescribeGroups(self.state.describe(&group_ids, version))
            }
            GroupRequest::ListGroups { request } => GroupResponse::ListGroups(Ok(self.state.list(&request))),
            GroupRequest::DeleteGroups { group_ids } => {
                outcome.allow_splitting();
                GroupResponse::DeleteGroups(self.state.delete_groups(outcome, &group_ids))
            }
            GroupRequest::OffsetDelete { request } => {
                GroupResponse::OffsetDelete(self.state.delete_offsets(outcome, &request))
            }
            GroupRequest::PartitionsDeleted { partitions } => {
                outcome.allow_splitting();
                self.state.delete_partitions(outcome, &partitions);
                GroupResponse::PartitionsDeleted(ErrorCode::None)
            }
        };
        outcome.reply(reply, response);
    }

    fn tick(&mut self, now: TimestampMs, outcome: &mut GroupOutcome) -> bool {
        if let Some(key) = self.timers.pop_due(now) {
            self.timer_fired(now, key, outcome);
            return true;
        }
        if self.next_expiry_check.is_some_and(|at| at <= now) {
            self.next_expiry_check = Some(now + self.config.offsets_retention_check_interval_ms.max(1));
            outcome.allow_splitting();
            self.state.expire_offsets(now, &self.config, outcome);
            return true;
        }
        false
    }

    fn next_deadline(&self) -> Option<TimestampMs> {
        [self.timers.next(), self.next_expiry_check].into_iter().flatten().min()
    }

    fn replay(&mut self, record: &GroupRecord) {
        self.state.replay(record);
    }

    fn replay_transactional(&mut self, producer: TxnProducer, record: &GroupRecord) {
        self.state.replay_transactional(producer, record);
    }

    fn replay_marker(&mut self, marker: &TxnMarker) {
        self.state.replay_marker(marker);
    }

    fn loaded(&mut self, now: TimestampMs, outcome: &mut GroupOutcome) {
        self.next_expiry_check = Some(now + self.config.offsets_retention_check_interval_ms.max(1));
        let group_ids: Vec<Str> = self.state.groups.keys().cloned().collect();
        for group_id in group_ids {
            self.classic_loaded(now, &group_id, outcome);
        }
        self.arm_all(now);
    }

    fn encode(record: &GroupRecord) -> Result<RawRecord, EncodeError> {
        record.encode()
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, ReplayError> {
        GroupRecord::decode(key, value)
    }

    fn refuse(request: &GroupRequest, code: ErrorCode) -> GroupResponse {
        refusal(request, code)
    }

    fn fail(response: GroupResponse, code: ErrorCode) -> GroupResponse {
        api::failed(response, code)
    }
}
