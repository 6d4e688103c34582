//! Leaving, being late, and being looked at.

use strata_protocol::Str;
use strata_protocol::messages::streams_group_describe_response::DescribedGroup;
use strata_protocol::messages::{
    JoinGroupResponse, StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse,
};
use strata_types::{ErrorCode, TimestampMs};

use super::group::{StreamsGroup, current_record, group_record, group_value, member_record, target_record};
use super::member::MemberState;
use crate::group::api::{GroupResponse, StreamsHeartbeat, join_error, streams_describe_error};
use crate::group::classic::Join;
use crate::group::kind::{Failure, GroupType};
use crate::group::state::GroupsState;
use crate::group::timers::{Timer, TimerKey};
use crate::group::{GroupOutcome, GroupShard};

impl GroupShard {
    pub(super) fn streams_leave(
        &mut self,
        request: &StreamsGroupHeartbeatRequest,
        outcome: &mut GroupOutcome,
    ) -> Result<StreamsHeartbeat, Failure> {
        let group = self.state.typed::<StreamsGroup>(&request.group_id)?.clone();
        if request.shutdown_application {
            let soft = self.streams.entry(&group.core.id);
            soft.shutdown_requested_by.get_or_insert_with(|| request.member_id.detached());
        }
        let member = group.core.expect_member(&request.member_id)?;
        tracing::info!(group = %group.core.id, member = %member.id, "a member left");
        self.fence_streams_member(&group, &member.id, outcome);
        let response = StreamsGroupHeartbeatResponse {
            member_id: request.member_id.clone(),
            member_epoch: request.member_epoch,
            status: Some(Vec::new()),
            ..Default::default()
        };
        Ok(StreamsHeartbeat { response, missing_topics: Vec::new() })
    }

    pub(in crate::group) fn streams_timer_fired(
        &mut self,
        now: TimestampMs,
        key: TimerKey,
        outcome: &mut GroupOutcome,
    ) {
        let Ok(group) = self.state.typed::<StreamsGroup>(&key.group).cloned() else { return };
        let (member, why) = match key.timer {
            Timer::FirstAssignment => return self.first_assignment(now, &key.group, outcome),
            Timer::Session(member) => (member, "its session has ended"),
            Timer::Rebalance(member) => (member, "it has not given up its tasks in time"),
            _ => return,
        };
        if group.core.member(&member).is_some() {
            tracing::info!(group = %key.group, %member, "a member is fenced: {why}");
            self.fence_streams_member(&group, &member, outcome);
        }
    }

    /// Sessions start now; whoever has to give up tasks is given its whole time for that.
    pub(in crate::group) fn arm_streams(&mut self, now: TimestampMs, group: &StreamsGroup) {
        let id = &group.core.id;
        let session_timeout_ms = self.streams_settings(id).session_timeout_ms;
        for member in group.members() {
            self.timers.set(id, Timer::Session(member.id.clone()), now + i64::from(session_timeout_ms));
            if member.state == MemberState::UnrevokedTasks {
                let ends = now + i64::from(member.rebalance_timeout_ms.max(0));
                self.timers.set(id, Timer::Rebalance(member.id.clone()), ends);
            }
        }
    }

    pub(in crate::group) fn describe_streams(&self, state: &GroupsState, group_id: &Str) -> DescribedGroup {
        let configured = self.streams.get(group_id).and_then(|soft| soft.configured.as_ref());
        match state.typed::<StreamsGroup>(group_id) {
            Ok(group) => group.describe(configured.map(|known| known.topology.as_ref())),
            Err(failure) => streams_describe_error(group_id.clone(), failure.code, Some(failure.message)),
        }
    }

    /// A member that speaks the classic protocol: the group becomes classic if nobody is left in it.
    pub(in crate::group) fn join_streams(
        &mut self,
        now: TimestampMs,
        join: Join,
        outcome: &mut GroupOutcome,
    ) {
        let Ok(group) = self.state.typed::<StreamsGroup>(&join.request.group_id).cloned() else { return };
        if !group.is_empty() {
            let response = refuse_join(&join, ErrorCode::InconsistentGroupProtocol);
            return outcome.reply(join.reply, response);
        }
        if join.request.member_id.is_empty() {
            group.tombstones(outcome);
            outcome.applied();
            self.state.groups.remove(&group.core.id);
            return self.join_classic(now, join, outcome);
        }
        outcome.reply(join.reply, refuse_join(&join, ErrorCode::UnknownMemberId));
    }

    /// Takes the member out; its tasks are given to others when they ask.
    fn fence_streams_member(&mut self, group: &StreamsGroup, member: &Str, outcome: &mut GroupOutcome) {
        let id = &group.core.id;
        outcome.append(current_record(id, member, None));
        outcome.append(target_record(id, member, None));
        outcome.append(member_record(id, member, None));
        let (hash, validated) = (group.core.metadata_hash, group.validated_topology_epoch);
        let value = group_value(group.core.epoch + 1, hash, validated, &group.assignment_configs);
        outcome.append(group_record(id, Some(value)));
        for timer in [Timer::Session, Timer::Rebalance] {
            self.timers.cancel(id, timer(member.clone()));
        }
        if group.core.members.len() == 1 {
            self.streams.emptied(id);
        }
    }
}

fn refuse_join(join: &Join, code: ErrorCode) -> GroupResponse {
    GroupResponse::Join(JoinGroupResponse { member_id: join.request.member_id.clone(), ..join_error(code) })
}
