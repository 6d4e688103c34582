//! Looking at groups, and deleting them.

use strata_protocol::Str;
use strata_protocol::messages::ListGroupsRequest;
use strata_protocol::messages::delete_groups_response::DeletableGroupResult;
use strata_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use strata_protocol::messages::list_groups_response::ListedGroup;
use strata_types::ErrorCode;

use super::GroupOutcome;
use super::api::delete_result;
use super::classic::{ClassicGroup, ClassicState};
use super::state::GroupsState;

/// From here on a group that does not exist is an error (KIP-1043); before, it is described as Dead.
const DESCRIBE_VERSION_WITH_NOT_FOUND: i16 = 6;

impl GroupsState {
    pub(super) fn describe(&self, group_ids: &[Str], version: i16) -> Vec<DescribedGroup> {
        let described = group_ids.iter().map(|id| match self.group(id).map(|group| group.as_classic()) {
            Some(Some(group)) => group.describe(),
            Some(None) => unknown(id, version, format!("Group {id} is not a classic group.")),
            None => unknown(id, version, format!("Group {id} not found.")),
        });
        described.collect()
    }

    /// Filters are case-insensitive, and empty ones let everything through (KIP-518, KIP-848).
    pub(super) fn list(&self, request: &ListGroupsRequest) -> Vec<ListedGroup> {
        let lets_through = |filter: &[Str], value: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(value))
        };
        let groups = self.groups().filter(|(_, group)| {
            lets_through(&request.types_filter, group.kind().name())
                && lets_through(&request.states_filter, group.state_name())
        });
        let listed = groups.map(|(group_id, group)| ListedGroup {
            group_id: group_id.clone(),
            protocol_type: group.rules().protocol_type(),
            group_state: Str::from_static(group.state_name()),
            group_type: Str::from_static(group.kind().name()),
            ..Default::default()
        });
        listed.collect()
    }

    pub(super) fn delete_groups(
        &self,
        outcome: &mut GroupOutcome,
        group_ids: &[Str],
    ) -> Vec<DeletableGroupResult> {
        let results = group_ids.iter().map(|group_id| {
            let code = match self.group(group_id).map(|group| group.rules().check_delete()) {
                None => ErrorCode::GroupIdNotFound,
                Some(Err(code)) => code,
                Some(Ok(())) => {
                    self.delete_group(outcome, group_id);
                    ErrorCode::None
                }
            };
            delete_result(group_id.clone(), code)
        });
        results.collect()
    }
}

impl ClassicGroup {
    fn describe(&self) -> DescribedGroup {
        // What members want and have is only told of a stable group, as it is otherwise on the way out.
        let protocol = self.protocol_name.as_ref().filter(|_| self.state == ClassicState::Stable);
        let members = self.members.values().map(|member| DescribedGroupMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            member_metadata: protocol.map(|name| member.metadata(name)).unwrap_or_default(),
            member_assignment: protocol.map(|_| member.assignment.clone()).unwrap_or_default(),
            ..Default::default()
        });
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: Str::from_static(self.state.name()),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.cloned().unwrap_or_default(),
            members: members.collect(),
            ..Default::default()
        }
    }
}

fn unknown(group_id: &Str, version: i16, message: String) -> DescribedGroup {
    let dead = DescribedGroup {
        group_id: group_id.clone(),
        group_state: Str::from_static(ClassicState::Dead.name()),
        ..Default::default()
    };
    if version < DESCRIBE_VERSION_WITH_NOT_FOUND {
        return dead;
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound as i16,
        error_message: Some(Str::from(message)),
        ..dead
    }
}
