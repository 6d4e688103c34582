//! The partitions whose state the share coordinator keeps for a group: how they get there, and how they leave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::ShareGroupStatePartitionMetadataValue;
use strata_protocol::messages::share_group_state_partition_metadata_value::{TopicInfo, TopicPartitionsInfo};
use strata_types::{ErrorCode, PartitionId, TimestampMs};
use uuid::Uuid;

use super::api::{GroupAction, ShareTopic};
use super::record::{epoch_record, state_record};
use super::{ShareGroup, ShareMember};
use crate::group::kind::{Failure, GroupType};
use crate::group::{GroupOutcome, GroupShard, MetadataView};

/// A partition that is to be initialized is asked for again after this long.
const INITIALIZE_RETRY_MS: TimestampMs = 30_000;

/// One topic's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    name: Str,
    partitions: BTreeSet<PartitionId>,
}

type Topics = BTreeMap<Uuid, Kept>;

/// Which partitions are kept, are about to be, and are about to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatePartitions {
    initializing: Topics,
    initialized: Topics,
    deleting: BTreeMap<Uuid, Str>,
}

impl StatePartitions {
    /// A topic's partitions that are kept.
    pub fn initialized(&self, topic: Uuid) -> BTreeSet<PartitionId> {
        self.initialized.get(&topic).map(|kept| kept.partitions.clone()).unwrap_or_default()
    }

    /// All partitions that the share coordinator may know something of.
    fn known(&self) -> Vec<ShareTopic> {
        let mut known = self.initialized.clone();
        for (id, topic) in &self.initializing {
            add(&mut known, *id, &topic.name, topic.partitions.iter().copied());
        }
        let topics = known.into_iter().map(|(id, kept)| ShareTopic {
            id,
            name: kept.name,
            partitions: kept.partitions.into_iter().collect(),
        });
        topics.collect()
    }

    fn is_known(&self, topic: Uuid, partition: PartitionId) -> bool {
        let has =
            |topics: &Topics| topics.get(&topic).is_some_and(|kept| kept.partitions.contains(&partition));
        has(&self.initialized) || has(&self.initializing)
    }

    /// Without topics that are gone.
    fn existing(&self, view: &dyn MetadataView) -> Self {
        let mut existing = self.clone();
        let exists = |id: &Uuid| view.topic_by_id(*id).is_some();
        existing.initialized.retain(|id, _| exists(id));
        existing.initializing.retain(|id, _| exists(id));
        existing.deleting.retain(|id, _| exists(id));
        existing
    }

    pub(super) fn to_value(&self) -> ShareGroupStatePartitionMetadataValue {
        let list = |topics: &Topics| {
            let info = topics.iter().map(|(id, kept)| TopicPartitionsInfo {
                topic_id: *id,
                topic_name: kept.name.clone(),
                partitions: kept.partitions.iter().copied().collect(),
                ..Default::default()
            });
            info.collect()
        };
        let deleting = self.deleting.iter().map(|(id, name)| TopicInfo {
            topic_id: *id,
            topic_name: name.clone(),
            ..Default::default()
        });
        ShareGroupStatePartitionMetadataValue {
            initializing_topics: list(&self.initializing),
            initialized_topics: list(&self.initialized),
            deleting_topics: deleting.collect(),
            ..Default::default()
        }
    }

    pub(super) fn from_value(value: &ShareGroupStatePartitionMetadataValue) -> Self {
        let topics = |list: &[TopicPartitionsInfo]| -> Topics {
            let kept = |info: &TopicPartitionsInfo| Kept {
                name: info.topic_name.detached(),
                partitions: info.partitions.iter().copied().collect(),
            };
            list.iter().map(|info| (info.topic_id, kept(info))).collect()
        };
        let deleting = value.deleting_topics.iter().map(|info| (info.topic_id, info.topic_name.detached()));
        Self {
            initializing: topics(&value.initializing_topics),
            initialized: topics(&value.initialized_topics),
            deleting: deleting.collect(),
        }
    }
}

fn add(topics: &mut Topics, id: Uuid, name: &Str, partitions: impl Iterator<Item = PartitionId>) {
    let kept = topics.entry(id).or_insert_with(|| Kept { name: name.clone(), partitions: BTreeSet::new() });
    kept.partitions.extend(partitions);
}

fn remove(topics: &mut Topics, id: Uuid, partition: PartitionId) {
    if let Some(kept) = topics.get_mut(&id) {
        kept.partitions.remove(&partition);
        if kept.partitions.is_empty() {
            topics.remove(&id);
        }
    }
}

