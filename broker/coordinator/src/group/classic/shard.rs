//! The shard's operations on classic groups: finding or making the group, and arming its timer.

use strata_protocol::Str;
use strata_protocol::messages::{HeartbeatRequest, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest};
use strata_types::{ErrorCode, TimestampMs};

use super::{ClassicGroup, Context, Join, record, session};
use crate::group::api::{GroupResponse, leave_reply, sync_error};
use crate::group::timers::Timer;
use crate::group::{GroupOutcome, GroupShard};
use crate::shard::ReplyId;

impl GroupShard {
    /// Runs an operation on a classic group, if there is one of that id.
    pub(in crate::group) fn with_classic<R>(
        &mut self,
        now: TimestampMs,
        group_id: &Str,
        outcome: &mut GroupOutcome,
        operation: impl FnOnce(&mut ClassicGroup, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let mut cx = Context { now, config: &self.config, outcome, wake: None };
        let group = self.state.classic_mut(group_id)?;
        let result = operation(group, &mut cx);
        if let Some(at) = cx.wake {
            self.timers.arm(&group.id, Timer::Group, at);
        }
        Some(result)
    }

    pub(in crate::group) fn join_classic(
        &mut self,
        now: TimestampMs,
        join: Join,
        outcome: &mut GroupOutcome,
    ) {
        let mut cx = Context { now, config: &self.config, outcome, wake: None };
        let group_id = join.request.group_id.clone();
        if self.state.group(&group_id).is_none() {
            if !join.request.member_id.is_empty() {
                join.refuse(&mut cx, ErrorCode::UnknownMemberId);
                return;
            }
            if self.state.groups.len() >= self.config.groups_max {
                join.refuse(&mut cx, ErrorCode::PolicyViolation);
                return;
            }
            // The record says an empty group without a type, which is what is left of this one after a restart.
            if let Some(group) = self.state.create_classic(&group_id, Some(now)) {
                cx.outcome.append_applied(record::group_record(group));
            }
        }
        self.with_classic(now, &group_id, outcome, |group, cx| group.join(cx, &join));
    }

    pub(in crate::group) fn look_at(&mut self, now: TimestampMs, group_id: &Str, outcome: &mut GroupOutcome) {
        self.with_classic(now, group_id, outcome, |group, cx| group.expire(cx));
        self.rearm(group_id);
    }

    pub(in crate::group) fn rearm(&mut self, group_id: &Str) {
        if let Some(at) = self.state.classic(group_id).and_then(ClassicGroup::next_deadline) {
            self.timers.arm(group_id, Timer::Group, at);
        }
    }

    pub(in crate::group) fn sync_classic(
        &mut self,
        now: TimestampMs,
        request: &SyncGroupRequest,
        reply: ReplyId,
        outcome: &mut GroupOutcome,
    ) {
        let group_id = &request.group_id;
        if self.with_classic(now, group_id, outcome, |group, cx| group.sync(cx, request, reply)).is_none() {
            outcome.reply(reply, GroupResponse::Sync(sync_error(no_group(group_id))));
        }
    }

    pub(in crate::group) fn heartbeat_classic(
        &mut self,
        now: TimestampMs,
        request: &HeartbeatRequest,
        outcome: &mut GroupOutcome,
    ) -> ErrorCode {
        let group_id = &request.group_id;
        let code = self.with_classic(now, group_id, outcome, |group, cx| group.heartbeat(cx, request));
        code.unwrap_or_else(|| no_group(group_id))
    }

    pub(in crate::group) fn leave_classic(
        &mut self,
        now: TimestampMs,
        request: &LeaveGroupRequest,
        version: i16,
        outcome: &mut GroupOutcome,
    ) -> LeaveGroupResponse {
        let group_id = &request.group_id;
        let left = self.with_classic(now, group_id, outcome, |group, cx| group.leave(cx, request, version));
        left.unwrap_or_else(|| match no_group(group_id) {
            ErrorCode::InvalidGroupId => leave_reply(ErrorCode::InvalidGroupId, Vec::new()),
            _ => session::leave_unknown_group(request, version),
        })
    }

    /// Sessions start now: whoever was a member when the records were written is given the time to show up.
    pub(in crate::group) fn classic_loaded(
        &mut self,
        now: TimestampMs,
        group_id: &Str,
        outcome: &mut GroupOutcome,
    ) {
        let size_max = usize::try_from(self.config.group_max_size).unwrap_or(0);
        self.with_classic(now, group_id, outcome, |group, cx| {
            for member_id in group.member_ids() {
                group.touch(cx, &member_id);
            }
            if group.members.len() > size_max {
                group.prepare_rebalance(cx);
            }
        });
    }
}

/// Why a member's request finds no group.
fn no_group(group_id: &str) -> ErrorCode {
    if group_id.is_empty() { ErrorCode::InvalidGroupId } else { ErrorCode::UnknownMemberId }
}
