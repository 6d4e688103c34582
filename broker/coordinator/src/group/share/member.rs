//! A member of a share group.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::share_group_current_member_assignment_value::TopicPartitions as Kept;
use strata_protocol::messages::{
    ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue,
    ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue,
};

use crate::group::GroupRecord;
use crate::group::kind::GroupKind;
use crate::group::modern::{ModernMember, TopicPartitions};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareMember {
    pub id: Str,
    pub rack_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    /// In order, without duplicates.
    pub topics: Arc<[Str]>,
    pub epoch: i32,
    pub previous_epoch: i32,
    pub assigned: Arc<TopicPartitions>,
}

impl ModernMember for ShareMember {
    type Target = TopicPartitions;

    const KIND: GroupKind = GroupKind::Share;

    fn id(&self) -> &Str {
        &self.id
    }

    fn instance_id(&self) -> Option<&Str> {
        None
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

impl ShareMember {
    pub(super) fn new(id: Str) -> Self {
        Self {
            id,
            rack_id: None,
            client_id: Str::default(),
            client_host: Str::default(),
            topics: Arc::default(),
            epoch: 0,
            previous_epoch: 0,
            assigned: Arc::default(),
        }
    }

    pub(super) fn with_metadata(mut self, value: &ShareGroupMemberMetadataValue) -> Self {
        self.rack_id = value.rack_id.as_ref().map(Str::detached);
        self.client_id = value.client_id.detached();
        self.client_host = value.client_host.detached();
        self.topics = value.subscribed_topic_names.iter().map(Str::detached).collect();
        self
    }

    pub(super) fn with_assignment(mut self, value: Option<&ShareGroupCurrentMemberAssignmentValue>) -> Self {
        let Some(value) = value else {
            // A member without an assignment is one that is about to be removed.
            (self.epoch, self.previous_epoch, self.assigned) = (-1, -1, Arc::default());
            return self;
        };
        let topics = value.assigned_partitions.iter().map(|topic| (topic.topic_id, topic.partitions.clone()));
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.assigned = Arc::new(topics.collect());
        self
    }

    pub(super) fn metadata_record(&self, group: &Str) -> GroupRecord {
        let value = ShareGroupMemberMetadataValue {
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.topics.to_vec(),
            ..Default::default()
        };
        GroupRecord::ShareMember { key: metadata_key(group, &self.id), value: Some(value) }
    }

    pub(super) fn assignment_record(&self, group: &Str) -> GroupRecord {
        let assigned = self.assigned.topics().map(|(topic_id, partitions)| Kept {
            topic_id,
            partitions: partitions.iter().copied().collect(),
            ..Default::default()
        });
        let value = ShareGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            // Stable: there is nothing that a member of a share group must give up first.
            state: 0,
            assigned_partitions: assigned.collect(),
            ..Default::default()
        };
        GroupRecord::ShareCurrent { key: assignment_key(group, &self.id), value: Some(value) }
    }
}

pub(super) fn metadata_key(group: &Str, member: &Str) -> ShareGroupMemberMetadataKey {
    ShareGroupMemberMetadataKey { group_id: group.clone(), member_id: member.clone(), ..Default::default() }
}

pub(super) fn assignment_key(group: &Str, member: &Str) -> ShareGroupCurrentMemberAssignmentKey {
    ShareGroupCurrentMemberAssignmentKey {
        group_id: group.clone(),
        member_id: member.clone(),
        ..Default::default()
    }
}
