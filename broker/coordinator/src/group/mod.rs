//! The group shard: classic consumer groups and committed offsets of one `__consumer_offsets` partition.
//!
//! | file | what |
//! |---|---|
//! | `classic` | a group and its members: data, and the rules inside it |
//! | `join`, `rebalance`, `session` | JoinGroup; the phases; SyncGroup, Heartbeat, LeaveGroup, sessions that end |
//! | `offsets` | OffsetCommit, OffsetFetch, OffsetDelete, expiry |
//! | `admin` | DescribeGroups, ListGroups, DeleteGroups |
//! | `state`, `record` | what is known, and the records that bring it back |

mod admin;
mod api;
mod classic;
mod config;
mod join;
pub mod offset_fetch;
mod offsets;
mod rebalance;
mod record;
mod session;
mod state;
mod timers;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::messages::{
    HeartbeatRequest, LeaveGroupRequest, LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    SyncGroupRequest,
};
use strata_protocol::{EncodeError, Str};
use strata_types::{ErrorCode, TimestampMs};

use crate::shard::{RawRecord, ReplayError, ReplyId, Shard};

pub use api::{ClientContext, GroupRequest, GroupResponse, refusal};
pub use classic::{Group, GroupState};
pub use config::GroupConfig;
pub use record::GroupRecord;
pub use state::{CommittedOffset, GroupsState, OffsetKey};

use api::{heartbeat_reply, leave_reply, sync_error};
use join::Join;
use rebalance::{Context, GroupOutcome};
use timers::Timers;

#[derive(Debug)]
pub struct GroupShard {
    config: GroupConfig,
    state: GroupsState,
    timers: Timers,
    /// When offsets are next looked through for expired ones; none while loading.
    next_expiry_check: Option<TimestampMs>,
}

impl GroupShard {
    pub fn new(config: GroupConfig) -> Self {
        Self { config, state: GroupsState::default(), timers: Timers::default(), next_expiry_check: None }
    }

    /// Runs an operation on a group, if there is one of that id.
    fn with_group<R>(
        &mut self,
        now: TimestampMs,
        group_id: &Str,
        outcome: &mut GroupOutcome,
        operation: impl FnOnce(&mut Group, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let mut cx = Context { now, config: &self.config, outcome, wake: None };
        let group = self.state.group_mut(group_id)?;
        let result = operation(group, &mut cx);
        if let Some(at) = cx.wake {
            self.timers.arm(&group.id, at);
        }
        Some(result)
    }

    fn join(&mut self, now: TimestampMs, join: Join, outcome: &mut GroupOutcome) {
        let mut cx = Context { now, config: &self.config, outcome, wake: None };
        if let Err(code) = join.validate(&cx) {
            join.refuse(&mut cx, code);
            return;
        }
        let group_id = &join.request.group_id;
        if !self.state.groups.contains_key(group_id) {
            if !join.request.member_id.is_empty() {
                join.refuse(&mut cx, ErrorCode::UnknownMemberId);
                return;
            }
            if self.state.groups.len() >= self.config.groups_max {
                join.refuse(&mut cx, ErrorCode::PolicyViolation);
                return;
            }
            // The record says an empty group without a type, which is what is left of this one after a restart.
            let group = self.state.create(group_id, Some(now));
            cx.outcome.append_applied(state::group_record(group));
        }
        let group_id = group_id.clone();
        self.with_group(now, &group_id, outcome, |group, cx| group.join(cx, &join));
    }

    fn look_at(&mut self, now: TimestampMs, group_id: &Str, outcome: &mut GroupOutcome) {
        self.with_group(now, group_id, outcome, |group, cx| group.expire(cx));
        self.rearm(group_id);
    }

    fn rearm(&mut self, group_id: &Str) {
        if let Some(at) = self.state.group(group_id).and_then(Group::next_deadline) {
            self.timers.arm(group_id, at);
        }
    }

    fn sync(
        &mut self,
        now: TimestampMs,
        request: &SyncGroupRequest,
        reply: ReplyId,
        outcome: &mut GroupOutcome,
    ) {
        let group_id = &request.group_id;
        if self.with_group(now, group_id, outcome, |group, cx| group.sync(cx, request, reply)).is_none() {
            outcome.reply(reply, GroupResponse::Sync(sync_error(no_group(group_id))));
        }
    }

    fn heartbeat(
        &mut self,
        now: TimestampMs,
        request: &HeartbeatRequest,
        outcome: &mut GroupOutcome,
    ) -> ErrorCode {
        let group_id = &request.group_id;
        let code = self.with_group(now, group_id, outcome, |group, cx| group.heartbeat(cx, request));
        code.unwrap_or_else(|| no_group(group_id))
    }

    fn leave(
        &mut self,
        now: TimestampMs,
        request: &LeaveGroupRequest,
        version: i16,
        outcome: &mut GroupOutcome,
    ) -> LeaveGroupResponse {
        let group_id = &request.group_id;
        let left = self.with_group(now, group_id, outcome, |group, cx| group.leave(cx, request, version));
        left.unwrap_or_else(|| match no_group(group_id) {
            ErrorCode::InvalidGroupId => leave_reply(ErrorCode::InvalidGroupId, Vec::new()),
            _ => session::leave_unknown_group(request, version),
        })
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
        if let (Some(at), Some(group)) = (cx.wake, self.state.group(&request.group_id)) {
            self.timers.arm(&group.id, at);
        }
        response
    }
}

/// Why a member's request finds no group.
fn no_group(group_id: &str) -> ErrorCode {
    if group_id.is_empty() { ErrorCode::InvalidGroupId } else { ErrorCode::UnknownMemberId }
}

impl Shard for GroupShard {
    type Request = GroupRequest;
    type Response = GroupResponse;
    type Record = GroupRecord;
    type State = GroupsState;
    type Action = Infallible;

