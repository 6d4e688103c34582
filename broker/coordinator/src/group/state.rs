//! What a group shard knows: groups, and committed offsets.

use std::sync::Arc;

use imbl::OrdMap;
use strata_protocol::Str;
use strata_protocol::messages::{OffsetCommitKey, OffsetCommitValue};
use strata_types::{ErrorCode, PartitionId, TimestampMs};
use uuid::Uuid;

use super::classic::{self, ClassicGroup};
use super::consumer;
use super::kind::{Failure, Group};
use super::modern::ModernType;
use super::record::GroupRecord;
use super::share;
use super::streams;
use super::transactional::PendingOffsets;

/// Persistent maps throughout: a clone is O(1), and a change copies a path.
#[derive(Debug, Clone, Default)]
pub struct GroupsState {
    pub(super) groups: OrdMap<Str, Arc<Group>>,
    pub(super) offsets: OrdMap<OffsetKey, CommittedOffset>,
    pub(super) pending: PendingOffsets,
    /// Counts the records of offsets.
    offsets_written: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    pub group: Str,
    pub topic: Str,
    pub partition: PartitionId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// -1 if not known.
    pub leader_epoch: i32,
    pub metadata: Str,
    pub commit_timestamp: TimestampMs,
    /// When this commit expires, if its own request said so (OffsetCommit v2 to v4).
    pub expire_timestamp: Option<TimestampMs>,
    /// Nil if not known.
    pub topic_id: Uuid,
    /// Which of the shard's records of offsets says so: later ones have higher numbers.
    pub written: u64,
}

impl GroupsState {
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id).map(Arc::as_ref)
    }

    pub fn groups(&self) -> impl Iterator<Item = (&Str, &Group)> {
        self.groups.iter().map(|(id, group)| (id, group.as_ref()))
    }

    pub fn offsets(&self) -> impl Iterator<Item = (&OffsetKey, &CommittedOffset)> {
        self.offsets.iter()
    }

    pub(super) fn classic(&self, id: &str) -> Option<&ClassicGroup> {
        self.group(id)?.as_classic()
    }

    pub(super) fn classic_mut(&mut self, id: &str) -> Option<&mut ClassicGroup> {
        // Looked at first: a group that is changed is copied.
        self.classic(id)?;
        match self.groups.get_mut(id).map(Arc::make_mut) {
            Some(Group::Classic(group)) => Some(group),
            _ => None,
        }
    }

    /// The classic group of that id, made if there is no group.
    pub(super) fn create_classic(
        &mut self,
        id: &str,
        state_since: Option<TimestampMs>,
    ) -> Option<&mut ClassicGroup> {
        if !self.groups.contains_key(id) {
            let id = Str::from(id);
            self.groups.insert(id.clone(), Arc::new(Group::Classic(ClassicGroup::new(id, state_since))));
        }
        self.classic_mut(id)
    }

    /// The group of that id, if it is of this type; otherwise Kafka's words for what it is not.
    pub(super) fn typed<G: ModernType>(&self, id: &str) -> Result<&G, Failure> {
        let not_found = |words: String| Failure::new(ErrorCode::GroupIdNotFound, words);
        let group = self.group(id).ok_or_else(|| not_found(format!("Group {id} not found.")))?;
        let kind = G::KIND.name();
        G::of(group).ok_or_else(|| not_found(format!("Group {id} is not a {kind} group.")))
    }

    /// For records of a modern group: the group, made by the first of them. What else bears the id gives way: it can only
    /// be a classic group that offsets made (records of another type would have been followed by tombstones).
    pub(super) fn typed_mut<G: ModernType>(&mut self, id: &str) -> Option<&mut G> {
        if self.group(id).is_none_or(|group| G::of(group).is_none()) {
            let id = Str::from(id);
            self.groups.insert(id.clone(), Arc::new(G::new(id).wrap()));
        }
        G::of_mut(Arc::make_mut(self.groups.get_mut(id)?))
    }

    /// For tombstones of a modern group: the group, if it is still there.
    pub(super) fn existing_mut<G: ModernType>(&mut self, id: &str) -> Option<&mut G> {
        G::of(self.group(id)?)?;
        G::of_mut(Arc::make_mut(self.groups.get_mut(id)?))
    }

    pub(super) fn offset(
        &self,
        group: &Str,
        topic: &Str,
        partition: PartitionId,
    ) -> Option<&CommittedOffset> {
        self.offsets.get(&OffsetKey { group: group.clone(), topic: topic.clone(), partition })
    }

    /// One group's, in the order of topics and partitions.
    pub(super) fn offsets_of(&self, group: &Str) -> impl Iterator<Item = (&OffsetKey, &CommittedOffset)> {
        let first = OffsetKey { group: group.clone(), topic: Str::default(), partition: PartitionId::MIN };
        self.offsets.range(first..).take_while(move |(key, _)| key.group == *group)
    }

    pub(super) fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::Offset { key, value: Some(value) } => {
                let (key, offset) = self.offset_of_record(key, value);
                self.offsets.insert(key, offset);
            }
            GroupRecord::Offset { key, value: None } => {
                let OffsetCommitKey { group, topic, partition } = key.clone();
                let key = OffsetKey { group, topic, partition };
                self.offsets.remove(&key);
                self.pending.forget(&key);
            }
            GroupRecord::Group { key, value: Some(value) } => {
                let group = classic::record::loaded_group(key, value);
                self.groups.insert(group.id.clone(), Arc::new(Group::Classic(group)));
            }
            GroupRecord::Group { key, value: None } => {
                if self.classic(&key.group).is_some() {
                    self.groups.remove(&key.group);
                }
            }
            modern => {
                consumer::replay(self, modern);
                share::replay(self, modern);
                streams::replay(self, modern);
            }
        }
    }

    /// What a record of an offset says. Its group comes to be, if it is not there.
    pub(super) fn offset_of_record(
        &mut self,
        key: &OffsetCommitKey,
        value: &OffsetCommitValue,
    ) -> (OffsetKey, CommittedOffset) {
        if !self.groups.contains_key(&key.group) {
            // A "simple" group: somebody commits offsets without being a member.
            self.create_classic(&key.group, None);
        }
        let key =
            OffsetKey { group: key.group.detached(), topic: key.topic.detached(), partition: key.partition };
        let committed = CommittedOffset {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.detached(),
            commit_timestamp: value.commit_timestamp,
            expire_timestamp: Some(value.expire_timestamp).filter(|at| *at != -1),
            topic_id: value.topic_id,
            written: self.offsets_written,
        };
        self.offsets_written += 1;
        (key, committed)
    }
}
