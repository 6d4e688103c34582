//! Metadata (3): brokers, topics, and who leads what.
//!
//! - v0: no topics named means all; from v1, null means all and an empty list none.
//! - v4: the client may forbid that topics are made (`allow_auto_topic_creation`); otherwise a missing topic is made, if
//!   `auto.create.topics.enable` says so. v8–10: allowed operations. v10: topic ids; from v12, topics by id (KIP-516).
//! - Brokers are named by the address of the listener that the request came in by.

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_metadata::{Image, Topic};
use strata_protocol::Str;
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::metadata_request::MetadataRequestTopic;
use strata_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use strata_protocol::messages::{CreateTopicsRequest, MetadataRequest, MetadataResponse};
use strata_types::{ErrorCode, TopicId, TopicName};
use uuid::Uuid;

use super::{CLUSTER_OPERATIONS, OPERATIONS_UNASKED, TOPIC_OPERATIONS};
use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::internal;

pub(crate) struct Metadata;

impl Handler for Metadata {
    type Request = MetadataRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=13;

    async fn handle(cx: Context, request: Self::Request) -> Result<MetadataResponse, Refusal> {
        let broker = &cx.broker;
        if request.allow_auto_topic_creation && broker.config.settings.auto_create_topics_enable {
            create_missing(broker, request.topics.as_deref().unwrap_or_default()).await;
        }
        let image = broker.image();
        let operations =
            if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { OPERATIONS_UNASKED };
        let everything = cx.version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty);
        let topics = match request.topics {
            Some(topics) if !everything => {
                topics.into_iter().map(|asked| find(&image, asked, cx.version, operations)).collect()
            }
            _ => image.topics().map(|topic| describe(topic, operations)).collect(),
        };
        let brokers = image.brokers().filter(|broker| !broker.fenced).filter_map(|known| {
            let (host, port) = broker.endpoint(known, &cx.peer.listener)?;
            let rack = known.rack.clone();
            Some(MetadataResponseBroker { node_id: known.id, host, port, rack, ..Default::default() })
        });
        Ok(MetadataResponse {
            brokers: brokers.collect(),
            cluster_id: Some(broker.cluster_id.clone()),
            controller_id: broker.quorum.leader().unwrap_or(-1),
            topics,
            cluster_authorized_operations: match request.include_cluster_authorized_operations {
                true => CLUSTER_OPERATIONS,
                false => OPERATIONS_UNASKED,
            },
            ..Default::default()
        })
    }
}

/// Makes the topics that are named and not there, with the broker's defaults. What cannot be made, the answer shows.
async fn create_missing(broker: &Arc<Broker>, asked: &[MetadataRequestTopic]) {
    let image = broker.image();
    let missing =
        asked.iter().filter(|topic| topic.topic_id.is_nil()).filter_map(|topic| topic.name.as_ref());
    let mut topics: Vec<CreatableTopic> = Vec::new();
    for name in missing.filter(|name| image.topic(name).is_none()) {
        match name.as_str() {
            internal::CONSUMER_OFFSETS => {
                if let Err(code) = internal::ensure(broker, internal::CONSUMER_OFFSETS).await {
                    tracing::warn!(topic = internal::CONSUMER_OFFSETS, %code, "the topic could not be made");
                }
            }
            plain if TopicName::new(plain).is_ok() && !topics.iter().any(|topic| topic.name == *name) => {
                let (num_partitions, replication_factor) = (-1, -1);
                let name = name.detached();
                topics.push(CreatableTopic {
                    name,
                    num_partitions,
                    replication_factor,
                    ..Default::default()
                });
            }
            _ => {}
        }
    }
    if topics.is_empty() {
        return;
    }
    let request = CreateTopicsRequest { topics, ..Default::default() };
    if let Err(code) = broker.create_topics(request).await {
        tracing::warn!(%code, "topics that a client asked for could not be made");
    }
}

fn find(image: &Image, asked: MetadataRequestTopic, version: i16, operations: i32) -> MetadataResponseTopic {
    let by_id = !asked.topic_id.is_nil();
    if by_id && version < 12 || !by_id && asked.name.is_none() {
        return missing(asked.name, asked.topic_id, ErrorCode::InvalidRequest, version);
    }
    let found = match &asked.name {
        _ if by_id => image.topic_by_id(TopicId(asked.topic_id)),
        Some(name) => image.topic(name),
        None => None,
    };
    if let Some(topic) = found {
        return describe(topic, operations);
    }
    let code = match &asked.name {
        _ if by_id => ErrorCode::UnknownTopicId,
        Some(name) if TopicName::new(name).is_err() => ErrorCode::InvalidTopicException,
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    missing(if by_id { None } else { asked.name }, asked.topic_id, code, version)
}

fn missing(name: Option<Str>, topic_id: Uuid, code: ErrorCode, version: i16) -> MetadataResponseTopic {
    // Before v12 a name could not be null.
    let name = name.or_else(|| (version < 12).then(Str::default));
    let is_internal = name.as_deref().is_some_and(internal::is_internal);
    MetadataResponseTopic {
        error_code: code.into(),
        name,
        topic_id,
        is_internal,
        topic_authorized_operations: OPERATIONS_UNASKED,
        ..Default::default()
    }
}

fn describe(topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let partitions =
        topic.partitions.iter().zip(0..).map(|(state, partition_index)| MetadataResponsePartition {
            error_code: state.leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None).into(),
            partition_index,
            leader_id: state.leader.unwrap_or(-1),
            leader_epoch: state.leader_epoch.0,
            replica_nodes: state.replicas.clone(),
            isr_nodes: state.isr.clone(),
            ..Default::default()
        });
    MetadataResponseTopic {
        name: Some(Str::from(topic.name.as_str())),
        topic_id: topic.id.0,
        is_internal: internal::is_internal(topic.name.as_str()),
        partitions: partitions.collect(),
        topic_authorized_operations: operations,
        ..Default::default()
    }
}
