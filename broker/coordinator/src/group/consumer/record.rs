//! The records of a consumer group, and what becomes of them when they are replayed.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::consumer_group_target_assignment_member_value::TopicPartition;
use strata_protocol::messages::{
    ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use strata_types::TimestampMs;

use super::ConsumerGroup;
use super::member::{ConsumerMember, assignment_record, metadata_record};
use super::regex::ResolvedRegex;
use crate::group::modern::TopicPartitions;
use crate::group::{GroupOutcome, GroupRecord, GroupsState};

pub(in crate::group) fn epoch_record(group: &Str, epoch: i32, metadata_hash: i64) -> GroupRecord {
    let value = ConsumerGroupMetadataValue { epoch, metadata_hash, ..Default::default() };
    GroupRecord::ConsumerGroup { key: group_key(group), value: Some(value) }
}

pub(in crate::group) fn target_record(group: &Str, member: &Str, target: &TopicPartitions) -> GroupRecord {
    let topics = target.topics().map(|(topic_id, partitions)| TopicPartition {
        topic_id,
        partitions: partitions.iter().copied().collect(),
        ..Default::default()
    });
    let value =
        ConsumerGroupTargetAssignmentMemberValue { topic_partitions: topics.collect(), ..Default::default() };
    GroupRecord::ConsumerTargetMember { key: target_key(group, member), value: Some(value) }
}

pub(in crate::group) fn target_epoch_record(group: &Str, epoch: i32, now: TimestampMs) -> GroupRecord {
    let value = ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: epoch,
        assignment_timestamp: now,
        ..Default::default()
    };
    GroupRecord::ConsumerTarget { key: target_epoch_key(group), value: Some(value) }
}

pub(super) fn regex_record(group: &Str, regex: &Str, resolved: Option<&ResolvedRegex>) -> GroupRecord {
    let key = ConsumerGroupRegularExpressionKey {
        group_id: group.clone(),
        regular_expression: regex.clone(),
        ..Default::default()
    };
    let value = resolved.map(|resolved| ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().cloned().collect(),
        version: resolved.version,
        timestamp: resolved.timestamp,
        ..Default::default()
    });
    GroupRecord::ConsumerRegex { key, value }
}

/// Appends what makes a member go away. The order counts: what it has goes before what it is.
pub(super) fn remove_member(outcome: &mut GroupOutcome, group: &Str, member: &Str) {
    outcome.append(assignment_record(group, member, None));
    outcome.append(GroupRecord::ConsumerTargetMember { key: target_key(group, member), value: None });
    outcome.append(metadata_record(group, member, None));
}

impl ConsumerGroup {
    /// Tombstones of the whole group; `id` may say that a member is known by another id by now.
    pub(super) fn tombstones_with(&self, outcome: &mut GroupOutcome, id: impl Fn(&Str) -> Str) {
        let group = &self.core.id;
        let members: Vec<Str> = self.core.members.keys().map(id).collect();
        for member in &members {
            outcome.append(assignment_record(group, member, None));
        }
        for member in &members {
            outcome.append(GroupRecord::ConsumerTargetMember { key: target_key(group, member), value: None });
        }
        outcome.append(GroupRecord::ConsumerTarget { key: target_epoch_key(group), value: None });
        for member in &members {
            outcome.append(metadata_record(group, member, None));
        }
        for regex in self.resolved.keys() {
            outcome.append(regex_record(group, regex, None));
        }
        outcome.append(GroupRecord::ConsumerGroup { key: group_key(group), value: None });
    }
}

