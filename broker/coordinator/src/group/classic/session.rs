//! What a member does once it has joined: SyncGroup, Heartbeat, LeaveGroup; and what happens to it when it does not.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::messages::leave_group_request::MemberIdentity;
use strata_protocol::messages::leave_group_response::MemberResponse;
use strata_protocol::messages::{
    HeartbeatRequest, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use strata_types::{ErrorCode, TimestampMs};

use super::rebalance::Context;
use super::record::group_record;
use super::{ClassicGroup, ClassicState};
use crate::group::api::{GroupResponse, leave_reply, sync_error};
use crate::shard::ReplyId;

/// From here on LeaveGroup names several members, and answers for each.
const LEAVE_VERSION_WITH_MEMBERS: i16 = 3;

impl ClassicGroup {
    pub(in crate::group) fn sync(
        &mut self,
        cx: &mut Context<'_>,
        request: &SyncGroupRequest,
        reply: ReplyId,
    ) {
        if let Err(code) = self.validate_sync(request) {
            cx.sync_reply(reply, sync_error(code));
            return;
        }
        self.pending_syncs.remove(&request.member_id);
        if self.pending_syncs.is_empty() {
            self.sync_deadline = None;
        }
        if self.state == ClassicState::Stable {
            cx.sync_reply(reply, self.sync_response(&request.member_id));
            return;
        }
        if let Some(superseded) = self.take_sync(&request.member_id) {
            cx.sync_reply(superseded, sync_error(ErrorCode::RebalanceInProgress));
        }
        if let Some(member) = self.member_mut(&request.member_id) {
            member.awaiting_sync = Some(reply);
        }
        cx.outcome.park(reply, GroupResponse::Sync(SyncGroupResponse::default()));
        if self.is_leader(&request.member_id) {
            self.assign(cx, request);
        }
    }

    /// `Ok` means that the group is in CompletingRebalance or Stable, and the member in its generation.
    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.validate_member(&request.member_id, request.group_instance_id.as_ref())?;
        let differs =
            |asked: &Option<Str>, own: &Option<Str>| asked.is_some() && own.is_some() && asked != own;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            ClassicState::Empty | ClassicState::Dead => Err(ErrorCode::UnknownMemberId),
            ClassicState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            ClassicState::CompletingRebalance | ClassicState::Stable => Ok(()),
        }
    }

    /// The leader has assigned: the group is stable, and everybody who waits gets its share.
    fn assign(&mut self, cx: &mut Context<'_>, request: &SyncGroupRequest) {
        let mut assignments: HashMap<&Str, &Bytes> = HashMap::with_capacity(request.assignments.len());
        for given in &request.assignments {
            assignments.insert(&given.member_id, &given.assignment);
        }
        let assigned_bytes: usize = assignments.values().map(|bytes| bytes.len()).sum();
        if self.metadata_bytes() + assigned_bytes > cx.config.group_metadata_bytes_max {
            tracing::warn!(group = %self.id, assigned_bytes, "an assignment is too large to be stored");
            self.reset_assignment(cx, ErrorCode::UnknownServerError);
            self.prepare_rebalance(cx);
            return;
        }
        self.enter(ClassicState::Stable, cx.now);
        for member_id in self.member_ids() {
            let waiting = self.take_sync(&member_id);
            let Some(member) = self.member_mut(&member_id) else { continue };
            member.assignment =
                assignments.get(&member_id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default();
            if let Some(reply) = waiting {
                // It could send no heartbeat while it waited.
                cx.renew_session(member);
                let response = self.sync_response(&member_id);
                cx.sync_reply(reply, response);
            }
        }
        cx.outcome.append_applied(group_record(self));
    }

    pub(in crate::group) fn heartbeat(
        &mut self,
        cx: &mut Context<'_>,
        request: &HeartbeatRequest,
    ) -> ErrorCode {
        if let Err(code) = self.validate_member(&request.member_id, request.group_instance_id.as_ref()) {
            return code;
        }
        if request.generation_id != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.touch(cx, &request.member_id);
        match self.state {
            ClassicState::Empty | ClassicState::Dead => ErrorCode::UnknownMemberId,
            ClassicState::PreparingRebalance => ErrorCode::RebalanceInProgress,
            ClassicState::CompletingRebalance | ClassicState::Stable => ErrorCode::None,
        }
    }

    /// The member has shown that it lives.
    pub(in crate::group) fn touch(&mut self, cx: &mut Context<'_>, member_id: &str) {
        if let Some(member) = self.member_mut(member_id) {
            cx.renew_session(member);
        }
    }

    pub(in crate::group) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        request: &LeaveGroupRequest,
        version: i16,
    ) -> LeaveGroupResponse {
        let identities = leaving(request, version);
        let members: Vec<_> = identities
            .into_iter()
            .map(|identity| {
                let code = self.leave_one(cx, &identity).err().unwrap_or(ErrorCode::None);
                leave_result(identity, code)
            })
            .collect();
        if members.iter().any(|member| member.error_code == ErrorCode::None as i16) {
            match self.state {
                ClassicState::Stable | ClassicState::CompletingRebalance => self.prepare_rebalance(cx),
                ClassicState::PreparingRebalance => self.complete_join_if_all_joined(cx),
                ClassicState::Empty | ClassicState::Dead => {}
            }
        }
        left(members, version)
    }

    fn leave_one(&mut self, cx: &mut Context<'_>, identity: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance_id = identity.group_instance_id.as_ref();
        let member_id = if identity.member_id.is_empty() {
            // An administrator removes a static member by its instance id alone.
            let known = instance_id.and_then(|instance_id| self.static_members.get(instance_id));
            known.ok_or(ErrorCode::UnknownMemberId)?.clone()
        } else {
            if !self.pending_joins.contains_key(&identity.member_id) {
                self.validate_member(&identity.member_id, instance_id)?;
            }
            identity.member_id.clone()
        };
        self.evict(cx, &member_id);
        Ok(())
    }

    /// Does all that is due in this group.
    pub(in crate::group) fn expire(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        if self.join_phase.is_some_and(|phase| phase.deadline <= now) {
            self.join_phase_expired(cx);
        }
        if self.sync_deadline.is_some_and(|deadline| deadline <= now) {
            self.sync_phase_expired(cx);
        }
        let pending = self.pending_joins.iter().filter(|(_, deadline)| **deadline <= now);
        for member_id in pending.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.remove(&member_id);
            self.complete_join_after_removal(cx);
        }
        let due =
            self.members.values().filter(|member| member.deadline.is_some_and(|deadline| deadline <= now));
        for member_id in due.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.session_expired(cx, &member_id);
        }
    }

    fn session_expired(&mut self, cx: &mut Context<'_>, member_id: &Str) {
        let Some(member) = self.members.get(member_id) else { return };
        if member.deadline.is_none_or(|deadline| deadline > cx.now) {
            return;
        }
        let waits = member.awaiting_join.is_some() || member.awaiting_sync.is_some();
        if waits && !member.is_new {
            // It waits for us, so it cannot show that it lives. Its session starts anew with the reply.
            if let Some(member) = self.member_mut(member_id) {
                member.deadline = None;
            }
            return;
        }
        tracing::info!(group = %self.id, member = %member_id, "a member's session has ended");
        self.evict(cx, member_id);
        match self.state {
            ClassicState::Stable | ClassicState::CompletingRebalance => self.prepare_rebalance(cx),
            ClassicState::PreparingRebalance => self.complete_join_after_removal(cx),
            ClassicState::Empty | ClassicState::Dead => {}
        }
    }

    fn complete_join_after_removal(&mut self, cx: &mut Context<'_>) {
        if self.state == ClassicState::PreparingRebalance && self.all_joined() {
            self.complete_join(cx);
        }
    }
}

