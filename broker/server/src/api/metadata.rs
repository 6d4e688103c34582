//! Metadata (3): brokers, topics, and who leads what.
//!
//! - v0: no topics named means all; from v1, null means all and an empty list none.
//! - v4: the client may forbid that topics are made (`allow_auto_topic_creation`); otherwise a missing topic is made, if
//!   `auto.create.topics.enable` says so. v8–10: allowed operations. v10: topic ids; from v12, topics by id (KIP-516).
//! - Brokers are named by the address of the listener that the request came in by.

use std::ops::RangeInclusive;

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

use super::OPERATIONS_UNASKED;
use crate::dispatch::{Context, Handler, Refusal};
use crate::internal;
use crate::security::{Access, Operation, Resource};

pub(crate) struct Metadata;

impl Handler for Metadata {
    type Request = MetadataRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=13;

    async fn handle(cx: Context, request: Self::Request) -> Result<MetadataResponse, Refusal> {
        let broker = &cx.broker;
        let mut uncreatable = Vec::new();
        if request.allow_auto_topic_creation && broker.config.settings.auto_create_topics_enable {
            uncreatable = create_missing(&cx, request.topics.as_deref().unwrap_or_default()).await;
        }
        let (image, access) = (broker.image(), cx.access());
        let operations = |name: &str| match request.include_topic_authorized_operations {
            true => access.operations(Resource::Topic(name)),
            false => OPERATIONS_UNASKED,
        };
        let everything = cx.version == 0 && request.topics.as_ref().is_some_and(Vec::is_empty);
        let topics = match request.topics {
            Some(topics) if !everything => {
                let find = |asked| find((&image, &access), asked, &uncreatable, cx.version, &operations);
                topics.into_iter().map(find).collect()
            }
            _ => {
                let sees = |name: &str| access.sees(Operation::Describe, Resource::Topic(name));
                let seen = image.topics().filter(|topic| sees(topic.name.as_str()));
                seen.map(|topic| describe(&image, topic, operations(topic.name.as_str()))).collect()
            }
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
                true => cx.cluster_operations(),
                false => OPERATIONS_UNASKED,
            },
            ..Default::default()
        })
    }
}

/// Makes the topics that are named and not there, with the broker's defaults. What cannot be made, the answer shows; what
/// the sender may see but not make is returned.
async fn create_missing(cx: &Context, asked: &[MetadataRequestTopic]) -> Vec<Str> {
    let (broker, image, access) = (&cx.broker, cx.broker.image(), cx.access());
    let may_create_all = access.sees(Operation::Create, Resource::Cluster);
    let mut uncreatable = Vec::new();
    let missing =
        asked.iter().filter(|topic| topic.topic_id.is_nil()).filter_map(|topic| topic.name.as_ref());
    let mut topics: Vec<CreatableTopic> = Vec::new();
    for name in missing.filter(|name| image.topic(name).is_none()) {
        if !access.sees(Operation::Describe, Resource::Topic(name)) {
            continue;
        }
        if !may_create_all && !access.allows(Operation::Create, Resource::Topic(name)) {
            uncreatable.push(name.clone());
            continue;
        }
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
        return uncreatable;
    }
    let request = CreateTopicsRequest { topics, ..Default::default() };
    if let Err(code) = broker.create_topics(request).await {
        tracing::warn!(%code, "topics that a client asked for could not be made");
    }
    uncreatable
}

fn find(
    (image, access): (&Image, &Access),
    asked: MetadataRequestTopic,
    uncreatable: &[Str],
    version: i16,
    operations: &dyn Fn(&str) -> i32,
) -> MetadataResponseTopic {
    let by_id = !asked.topic_id.is_nil();
    if by_id && version < 12 || !by_id && asked.name.is_none() {
        return missing(asked.name, asked.topic_id, ErrorCode::InvalidRequest, version);
    }
    let found = match &asked.name {
        _ if by_id => image.topic_by_id(TopicId(asked.topic_id)),
        Some(name) => image.topic(name),
        None => None,
    };
    // What may not be seen is told apart from what is not there only where the client named it by its name.
    let allowed = |name: &str| access.allows(Operation::Describe, Resource::Topic(name));
    if let Some(name) = asked.name.as_ref().filter(|_| !by_id)
        && (uncreatable.contains(name) || !allowed(name))
    {
        let code = ErrorCode::TopicAuthorizationFailed;
        return missing(asked.name, asked.topic_id, code, version);
    }
    if let Some(topic) = found.filter(|topic| !by_id || allowed(topic.name.as_str())) {
        return describe(image, topic, operations(topic.name.as_str()));
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

fn describe(image: &Image, topic: &Topic, operations: i32) -> MetadataResponseTopic {
    let partitions =
        topic.partitions.iter().zip(0..).map(|(state, partition_index)| MetadataResponsePartition {
            error_code: state.leader.map_or(ErrorCode::LeaderNotAvailable, |_| ErrorCode::None).into(),
            partition_index,
            leader_id: state.leader.unwrap_or(-1),
            leader_epoch: state.leader_epoch.0,
            replica_nodes: state.replicas.clone(),
            isr_nodes: state.isr.clone(),
            offline_replicas: image.offline_replicas(state),
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
