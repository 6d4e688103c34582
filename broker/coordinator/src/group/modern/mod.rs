//! What consumer, share and streams groups have in common.
//!
//! ```text
//!  members, topics change ─▶ group epoch + 1 ─▶ target assignment of that epoch ─▶ each member moves to it, epoch by epoch
//! ```
//!
//! A group of these types is nothing but what its records say: a handler looks at the group, appends records, and the
//! runtime replays them. Timers, and which metadata a group has seen, stand beside the state.

mod partitions;

use std::sync::Arc;

use imbl::OrdMap;
use strata_protocol::Str;
use strata_types::{ErrorCode, TimestampMs};

pub use partitions::TopicPartitions;

use super::kind::{Failure, Group, GroupKind, GroupType};

/// The epoch of a group that has none yet, for which nothing is assigned: a member that joins before anything is to be
/// assigned gets this one, which is not the one that it joins with.
const INITIAL_EPOCH: i32 = 1;
/// The epoch that a member joins with.
pub(super) const JOIN_EPOCH: i32 = 0;
/// The epoch that a member leaves with.
pub(super) const LEAVE_EPOCH: i32 = -1;
/// The epoch that a static member leaves with that means to come back.
pub(super) const STATIC_LEAVE_EPOCH: i32 = -2;

/// What the members of all modern types can say.
pub trait ModernMember {
    /// What the assignor gives to a member.
    type Target: Default + PartialEq;

    const KIND: GroupKind;

    fn id(&self) -> &Str;
    fn instance_id(&self) -> Option<&Str>;
    fn epoch(&self) -> i32;
    fn previous_epoch(&self) -> i32;
    /// The topics that it names; no duplicates.
    fn subscribed_topics(&self) -> &[Str];
}

/// The state that the records of a modern group amount to. Persistent maps, so that a clone costs little.
#[derive(Debug, Clone)]
pub struct ModernGroup<M: ModernMember> {
    pub(super) id: Str,
    /// Rises whenever members or topics change; a target assignment must follow.
    pub(super) epoch: i32,
    /// What the topics looked like at that epoch; see [`group_hash`](super::metadata::group_hash).
    pub(super) metadata_hash: i64,
    pub(super) members: OrdMap<Str, Arc<M>>,
    /// `group.instance.id` → member id.
    pub(super) static_members: OrdMap<Str, Str>,
    /// How many members name each topic.
    pub(super) subscribers: OrdMap<Str, usize>,
    /// The epoch that the target assignment is for.
    pub(super) assignment_epoch: i32,
    pub(super) assignment_timestamp: TimestampMs,
    /// By member id; a member without one is to have nothing.
    pub(super) targets: OrdMap<Str, Arc<M::Target>>,
}

impl<M: ModernMember> ModernGroup<M> {
    pub(super) fn new(id: Str) -> Self {
        Self {
            id,
            epoch: INITIAL_EPOCH,
            metadata_hash: 0,
            members: OrdMap::new(),
            static_members: OrdMap::new(),
            subscribers: OrdMap::new(),
            assignment_epoch: INITIAL_EPOCH,
            assignment_timestamp: 0,
            targets: OrdMap::new(),
        }
    }

    pub(super) fn member(&self, id: &str) -> Option<&Arc<M>> {
        self.members.get(id)
    }

    pub(super) fn member_of_instance(&self, instance_id: &str) -> Option<&Arc<M>> {
        self.members.get(self.static_members.get(instance_id)?)
    }

    /// The member, or the words that it is none.
    pub(super) fn expect_member(&self, id: &str) -> Result<&Arc<M>, Failure> {
        self.member(id).ok_or_else(|| {
            let message = format!("Member {id} is not a member of group {}.", self.id);
            Failure::new(ErrorCode::UnknownMemberId, message)
        })
    }

    /// Adds or replaces a member; answers what it was before.
    pub(super) fn put_member(&mut self, member: M) -> Option<Arc<M>> {
        let member = Arc::new(member);
        if let Some(instance_id) = member.instance_id() {
            self.static_members.insert(instance_id.clone(), member.id().clone());
        }
        self.count_subscriptions(member.subscribed_topics(), 1);
        let old = self.members.insert(member.id().clone(), member);
        if let Some(old) = &old {
            self.count_subscriptions(old.subscribed_topics(), -1);
        }
        old
    }

    pub(super) fn remove_member(&mut self, id: &str) -> Option<Arc<M>> {
        let member = self.members.remove(id)?;
        self.count_subscriptions(member.subscribed_topics(), -1);
        // A static member that came back under another id keeps its instance id.
        if let Some(instance_id) = member.instance_id()
            && self.static_members.get(instance_id).is_some_and(|owner| owner.as_str() == id)
        {
            self.static_members.remove(instance_id);
        }
        Some(member)
    }

    /// Whether an epoch that a member says is its own: the current one, or the one before if the answer with the current
    /// one got lost. The member must then not have more than it was to keep (`owns_no_more`).
    pub(super) fn check_epoch(
        &self,
        member: &M,
        epoch: i32,
        owns_no_more: impl FnOnce() -> bool,
    ) -> Result<(), Failure> {
        let current = member.epoch();
        let words = if epoch > current {
            "greater"
        } else if epoch < current && (epoch != member.previous_epoch() || !owns_no_more()) {
            "smaller"
        } else {
            return Ok(());
        };
        // Kafka's words; the ways out are the same for both.
        let message = format!(
            "The {} group member has a {words} member epoch ({epoch}) than the one known by the group coordinator \
             ({current}). The member must abandon all its partitions and rejoin.",
            M::KIND.name()
        );
        Err(Failure::new(ErrorCode::FencedMemberEpoch, message))
    }

    fn count_subscriptions(&mut self, topics: &[Str], by: isize) {
        for topic in topics {
            let count = self.subscribers.get(topic).copied().unwrap_or(0).saturating_add_signed(by);
            if count == 0 {
                self.subscribers.remove(topic);
            } else {
                self.subscribers.insert(topic.clone(), count);
            }
        }
    }
}

/// A type of group that is found by its id, and made by its first record.
pub(super) trait ModernType: GroupType + Sized {
    const KIND: GroupKind;

    fn new(id: Str) -> Self;
    fn wrap(self) -> Group;
    fn of(group: &Group) -> Option<&Self>;
    fn of_mut(group: &mut Group) -> Option<&mut Self>;
}
