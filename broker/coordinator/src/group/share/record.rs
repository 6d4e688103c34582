//! The records of a share group, and what becomes of them when they are replayed.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::share_group_target_assignment_member_value::TopicPartition;
use strata_protocol::messages::{
    ShareGroupMetadataKey, ShareGroupMetadataValue, ShareGroupStatePartitionMetadataKey,
    ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue,
    ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue,
};
use strata_types::TimestampMs;

use super::member::{ShareMember, assignment_key, metadata_key};
use super::{ShareGroup, StatePartitions};
use crate::group::modern::TopicPartitions;
use crate::group::{GroupOutcome, GroupRecord, GroupsState};

pub(super) fn epoch_record(group: &Str, epoch: i32, metadata_hash: i64) -> GroupRecord {
    let value = ShareGroupMetadataValue { epoch, metadata_hash, ..Default::default() };
    GroupRecord::ShareGroup { key: group_key(group), value: Some(value) }
}

pub(super) fn target_record(group: &Str, member: &Str, target: &TopicPartitions) -> GroupRecord {
    let topics = target.topics().map(|(topic_id, partitions)| TopicPartition {
        topic_id,
        partitions: partitions.iter().copied().collect(),
        ..Default::default()
    });
    let value =
        ShareGroupTargetAssignmentMemberValue { topic_partitions: topics.collect(), ..Default::default() };
    GroupRecord::ShareTargetMember { key: target_key(group, member), value: Some(value) }
}

pub(super) fn target_epoch_record(group: &Str, epoch: i32, now: TimestampMs) -> GroupRecord {
    let value = ShareGroupTargetAssignmentMetadataValue {
        assignment_epoch: epoch,
        assignment_timestamp: now,
        ..Default::default()
    };
    GroupRecord::ShareTarget { key: target_epoch_key(group), value: Some(value) }
}

pub(super) fn state_record(group: &Str, partitions: &StatePartitions) -> GroupRecord {
    GroupRecord::ShareState { key: state_key(group), value: Some(partitions.to_value()) }
}

/// Appends what makes a member go away. The order counts: what it has goes before what it is.
pub(super) fn remove_member(outcome: &mut GroupOutcome, group: &Str, member: &Str) {
    outcome.append(GroupRecord::ShareCurrent { key: assignment_key(group, member), value: None });
    outcome.append(GroupRecord::ShareTargetMember { key: target_key(group, member), value: None });
    outcome.append(GroupRecord::ShareMember { key: metadata_key(group, member), value: None });
}

/// Appends what makes a group without members go away.
pub(super) fn remove_group(outcome: &mut GroupOutcome, group: &Str) {
    outcome.append(GroupRecord::ShareTarget { key: target_epoch_key(group), value: None });
    outcome.append(GroupRecord::ShareState { key: state_key(group), value: None });
    outcome.append(GroupRecord::ShareGroup { key: group_key(group), value: None });
}

fn group_key(group: &Str) -> ShareGroupMetadataKey {
    ShareGroupMetadataKey { group_id: group.clone(), ..Default::default() }
}

fn target_epoch_key(group: &Str) -> ShareGroupTargetAssignmentMetadataKey {
    ShareGroupTargetAssignmentMetadataKey { group_id: group.clone(), ..Default::default() }
}

fn target_key(group: &Str, member: &Str) -> ShareGroupTargetAssignmentMemberKey {
    ShareGroupTargetAssignmentMemberKey {
        group_id: group.clone(),
        member_id: member.clone(),
        ..Default::default()
    }
}

fn state_key(group: &Str) -> ShareGroupStatePartitionMetadataKey {
    ShareGroupStatePartitionMetadataKey { group_id: group.clone(), ..Default::default() }
}

/// Applies a record of a share group; others are let be.
pub(in crate::group) fn replay(state: &mut GroupsState, record: &GroupRecord) {
    match record {
        GroupRecord::ShareGroup { key, value: Some(value) } => {
            if let Some(group) = state.typed_mut::<ShareGroup>(&key.group_id) {
                group.core.epoch = value.epoch;
                group.core.metadata_hash = value.metadata_hash;
            }
        }
        GroupRecord::ShareGroup { key, value: None } => forget_group(state, &key.group_id),
        GroupRecord::ShareMember { key, value: Some(value) } => {
            update_member(state, &key.group_id, &key.member_id, true, |member| member.with_metadata(value));
        }
        GroupRecord::ShareMember { key, value: None } => {
            if let Some(group) = state.existing_mut::<ShareGroup>(&key.group_id) {
                group.core.remove_member(&key.member_id);
            }
        }
        GroupRecord::ShareCurrent { key, value } => {
            let (group, member) = (&key.group_id, &key.member_id);
            update_member(state, group, member, value.is_some(), |m| m.with_assignment(value.as_ref()));
        }
        GroupRecord::ShareTarget { key, value: Some(value) } => {
            if let Some(group) = state.typed_mut::<ShareGroup>(&key.group_id) {
                group.core.assignment_epoch = value.assignment_epoch;
                group.core.assignment_timestamp = value.assignment_timestamp;
            }
        }
        GroupRecord::ShareTarget { key, value: None } => {
            if let Some(group) = state.existing_mut::<ShareGroup>(&key.group_id) {
                group.core.assignment_epoch = -1;
            }
        }
        GroupRecord::ShareTargetMember { key, value: Some(value) } => {
            let topics =
                value.topic_partitions.iter().map(|topic| (topic.topic_id, topic.partitions.clone()));
            let target = Arc::new(topics.collect::<TopicPartitions>());
            if let Some(group) = state.typed_mut::<ShareGroup>(&key.group_id) {
                group.core.targets.insert(key.member_id.detached(), target);
            }
        }
        GroupRecord::ShareTargetMember { key, value: None } => {
            if let Some(group) = state.existing_mut::<ShareGroup>(&key.group_id) {
                group.core.targets.remove(&key.member_id);
            }
        }
        GroupRecord::ShareState { key, value: Some(value) } => {
            if let Some(group) = state.typed_mut::<ShareGroup>(&key.group_id) {
                group.partitions = Arc::new(StatePartitions::from_value(value));
            }
        }
        GroupRecord::ShareState { key, value: None } => {
            if let Some(group) = state.existing_mut::<ShareGroup>(&key.group_id) {
                group.partitions = Arc::default();
            }
        }
        _ => {}
    }
}

fn forget_group(state: &mut GroupsState, group: &Str) {
    if state.existing_mut::<ShareGroup>(group).is_some() {
        state.groups.remove(group);
    }
}

/// Changes a member; `create` makes it, and its group, where it is not there: after compaction, a record may come first
/// that once came second.
fn update_member(
    state: &mut GroupsState,
    group: &Str,
    id: &Str,
    create: bool,
    change: impl FnOnce(ShareMember) -> ShareMember,
) {
    let group =
        if create { state.typed_mut::<ShareGroup>(group) } else { state.existing_mut::<ShareGroup>(group) };
    let Some(group) = group else { return };
    let member = match group.core.member(id) {
        Some(member) => ShareMember::clone(member),
        None if create => ShareMember::new(id.detached()),
        None => return,
    };
    group.core.put_member(change(member));
}
