//! DescribeTopicPartitions (75): topics page by page (KIP-966).
//!
//! - Topics come in the order of their names; no names means all. A page holds as many partitions as the client and
//!   `max.request.partition.size.limit` allow, and the cursor says where the next one starts.

use std::ops::RangeInclusive;

use strata_metadata::{Image, Topic};
use strata_protocol::Str;
use strata_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use strata_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use strata_types::{ErrorCode, TopicName};

use super::OPERATIONS_UNASKED;
use crate::dispatch::{Context, Handler, Refusal};
use crate::internal;
use crate::security::{Operation, Resource};

pub(crate) struct DescribeTopicPartitions;

impl Handler for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeTopicPartitionsResponse, Refusal> {
        let (image, access) = (cx.broker.image(), cx.access());
        let sees = |name: &str| access.sees(Operation::Describe, Resource::Topic(name));
        let (from, first_partition) = match &request.cursor {
            Some(cursor) => {
                (cursor.topic_name.as_str(), usize::try_from(cursor.partition_index).unwrap_or(0))
            }
            None => ("", 0),
        };
        let mut names: Vec<Str> = match request.topics.is_empty() {
            true => {
                let seen = image.topics().map(|topic| topic.name.as_str()).filter(|name| sees(name));
                seen.map(Str::from).collect()
            }
            false => request.topics.iter().map(|topic| topic.name.clone()).collect(),
        };
        names.retain(|name| name.as_str() >= from);
        names.sort();
        names.dedup();
        let asked = usize::try_from(request.response_partition_limit).unwrap_or(0).max(1);
        let mut left = asked.min(cx.broker.config.settings.request_partitions_max);
        let mut response = DescribeTopicPartitionsResponse::default();
        for name in names {
            if !access.allows(Operation::Describe, Resource::Topic(&name)) {
                response.topics.push(missing(name, ErrorCode::TopicAuthorizationFailed));
                continue;
            }
            let Some(topic) = image.topic(&name) else {
                let code = match TopicName::new(&name) {
                    Ok(_) => ErrorCode::UnknownTopicOrPartition,
                    Err(_) => ErrorCode::InvalidTopicException,
                };
                response.topics.push(missing(name, code));
                continue;
            };
            let operations = access.operations(Resource::Topic(&name));
            let first = if name.as_str() == from { first_partition.min(topic.partitions.len()) } else { 0 };
            if left == 0 {
                response.next_cursor = Some(cursor(name, first));
                break;
            }
            let end = topic.partitions.len().min(first + left);
            left -= end - first;
            response.topics.push(describe(&image, topic, first..end, operations));
            if end < topic.partitions.len() {
                response.next_cursor = Some(cursor(name, end));
                break;
            }
        }
        Ok(response)
    }
}

fn cursor(topic_name: Str, partition: usize) -> Cursor {
    Cursor { topic_name, partition_index: partition as i32, ..Default::default() }
}

fn missing(name: Str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.into(),
        is_internal: internal::is_internal(&name),
        name: Some(name),
        topic_authorized_operations: OPERATIONS_UNASKED,
        ..Default::default()
    }
}

fn describe(
    image: &Image,
    topic: &Topic,
    range: std::ops::Range<usize>,
    operations: i32,
) -> DescribeTopicPartitionsResponseTopic {
    let first = range.start as i32;
    let partitions = topic.partitions[range].iter().zip(first..).map(|(state, partition_index)| {
        DescribeTopicPartitionsResponsePartition {
            error_code: state.leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None).into(),
            partition_index,
            leader_id: state.leader.unwrap_or(-1),
            leader_epoch: state.leader_epoch.0,
            replica_nodes: state.replicas.clone(),
            isr_nodes: state.isr.clone(),
            offline_replicas: image.offline_replicas(state),
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..Default::default()
        }
    });
    DescribeTopicPartitionsResponseTopic {
        name: Some(Str::from(topic.name.as_str())),
        topic_id: topic.id.0,
        is_internal: internal::is_internal(topic.name.as_str()),
        partitions: partitions.collect(),
        topic_authorized_operations: operations,
        ..Default::default()
    }
}
