//! The two phases of a rebalance: all join, then all get what the leader assigned.

use bytes::Bytes;
use strata_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use strata_types::{ErrorCode, TimestampMs};

use super::record::group_record;
use super::{ClassicGroup, ClassicState, InitialDelay, JoinPhase, Member};
use crate::group::api::{GroupResponse, join_error, sync_error};
use crate::group::{GroupConfig, GroupOutcome};
use crate::shard::ReplyId;

/// What an operation on a group has at hand.
pub(in crate::group) struct Context<'a> {
    pub(in crate::group) now: TimestampMs,
    pub(in crate::group) config: &'a GroupConfig,
    pub(in crate::group) outcome: &'a mut GroupOutcome,
    /// The first of the deadlines set meanwhile: the group's timer must go off by then.
    pub(in crate::group) wake: Option<TimestampMs>,
}

impl Context<'_> {
    /// The time `delay_ms` from now, at which the group will be looked at.
    pub(in crate::group) fn wake_in(&mut self, delay_ms: i64) -> TimestampMs {
        let at = self.now + delay_ms.max(0);
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        at
    }

    pub(in crate::group) fn join_reply(&mut self, reply: ReplyId, response: JoinGroupResponse) {
        self.outcome.reply(reply, GroupResponse::Join(response));
    }

    pub(in crate::group) fn sync_reply(&mut self, reply: ReplyId, response: SyncGroupResponse) {
        self.outcome.reply(reply, GroupResponse::Sync(response));
    }

    /// Starts the member's session anew.
    pub(in crate::group) fn renew_session(&mut self, member: &mut Member) {
        let timeout_ms =
            if member.is_new { self.config.new_member_join_timeout_ms } else { member.session_timeout_ms };
        member.deadline = Some(self.wake_in(timeout_ms.into()));
    }
}

impl ClassicGroup {
    /// `maybePrepareRebalanceOrCompleteJoin`: something changed in who is a member, or in what members want.
    pub(in crate::group) fn members_changed(&mut self, cx: &mut Context<'_>) {
        if self.state == ClassicState::PreparingRebalance {
            self.complete_join_if_all_joined(cx);
        } else {
            self.prepare_rebalance(cx);
        }
    }

    pub(in crate::group) fn prepare_rebalance(&mut self, cx: &mut Context<'_>) {
        if self.state == ClassicState::CompletingRebalance {
            self.reset_assignment(cx, ErrorCode::RebalanceInProgress);
        }
        self.pending_syncs.clear();
        self.sync_deadline = None;
        let initial = self.state == ClassicState::Empty;
        self.enter(ClassicState::PreparingRebalance, cx.now);
        if initial {
            let delay_ms = i64::from(cx.config.group_initial_rebalance_delay_ms);
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.wait_for_joins(cx, delay_ms, Some(InitialDelay { delay_ms, remaining_ms }));
        } else if self.all_joined() {
            self.complete_join(cx);
        } else {
            self.wait_for_joins(cx, self.rebalance_timeout_ms(), None);
        }
    }

    pub(in crate::group) fn complete_join_if_all_joined(&mut self, cx: &mut Context<'_>) {
        // A group that was empty takes its time, for others to join.
        let was_empty = self.previous_state == ClassicState::Empty;
        if self.state == ClassicState::PreparingRebalance && !was_empty && self.all_joined() {
            self.complete_join(cx);
        }
    }

    /// The join phase's time is over.
    pub(in crate::group) fn join_phase_expired(&mut self, cx: &mut Context<'_>) {
        let Some(phase) = self.join_phase else { return };
        match phase.initial {
            Some(InitialDelay { delay_ms, remaining_ms }) if self.new_member_added && remaining_ms != 0 => {
                self.new_member_added = false;
                let next = InitialDelay {
                    delay_ms: remaining_ms.min(cx.config.group_initial_rebalance_delay_ms.into()),
                    remaining_ms: (remaining_ms - delay_ms).max(0),
                };
                self.wait_for_joins(cx, next.delay_ms, Some(next));
            }
            _ => self.complete_join(cx),
        }
    }