    fn state(&self) -> &GroupsState {
        &self.state
    }

    fn restore(&mut self, state: GroupsState) {
        self.state = state;
    }

    fn reverted(&mut self, now: TimestampMs, is_open: &dyn Fn(ReplyId) -> bool) {
        self.timers.clear();
        let group_ids: Vec<Str> = self.state.groups.keys().cloned().collect();
        for group_id in group_ids {
            if let Some(group) = self.state.group_mut(&group_id) {
                group.forget_replies(now, is_open);
            }
            self.rearm(&group_id);
        }
    }

    fn query(&self, committed: &GroupsState, request: &GroupRequest) -> Option<GroupResponse> {
        match request {
            GroupRequest::OffsetFetch { group, require_stable: false } => {
                Some(GroupResponse::OffsetFetch(committed.fetch_offsets(group)))
            }
            GroupRequest::DescribeGroups { group_ids, version } => {
                Some(GroupResponse::DescribeGroups(committed.describe(group_ids, *version)))
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
            GroupRequest::Sync { request } => return self.sync(now, &request, reply, outcome),
            GroupRequest::Heartbeat { request } => {
                GroupResponse::Heartbeat(heartbeat_reply(self.heartbeat(now, &request, outcome)))
            }
            GroupRequest::Leave { request, version } => {
                GroupResponse::Leave(self.leave(now, &request, version, outcome))
            }
            GroupRequest::OffsetCommit { request, version } => {
                GroupResponse::OffsetCommit(self.commit(now, &request, version, outcome))
            }
            GroupRequest::OffsetFetch { group, .. } => {
                GroupResponse::OffsetFetch(self.state.fetch_offsets(&group))
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
        if let Some(group_id) = self.timers.pop_due(now) {
            self.look_at(now, &group_id, outcome);
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

    /// Sessions start now: whoever was a member when the records were written is given the time to show up.
    fn loaded(&mut self, now: TimestampMs, outcome: &mut GroupOutcome) {
        self.next_expiry_check = Some(now + self.config.offsets_retention_check_interval_ms.max(1));
        let size_max = usize::try_from(self.config.group_max_size).unwrap_or(0);
        let group_ids: Vec<Str> = self.state.groups.keys().cloned().collect();
        for group_id in group_ids {
            self.with_group(now, &group_id, outcome, |group, cx| {
                for member_id in group.member_ids() {
                    group.touch(cx, &member_id);
                }
                if group.members.len() > size_max {
                    group.prepare_rebalance(cx);
                }
            });
        }
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

impl Group {
    /// Operations were undone, and with them some replies that members here wait for. Every session starts anew, as
    /// heartbeats were undone too.
    fn forget_replies(&mut self, now: TimestampMs, is_open: &dyn Fn(ReplyId) -> bool) {
        for member_id in self.member_ids() {
            let Some(member) = self.members.get_mut(&member_id).map(Arc::make_mut) else { continue };
            if !member.is_new {
                member.deadline = Some(now + i64::from(member.session_timeout_ms));
            }
            if member.awaiting_join.is_some_and(|reply| !is_open(reply)) {
                member.awaiting_join = None;
                self.awaiting_joins -= 1;
            }
            if member.awaiting_sync.is_some_and(|reply| !is_open(reply)) {
                member.awaiting_sync = None;
                self.pending_syncs.insert(member_id);
            }
        }
    }
}
