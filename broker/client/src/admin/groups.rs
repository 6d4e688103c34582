//! Groups: listed, described, deleted; their offsets read and set.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use strata_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, DescribeGroupsResponse, ListGroupsRequest,
    OffsetDeleteRequest, OffsetDeleteResponse,
};
use strata_protocol::messages::{DeleteGroupsResponse, offset_delete_request as offset_delete};
use strata_types::{Offset, TopicName, TopicPartition};

use super::Admin;
use crate::client::CoordinatorType;
use crate::error::{ClientError, Result};
use crate::offsets;

/// A group as its coordinator lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    pub group_id: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// `Empty`, `Stable`, …; empty from a broker that does not say.
    pub state: String,
    /// `classic`, `consumer`, `share` or `streams`; empty from a broker that does not say.
    pub group_type: String,
}

/// A classic group.
#[derive(Clone, Debug)]
pub struct DescribedGroup {
    pub group_id: String,
    pub state: String,
    pub protocol_type: String,
    /// The assignor in use.
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, Debug)]
pub struct DescribedMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    /// What it is assigned, in the protocol type's own format.
    pub assignment: Bytes,
}

impl Admin {
    /// All groups, of all brokers.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>> {
        self.client.refresh(Some(&[])).await?;
        let mut groups = BTreeMap::new();
        for node in self.client.metadata().brokers.keys() {
            let answer = self.client.call(*node, &ListGroupsRequest::default()).await?;
            ClientError::check(answer.error_code)?;
            for group in answer.groups {
                let listed = ListedGroup {
                    group_id: group.group_id.to_string(),
                    protocol_type: group.protocol_type.to_string(),
                    state: group.group_state.to_string(),
                    group_type: group.group_type.to_string(),
                };
                groups.insert(listed.group_id.clone(), listed);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// A classic group with its members.
    pub async fn describe_group(&self, group: &str) -> Result<DescribedGroup> {
        let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
        let code =
            |answer: &DescribeGroupsResponse| answer.groups.first().map_or(0, |group| group.error_code);
        let answer = self.client.call_coordinator(CoordinatorType::Group, group, &request, code).await?;
        let found = answer.groups.into_iter().next().ok_or(ClientError::Incomplete("the group"))?;
        ClientError::check_with(found.error_code, found.error_message.as_deref())?;
        let members = found.members.into_iter().map(|member| DescribedMember {
            member_id: member.member_id.to_string(),
            group_instance_id: member.group_instance_id.map(String::from),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            assignment: member.member_assignment,
        });
        Ok(DescribedGroup {
            group_id: found.group_id.to_string(),
            state: found.group_state.to_string(),
            protocol_type: found.protocol_type.to_string(),
            protocol: found.protocol_data.to_string(),
            members: members.collect(),
        })
    }

    /// Deletes a group without members, with its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let request = DeleteGroupsRequest { groups_names: vec![group.into()], ..Default::default() };
        let code = |answer: &DeleteGroupsResponse| answer.results.first().map_or(0, |group| group.error_code);
        let answer = self.client.call_coordinator(CoordinatorType::Group, group, &request, code).await?;
        let result = answer.results.first().ok_or(ClientError::Incomplete("the group"))?;
        ClientError::check_with(result.error_code, result.error_message.as_deref())
    }

    /// All offsets that a group has committed.
    pub async fn group_offsets(&self, group: &str) -> Result<HashMap<TopicPartition, Offset>> {
        let all = offsets::fetch(&self.client, group, None, None).await?;
        Ok(all.into_iter().map(|(partition, committed)| (partition, committed.offset)).collect())
    }

    /// Sets offsets of a group that has no members at the moment.
    pub async fn alter_group_offsets(&self, group: &str, to: &HashMap<TopicPartition, Offset>) -> Result<()> {
        offsets::commit(&self.client, group, &offsets::Member::default(), to).await
    }

    /// Forgets a group's offsets of one topic.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        topic: &TopicName,
        partitions: &[i32],
    ) -> Result<()> {
        let partition = |index: &i32| offset_delete::OffsetDeleteRequestPartition { partition_index: *index };
        let request = OffsetDeleteRequest {
            group_id: group.into(),
            topics: vec![offset_delete::OffsetDeleteRequestTopic {
                name: topic.as_str().into(),
                partitions: partitions.iter().map(partition).collect(),
            }],
        };
        let code = |answer: &OffsetDeleteResponse| answer.error_code;
        let answer = self.client.call_coordinator(CoordinatorType::Group, group, &request, code).await?;
        ClientError::check(answer.error_code)?;
        let mut results = answer.topics.iter().flat_map(|topic| &topic.partitions);
        results.try_for_each(|result| ClientError::check(result.error_code))
    }
}
