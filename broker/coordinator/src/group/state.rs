//! What a group shard knows: groups, and committed offsets.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use strata_protocol::Str;
use strata_protocol::messages::group_metadata_value::MemberMetadata;
use strata_protocol::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use strata_types::{PartitionId, TimestampMs};
use uuid::Uuid;

use super::classic::{Group, GroupState, Member};
use super::record::GroupRecord;

/// Persistent maps throughout: a clone is O(1), and a change copies a path.
#[derive(Debug, Clone, Default)]
pub struct GroupsState {
    pub(super) groups: OrdMap<Str, Arc<Group>>,
    pub(super) offsets: OrdMap<OffsetKey, CommittedOffset>,
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

    pub(super) fn group_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.get_mut(id).map(Arc::make_mut)
    }

    pub(super) fn create(&mut self, id: &str, state_since: Option<TimestampMs>) -> &mut Group {
        let new = || Arc::new(Group::new(Str::from(id), state_since));
        Arc::make_mut(self.groups.entry(Str::from(id)).or_insert_with(new))
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
            GroupRecord::Offset { key, value: Some(value) } => self.replay_offset(key, value),
            GroupRecord::Offset { key, value: None } => {
                let OffsetCommitKey { group, topic, partition } = key.clone();
                self.offsets.remove(&OffsetKey { group, topic, partition });
            }
            GroupRecord::Group { key, value: Some(value) } => {
                let group = loaded_group(key, value);
                self.groups.insert(group.id.clone(), Arc::new(group));
            }
            GroupRecord::Group { key, value: None } => {
                self.groups.remove(&key.group);
            }
        }
    }

    fn replay_offset(&mut self, key: &OffsetCommitKey, value: &OffsetCommitValue) {
        if !self.groups.contains_key(&key.group) {
            // A "simple" group: somebody commits offsets without being a member.
            self.create(&key.group, None);
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
        };
        self.offsets.insert(key, committed);
    }
}

/// The record that brings the group back as it is, if its members are those of a generation that has its assignment.
pub(super) fn group_record(group: &Group) -> GroupRecord {
    let protocol = group.protocol_name.as_deref().unwrap_or_default();
    let members = group.members.values().map(|member| MemberMetadata {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.metadata(protocol),
        assignment: member.assignment.clone(),
        ..Default::default()
    });
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation,
        protocol: group.protocol_name.clone(),
        leader: group.leader.clone(),
        current_state_timestamp: group.state_since.unwrap_or(-1),
        members: members.collect(),
        ..Default::default()
    };
    GroupRecord::group(&group.id, Some(value))
}

fn loaded_group(key: &GroupMetadataKey, value: &GroupMetadataValue) -> Group {
    let state_since = Some(value.current_state_timestamp).filter(|at| *at != -1);
    let mut group = Group::new(key.group.detached(), state_since);
    group.state = if value.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
    group.generation = value.generation;
    group.leader = value.leader.as_ref().map(Str::detached);
    group.protocol_name = value.protocol.as_ref().map(Str::detached);
    for member in &value.members {
        let protocol = group.protocol_name.clone().unwrap_or_default();
        let loaded = Member {
            id: member.member_id.detached(),
            instance_id: member.group_instance_id.as_ref().map(Str::detached),
            client_id: member.client_id.detached(),
            client_host: member.client_host.detached(),
            rebalance_timeout_ms: match member.rebalance_timeout {
                -1 => member.session_timeout,
                timeout_ms => timeout_ms,
            },
            session_timeout_ms: member.session_timeout,
            protocols: Arc::new([(protocol, Bytes::copy_from_slice(&member.subscription))]),
            assignment: Bytes::copy_from_slice(&member.assignment),
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
            deadline: None,
        };
        group.add(loaded, Str::default());
    }
    group.protocol_type = Some(value.protocol_type.detached()).filter(|name| !name.is_empty());
    group
}
