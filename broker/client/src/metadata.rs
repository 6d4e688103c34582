//! What the cluster has told us about itself, and when.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_protocol::messages::MetadataResponse;
use strata_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use strata_types::{ErrorCode, LeaderEpoch, NodeId, PartitionId, TopicId, TopicName};
use tokio::time::Instant;

/// A view of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pub cluster_id: Option<String>,
    pub controller: Option<NodeId>,
    pub brokers: BTreeMap<NodeId, Broker>,
    /// The topics that were asked for so far.
    pub topics: BTreeMap<TopicName, Topic>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: NodeId,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

impl Broker {
    /// `host:port`, as for connecting.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug)]
pub struct Topic {
    pub name: TopicName,
    /// Zero from a broker that has no topic ids.
    pub id: TopicId,
    pub is_internal: bool,
    /// In ascending order of their numbers.
    pub partitions: Vec<Partition>,
}

impl Topic {
    pub fn partition(&self, index: PartitionId) -> Option<&Partition> {
        let at = self.partitions.binary_search_by_key(&index, |partition| partition.index).ok()?;
        Some(&self.partitions[at])
    }
}

#[derive(Clone, Debug)]
pub struct Partition {
    pub index: PartitionId,
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub offline_replicas: Vec<NodeId>,
}

/// The latest view, and how old each part of it is.
#[derive(Default)]
pub(crate) struct MetadataCache {
    state: Mutex<CacheState>,
}

#[derive(Default)]
struct CacheState {
    metadata: Arc<Metadata>,
    topic_ages: HashMap<TopicName, Instant>,
}

impl MetadataCache {
    pub(crate) fn current(&self) -> Arc<Metadata> {
        self.state.lock().metadata.clone()
    }

    /// Looks at a topic that was heard of less than `max_age` ago, without copying it: it may have thousands of
    /// partitions.
    pub(crate) fn fresh_topic<R>(
        &self,
        name: &TopicName,
        max_age: Duration,
        look: impl FnOnce(&Topic) -> R,
    ) -> Option<R> {
        let state = self.state.lock();
        let age = state.topic_ages.get(name)?.elapsed();
        if age < max_age { state.metadata.topics.get(name).map(look) } else { None }
    }

    /// No longer believes what it knows of a topic, because a broker has contradicted it.
    pub(crate) fn doubt(&self, name: &TopicName) {
        self.state.lock().topic_ages.remove(name);
    }

    /// Takes in an answer. `complete` says that it covers all topics. Returns each topic's error, if there was one.
    pub(crate) fn update(
        &self,
        response: &MetadataResponse,
        complete: bool,
    ) -> HashMap<TopicName, ErrorCode> {
        let now = Instant::now();
        let mut errors = HashMap::new();
        let mut state = self.state.lock();
        let mut metadata = Metadata::clone(&state.metadata);
        metadata.cluster_id = response.cluster_id.as_ref().map(|id| id.to_string());
        metadata.controller = Some(response.controller_id).filter(|id| *id >= 0);
        metadata.brokers =
            response.brokers.iter().map(|broker| (broker.node_id, broker_of(broker))).collect();
        if complete {
            metadata.topics.clear();
            state.topic_ages.clear();
        }
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref().and_then(|name| TopicName::new(name).ok()) else { continue };
            if topic.error_code != 0 {
                let code = ErrorCode::from_code(topic.error_code).unwrap_or(ErrorCode::UnknownServerError);
                metadata.topics.remove(&name);
                state.topic_ages.remove(&name);
                errors.insert(name, code);
                continue;
            }
            state.topic_ages.insert(name.clone(), now);
            metadata.topics.insert(name.clone(), topic_of(name, topic));
        }
        state.metadata = Arc::new(metadata);
        errors
    }
}

fn broker_of(broker: &strata_protocol::messages::metadata_response::MetadataResponseBroker) -> Broker {
    let rack = broker.rack.as_ref().map(|rack| rack.to_string());
    Broker { id: broker.node_id, host: broker.host.to_string(), port: broker.port, rack }
}

fn topic_of(name: TopicName, topic: &MetadataResponseTopic) -> Topic {
    let mut partitions: Vec<_> = topic.partitions.iter().map(partition_of).collect();
    partitions.sort_by_key(|partition| partition.index);
    Topic { name, id: TopicId(topic.topic_id), is_internal: topic.is_internal, partitions }
}

fn partition_of(partition: &MetadataResponsePartition) -> Partition {
    Partition {
        index: partition.partition_index,
        leader: Some(partition.leader_id).filter(|leader| *leader >= 0),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: partition.replica_nodes.clone(),
        isr: partition.isr_nodes.clone(),
        offline_replicas: partition.offline_replicas.clone(),
    }
}
