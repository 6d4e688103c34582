//! ShareGroupDescribe: a group, its members, and what they have.

use strata_protocol::Str;
use strata_protocol::messages::share_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions as Told,
};

use super::{ASSIGNOR, ShareGroup, ShareMember};
use crate::group::kind::GroupType;
use crate::group::{GroupShard, GroupsState, MetadataView};

impl GroupShard {
    pub(in crate::group) fn describe_share(&self, state: &GroupsState, group_id: &Str) -> DescribedGroup {
        let group = match state.typed::<ShareGroup>(group_id) {
            Ok(group) => group,
            Err(failure) => {
                return DescribedGroup {
                    group_id: group_id.clone(),
                    error_code: failure.code as i16,
                    error_message: Some(failure.message),
                    ..Default::default()
                };
            }
        };
        let view = self.metadata.view();
        DescribedGroup {
            group_id: group_id.clone(),
            group_state: Str::from_static(group.state_name()),
            group_epoch: group.core.epoch,
            assignment_epoch: group.core.assignment_epoch,
            assignor_name: Str::from_static(ASSIGNOR),
            members: group.members().map(|member| describe_member(member, view)).collect(),
            ..Default::default()
        }
    }
}

/// Topics that are gone have no name to be told by, and are left out.
fn describe_member(member: &ShareMember, view: &dyn MetadataView) -> Member {
    let topics = member.assigned.topics().filter_map(|(topic_id, partitions)| {
        let topic_name = view.topic_by_id(topic_id)?.name;
        let partitions = partitions.iter().copied().collect();
        Some(Told { topic_id, topic_name, partitions, ..Default::default() })
    });
    Member {
        member_id: member.id.clone(),
        rack_id: member.rack_id.clone(),
        member_epoch: member.epoch,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.topics.to_vec(),
        assignment: Assignment { topic_partitions: topics.collect(), ..Default::default() },
        ..Default::default()
    }
}
