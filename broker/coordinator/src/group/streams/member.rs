//! A member of a streams group: one thread of one process of an application.

use std::collections::{BTreeMap, BTreeSet};

use strata_protocol::Str;
use strata_protocol::messages::streams_group_current_member_assignment_value::TaskIds;
use strata_protocol::messages::streams_group_describe_response as described;
use strata_protocol::messages::streams_group_member_metadata_value::{Endpoint, KeyValue};
use strata_protocol::messages::{
    StreamsGroupCurrentMemberAssignmentValue, StreamsGroupHeartbeatRequest, StreamsGroupMemberMetadataValue,
};

use super::tasks::{AssignedTasks, TaskId, Tasks, from_lists, to_lists};
use crate::group::api::ClientContext;
use crate::group::kind::GroupKind;
use crate::group::modern::ModernMember;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it is to have.
    Stable,
    /// It has yet to say that it gave some tasks up.
    UnrevokedTasks,
    /// Some of its tasks are still somebody else's.
    UnreleasedTasks,
    /// Written by a newer version.
    Unknown,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StreamsMember {
    pub id: Str,
    pub epoch: i32,
    pub previous_epoch: i32,
    pub state: MemberState,
    pub(super) instance_id: Option<Str>,
    pub(super) rack_id: Option<Str>,
    pub(super) client_id: Str,
    pub(super) client_host: Str,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) topology_epoch: i32,
    pub process_id: Str,
    /// Where its interactive queries are served.
    pub(super) user_endpoint: Option<(Str, u16)>,
    pub(super) client_tags: BTreeMap<Str, Str>,
    pub assigned: AssignedTasks,
    pub pending_revocation: AssignedTasks,
}

impl ModernMember for StreamsMember {
    type Target = Tasks;
    const KIND: GroupKind = GroupKind::Streams;

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

    /// What is read is the topology's business.
    fn subscribed_topics(&self) -> &[Str] {
        &[]
    }
}

impl StreamsMember {
    pub(super) fn new(id: Str) -> Self {
        Self {
            id,
            epoch: 0,
            previous_epoch: 0,
            state: MemberState::Stable,
            instance_id: None,
            rack_id: None,
            client_id: Str::default(),
            client_host: Str::default(),
            rebalance_timeout_ms: -1,
            topology_epoch: -1,
            process_id: Str::default(),
            user_endpoint: None,
            client_tags: BTreeMap::new(),
            assigned: AssignedTasks::default(),
            pending_revocation: AssignedTasks::default(),
        }
    }

    /// What a heartbeat says of its sender; what it leaves out stays as it was.
    pub(super) fn with_request(
        &self,
        request: &StreamsGroupHeartbeatRequest,
        client: &ClientContext,
    ) -> Self {
        let mut member = self.clone();
        member.client_id = client.client_id.clone();
        member.client_host = client.client_host.clone();
        if let Some(rack_id) = &request.rack_id {
            member.rack_id = Some(rack_id.clone());
        }
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(topology) = &request.topology {
            member.topology_epoch = topology.epoch;
        }
        if let Some(process_id) = &request.process_id {
            member.process_id = process_id.clone();
        }
        if let Some(endpoint) = &request.user_endpoint {
            member.user_endpoint = Some((endpoint.host.clone(), endpoint.port));
        }
        if let Some(tags) = &request.client_tags {
            member.client_tags = tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        }
        member
    }

    /// At an epoch, in a state, with these tasks.
    pub(super) fn moved_to(
        &self,
        epoch: i32,
        state: MemberState,
        assigned: AssignedTasks,
        pending_revocation: AssignedTasks,
    ) -> Self {
        Self { epoch, previous_epoch: self.epoch, state, assigned, pending_revocation, ..self.clone() }
    }

    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    pub(super) fn metadata_record(&self) -> StreamsGroupMemberMetadataValue {
        let tags = self.client_tags.iter().map(|(key, value)| KeyValue {
            key: key.clone(),
            value: value.clone(),
            ..Default::default()
        });
        StreamsGroupMemberMetadataValue {
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            topology_epoch: self.topology_epoch,
            process_id: self.process_id.clone(),
            user_endpoint: self.user_endpoint.clone().map(|(host, port)| Endpoint {
                host,
                port,
                ..Default::default()
            }),
            client_tags: tags.collect(),
            ..Default::default()
        }
    }

    /// Copies what the record says, so that it does not keep a request's frame alive.
    pub(super) fn set_metadata(&mut self, value: &StreamsGroupMemberMetadataValue) {
        self.instance_id = value.instance_id.as_ref().map(Str::detached);
        self.rack_id = value.rack_id.as_ref().map(Str::detached);
        self.client_id = value.client_id.detached();
        self.client_host = value.client_host.detached();
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.topology_epoch = value.topology_epoch;
        self.process_id = value.process_id.detached();
        self.user_endpoint =
            value.user_endpoint.as_ref().map(|endpoint| (endpoint.host.detached(), endpoint.port));
        self.client_tags =
            value.client_tags.iter().map(|tag| (tag.key.detached(), tag.value.detached())).collect();
    }