/// Of a group that does not exist, nobody is a member.
pub(in crate::group) fn leave_unknown_group(request: &LeaveGroupRequest, version: i16) -> LeaveGroupResponse {
    let members = leaving(request, version).into_iter();
    left(members.map(|identity| leave_result(identity, ErrorCode::UnknownMemberId)).collect(), version)
}

pub(in crate::group) fn leaving(request: &LeaveGroupRequest, version: i16) -> Vec<MemberIdentity> {
    if version >= LEAVE_VERSION_WITH_MEMBERS {
        return request.members.clone();
    }
    vec![MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }]
}

pub(in crate::group) fn leave_result(identity: MemberIdentity, code: ErrorCode) -> MemberResponse {
    MemberResponse {
        member_id: identity.member_id,
        group_instance_id: identity.group_instance_id,
        error_code: code as i16,
        ..Default::default()
    }
}

/// Old versions have one error code for the one member.
pub(in crate::group) fn left(members: Vec<MemberResponse>, version: i16) -> LeaveGroupResponse {
    if version >= LEAVE_VERSION_WITH_MEMBERS {
        return leave_reply(ErrorCode::None, members);
    }
    let error_code = members.first().map_or(0, |member| member.error_code);
    LeaveGroupResponse { error_code, ..Default::default() }
}

impl ClassicGroup {
    /// Operations were undone, and with them some replies that members here wait for. Every session starts anew, as
    /// heartbeats were undone too.
    pub(in crate::group) fn forget_replies(&mut self, now: TimestampMs, is_open: &dyn Fn(ReplyId) -> bool) {
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
