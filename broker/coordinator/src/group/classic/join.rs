//! JoinGroup: becoming a member, staying one, and coming back under the same instance id.

use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use strata_types::ErrorCode;
use uuid::Uuid;

use super::rebalance::Context;
use super::{ClassicGroup, ClassicState, Member, MemberChange, own_protocols};
use crate::group::api::{ClientContext, GroupResponse, join_error};
use crate::shard::ReplyId;

/// From here on a new dynamic member is given an id to come back with (KIP-394).
pub(in crate::group) const VERSION_WITH_REQUIRED_MEMBER_ID: i16 = 4;
/// From here on protocol names may be null.
const VERSION_WITH_NULLABLE_PROTOCOL: i16 = 7;
/// From here on a leader can be told to leave the assignment as it is.
const VERSION_WITH_SKIP_ASSIGNMENT: i16 = 9;
/// What a string of Kafka's records can hold.
const MEMBER_ID_BYTES_MAX: usize = i16::MAX as usize;

/// A JoinGroup with who asks, and the reply that it waits for.
pub(in crate::group) struct Join {
    pub(in crate::group) request: JoinGroupRequest,
    pub(in crate::group) client: ClientContext,
    pub(in crate::group) new_member: Uuid,
    pub(in crate::group) reply: ReplyId,
}

impl Join {
    /// What can be said of the request alone, without the group.
    pub(in crate::group) fn validate(&self, cx: &Context<'_>) -> Result<(), ErrorCode> {
        let request = &self.request;
        let sessions = cx.config.group_min_session_timeout_ms..=cx.config.group_max_session_timeout_ms;
        let metadata_bytes: usize = request.protocols.iter().map(|p| p.name.len() + p.metadata.len()).sum();
        if request.group_id.is_empty() {
            Err(ErrorCode::InvalidGroupId)
        } else if !sessions.contains(&request.session_timeout_ms) {
            Err(ErrorCode::InvalidSessionTimeout)
        } else if metadata_bytes > cx.config.member_metadata_bytes_max
            || self.new_member_id().len() > MEMBER_ID_BYTES_MAX
        {
            Err(ErrorCode::InvalidRequest)
        } else {
            Ok(())
        }
    }

    pub(in crate::group) fn refuse(&self, cx: &mut Context<'_>, code: ErrorCode) {
        let member_id = self.request.member_id.clone();
        cx.join_reply(self.reply, JoinGroupResponse { member_id, ..join_error(code) });
    }

    fn new_member_id(&self) -> String {
        let prefix = self.request.group_instance_id.as_ref().unwrap_or(&self.client.client_id);
        format!("{prefix}-{}", self.new_member)
    }

    /// JoinGroup v0 has one timeout for both.
    fn rebalance_timeout_ms(&self) -> i32 {
        if self.client.version == 0 {
            self.request.session_timeout_ms
        } else {
            self.request.rebalance_timeout_ms
        }
    }

    fn change(&self) -> MemberChange {
        MemberChange {
            protocols: own_protocols(&self.request.protocols),
            rebalance_timeout_ms: self.rebalance_timeout_ms(),
            session_timeout_ms: self.request.session_timeout_ms,
            awaiting_join: self.reply,
        }
    }

    fn park(&self, cx: &mut Context<'_>) {
        cx.outcome.park(self.reply, GroupResponse::Join(JoinGroupResponse::default()));
    }
}

impl ClassicGroup {
    pub(in crate::group) fn join(&mut self, cx: &mut Context<'_>, join: &Join) {
        let request = &join.request;
        if !self.accepts(cx, &request.member_id) {
            self.evict(cx, &request.member_id);
            cx.join_reply(join.reply, join_error(ErrorCode::GroupMaxSizeReached));
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            join.refuse(cx, ErrorCode::InconsistentGroupProtocol);
        } else if request.member_id.is_empty() {
            self.join_new(cx, join);
        } else if self.pending_joins.contains_key(&request.member_id) {
            // A pending member is never static. (Kafka stumbles here, and answers UNKNOWN_SERVER_ERROR.)
            match &request.group_instance_id {
                Some(_) => join.refuse(cx, ErrorCode::UnknownMemberId),
                None => self.add_member(cx, join, request.member_id.detached()),
            }
        } else {
            self.join_existing(cx, join);
        }
    }

