//! The record of a classic group: one for the whole of it.

use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::messages::group_metadata_value::MemberMetadata;
use strata_protocol::messages::{GroupMetadataKey, GroupMetadataValue};

use super::{ClassicGroup, ClassicState, Member};
use crate::group::GroupRecord;

/// The record that brings the group back as it is, if its members are those of a generation that has its assignment.
pub(in crate::group) fn group_record(group: &ClassicGroup) -> GroupRecord {
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

pub(in crate::group) fn loaded_group(key: &GroupMetadataKey, value: &GroupMetadataValue) -> ClassicGroup {
    let state_since = Some(value.current_state_timestamp).filter(|at| *at != -1);
    let mut group = ClassicGroup::new(key.group.detached(), state_since);
    group.state = if value.members.is_empty() { ClassicState::Empty } else { ClassicState::Stable };
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
