//! A streams group: what its records amount to.

use std::sync::Arc;

use imbl::OrdMap;
use strata_protocol::Str;
use strata_protocol::messages::streams_group_describe_response::DescribedGroup;
use strata_protocol::messages::streams_group_metadata_value::LastAssignmentConfig;
use strata_protocol::messages::streams_group_target_assignment_member_value::TaskIds;
use strata_protocol::messages::{
    StreamsGroupCurrentMemberAssignmentKey, StreamsGroupMemberMetadataKey, StreamsGroupMetadataKey,
    StreamsGroupMetadataValue, StreamsGroupTargetAssignmentMemberKey,
    StreamsGroupTargetAssignmentMemberValue, StreamsGroupTargetAssignmentMetadataKey,
    StreamsGroupTargetAssignmentMetadataValue, StreamsGroupTopologyKey, StreamsGroupTopologyValue,
};
use strata_types::{ErrorCode, TimestampMs};
use uuid::Uuid;

use super::configure::ConfiguredTopology;
use super::member::StreamsMember;
use super::tasks::{TaskId, Tasks, from_lists, to_lists};
use super::topology::Topology;
use crate::group::GroupOutcome;
use crate::group::kind::{Committer, Group, GroupKind, GroupType, OffsetAge};
use crate::group::modern::{ModernGroup, ModernType};
use crate::group::record::GroupRecord;
use crate::group::state::GroupsState;

#[derive(Debug, Clone)]
pub struct StreamsGroup {
    pub(in crate::group) core: ModernGroup<StreamsMember>,
    pub(super) topology: Option<Arc<Topology>>,
    /// The topology that the topics of the group's hash were found to fit; -1 for none.
    pub(super) validated_topology_epoch: i32,
    /// The settings that the target assignment was computed with.
    pub(super) assignment_configs: OrdMap<Str, Str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamsState {
    Empty,
    /// Topics are missing, or do not fit the topology.
    NotReady,
    Assigning,
    Reconciling,
    Stable,
}

impl StreamsState {
    const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::NotReady => "NotReady",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl StreamsGroup {
    pub fn epoch(&self) -> i32 {
        self.core.epoch
    }

    pub fn assignment_epoch(&self) -> i32 {
        self.core.assignment_epoch
    }

    pub fn members(&self) -> impl Iterator<Item = &StreamsMember> {
        self.core.members.values().map(Arc::as_ref)
    }

    pub(super) fn state(&self) -> StreamsState {
        let is_validated = |topology: &Arc<Topology>| topology.epoch == self.validated_topology_epoch;
        if self.core.members.is_empty() {
            StreamsState::Empty
        } else if !self.topology.as_ref().is_some_and(is_validated) {
            StreamsState::NotReady
        } else if self.core.epoch > self.core.assignment_epoch {
            StreamsState::Assigning
        } else if self.members().any(|member| !member.is_reconciled_to(self.core.assignment_epoch)) {
            StreamsState::Reconciling
        } else {
            StreamsState::Stable
        }
    }

    /// `configured` is preferred to the topology as it was sent, once it fits: it knows the partition counts.
    pub(super) fn describe(&self, configured: Option<&ConfiguredTopology>) -> DescribedGroup {
        let configured =
            configured.filter(|configured| configured.is_ready()).map(ConfiguredTopology::describe);
        let members =
            self.members().map(|member| member.describe(self.core.targets.get(&member.id).map(Arc::as_ref)));
        DescribedGroup {
            group_id: self.core.id.clone(),
            group_state: Str::from_static(self.state().name()),
            group_epoch: self.core.epoch,
            assignment_epoch: self.core.assignment_epoch,
            topology: configured.or_else(|| self.topology.as_ref().map(|topology| topology.describe())),
            members: members.collect(),
            ..Default::default()
        }
    }

    /// The epoch since which the member may commit for the task of this partition.
    fn assigned_since(&self, member: &StreamsMember, topic: &str, partition: i32) -> Option<i32> {
        let subtopology = self.topology.as_ref()?.reader_of(topic)?.clone();
        let task = TaskId { subtopology, partition };
        let assigned = [&member.assigned, &member.pending_revocation];
        assigned.into_iter().find_map(|tasks| tasks.active.get(&task).copied())
    }
}

impl GroupType for StreamsGroup {
    fn kind(&self) -> GroupKind {
        GroupKind::Streams
    }

