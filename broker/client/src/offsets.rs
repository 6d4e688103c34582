//! A group's committed offsets: OffsetFetch and OffsetCommit.

use std::collections::HashMap;

use strata_protocol::Str;
use strata_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use strata_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use strata_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use strata_types::{LeaderEpoch, Offset, TopicName, TopicPartition};

use crate::client::{Client, CoordinatorType};
use crate::error::{ClientError, Result};

/// Who commits. The default stands outside the group's generations.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) generation: i32,
    pub(crate) member_id: Str,
    pub(crate) group_instance_id: Option<Str>,
}

impl Default for Member {
    fn default() -> Self {
        Self { generation: -1, member_id: Str::default(), group_instance_id: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// The committed offsets of some partitions, or of all that have one. Partitions without one are left out.
pub(crate) async fn fetch(
    client: &Client,
    group: &str,
    partitions: Option<&[TopicPartition]>,
    member: Option<&Member>,
) -> Result<HashMap<TopicPartition, Committed>> {
    let topics = partitions.map(|partitions| {
        let topic = |(name, indexes): (&TopicName, Vec<i32>)| OffsetFetchRequestTopics {
            name: name.as_str().into(),
            partition_indexes: indexes,
            ..Default::default()
        };
        by_topic(partitions, |partition| (partition, partition.partition)).into_iter().map(topic).collect()
    });
    let group_request = OffsetFetchRequestGroup {
        group_id: group.into(),
        member_id: member.map(|member| member.member_id.clone()),
        member_epoch: -1,
        topics,
        ..Default::default()
    };
    let request =
        OffsetFetchRequest { groups: vec![group_request], require_stable: true, ..Default::default() };
    let code = |answer: &OffsetFetchResponse| answer.groups.first().map_or(0, |group| group.error_code);
    let answer = client.call_coordinator(CoordinatorType::Group, group, &request, code).await?;
    let answer = answer.groups.into_iter().next().ok_or(ClientError::Incomplete("the group"))?;
    ClientError::check(answer.error_code)?;
    let mut found = HashMap::new();
    for topic in answer.topics {
        let Ok(name) = TopicName::new(&topic.name) else { continue };
        for partition in topic.partitions {
            ClientError::check(partition.error_code)?;
            if partition.committed_offset >= 0 {
                let committed = Committed {
                    offset: Offset(partition.committed_offset),
                    leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                };
                found.insert(TopicPartition::new(name.clone(), partition.partition_index), committed);
            }
        }
    }
    Ok(found)
}

/// Commits offsets. The first partition's error is the call's.
pub(crate) async fn commit(
    client: &Client,
    group: &str,
    member: &Member,
    offsets: &HashMap<TopicPartition, Offset>,
) -> Result<()> {
    let partition = |(partition, offset): (i32, Offset)| OffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset.0,
        committed_metadata: Some(Str::default()),
        ..Default::default()
    };
    let entries = by_topic(offsets, |(partition, offset)| (partition, (partition.partition, *offset)));
    let topic = |(name, entries): (&TopicName, Vec<(i32, Offset)>)| OffsetCommitRequestTopic {
        name: name.as_str().into(),
        partitions: entries.into_iter().map(partition).collect(),
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: member.generation,
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        topics: entries.into_iter().map(topic).collect(),
        ..Default::default()
    };
    let first_error = |answer: &OffsetCommitResponse| {
        let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
        codes.find(|code| *code != 0).unwrap_or(0)
    };
    let answer = client.call_coordinator(CoordinatorType::Group, group, &request, first_error).await?;
    ClientError::check(first_error(&answer))
}

/// Entries gathered by topic, in no particular order.
fn by_topic<'a, T, E>(
    entries: impl IntoIterator<Item = T>,
    split: impl Fn(T) -> (&'a TopicPartition, E),
) -> HashMap<&'a TopicName, Vec<E>> {
    let mut topics: HashMap<_, Vec<E>> = HashMap::new();
    for entry in entries {
        let (partition, entry) = split(entry);
        topics.entry(&partition.topic).or_default().push(entry);
    }
    topics
}