/// Applies a record of a consumer group; others are let be.
pub(in crate::group) fn replay(state: &mut GroupsState, record: &GroupRecord) {
    match record {
        GroupRecord::ConsumerGroup { key, value } => replay_group(state, key, value.as_ref()),
        GroupRecord::ConsumerMember { key, value: Some(value) } => {
            update_member(state, &key.group_id, &key.member_id, true, |member| member.with_metadata(value));
        }
        GroupRecord::ConsumerMember { key, value: None } => {
            if let Some(group) = state.existing_mut::<ConsumerGroup>(&key.group_id) {
                group.remove(&key.member_id);
            }
        }
        GroupRecord::ConsumerCurrent { key, value } => {
            let (group, member) = (&key.group_id, &key.member_id);
            update_member(state, group, member, value.is_some(), |member| {
                member.with_assignment(value.as_ref())
            });
        }
        GroupRecord::ConsumerTarget { key, value: Some(value) } => {
            if let Some(group) = state.typed_mut::<ConsumerGroup>(&key.group_id) {
                group.core.assignment_epoch = value.assignment_epoch;
                group.core.assignment_timestamp = value.assignment_timestamp;
            }
        }
        GroupRecord::ConsumerTarget { key, value: None } => {
            if let Some(group) = state.existing_mut::<ConsumerGroup>(&key.group_id) {
                (group.core.assignment_epoch, group.core.assignment_timestamp) = (-1, 0);
            }
        }
        GroupRecord::ConsumerTargetMember { key, value } => replay_target(state, key, value.as_ref()),
        GroupRecord::ConsumerRegex { key, value } => replay_regex(state, key, value.as_ref()),
        _ => {}
    }
}

fn replay_group(
    state: &mut GroupsState,
    key: &ConsumerGroupMetadataKey,
    value: Option<&ConsumerGroupMetadataValue>,
) {
    match value {
        Some(value) => {
            if let Some(group) = state.typed_mut::<ConsumerGroup>(&key.group_id) {
                group.core.epoch = value.epoch;
                group.core.metadata_hash = value.metadata_hash;
            }
        }
        None => {
            if state.existing_mut::<ConsumerGroup>(&key.group_id).is_some() {
                state.groups.remove(&key.group_id);
            }
        }
    }
}

fn replay_target(
    state: &mut GroupsState,
    key: &ConsumerGroupTargetAssignmentMemberKey,
    value: Option<&ConsumerGroupTargetAssignmentMemberValue>,
) {
    match value {
        Some(value) => {
            let topics =
                value.topic_partitions.iter().map(|topic| (topic.topic_id, topic.partitions.clone()));
            let target = Arc::new(topics.collect::<TopicPartitions>());
            if let Some(group) = state.typed_mut::<ConsumerGroup>(&key.group_id) {
                group.core.targets.insert(key.member_id.detached(), target);
            }
        }
        None => {
            if let Some(group) = state.existing_mut::<ConsumerGroup>(&key.group_id) {
                group.core.targets.remove(&key.member_id);
            }
        }
    }
}

fn replay_regex(
    state: &mut GroupsState,
    key: &ConsumerGroupRegularExpressionKey,
    value: Option<&ConsumerGroupRegularExpressionValue>,
) {
    match value {
        Some(value) => {
            let resolved = ResolvedRegex {
                topics: value.topics.iter().map(Str::detached).collect(),
                version: value.version,
                timestamp: value.timestamp,
            };
            if let Some(group) = state.typed_mut::<ConsumerGroup>(&key.group_id) {
                group.resolved.insert(key.regular_expression.detached(), Arc::new(resolved));
            }
        }
        None => {
            if let Some(group) = state.existing_mut::<ConsumerGroup>(&key.group_id) {
                group.resolved.remove(&key.regular_expression);
            }
        }
    }
}

/// Changes a member; `create` makes it, and its group, where it is not there: after compaction, a record may come first
/// that once came second.
fn update_member(
    state: &mut GroupsState,
    group: &Str,
    id: &Str,
    create: bool,
    change: impl FnOnce(ConsumerMember) -> ConsumerMember,
) {
    let group = if create {
        state.typed_mut::<ConsumerGroup>(group)
    } else {
        state.existing_mut::<ConsumerGroup>(group)
    };
    let Some(group) = group else { return };
    let before = match group.core.member(id) {
        Some(member) => ConsumerMember::clone(member),
        None if create => ConsumerMember::new(id.detached()),
        None => return,
    };
    group.put(change(before));
}

fn group_key(group: &Str) -> ConsumerGroupMetadataKey {
    ConsumerGroupMetadataKey { group_id: group.clone(), ..Default::default() }
}

fn target_epoch_key(group: &Str) -> ConsumerGroupTargetAssignmentMetadataKey {
    ConsumerGroupTargetAssignmentMetadataKey { group_id: group.clone(), ..Default::default() }
}

fn target_key(group: &Str, member: &Str) -> ConsumerGroupTargetAssignmentMemberKey {
    ConsumerGroupTargetAssignmentMemberKey {
        group_id: group.clone(),
        member_id: member.clone(),
        ..Default::default()
    }
}
