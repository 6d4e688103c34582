//! ConsumerGroupDescribe: a group, its members, what they have and what they are to have.

use std::collections::BTreeMap;

use strata_protocol::Str;
use strata_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions as Told,
};
use strata_types::PartitionId;
use uuid::Uuid;

use super::{ConsumerGroup, ConsumerMember};
use crate::group::kind::GroupType;
use crate::group::metadata::MetadataView;
use crate::group::{GroupShard, GroupsState};

/// `MemberType`: which protocol a member speaks.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

impl GroupShard {
    pub(in crate::group) fn describe_consumer(&self, state: &GroupsState, group_id: &Str) -> DescribedGroup {
        let group = match state.typed::<ConsumerGroup>(group_id) {
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
        let default = self.config.consumer.assignors.first().map(|name| Str::from(name.as_str()));
        DescribedGroup {
            group_id: group_id.clone(),
            group_state: Str::from_static(group.state_name()),
            group_epoch: group.core.epoch,
            assignment_epoch: group.core.assignment_epoch,
            assignor_name: group.preferred_assignor(None).or(default).unwrap_or_default(),
            members: group.members().map(|member| describe_member(group, member, view)).collect(),
            ..Default::default()
        }
    }
}

fn describe_member(group: &ConsumerGroup, member: &ConsumerMember, view: &dyn MetadataView) -> Member {
    let owned = member.assigned.iter().chain(member.revoking.iter());
    let target = group.target(&member.id).into_iter().flat_map(|target| target.iter());
    Member {
        member_id: member.id.clone(),
        instance_id: member.instance_id.clone(),
        rack_id: member.rack_id.clone(),
        member_epoch: member.epoch,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.topics.to_vec(),
        subscribed_topic_regex: Some(member.regex.clone()),
        assignment: told(owned.map(|(topic, partition, _)| (topic, partition)), view),
        target_assignment: told(target, view),
        member_type: if member.uses_classic_protocol() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
        ..Default::default()
    }
}

/// Topics that are gone have no name to be told by, and are left out.
fn told(partitions: impl Iterator<Item = (Uuid, PartitionId)>, view: &dyn MetadataView) -> Assignment {
    let mut topics = BTreeMap::<Uuid, Vec<PartitionId>>::new();
    partitions.for_each(|(topic, partition)| topics.entry(topic).or_default().push(partition));
    let topics = topics.into_iter().filter_map(|(topic_id, partitions)| {
        let topic_name = view.topic_by_id(topic_id)?.name;
        Some(Told { topic_id, topic_name, partitions, ..Default::default() })
    });
    Assignment { topic_partitions: topics.collect(), ..Default::default() }
}
