//! A member of a consumer group: what it says of itself, and what it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::consumer_group_current_member_assignment_value::TopicPartitions as Recorded;
use strata_protocol::messages::consumer_group_member_metadata_value::ClassicMemberMetadata;
use strata_protocol::messages::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue,
};
use strata_types::PartitionId;
use uuid::Uuid;

use crate::group::modern::{LEAVE_EPOCH, ModernMember, TopicPartitions};
use crate::group::{GroupKind, GroupRecord};

/// How far a member is on its way to the target assignment. The numbers are those of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it is to have in its epoch.
    Stable = 0,
    /// It must give up partitions before it can move on.
    UnrevokedPartitions = 1,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions = 2,
    /// Of a newer coordinator: the member has to start over.
    Unknown = 127,
}

impl MemberState {
    fn from_number(number: i8) -> Self {
        match number {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// Partitions with the member epoch in which each was assigned (KIP-1251); no topic is without partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assigned(BTreeMap<Uuid, BTreeMap<PartitionId, i32>>);

impl Assigned {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn epoch_of(&self, topic: Uuid, partition: PartitionId) -> Option<i32> {
        self.0.get(&topic)?.get(&partition).copied()
    }

    pub(super) fn contains(&self, topic: Uuid, partition: PartitionId) -> bool {
        self.epoch_of(topic, partition).is_some()
    }

    pub(super) fn insert(&mut self, topic: Uuid, partition: PartitionId, epoch: i32) {
        self.0.entry(topic).or_default().insert(partition, epoch);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Uuid, PartitionId, i32)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, epoch)| (*topic, *partition, *epoch))
        })
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = Uuid> {
        self.0.keys().copied()
    }

    /// Without the epochs.
    pub fn partitions(&self) -> TopicPartitions {
        self.iter().map(|(topic, partition, _)| (topic, partition)).collect()
    }

    fn to_record(&self) -> Vec<Recorded> {
        let topics = self.0.iter().map(|(topic, partitions)| Recorded {
            topic_id: *topic,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
            ..Default::default()
        });
        topics.collect()
    }

    /// Records of before Kafka 4.3 have no epochs: the member's own counts then.
    fn from_record(topics: &[Recorded], epoch: i32) -> Self {
        let mut assigned = Self::default();
        for topic in topics {
            let epochs = topic.assignment_epochs.as_deref().unwrap_or_default();
            for (index, partition) in topic.partitions.iter().enumerate() {
                assigned.insert(topic.topic_id, *partition, epochs.get(index).copied().unwrap_or(epoch));
            }
        }
        assigned
    }
}