    pub(super) fn assignment_record(&self) -> StreamsGroupCurrentMemberAssignmentValue {
        StreamsGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.to_record(),
            active_tasks: active_lists(&self.assigned.active),
            standby_tasks: lists(&self.assigned.standby),
            warmup_tasks: lists(&self.assigned.warmup),
            active_tasks_pending_revocation: active_lists(&self.pending_revocation.active),
            standby_tasks_pending_revocation: lists(&self.pending_revocation.standby),
            warmup_tasks_pending_revocation: lists(&self.pending_revocation.warmup),
            ..Default::default()
        }
    }

    /// No record: a tombstone takes tasks and epochs away.
    pub(super) fn set_assignment(&mut self, value: Option<&StreamsGroupCurrentMemberAssignmentValue>) {
        let Some(value) = value else {
            (self.epoch, self.previous_epoch) = (-1, -1);
            (self.assigned, self.pending_revocation) = Default::default();
            return;
        };
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_record(value.state);
        self.assigned = AssignedTasks {
            active: from_active_lists(&value.active_tasks, value.member_epoch),
            standby: from_record_lists(&value.standby_tasks),
            warmup: from_record_lists(&value.warmup_tasks),
        };
        self.pending_revocation = AssignedTasks {
            active: from_active_lists(&value.active_tasks_pending_revocation, value.member_epoch),
            standby: from_record_lists(&value.standby_tasks_pending_revocation),
            warmup: from_record_lists(&value.warmup_tasks_pending_revocation),
        };
    }

    pub(super) fn describe(&self, target: Option<&Tasks>) -> described::Member {
        let assignment = described::Assignment {
            active_tasks: described_lists(self.assigned.active.keys()),
            standby_tasks: described_lists(&self.assigned.standby),
            warmup_tasks: described_lists(&self.assigned.warmup),
            ..Default::default()
        };
        let target_assignment = target.map_or_else(Default::default, |target| described::Assignment {
            active_tasks: described_lists(&target.active),
            standby_tasks: described_lists(&target.standby),
            warmup_tasks: described_lists(&target.warmup),
            ..Default::default()
        });
        let endpoint = self.user_endpoint.clone().map(|(host, port)| described::Endpoint {
            host,
            port,
            ..Default::default()
        });
        let tags = self.client_tags.iter().map(|(key, value)| described::KeyValue {
            key: key.clone(),
            value: value.clone(),
            ..Default::default()
        });
        described::Member {
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance_id.clone(),
            rack_id: self.rack_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            topology_epoch: self.topology_epoch,
            process_id: self.process_id.clone(),
            user_endpoint: endpoint,
            client_tags: tags.collect(),
            assignment,
            target_assignment,
            ..Default::default()
        }
    }
}

impl MemberState {
    const fn to_record(self) -> i8 {
        match self {
            Self::Stable => 1,
            Self::UnrevokedTasks => 2,
            Self::UnreleasedTasks => 3,
            Self::Unknown => 127,
        }
    }

    const fn from_record(state: i8) -> Self {
        match state {
            1 => Self::Stable,
            2 => Self::UnrevokedTasks,
            3 => Self::UnreleasedTasks,
            _ => Self::Unknown,
        }
    }
}

fn lists(tasks: &BTreeSet<TaskId>) -> Vec<TaskIds> {
    let lists = to_lists(tasks).into_iter();
    lists
        .map(|(subtopology_id, partitions)| TaskIds { subtopology_id, partitions, ..Default::default() })
        .collect()
}

fn active_lists(tasks: &BTreeMap<TaskId, i32>) -> Vec<TaskIds> {
    let mut epochs = tasks.values().copied();
    let lists = to_lists(tasks.keys()).into_iter().map(|(subtopology_id, partitions)| {
        let assignment_epochs = Some(epochs.by_ref().take(partitions.len()).collect());
        TaskIds { subtopology_id, partitions, assignment_epochs, ..Default::default() }
    });
    lists.collect()
}

fn from_record_lists(lists: &[TaskIds]) -> BTreeSet<TaskId> {
    let detached: Vec<Str> = lists.iter().map(|list| list.subtopology_id.detached()).collect();
    from_lists(detached.iter().zip(lists.iter().map(|list| list.partitions.as_slice())))
}

/// Records of before there were epochs, or with the wrong number of them, stand for the member's own.
fn from_active_lists(lists: &[TaskIds], member_epoch: i32) -> BTreeMap<TaskId, i32> {
    let mut tasks = BTreeMap::new();
    for list in lists {
        let subtopology = list.subtopology_id.detached();
        let epochs = list.assignment_epochs.as_ref().filter(|epochs| epochs.len() == list.partitions.len());
        for (at, partition) in list.partitions.iter().enumerate() {
            let epoch = epochs.map_or(member_epoch, |epochs| epochs[at]);
            tasks.insert(TaskId { subtopology: subtopology.clone(), partition: *partition }, epoch);
        }
    }
    tasks
}

fn described_lists<'a>(tasks: impl IntoIterator<Item = &'a TaskId>) -> Vec<described::TaskIds> {
    let lists = to_lists(tasks).into_iter();
    lists
        .map(|(subtopology_id, partitions)| described::TaskIds {
            subtopology_id,
            partitions,
            ..Default::default()
        })
        .collect()
}
