//! Members that go: by themselves, because they are late, or because they are put out.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use strata_types::TimestampMs;

use super::heartbeat::{check_instance, unknown_instance};
use super::record::{epoch_record, regex_record, remove_member};
use super::{ConsumerGroup, ConsumerMember, MemberState, decrement};
use crate::group::kind::Failure;
use crate::group::metadata::group_hash;
use crate::group::modern::STATIC_LEAVE_EPOCH;
use crate::group::timers::{Timer, TimerKey};
use crate::group::{GroupOutcome, GroupShard};

impl GroupShard {
    pub(super) fn consumer_leave(
        &mut self,
        now: TimestampMs,
        request: &ConsumerGroupHeartbeatRequest,
        outcome: &mut GroupOutcome,
    ) -> Result<ConsumerGroupHeartbeatResponse, Failure> {
        let group = Arc::new(self.state.typed::<ConsumerGroup>(&request.group_id)?.clone());
        let member = match &request.instance_id {
            None => group.core.expect_member(&request.member_id)?,
            Some(instance_id) => {
                let member = group.core.member_of_instance(instance_id);
                let member = member.ok_or_else(|| unknown_instance(instance_id))?;
                check_instance(member, &request.member_id, instance_id)?;
                member
            }
        };
        tracing::debug!(group = %group.core.id, member = %member.id, epoch = request.member_epoch, "a member leaves");
        if request.instance_id.is_some() && request.member_epoch == STATIC_LEAVE_EPOCH {
            // It means to come back within its session, and keeps its part until then.
            let mut away = ConsumerMember::clone(member);
            away.epoch = STATIC_LEAVE_EPOCH;
            away.revoking = Arc::default();
            outcome.append(away.assignment_record(&group.core.id));
        } else {
            self.fence_consumers(now, &group, std::slice::from_ref(&member.id), outcome);
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(member.id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        })
    }

    /// Puts members out. What is left may all speak the classic protocol: then it is a classic group again.
    pub(super) fn fence_consumers(
        &mut self,
        now: TimestampMs,
        group: &ConsumerGroup,
        leaving: &[Str],
        outcome: &mut GroupOutcome,
    ) {
        if leaving.is_empty() {
            return;
        }
        if self.downgrades_without(group, leaving) {
            self.downgrade(now, group, leaving, None, outcome);
            return;
        }
        let id = &group.core.id;
        leaving.iter().for_each(|member| remove_member(outcome, id, member));
        let mut regexes = group.regexes.clone();
        for member in leaving.iter().filter_map(|member| group.core.member(member)) {
            if let Some(regex) = member.regex() {
                decrement(&mut regexes, regex);
                if !regexes.contains_key(regex) {
                    outcome.append(regex_record(id, regex, None));
                }
            }
        }
        let hash = group_hash(self.metadata.view(), group.subscribed_topics(None, leaving).iter());
        outcome.append(epoch_record(id, group.core.epoch + 1, hash));
        for member in leaving {
            for timer in [Timer::Session, Timer::Rebalance, Timer::Join, Timer::Sync] {
                self.timers.cancel(id, timer(member.clone()));
            }
        }
    }

    pub(in crate::group) fn consumer_timer_fired(
        &mut self,
        now: TimestampMs,
        key: TimerKey,
        outcome: &mut GroupOutcome,
    ) {
        let Ok(group) = self.state.typed::<ConsumerGroup>(&key.group).cloned() else { return };
        let (member, why) = match key.timer {
            Timer::Group | Timer::FirstAssignment => return,
            Timer::Regex => return self.resolve_regexes(now, &group, outcome),
            Timer::Session(member) => (member, "its session has ended"),
            Timer::Rebalance(member) => (member, "it has not given up its partitions in time"),
            Timer::Join(member) => (member, "it has not joined again in time"),
            Timer::Sync(member) => (member, "it has not asked for its assignment in time"),
        };
        if group.core.member(&member).is_some() {
            tracing::info!(group = %key.group, %member, "a member is fenced: {why}");
            self.fence_consumers(now, &group, &[member], outcome);
        }
    }

    /// Sessions start now; whoever has to give up partitions is given its whole time for that.
    pub(in crate::group) fn arm_consumer(&mut self, now: TimestampMs, group: &ConsumerGroup) {
        let id = &group.core.id;
        let session_timeout_ms = self.consumer_settings(id).session_timeout_ms;
        for member in group.members() {
            let own = member.classic.as_ref().map(|classic| classic.session_timeout_ms);
            let session_ends = now + i64::from(own.unwrap_or(session_timeout_ms));
            self.timers.set(id, Timer::Session(member.id.clone()), session_ends);
            if member.state == MemberState::UnrevokedPartitions && !member.uses_classic_protocol() {
                let ends = now + i64::from(member.rebalance_timeout_ms.max(0));
                self.timers.set(id, Timer::Rebalance(member.id.clone()), ends);
            }
        }
    }
}