    /// Some members did not send SyncGroup within the rebalance timeout: they are out.
    pub(in crate::group) fn sync_phase_expired(&mut self, cx: &mut Context<'_>) {
        self.sync_deadline = None;
        if self.pending_syncs.is_empty() {
            return;
        }
        for member_id in std::mem::take(&mut self.pending_syncs) {
            self.remove(&member_id);
        }
        self.prepare_rebalance(cx);
    }

    /// Ends the join phase: a new generation, of those who joined.
    pub(in crate::group) fn complete_join(&mut self, cx: &mut Context<'_>) {
        self.join_phase = None;
        let gone = self.members.values().filter(|m| m.awaiting_join.is_none() && m.instance_id.is_none());
        for member_id in gone.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove(&member_id);
        }
        if !self.elect_joined_leader() && !self.members.is_empty() {
            // Only static members are left, and none of them has joined: wait on, until their sessions end.
            self.wait_for_joins(cx, self.rebalance_timeout_ms(), None);
            return;
        }
        self.generation = self.generation.wrapping_add(1).max(0);
        self.pending_syncs.clear();
        self.protocol_name = self.select_protocol();
        if self.members.is_empty() {
            self.enter(ClassicState::Empty, cx.now);
            cx.outcome.append_applied(group_record(self));
            return;
        }
        self.enter(ClassicState::CompletingRebalance, cx.now);
        for member_id in self.member_ids() {
            if let Some(reply) = self.take_join(&member_id) {
                let response = self.join_response(&member_id);
                cx.join_reply(reply, response);
            }
            if let Some(member) = self.member_mut(&member_id) {
                member.is_new = false;
                cx.renew_session(member);
            }
            self.pending_syncs.insert(member_id);
        }
        self.sync_deadline = Some(cx.wake_in(self.rebalance_timeout_ms()));
    }

    /// What a member is told of the generation that it is in.
    pub(in crate::group) fn join_response(&self, member_id: &str) -> JoinGroupResponse {
        let member_id = self.members.get(member_id).map(|member| member.id.clone()).unwrap_or_default();
        let members = if self.is_leader(&member_id) { self.join_members() } else { Vec::new() };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: Some(self.protocol_name.clone().unwrap_or_default()),
            leader: self.leader.clone().unwrap_or_default(),
            member_id,
            members,
            ..Default::default()
        }
    }

    /// What a member is told of its assignment.
    pub(in crate::group) fn sync_response(&self, member_id: &str) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
            ..Default::default()
        }
    }

    /// Takes every assignment back, and sends those who wait for theirs to join again.
    pub(in crate::group) fn reset_assignment(&mut self, cx: &mut Context<'_>, code: ErrorCode) {
        for member_id in self.member_ids() {
            let waiting = self.take_sync(&member_id);
            let Some(member) = self.member_mut(&member_id) else { continue };
            member.assignment = Bytes::new();
            if let Some(reply) = waiting {
                cx.renew_session(member);
                cx.sync_reply(reply, sync_error(code));
            }
        }
    }

    /// A leader that did not join again is replaced by a member that did. `false` if nobody did.
    fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(|leader| leader.awaiting_join.is_some()) {
            return true;
        }
        let joined = self.members.values().find(|member| member.awaiting_join.is_some());
        let Some(joined) = joined.map(|member| member.id.clone()) else { return false };
        self.leader = Some(joined);
        true
    }

    fn wait_for_joins(&mut self, cx: &mut Context<'_>, timeout_ms: i64, initial: Option<InitialDelay>) {
        self.join_phase = Some(JoinPhase { deadline: cx.wake_in(timeout_ms), initial });
    }

    /// A member goes while its JoinGroup or SyncGroup may be open: it is told to start over.
    pub(in crate::group) fn evict(&mut self, cx: &mut Context<'_>, member_id: &str) {
        if let Some(reply) = self.take_join(member_id) {
            cx.join_reply(reply, join_error(ErrorCode::UnknownMemberId));
        }
        if let Some(reply) = self.take_sync(member_id) {
            cx.sync_reply(reply, sync_error(ErrorCode::UnknownMemberId));
        }
        self.remove(member_id);
    }
}
