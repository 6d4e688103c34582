//! OffsetFetch's two shapes: one group at the top (v1 to v7), or a list of groups (v8 and later).

use strata_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use strata_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use strata_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

/// From here on a request has several groups.
const VERSION_WITH_GROUPS: i16 = 8;

/// The groups that a request asks for.
pub fn groups(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= VERSION_WITH_GROUPS {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        topics.collect()
    });
    vec![OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }]
}

/// The response in the version's shape. `asked` is what [`groups`] gave: v1 has no place for a group's error but its
/// partitions, which an error's answer does not name.
pub fn response(
    asked: &[OffsetFetchRequestGroup],
    answered: Vec<OffsetFetchResponseGroup>,
    version: i16,
) -> OffsetFetchResponse {
    if version >= VERSION_WITH_GROUPS {
        return OffsetFetchResponse { groups: answered, ..Default::default() };
    }
    let group = answered.into_iter().next().unwrap_or_default();
    if version < 2 && group.error_code != 0 {
        let topics = asked.first().and_then(|group| group.topics.as_deref()).unwrap_or_default().iter();
        let topics = topics.map(|topic| OffsetFetchResponseTopic {
            name: topic.name.clone(),
            partitions: topic
                .partition_indexes
                .iter()
                .map(|&index| failed(index, group.error_code))
                .collect(),
            ..Default::default()
        });
        return OffsetFetchResponse { topics: topics.collect(), ..Default::default() };
    }
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() }
}

fn failed(partition_index: i32, error_code: i16) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition { partition_index, committed_offset: -1, error_code, ..Default::default() }
}
