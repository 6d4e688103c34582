//! A classic group and its members: the data, and the rules that hold inside it.
//!
//! ```text
//!          join                all joined, or the rebalance timeout          the leader's sync
//!  Empty ───────▶ PreparingRebalance ─────────────▶ CompletingRebalance ──────────────▶ Stable
//!    ▲               │  ▲    ▲                              │                            │
//!    └─ none joined ─┘  │    └── join, leave, session ends ─┴────────────────────────────┘
//! ```
//!
//! What the protocol's own data say (subscriptions, assignments) is opaque here: bytes in, bytes out.

mod join;
mod rebalance;
pub(in crate::group) mod record;
mod rules;
mod session;
mod shard;

use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use strata_protocol::Str;
use strata_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use strata_protocol::messages::join_group_response::JoinGroupResponseMember;
use strata_types::{ErrorCode, TimestampMs};

pub(in crate::group) use self::join::{Join, VERSION_WITH_REQUIRED_MEMBER_ID};
pub(in crate::group) use self::rebalance::Context;
pub(in crate::group) use self::rules::CONSUMER_PROTOCOL_TYPE;
pub(in crate::group) use self::session::{leave_result, leave_unknown_group, leaving, left};
use crate::shard::ReplyId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassicState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    /// Of a group that does not exist: groups go at once.
    Dead,
}

impl ClassicState {
    /// As Kafka's tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// A clone shares all that is in maps; [`ClassicGroup`]s live in persistent maps themselves.
#[derive(Debug, Clone)]
pub struct ClassicGroup {
    pub(in crate::group) id: Str,
    pub(in crate::group) state: ClassicState,
    pub(in crate::group) previous_state: ClassicState,
    pub(in crate::group) state_since: Option<TimestampMs>,
    pub(in crate::group) generation: i32,
    pub(in crate::group) protocol_type: Option<Str>,
    pub(in crate::group) protocol_name: Option<Str>,
    pub(in crate::group) leader: Option<Str>,
    pub(in crate::group) members: OrdMap<Str, Arc<Member>>,
    /// `group.instance.id` → member id (KIP-345).
    pub(in crate::group) static_members: OrdMap<Str, Str>,
    /// Member ids given out and not yet used (KIP-394), with the end of each one's session.
    pub(in crate::group) pending_joins: OrdMap<Str, TimestampMs>,
    /// Members of this generation that have not sent SyncGroup.
    pub(in crate::group) pending_syncs: OrdSet<Str>,
    /// How many members support each protocol.
    supported: OrdMap<Str, usize>,
    pub(in crate::group) awaiting_joins: usize,
    pub(in crate::group) join_phase: Option<JoinPhase>,
    pub(in crate::group) sync_deadline: Option<TimestampMs>,
    /// Whether somebody joined since the initial rebalance was last put off.
    pub(in crate::group) new_member_added: bool,
}

/// How the join phase under way ends, at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::group) struct JoinPhase {
    pub(in crate::group) deadline: TimestampMs,
    /// Set in a group that was empty: more members are waited for.
    pub(in crate::group) initial: Option<InitialDelay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::group) struct InitialDelay {
    pub(in crate::group) delay_ms: i64,
    pub(in crate::group) remaining_ms: i64,
}

#[derive(Debug, Clone)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: Str,
    pub(in crate::group) instance_id: Option<Str>,
    pub(in crate::group) client_id: Str,
    pub(in crate::group) client_host: Str,
    pub(in crate::group) rebalance_timeout_ms: i32,
    pub(in crate::group) session_timeout_ms: i32,
    /// Name and metadata, in the member's order of preference.
    pub(in crate::group) protocols: Arc<[(Str, Bytes)]>,
    pub(in crate::group) assignment: Bytes,
    /// Has not yet had its first join reply.
    pub(in crate::group) is_new: bool,
    pub(in crate::group) awaiting_join: Option<ReplyId>,
    pub(in crate::group) awaiting_sync: Option<ReplyId>,
    /// The end of its session; none while it waits for a reply, as it cannot send heartbeats then.
    pub(in crate::group) deadline: Option<TimestampMs>,
}