impl GroupShard {
    /// Has the share coordinator keep the state of what `member` subscribes to and nobody did before.
    pub(super) fn initialize_share_state(
        &mut self,
        now: TimestampMs,
        group: &ShareGroup,
        member: &ShareMember,
        epoch: i32,
        outcome: &mut GroupOutcome,
    ) {
        let view = self.metadata.view();
        let mut next = group.partitions.existing(view);
        for topic in member.topics.iter().filter_map(|name| view.topic(name)) {
            let fresh = (0..topic.partitions).filter(|partition| !next.is_known(topic.id, *partition));
            let fresh: Vec<_> = fresh.collect();
            if !fresh.is_empty() && !next.deleting.contains_key(&topic.id) {
                add(&mut next.initializing, topic.id, &topic.name, fresh.into_iter());
            }
        }
        let is_new = next != *group.partitions;
        if is_new {
            outcome.append(state_record(&group.core.id, &next));
        }
        let asked_at = self.share_initializing.get(&group.core.id).copied();
        let is_due = is_new || asked_at.is_none_or(|at| now >= at + INITIALIZE_RETRY_MS);
        if next.initializing.is_empty() || !is_due {
            return;
        }
        self.share_initializing.insert(group.core.id.clone(), now);
        let pairs = next.initializing.iter();
        let pairs = pairs.flat_map(|(id, kept)| kept.partitions.iter().map(|partition| (*id, *partition)));
        outcome.act(GroupAction::InitializeShareState {
            group_id: group.core.id.clone(),
            state_epoch: epoch,
            partitions: pairs.collect(),
        });
    }

    /// What became of it. Failed ones are asked for again by a later heartbeat.
    pub(super) fn share_state_initialized(
        &mut self,
        group_id: &Str,
        done: &[(Uuid, PartitionId)],
        failed: &[(Uuid, PartitionId)],
        outcome: &mut GroupOutcome,
    ) -> ErrorCode {
        let Ok(group) = self.state.typed::<ShareGroup>(group_id) else { return ErrorCode::GroupIdNotFound };
        let mut next = StatePartitions::clone(&group.partitions);
        for (topic, partition) in done {
            let name = next.initializing.get(topic).map(|kept| kept.name.clone());
            if let Some(name) = name {
                add(&mut next.initialized, *topic, &name, std::iter::once(*partition));
            }
            remove(&mut next.initializing, *topic, *partition);
        }
        failed.iter().for_each(|(topic, partition)| remove(&mut next.initializing, *topic, *partition));
        if next != *group.partitions {
            outcome.append(state_record(group_id, &next));
        }
        ErrorCode::None
    }

    /// Partitions whose state is to be made anew; the group has no members, and is made if there is none, as in Kafka.
    /// Answers the state epoch.
    pub(super) fn alter_share_state(
        &self,
        group_id: &Str,
        topics: &[ShareTopic],
        outcome: &mut GroupOutcome,
    ) -> Result<i32, Failure> {
        let group = self.share_group_for(group_id, true)?;
        if !group.is_empty() {
            return Err(not_empty(group_id));
        }
        if self.state.group(group_id).is_none() {
            outcome.append(epoch_record(group_id, group.core.epoch, 0));
        }
        let mut next = StatePartitions::clone(&group.partitions);
        for topic in topics {
            for partition in &topic.partitions {
                remove(&mut next.initialized, topic.id, *partition);
            }
            add(&mut next.initializing, topic.id, &topic.name, topic.partitions.iter().copied());
        }
        outcome.append(state_record(group_id, &next));
        Ok(group.core.epoch)
    }

    /// Topics whose state is to go; the group has no members. Answers those of which there is any.
    pub(super) fn delete_share_state(
        &self,
        group_id: &Str,
        topics: &[(Uuid, Str)],
        outcome: &mut GroupOutcome,
    ) -> Result<Vec<ShareTopic>, Failure> {
        let group = self.empty_share_group(group_id)?;
        let wanted: BTreeSet<Uuid> = topics.iter().map(|(id, _)| *id).collect();
        let mut known = group.partitions.known();
        known.retain(|topic| wanted.contains(&topic.id));
        let mut next = StatePartitions::clone(&group.partitions);
        for topic in &known {
            next.initialized.remove(&topic.id);
            next.initializing.remove(&topic.id);
            next.deleting.insert(topic.id, topic.name.clone());
        }
        if next != *group.partitions {
            outcome.append(state_record(group_id, &next));
        }
        Ok(known)
    }

    pub(super) fn share_state_deleted(
        &self,
        group_id: &Str,
        topic_ids: &[Uuid],
        outcome: &mut GroupOutcome,
    ) -> ErrorCode {
        let Ok(group) = self.state.typed::<ShareGroup>(group_id) else { return ErrorCode::GroupIdNotFound };
        let mut next = StatePartitions::clone(&group.partitions);
        next.deleting.retain(|id, _| !topic_ids.contains(id));
        if next != *group.partitions {
            outcome.append(state_record(group_id, &next));
        }
        ErrorCode::None
    }

    fn empty_share_group(&self, group_id: &Str) -> Result<&ShareGroup, Failure> {
        let group = self.state.typed::<ShareGroup>(group_id)?;
        if !group.is_empty() {
            return Err(not_empty(group_id));
        }
        Ok(group)
    }
}

fn not_empty(group_id: &Str) -> Failure {
    Failure::new(ErrorCode::NonEmptyGroup, format!("Group {group_id} is not empty."))
}

/// Which partitions' state is kept for a group.
pub(super) fn known(
    state: &crate::group::GroupsState,
    group_id: &Str,
    if_empty: bool,
) -> Result<Vec<ShareTopic>, Failure> {
    let group = state.typed::<ShareGroup>(group_id)?;
    if if_empty && !group.is_empty() {
        return Err(not_empty(group_id));
    }
    let partitions: &Arc<StatePartitions> = &group.partitions;
    Ok(partitions.known())
}
