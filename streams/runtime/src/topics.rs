//! The topics that the runtime makes: its own, and those that an application's topology asks for.

use strata_client::{Admin, Client, ClientError, NewTopic};
use strata_topology::{Source, SubTopology, Topology};
use strata_types::{ErrorCode, PartitionId, TopicName};

use crate::deployment::{DEPLOYMENTS_TOPIC, PLUGIN_BYTES_MAX};
use crate::error::RuntimeError;
use crate::status::STATUS_TOPIC;

/// What a record's key, headers and batch may add to a plugin's bytes.
const BATCH_OVERHEAD_BYTES: usize = 4 << 10;

/// Makes the runtime's own two topics, where they are not there yet.
pub async fn ensure_own(client: &Client) -> Result<(), RuntimeError> {
    let compact = ("cleanup.policy".to_owned(), "compact".to_owned());
    let large = ("max.message.bytes".to_owned(), (PLUGIN_BYTES_MAX + BATCH_OVERHEAD_BYTES).to_string());
    let admin = client.admin();
    ensure(&admin, topic(DEPLOYMENTS_TOPIC)?, 1, vec![compact.clone(), large]).await?;
    ensure(&admin, topic(STATUS_TOPIC)?, 1, vec![compact]).await
}

/// The number of partitions, and so of tasks, of each sub-topology; makes repartition and changelog topics.
///
/// A sub-topology has as many tasks as its widest source topic has partitions; a repartition topic has as many
/// partitions as the widest topic that the application reads, so that work is spread at least as widely behind it.
pub async fn prepare(client: &Client, topology: &Topology) -> Result<Vec<PartitionId>, RuntimeError> {
    let mut widest = 1;
    for topic in topology.graph.source_topics().into_keys() {
        widest = widest.max(partitions(client, topic).await?.ok_or_else(|| missing(topic))?);
    }
    for topic in topology.repartition_topics() {
        ensure(&client.admin(), topic.clone(), widest, vec![retention_unlimited()]).await?;
    }
    let mut tasks = Vec::new();
    for sub_topology in &topology.sub_topologies {
        let count = task_count(client, sub_topology).await?;
        for store in &sub_topology.stores {
            let compact = ("cleanup.policy".to_owned(), "compact".to_owned());
            ensure(&client.admin(), store.changelog.clone(), count, vec![compact]).await?;
            let found = partitions(client, &store.changelog).await?.unwrap_or(0);
            if found != count {
                let (found, needed) = (found as usize, count as usize);
                return Err(RuntimeError::Partitions { topic: store.changelog.clone(), found, needed });
            }
        }
        tasks.push(count);
    }
    Ok(tasks)
}

/// A key has one state only if all topics put it into the partition of the same number.
async fn task_count(client: &Client, sub_topology: &SubTopology) -> Result<PartitionId, RuntimeError> {
    let mut widest: Option<(PartitionId, &TopicName)> = None;
    for Source { topic, .. } in &sub_topology.sources {
        let found = partitions(client, topic).await?.ok_or_else(|| missing(topic))?;
        if let Some((count, other)) = widest.filter(|(count, _)| *count != found)
            && !sub_topology.stores.is_empty()
        {
            let (one, other) = (topic.clone(), other.clone());
            return Err(RuntimeError::NotCopartitioned { one, one_has: found, other, other_has: count });
        }
        widest = widest.max(Some((found, topic)));
    }
    Ok(widest.map_or(0, |(count, _)| count))
}

/// Records wait in a repartition topic until they are processed, however long that takes.
fn retention_unlimited() -> (String, String) {
    ("retention.ms".to_owned(), "-1".to_owned())
}

fn missing(topic: &TopicName) -> RuntimeError {
    RuntimeError::NoSourceTopic(topic.clone())
}

async fn partitions(client: &Client, topic: &TopicName) -> Result<Option<PartitionId>, RuntimeError> {
    match client.partitions(topic).await {
        Ok(partitions) => Ok(Some(PartitionId::try_from(partitions.len()).unwrap_or(PartitionId::MAX))),
        Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn ensure(
    admin: &Admin,
    name: TopicName,
    partitions: PartitionId,
    configs: Vec<(String, String)>,
) -> Result<(), RuntimeError> {
    let topic = NewTopic { configs, ..NewTopic::new(name, partitions) };
    match admin.create_topic(topic).await {
        Ok(_) => Ok(()),
        Err(ClientError::Broker { code: ErrorCode::TopicAlreadyExists, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn topic(name: &str) -> Result<TopicName, RuntimeError> {
    Ok(TopicName::new(name)?)
}