impl Member {
    /// Whether it is the member that it was: the same protocols, with the same metadata, in the same order.
    pub(in crate::group) fn matches(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        self.protocols.len() == protocols.len()
            && self.protocols.iter().zip(protocols).all(|(own, p)| own.0 == p.name && own.1 == p.metadata)
    }

    pub(in crate::group) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| &**name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }
}

/// Copies of a request's protocols, which do not keep the request's frame alive.
pub(in crate::group) fn own_protocols(protocols: &[JoinGroupRequestProtocol]) -> Arc<[(Str, Bytes)]> {
    protocols.iter().map(|p| (p.name.detached(), Bytes::copy_from_slice(&p.metadata))).collect()
}

impl ClassicGroup {
    pub(in crate::group) fn new(id: Str, state_since: Option<TimestampMs>) -> Self {
        Self {
            id,
            state: ClassicState::Empty,
            previous_state: ClassicState::Dead,
            state_since,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: OrdMap::new(),
            static_members: OrdMap::new(),
            pending_joins: OrdMap::new(),
            pending_syncs: OrdSet::new(),
            supported: OrdMap::new(),
            awaiting_joins: 0,
            join_phase: None,
            sync_deadline: None,
            new_member_added: false,
        }
    }

    pub fn state(&self) -> ClassicState {
        self.state
    }

    pub fn generation(&self) -> i32 {
        self.generation
    }

    pub fn leader(&self) -> Option<&Str> {
        self.leader.as_ref()
    }

    /// Member ids and assignments.
    pub fn assignments(&self) -> impl Iterator<Item = (&Str, &Bytes)> {
        self.members.iter().map(|(id, member)| (id, &member.assignment))
    }

    pub(in crate::group) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(in crate::group) fn member_mut(&mut self, member_id: &str) -> Option<&mut Member> {
        self.members.get_mut(member_id).map(Arc::make_mut)
    }

    pub(in crate::group) fn member_ids(&self) -> Vec<Str> {
        self.members.keys().cloned().collect()
    }

    pub(in crate::group) fn enter(&mut self, state: ClassicState, now: TimestampMs) {
        tracing::debug!(group = %self.id, from = self.state.name(), to = state.name(), generation = self.generation);
        self.previous_state = self.state;
        self.state = state;
        self.state_since = Some(now);
    }