    /// Whether there is room. In the join phase those count who have joined, so that whoever comes late is left out.
    fn accepts(&self, cx: &Context<'_>, member_id: &str) -> bool {
        let size_max = usize::try_from(cx.config.group_max_size).unwrap_or(0);
        let member = self.members.get(member_id);
        match self.state {
            ClassicState::Empty | ClassicState::Dead => true,
            ClassicState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some()) || self.awaiting_joins < size_max
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                member.is_some() || self.members.len() < size_max
            }
        }
    }

    fn join_new(&mut self, cx: &mut Context<'_>, join: &Join) {
        let member_id = Str::from(join.new_member_id());
        let known =
            join.request.group_instance_id.as_ref().and_then(|id| self.static_members.get(id)).cloned();
        if let Some(old_member_id) = known {
            self.replace_static_member(cx, join, &old_member_id, member_id);
        } else if join.request.group_instance_id.is_some()
            || join.client.version < VERSION_WITH_REQUIRED_MEMBER_ID
        {
            self.add_member(cx, join, member_id);
        } else if self.pending_joins.len() >= cx.config.pending_joins_per_group_max {
            cx.join_reply(join.reply, join_error(ErrorCode::GroupMaxSizeReached));
        } else {
            let session_ends = cx.wake_in(join.request.session_timeout_ms.into());
            self.pending_joins.insert(member_id.clone(), session_ends);
            cx.join_reply(
                join.reply,
                JoinGroupResponse { member_id, ..join_error(ErrorCode::MemberIdRequired) },
            );
        }
    }

    fn join_existing(&mut self, cx: &mut Context<'_>, join: &Join) {
        let request = &join.request;
        let member_id = &request.member_id;
        if let Err(code) = self.validate_member(member_id, request.group_instance_id.as_ref()) {
            let nullable = join.client.version >= VERSION_WITH_NULLABLE_PROTOCOL;
            let protocol_name = if nullable { None } else { Some(Str::default()) };
            let member_id = member_id.clone();
            cx.join_reply(join.reply, JoinGroupResponse { member_id, protocol_name, ..join_error(code) });
            return;
        }
        let unchanged = self.members.get(member_id).is_some_and(|member| member.matches(&request.protocols));
        match self.state {
            // The first reply may have been lost: the generation stands, so it is told again.
            ClassicState::CompletingRebalance if unchanged => {
                cx.join_reply(join.reply, self.join_response(member_id))
            }
            // Nothing new from a follower. A leader asks for a rebalance by this, as when a topic has grown.
            ClassicState::Stable if unchanged && !self.is_leader(member_id) => {
                cx.join_reply(join.reply, self.join_response(member_id));
            }
            ClassicState::PreparingRebalance | ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.answer_superseded_join(cx, member_id);
                self.update(member_id, join.change());
                join.park(cx);
                self.members_changed(cx);
            }
            ClassicState::Empty | ClassicState::Dead => join.refuse(cx, ErrorCode::UnknownMemberId),
        }
    }

    fn add_member(&mut self, cx: &mut Context<'_>, join: &Join, member_id: Str) {
        let mut member = Member {
            id: member_id,
            instance_id: join.request.group_instance_id.as_ref().map(Str::detached),
            client_id: join.client.client_id.detached(),
            client_host: join.client.client_host.detached(),
            rebalance_timeout_ms: join.rebalance_timeout_ms(),
            session_timeout_ms: join.request.session_timeout_ms,
            protocols: own_protocols(&join.request.protocols),
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: Some(join.reply),
            awaiting_sync: None,
            deadline: None,
        };
        if self.state == ClassicState::PreparingRebalance && self.previous_state == ClassicState::Empty {
            self.new_member_added = true;
        }
        // A new member cannot send heartbeats while its first JoinGroup is parked: it gets a longer time, not none.
        cx.renew_session(&mut member);
        self.add(member, join.request.protocol_type.detached());
        join.park(cx);
        self.members_changed(cx);
    }

    /// A static member is back under a new member id (KIP-345): the old id is fenced, all else stays.
    fn replace_static_member(
        &mut self,
        cx: &mut Context<'_>,
        join: &Join,
        old_member_id: &Str,
        member_id: Str,
    ) {
        let old_leader = self.leader.clone().unwrap_or_default();
        self.fence(cx, old_member_id);
        let Some(old) = self.members.get(old_member_id).cloned() else { return };
        let was_leader = self.is_leader(old_member_id);
        self.remove(old_member_id);
        let protocol_type = self.protocol_type.clone().unwrap_or_default();
        let mut member = Member { id: member_id.clone(), is_new: false, ..Arc::unwrap_or_clone(old) };
        cx.renew_session(&mut member);
        self.add(member, protocol_type);
        if was_leader {
            self.leader = Some(member_id.clone());
        }
        self.update(&member_id, join.change());
        join.park(cx);
        match self.state {
            ClassicState::Stable if self.select_protocol() == self.protocol_name => {
                // The assignment stands; only the new id must last.
                cx.outcome.append_applied(super::record::group_record(self));
                let response = self.replaced_response(join.client.version, &member_id, old_leader);
                if let Some(reply) = self.take_join(&member_id) {
                    cx.join_reply(reply, response);
                }
            }
            // The leader may be assigning to the old id by now.
            ClassicState::CompletingRebalance => self.prepare_rebalance(cx),
            _ => self.members_changed(cx),
        }
    }

    fn replaced_response(&self, version: i16, member_id: &str, old_leader: Str) -> JoinGroupResponse {
        let response = self.join_response(member_id);
        if version >= VERSION_WITH_SKIP_ASSIGNMENT {
            return JoinGroupResponse { skip_assignment: self.is_leader(member_id), ..response };
        }
        // An older client that finds itself the leader would assign anew: it is told of its former self as the leader.
        JoinGroupResponse { leader: old_leader, members: Vec::new(), ..response }
    }

    fn fence(&mut self, cx: &mut Context<'_>, member_id: &Str) {
        let code = ErrorCode::FencedInstanceId;
        if let Some(reply) = self.take_join(member_id) {
            cx.join_reply(reply, JoinGroupResponse { member_id: member_id.clone(), ..join_error(code) });
        }
        if let Some(reply) = self.take_sync(member_id) {
            cx.sync_reply(reply, crate::group::api::sync_error(code));
        }
    }

    /// A member sends JoinGroup again while an earlier one is parked (its connection broke): the earlier is answered.
    fn answer_superseded_join(&mut self, cx: &mut Context<'_>, member_id: &str) {
        if let Some(reply) = self.take_join(member_id) {
            cx.join_reply(reply, join_error(ErrorCode::RebalanceInProgress));
        }
    }
}
