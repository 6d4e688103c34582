//! Which partitions are served where, for interactive queries: told to members whenever it changed.

use std::collections::BTreeMap;

use strata_protocol::Str;
use strata_protocol::messages::streams_group_heartbeat_response::{
    Endpoint, EndpointToPartitions, TopicPartition,
};

use super::configure::ConfiguredTopology;
use super::group::StreamsGroup;
use super::member::StreamsMember;
use super::tasks::TaskId;
use crate::group::metadata::MetadataView;

/// Of every member that has an endpoint; `changed` as it is going to be.
pub(super) fn partitions(
    group: &StreamsGroup,
    changed: &StreamsMember,
    configured: &ConfiguredTopology,
    view: &dyn MetadataView,
) -> Vec<EndpointToPartitions> {
    let others = group.members().filter(|member| member.id != changed.id);
    let served = others.chain([changed]).filter_map(|member| {
        let (host, port) = member.user_endpoint.clone()?;
        Some(EndpointToPartitions {
            user_endpoint: Endpoint { host, port, ..Default::default() },
            active_partitions: read_by(member.assigned.active.keys(), configured, view),
            standby_partitions: read_by(&member.assigned.standby, configured, view),
            ..Default::default()
        })
    });
    served.collect()
}

/// What the tasks read: of each of their topics, the partitions that it has.
fn read_by<'a>(
    tasks: impl IntoIterator<Item = &'a TaskId>,
    configured: &ConfiguredTopology,
    view: &dyn MetadataView,
) -> Vec<TopicPartition> {
    let mut read = BTreeMap::<&Str, Vec<i32>>::new();
    for task in tasks {
        let subtopology = configured.subtopologies.as_ref().and_then(|all| all.get(&task.subtopology));
        for topic in subtopology.into_iter().flat_map(|subtopology| &subtopology.sources) {
            if view.topic(topic).is_some_and(|found| task.partition < found.partitions) {
                read.entry(topic).or_default().push(task.partition);
            }
        }
    }
    let read = read.into_iter();
    read.map(|(topic, partitions)| TopicPartition { topic: topic.clone(), partitions, ..Default::default() })
        .collect()
}