    /// Kafka's `ClassicGroup.add`: the first member sets the group's protocol type, and leads it.
    pub(in crate::group) fn add(&mut self, member: Member, protocol_type: Str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type);
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.count_protocols(&member.protocols, 1);
        self.awaiting_joins += usize::from(member.awaiting_join.is_some());
        self.pending_joins.remove(&member.id);
        self.members.insert(member.id.clone(), Arc::new(member));
    }

    /// Takes out a member or a pending member; whoever leads is replaced. The caller has answered its requests.
    pub(in crate::group) fn remove(&mut self, member_id: &str) -> Option<Arc<Member>> {
        let removed = self.members.remove(member_id);
        if let Some(member) = &removed {
            self.count_protocols(&member.protocols, -1);
            self.awaiting_joins -= usize::from(member.awaiting_join.is_some());
            if let Some(instance_id) = &member.instance_id {
                self.static_members.remove(instance_id);
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        removed
    }

    /// What the member says anew in a JoinGroup.
    pub(in crate::group) fn update(&mut self, member_id: &str, change: MemberChange) {
        let Some(member) = self.members.get_mut(member_id).map(Arc::make_mut) else { return };
        let old = std::mem::replace(&mut member.protocols, change.protocols.clone());
        member.rebalance_timeout_ms = change.rebalance_timeout_ms;
        member.session_timeout_ms = change.session_timeout_ms;
        let was_awaiting = member.awaiting_join.replace(change.awaiting_join).is_some();
        self.awaiting_joins += usize::from(!was_awaiting);
        self.count_protocols(&old, -1);
        self.count_protocols(&change.protocols, 1);
    }

    /// Takes the reply that the member's JoinGroup waits with.
    pub(in crate::group) fn take_join(&mut self, member_id: &str) -> Option<ReplyId> {
        self.members.get(member_id)?.awaiting_join.as_ref()?;
        self.awaiting_joins -= 1;
        self.member_mut(member_id)?.awaiting_join.take()
    }

    /// Takes the reply that the member's SyncGroup waits with.
    pub(in crate::group) fn take_sync(&mut self, member_id: &str) -> Option<ReplyId> {
        self.members.get(member_id)?.awaiting_sync.as_ref()?;
        self.member_mut(member_id)?.awaiting_sync.take()
    }

    pub(in crate::group) fn all_joined(&self) -> bool {
        self.members.len() == self.awaiting_joins && self.pending_joins.is_empty()
    }

    /// The longest of the members'.
    pub(in crate::group) fn rebalance_timeout_ms(&self) -> i64 {
        self.members.values().map(|member| i64::from(member.rebalance_timeout_ms)).max().unwrap_or(0).max(0)
    }

    /// `ClassicGroup.validateMember`: the instance id is that member's, and the member is there.
    pub(in crate::group) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&Str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if &**known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether a member with these protocols could be in the group.
    pub(in crate::group) fn supports(
        &self,
        protocol_type: &str,
        protocols: &[JoinGroupRequestProtocol],
    ) -> bool {
        if self.state == ClassicState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.supported_by_all(&protocol.name))
    }

    /// The protocol with most votes; each member votes for the first of its own that all members support. On a tie,
    /// the first by name.
    pub(in crate::group) fn select_protocol(&self) -> Option<Str> {
        let mut votes = std::collections::BTreeMap::<&Str, usize>::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| self.supported_by_all(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    /// The members as the leader gets them in its join reply.
    pub(in crate::group) fn join_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
            ..Default::default()
        });
        members.collect()
    }

    /// What the group's record costs beside assignments, at most.
    pub(in crate::group) fn metadata_bytes(&self) -> usize {
        const MEMBER_OVERHEAD_BYTES: usize = 32;
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| {
            let instance_id = member.instance_id.as_deref().map_or(0, str::len);
            let ids = member.id.len() + instance_id + member.client_id.len() + member.client_host.len();
            MEMBER_OVERHEAD_BYTES + ids + member.metadata(protocol).len()
        });
        members.sum()
    }

    /// When the group next has something to do.
    pub(in crate::group) fn next_deadline(&self) -> Option<TimestampMs> {
        let members = self.members.values().filter_map(|member| member.deadline).min();
        let pending = self.pending_joins.values().copied().min();
        let join = self.join_phase.map(|phase| phase.deadline);
        [members, pending, join, self.sync_deadline].into_iter().flatten().min()
    }

    fn supported_by_all(&self, protocol: &Str) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    fn count_protocols(&mut self, protocols: &[(Str, Bytes)], by: isize) {
        for (name, _) in protocols {
            let count = self.supported.get(name).copied().unwrap_or(0).saturating_add_signed(by);
            if count == 0 {
                self.supported.remove(name);
            } else {
                self.supported.insert(name.clone(), count);
            }
        }
    }
}

/// What a JoinGroup of a known member changes.
#[derive(Debug)]
pub(in crate::group) struct MemberChange {
    pub(in crate::group) protocols: Arc<[(Str, Bytes)]>,
    pub(in crate::group) rebalance_timeout_ms: i32,
    pub(in crate::group) session_timeout_ms: i32,
    pub(in crate::group) awaiting_join: ReplyId,
}
