//! ListPartitionReassignments (46): partitions that are moving between brokers (KIP-455).

use std::ops::RangeInclusive;

use strata_metadata::{Image, Topic};
use strata_protocol::Str;
use strata_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use strata_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use strata_types::PartitionId;

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct ListPartitionReassignments;

impl Handler for ListPartitionReassignments {
    type Request = ListPartitionReassignmentsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<ListPartitionReassignmentsResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Describe, Resource::Cluster) {
            let error_message = super::message(super::denial(code));
            return Ok(ListPartitionReassignmentsResponse {
                error_code: code.into(),
                error_message,
                ..Default::default()
            });
        }
        let image = cx.broker.image();
        let topics = match request.topics {
            None => image.topics().map(|topic| moving(topic, |_| true)).collect(),
            Some(asked) => asked
                .iter()
                .filter_map(|asked| find(&image, &asked.name).map(|topic| (topic, &asked.partition_indexes)))
                .map(|(topic, indexes)| moving(topic, |index| indexes.contains(&index)))
                .collect::<Vec<_>>(),
        };
        let topics = topics.into_iter().filter(|topic| !topic.partitions.is_empty()).collect();
        Ok(ListPartitionReassignmentsResponse { error_message: None, topics, ..Default::default() })
    }
}

fn find<'a>(image: &'a Image, name: &str) -> Option<&'a Topic> {
    image.topic(name).map(|topic| &**topic)
}

fn moving(topic: &Topic, wanted: impl Fn(PartitionId) -> bool) -> OngoingTopicReassignment {
    let states = topic.partitions.iter().zip(0..).filter(|(_, index)| wanted(*index));
    let moving =
        states.filter(|(state, _)| !(state.adding_replicas.is_empty() && state.removing_replicas.is_empty()));
    let partitions = moving.map(|(state, partition_index)| OngoingPartitionReassignment {
        partition_index,
        replicas: state.replicas.clone(),
        adding_replicas: state.adding_replicas.clone(),
        removing_replicas: state.removing_replicas.clone(),
        ..Default::default()
    });
    OngoingTopicReassignment {
        name: Str::from(topic.name.as_str()),
        partitions: partitions.collect(),
        ..Default::default()
    }
}
