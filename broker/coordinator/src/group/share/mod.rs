//! Share groups (KIP-932): members get partitions that others have too; there is nothing to give up, so a member moves to
//! its part of the target assignment at once.
//!
//! ```text
//!  subscribed ─▶ initializing ─▶ initialized ─▶ assigned          a partition is assigned once the share coordinator
//!                     (the share coordinator stores its state)    keeps its state
//! ```
//!
//! | file | what |
//! |---|---|
//! | `api` | what is asked and answered |
//! | `member`, `record` | members and their records; the group's records, and how they are replayed |
//! | `heartbeat`, `target` | ShareGroupHeartbeat; the target assignment of all; leaving, being fenced |
//! | `partitions` | whose state is kept: initialized, altered, deleted |
//! | `describe` | ShareGroupDescribe |

mod api;
mod describe;
mod heartbeat;
mod member;
mod partitions;
mod record;
mod target;

use std::collections::BTreeSet;
use std::sync::Arc;

use strata_protocol::Str;
use strata_types::ErrorCode;
use uuid::Uuid;

pub use api::{GroupAction, ShareRequest, ShareResponse, ShareTopic};
pub(super) use api::{failed, refusal};
pub use member::ShareMember;
pub use partitions::StatePartitions;
pub(super) use record::replay;

use super::kind::{Committer, Group, GroupKind, GroupType, OffsetAge};
use super::modern::{ModernGroup, ModernType, TopicPartitions};
use super::{GroupOutcome, MetadataView};

/// Kafka's name for the only assignor that share groups have.
const ASSIGNOR: &str = "simple";

#[derive(Debug, Clone)]
pub struct ShareGroup {
    pub(super) core: ModernGroup<ShareMember>,
    /// The partitions whose state the share coordinator keeps, or is to.
    partitions: Arc<StatePartitions>,
}

impl ModernType for ShareGroup {
    const KIND: GroupKind = GroupKind::Share;

    fn new(id: Str) -> Self {
        Self { core: ModernGroup::new(id), partitions: Arc::default() }
    }

    fn wrap(self) -> Group {
        Group::Share(self)
    }

    fn of(group: &Group) -> Option<&Self> {
        if let Group::Share(group) = group { Some(group) } else { None }
    }

    fn of_mut(group: &mut Group) -> Option<&mut Self> {
        if let Group::Share(group) = group { Some(group) } else { None }
    }
}

impl GroupType for ShareGroup {
    fn kind(&self) -> GroupKind {
        GroupKind::Share
    }

    fn state_name(&self) -> &'static str {
        if self.core.members.is_empty() { "Empty" } else { "Stable" }
    }

    fn protocol_type(&self) -> Str {
        Str::from_static("share")
    }

    fn is_empty(&self) -> bool {
        self.core.members.is_empty()
    }

    fn tombstones(&self, outcome: &mut GroupOutcome) {
        let id = &self.core.id;
        self.core.members.keys().for_each(|member| record::remove_member(outcome, id, member));
        record::remove_group(outcome, id);
    }

    /// Share groups have no committed offsets.
    fn check_commit(&self, _: &Committer<'_>) -> Result<(), ErrorCode> {
        Err(ErrorCode::GroupIdNotFound)
    }

    fn check_fetch(&self, _: Option<&Str>, _: i32) -> Result<(), ErrorCode> {
        Err(ErrorCode::GroupIdNotFound)
    }

    fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        Err(ErrorCode::GroupIdNotFound)
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        self.core.subscribers.contains_key(topic)
    }

    fn offset_age(&self) -> OffsetAge {
        OffsetAge::Never
    }
}

impl ShareGroup {
    pub fn epoch(&self) -> i32 {
        self.core.epoch
    }

    pub fn members(&self) -> impl Iterator<Item = &ShareMember> {
        self.core.members.values().map(Arc::as_ref)
    }

    pub fn partitions(&self) -> &StatePartitions {
        &self.partitions
    }

    /// Every topic that a member names, with `member` instead of what it was, and without `leaving`.
    fn subscribed_topics(&self, member: Option<&ShareMember>, leaving: &[Str]) -> BTreeSet<Str> {
        let replaced = |id: &Str| member.is_some_and(|member| member.id == *id) || leaving.contains(id);
        let others = self.core.members.values().filter(|other| !replaced(&other.id)).map(Arc::as_ref);
        others.chain(member).flat_map(|member| member.topics.iter().cloned()).collect()
    }

    /// What of `topics` can be assigned: the partitions that exist and whose state is kept.
    fn assignable(&self, topics: &BTreeSet<Str>, view: &dyn MetadataView) -> TopicPartitions {
        let existing = topics.iter().filter_map(|name| view.topic(name));
        let partitions = existing.flat_map(|topic| {
            let kept = self.partitions.initialized(topic.id);
            let kept = kept.iter().copied().filter(|partition| *partition < topic.partitions);
            kept.map(|partition| (topic.id, partition)).collect::<Vec<(Uuid, i32)>>()
        });
        partitions.collect()
    }
}