impl FromIterator<(Uuid, PartitionId, i32)> for Assigned {
    fn from_iter<I: IntoIterator<Item = (Uuid, PartitionId, i32)>>(entries: I) -> Self {
        let mut assigned = Self::default();
        entries.into_iter().for_each(|(topic, partition, epoch)| assigned.insert(topic, partition, epoch));
        assigned
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerMember {
    pub(in crate::group) id: Str,
    pub(in crate::group) epoch: i32,
    pub(in crate::group) previous_epoch: i32,
    pub(in crate::group) state: MemberState,
    pub(in crate::group) instance_id: Option<Str>,
    pub(in crate::group) rack_id: Option<Str>,
    pub(in crate::group) client_id: Str,
    pub(in crate::group) client_host: Str,
    pub(in crate::group) rebalance_timeout_ms: i32,
    /// Sorted, without duplicates.
    pub(in crate::group) topics: Arc<[Str]>,
    /// Empty where it has none.
    pub(in crate::group) regex: Str,
    pub(in crate::group) assignor: Option<Str>,
    /// Of a member that speaks the classic protocol.
    pub(in crate::group) classic: Option<Arc<ClassicMemberMetadata>>,
    pub(in crate::group) assigned: Arc<Assigned>,
    /// What it has beside, and must give up.
    pub(in crate::group) revoking: Arc<Assigned>,
}

impl ModernMember for ConsumerMember {
    type Target = TopicPartitions;

    const KIND: GroupKind = GroupKind::Consumer;

    fn id(&self) -> &Str {
        &self.id
    }

    fn instance_id(&self) -> Option<&Str> {
        self.instance_id.as_ref()
    }

    fn epoch(&self) -> i32 {
        self.epoch
    }

    fn previous_epoch(&self) -> i32 {
        self.previous_epoch
    }

    fn subscribed_topics(&self) -> &[Str] {
        &self.topics
    }
}

impl ConsumerMember {
    pub(in crate::group) fn new(id: Str) -> Self {
        Self {
            id,
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance_id: None,
            rack_id: None,
            client_id: Str::default(),
            client_host: Str::default(),
            rebalance_timeout_ms: -1,
            topics: Arc::default(),
            regex: Str::default(),
            assignor: None,
            classic: None,
            assigned: Arc::default(),
            revoking: Arc::default(),
        }
    }

    pub fn id(&self) -> &Str {
        &self.id
    }

    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    pub fn state(&self) -> MemberState {
        self.state
    }

    pub fn assigned(&self) -> &Assigned {
        &self.assigned
    }

    pub fn revoking(&self) -> &Assigned {
        &self.revoking
    }

    /// The regular expression that it subscribes by, if any.
    pub(in crate::group) fn regex(&self) -> Option<&Str> {
        Some(&self.regex).filter(|regex| !regex.is_empty())
    }

    pub(in crate::group) fn uses_classic_protocol(&self) -> bool {
        self.classic.is_some()
    }

    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Moves to another epoch, or stays in the one that it has.
    pub(super) fn set_epoch(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    pub(in crate::group) fn metadata_record(&self, group: &Str) -> GroupRecord {
        let value = ConsumerGroupMemberMetadataValue {
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.topics.to_vec(),
            subscribed_topic_regex: Some(self.regex.clone()),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.clone(),
            classic_member_metadata: self.classic.as_deref().cloned(),
            ..Default::default()
        };
        metadata_record(group, &self.id, Some(value))
    }

    pub(in crate::group) fn assignment_record(&self, group: &Str) -> GroupRecord {
        let value = ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state as i8,
            assigned_partitions: self.assigned.to_record(),
            partitions_pending_revocation: self.revoking.to_record(),
            ..Default::default()
        };
        assignment_record(group, &self.id, Some(value))
    }

    /// The member as its metadata record has it; what it has of partitions stays.
    pub(super) fn with_metadata(mut self, value: &ConsumerGroupMemberMetadataValue) -> Self {
        let detached = |text: &Option<Str>| text.as_ref().map(Str::detached);
        let mut topics: Vec<Str> = value.subscribed_topic_names.iter().map(Str::detached).collect();
        topics.sort();
        topics.dedup();
        self.instance_id = detached(&value.instance_id);
        self.rack_id = detached(&value.rack_id);
        self.client_id = value.client_id.detached();
        self.client_host = value.client_host.detached();
        self.topics = topics.into();
        self.regex = detached(&value.subscribed_topic_regex).unwrap_or_default();
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor = detached(&value.server_assignor);
        self.classic = value.classic_member_metadata.as_ref().map(|classic| Arc::new(own(classic)));
        self
    }

    /// The member with the partitions of its record; without a record it has none, and has left.
    pub(super) fn with_assignment(
        mut self,
        value: Option<&ConsumerGroupCurrentMemberAssignmentValue>,
    ) -> Self {
        let Some(value) = value else {
            self.epoch = LEAVE_EPOCH;
            self.previous_epoch = LEAVE_EPOCH;
            self.state = MemberState::Stable;
            (self.assigned, self.revoking) = Default::default();
            return self;
        };
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_number(value.state);
        self.assigned = Arc::new(Assigned::from_record(&value.assigned_partitions, value.member_epoch));
        self.revoking =
            Arc::new(Assigned::from_record(&value.partitions_pending_revocation, value.member_epoch));
        self
    }
}

pub(in crate::group) fn metadata_record(
    group: &Str,
    member: &Str,
    value: Option<ConsumerGroupMemberMetadataValue>,
) -> GroupRecord {
    let key = ConsumerGroupMemberMetadataKey {
        group_id: group.clone(),
        member_id: member.clone(),
        ..Default::default()
    };
    GroupRecord::ConsumerMember { key, value }
}

pub(in crate::group) fn assignment_record(
    group: &Str,
    member: &Str,
    value: Option<ConsumerGroupCurrentMemberAssignmentValue>,
) -> GroupRecord {
    let key = ConsumerGroupCurrentMemberAssignmentKey {
        group_id: group.clone(),
        member_id: member.clone(),
        ..Default::default()
    };
    GroupRecord::ConsumerCurrent { key, value }
}

/// A copy that does not keep the request's frame alive.
fn own(classic: &ClassicMemberMetadata) -> ClassicMemberMetadata {
    let mut owned = classic.clone();
    for protocol in &mut owned.supported_protocols {
        protocol.name = protocol.name.detached();
        protocol.metadata = bytes::Bytes::copy_from_slice(&protocol.metadata);
    }
    owned
}
