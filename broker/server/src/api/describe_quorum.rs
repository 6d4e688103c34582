//! DescribeQuorum (55): who keeps the metadata log, and how far each has it (KIP-595).
//!
//! - There is one partition to ask for, that of `__cluster_metadata`. v2: directory ids and the nodes' addresses (KIP-853).

use std::ops::RangeInclusive;

use strata_protocol::Str;
use strata_protocol::messages::describe_quorum_request;
use strata_protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use strata_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use strata_types::ErrorCode;

use super::message;
use crate::broker::{Broker, now};
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DescribeQuorum;

const METADATA_TOPIC: &str = "__cluster_metadata";

impl Handler for DescribeQuorum {
    type Request = DescribeQuorumRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeQuorumResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Describe, Resource::Cluster) {
            let error_message = message(super::denial(code));
            return Ok(DescribeQuorumResponse {
                error_code: code.into(),
                error_message,
                ..Default::default()
            });
        }
        let broker = &cx.broker;
        let topics = request.topics.iter().map(|topic| TopicData {
            topic_name: topic.topic_name.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|asked| describe(broker, topic, asked, cx.version))
                .collect(),
            ..Default::default()
        });
        let listeners = broker.advertised.iter().map(|endpoint| Listener {
            name: Str::from(endpoint.name.as_str()),
            host: Str::from(endpoint.host.as_str()),
            port: endpoint.port,
            ..Default::default()
        });
        let node = Node { node_id: broker.node_id, listeners: listeners.collect(), ..Default::default() };
        Ok(DescribeQuorumResponse {
            error_message: None,
            topics: topics.collect(),
            nodes: if cx.version >= 2 { vec![node] } else { Vec::new() },
            ..Default::default()
        })
    }
}

fn describe(
    broker: &Broker,
    topic: &describe_quorum_request::TopicData,
    asked: &describe_quorum_request::PartitionData,
    version: i16,
) -> PartitionData {
    let mut data =
        PartitionData { partition_index: asked.partition_index, error_message: None, ..Default::default() };
    if *topic.topic_name != *METADATA_TOPIC || asked.partition_index != 0 {
        data.error_code = ErrorCode::UnknownTopicOrPartition.into();
        return data;
    }
    let end = broker.image().next_offset().0;
    let directory_id = broker.quorum.directory_id();
    let voter = ReplicaState {
        replica_id: broker.node_id,
        replica_directory_id: if version >= 2 { directory_id } else { uuid::Uuid::nil() },
        log_end_offset: end,
        last_fetch_timestamp: now(),
        last_caught_up_timestamp: now(),
        ..Default::default()
    };
    PartitionData {
        leader_id: broker.quorum.leader().unwrap_or(-1),
        leader_epoch: broker.quorum.epoch().0,
        high_watermark: end,
        current_voters: vec![voter],
        ..data
    }
}