    fn state_name(&self) -> &'static str {
        self.state().name()
    }

    fn protocol_type(&self) -> Str {
        Str::from_static("streams")
    }

    fn is_empty(&self) -> bool {
        self.core.members.is_empty()
    }

    fn tombstones(&self, outcome: &mut GroupOutcome) {
        let group = &self.core.id;
        let ids = || self.core.members.keys();
        ids().for_each(|id| outcome.append(current_record(group, id, None)));
        ids().for_each(|id| outcome.append(target_record(group, id, None)));
        outcome.append(assignment_record(group, None));
        ids().for_each(|id| outcome.append(member_record(group, id, None)));
        outcome.append(group_record(group, None));
        outcome.append(topology_record(group, None));
    }

    /// A newer epoch than the member's own is nobody's; an older one may be right for some of its partitions.
    fn check_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        // Tools, and producers that have no group metadata, commit as nobody.
        let is_nobody = by.member_id.is_empty() && by.instance_id.is_none();
        if (by.epoch < 0 && self.is_empty()) || (by.transactional && by.epoch == -1 && is_nobody) {
            return Ok(());
        }
        let member = self.core.member(by.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !by.transactional && by.version < COMMIT_VERSION_MIN {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if by.epoch > member.epoch || (by.epoch < member.epoch && self.topology.is_none()) {
            return Err(ErrorCode::StaleMemberEpoch);
        }
        Ok(())
    }

    fn check_commit_of(
        &self,
        by: &Committer<'_>,
        topic: &str,
        _topic_id: Uuid,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let Some(member) = self.core.member(by.member_id) else { return Ok(()) };
        if by.epoch == member.epoch {
            return Ok(());
        }
        match self.assigned_since(member, topic, partition) {
            Some(epoch) if by.epoch >= epoch => Ok(()),
            _ => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    fn check_fetch(&self, member_id: Option<&Str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id.and_then(|id| self.core.member(id)).ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        !self.is_empty() && self.topology.as_ref().is_some_and(|topology| topology.reader_of(topic).is_some())
    }

    fn offset_age(&self) -> OffsetAge {
        OffsetAge::SinceCommit
    }
}

/// Members of streams groups commit with their epoch, which earlier versions have no place for.
const COMMIT_VERSION_MIN: i16 = 9;

impl ModernType for StreamsGroup {
    const KIND: GroupKind = GroupKind::Streams;

    fn new(id: Str) -> Self {
        let mut core = ModernGroup::new(id);
        core.epoch = 1;
        core.assignment_epoch = 1;
        Self { core, topology: None, validated_topology_epoch: 0, assignment_configs: OrdMap::new() }
    }

    fn wrap(self) -> Group {
        Group::Streams(self)
    }

    fn of(group: &Group) -> Option<&Self> {
        if let Group::Streams(group) = group { Some(group) } else { None }
    }

    fn of_mut(group: &mut Group) -> Option<&mut Self> {
        if let Group::Streams(group) = group { Some(group) } else { None }
    }
}

/// Applies one of the records that streams groups are made of.
pub(in crate::group) fn replay(state: &mut GroupsState, record: &GroupRecord) {
    match record {
        GroupRecord::StreamsGroup { key, value: Some(value) } => {
            let Some(group) = state.typed_mut::<StreamsGroup>(&key.group_id) else { return };
            group.core.epoch = value.epoch;
            group.core.metadata_hash = value.metadata_hash;
            group.validated_topology_epoch = value.validated_topology_epoch;
            let configs = value.last_assignment_configs.iter().flatten();
            group.assignment_configs =
                configs.map(|config| (config.key.detached(), config.value.detached())).collect();
        }
        GroupRecord::StreamsGroup { key, value: None } => {
            let is_streams_group = state.typed::<StreamsGroup>(&key.group_id).is_ok();
            if is_streams_group {
                state.groups.remove(&key.group_id);
            }
        }
        GroupRecord::StreamsTopology { key, value } => replay_topology(state, &key.group_id, value.as_ref()),
        GroupRecord::StreamsMember { key, value: Some(value) } => {
            if let Some(group) = state.typed_mut::<StreamsGroup>(&key.group_id) {
                change_member(group, &key.member_id, |member| member.set_metadata(value));
            }
        }
        GroupRecord::StreamsMember { key, value: None } => {
            if let Some(group) = state.existing_mut::<StreamsGroup>(&key.group_id) {
                group.core.remove_member(&key.member_id);
            }
        }
        GroupRecord::StreamsCurrent { key, value } => replay_current(state, key, value.as_ref()),
        GroupRecord::StreamsTarget { key, value } => replay_assignment(state, &key.group_id, value.as_ref()),
        GroupRecord::StreamsTargetMember { key, value } => replay_target(state, key, value.as_ref()),
        _ => {}
    }
}

fn replay_topology(state: &mut GroupsState, group_id: &Str, value: Option<&StreamsGroupTopologyValue>) {
    let Some(value) = value else {
        if let Some(group) = state.existing_mut::<StreamsGroup>(group_id) {
            group.topology = None;
        }
        return;
    };
    match Topology::new(&detached(value)) {
        Ok(topology) => {
            if let Some(group) = state.typed_mut::<StreamsGroup>(group_id) {
                group.topology = Some(Arc::new(topology));
            }
        }
        // Only a topology that was looked at before is written.
        Err(error) => tracing::error!(group = %group_id, %error, "a streams group's topology cannot be read"),
    }
}

fn replay_current(
    state: &mut GroupsState,
    key: &StreamsGroupCurrentMemberAssignmentKey,
    value: Option<&strata_protocol::messages::StreamsGroupCurrentMemberAssignmentValue>,
) {
    let group = match value {
        Some(_) => state.typed_mut::<StreamsGroup>(&key.group_id),
        None => state
            .existing_mut::<StreamsGroup>(&key.group_id)
            .filter(|group| group.core.member(&key.member_id).is_some()),
    };
    if let Some(group) = group {
        change_member(group, &key.member_id, |member| member.set_assignment(value));
    }
}

fn replay_assignment(
    state: &mut GroupsState,
    group_id: &Str,
    value: Option<&StreamsGroupTargetAssignmentMetadataValue>,
) {
    let (group, epoch, timestamp) = match value {
        Some(value) => {
            (state.typed_mut::<StreamsGroup>(group_id), value.assignment_epoch, value.assignment_timestamp)
        }
        None => (state.existing_mut::<StreamsGroup>(group_id), -1, 0),
    };
    if let Some(group) = group {
        (group.core.assignment_epoch, group.core.assignment_timestamp) = (epoch, timestamp);
    }
}

fn replay_target(
    state: &mut GroupsState,
    key: &StreamsGroupTargetAssignmentMemberKey,
    value: Option<&StreamsGroupTargetAssignmentMemberValue>,
) {
    let Some(value) = value else {
        if let Some(group) = state.existing_mut::<StreamsGroup>(&key.group_id) {
            group.core.targets.remove(&key.member_id);
        }
        return;
    };
    let set = |lists: &[TaskIds]| {
        let ids: Vec<Str> = lists.iter().map(|list| list.subtopology_id.detached()).collect();
        from_lists(ids.iter().zip(lists.iter().map(|list| list.partitions.as_slice())))
    };
    let tasks = Tasks {
        active: set(&value.active_tasks),
        standby: set(&value.standby_tasks),
        warmup: set(&value.warmup_tasks),
    };
    if let Some(group) = state.typed_mut::<StreamsGroup>(&key.group_id) {
        group.core.targets.insert(key.member_id.detached(), Arc::new(tasks));
    }
}

fn change_member(group: &mut StreamsGroup, id: &Str, change: impl FnOnce(&mut StreamsMember)) {
    let known = group.core.member(id).map(|member| member.as_ref().clone());
    let mut member = known.unwrap_or_else(|| StreamsMember::new(id.detached()));
    change(&mut member);
    group.core.put_member(member);
}

/// A copy with strings of its own, which does not keep a request's frame alive.
fn detached(value: &StreamsGroupTopologyValue) -> StreamsGroupTopologyValue {
    use strata_protocol::Message;
    let copy = value.to_bytes(0).ok().and_then(|bytes| StreamsGroupTopologyValue::from_bytes(bytes, 0).ok());
    copy.unwrap_or_else(|| value.clone())
}

pub(super) fn group_record(group: &Str, value: Option<StreamsGroupMetadataValue>) -> GroupRecord {
    GroupRecord::StreamsGroup { key: StreamsGroupMetadataKey { group_id: group.clone() }, value }
}

pub(super) fn group_value(
    epoch: i32,
    metadata_hash: i64,
    validated_topology_epoch: i32,
    configs: &OrdMap<Str, Str>,
) -> StreamsGroupMetadataValue {
    let configs = configs.iter().map(|(key, value)| LastAssignmentConfig {
        key: key.clone(),
        value: value.clone(),
        ..Default::default()
    });
    StreamsGroupMetadataValue {
        epoch,
        metadata_hash,
        validated_topology_epoch,
        last_assignment_configs: Some(configs.collect()),
        ..Default::default()
    }
}

pub(super) fn topology_record(group: &Str, value: Option<StreamsGroupTopologyValue>) -> GroupRecord {
    GroupRecord::StreamsTopology { key: StreamsGroupTopologyKey { group_id: group.clone() }, value }
}

pub(super) fn member_record(group: &Str, id: &Str, member: Option<&StreamsMember>) -> GroupRecord {
    let key = StreamsGroupMemberMetadataKey { group_id: group.clone(), member_id: id.clone() };
    GroupRecord::StreamsMember { key, value: member.map(StreamsMember::metadata_record) }
}

pub(super) fn current_record(group: &Str, id: &Str, member: Option<&StreamsMember>) -> GroupRecord {
    let key = StreamsGroupCurrentMemberAssignmentKey { group_id: group.clone(), member_id: id.clone() };
    GroupRecord::StreamsCurrent { key, value: member.map(StreamsMember::assignment_record) }
}

pub(super) fn target_record(group: &Str, id: &Str, tasks: Option<&Tasks>) -> GroupRecord {
    let key = StreamsGroupTargetAssignmentMemberKey { group_id: group.clone(), member_id: id.clone() };
    let lists = |tasks: &std::collections::BTreeSet<TaskId>| {
        let lists = to_lists(tasks).into_iter();
        lists
            .map(|(subtopology_id, partitions)| TaskIds { subtopology_id, partitions, ..Default::default() })
            .collect()
    };
    let value = tasks.map(|tasks| StreamsGroupTargetAssignmentMemberValue {
        active_tasks: lists(&tasks.active),
        standby_tasks: lists(&tasks.standby),
        warmup_tasks: lists(&tasks.warmup),
        ..Default::default()
    });
    GroupRecord::StreamsTargetMember { key, value }
}

/// The target assignment's epoch, and when it was computed.
pub(super) fn assignment_record(group: &Str, at: Option<(i32, TimestampMs)>) -> GroupRecord {
    let key = StreamsGroupTargetAssignmentMetadataKey { group_id: group.clone() };
    let value =
        at.map(|(assignment_epoch, assignment_timestamp)| StreamsGroupTargetAssignmentMetadataValue {
            assignment_epoch,
            assignment_timestamp,
            ..Default::default()
        });
    GroupRecord::StreamsTarget { key, value }
}
