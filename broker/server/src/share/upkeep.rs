//! What keeps `__share_group_state` small: state of topics that are gone goes, and what snapshots replace is deleted.

use std::sync::Arc;
use std::time::Duration;

use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse};
use strata_types::{Offset, PartitionId, TopicId};

use crate::broker::Broker;
use crate::internal::SHARE_GROUP_STATE;
use crate::partition::Partition;
use crate::server::blocking;

/// How often the topic is looked at; Kafka's `share.coordinator.state.topic.prune.interval.ms`.
pub(crate) const PRUNE_INTERVAL: Duration = Duration::from_secs(300);
/// A partition with fewer records is left alone: to write all state anew would cost more than it saves.
const PRUNE_RECORDS_MIN: i64 = 10_000;

/// Has all state written anew where much has been written, and deletes what is before it.
pub(crate) async fn prune(broker: Arc<Broker>) {
    let Some(topic) = broker.partitions.topic(SHARE_GROUP_STATE) else { return };
    for (partition, index) in topic.partitions.iter().zip(0..) {
        if let Some(partition) =
            partition.as_ref().filter(|partition| records(partition) >= PRUNE_RECORDS_MIN)
        {
            prune_partition(&broker, partition, index).await;
        }
    }
}

fn records(partition: &Partition) -> i64 {
    partition.log.end_offset() - partition.log.start_offset()
}

async fn prune_partition(broker: &Arc<Broker>, partition: &Arc<Partition>, index: PartitionId) {
    // What is written from here on stays; the snapshots are among it.
    let redundant: Offset = partition.log.end_offset();
    match broker.persister.ask_partition(broker, index, PersisterRequest::SnapshotAll).await {
        PersisterResponse::Done(Ok(())) => {}
        refused => {
            tracing::warn!(partition = %partition.id.partition, "share groups' state cannot be written anew: {refused:?}");
            return;
        }
    }
    let log = partition.log.clone();
    match blocking(move || log.advance_start_offset(redundant)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::error!(partition = %partition.id.partition, "the start offset could not be moved: {error}");
        }
        // The broker stops.
        Err(_) => {}
    }
}

/// A topic is gone: so goes what was stored of its partitions, in every share group.
pub(crate) async fn topic_deleted(broker: &Arc<Broker>, topic: TopicId) {
    let request = || PersisterRequest::TopicsDeleted { topic_ids: vec![topic.0] };
    broker.persister.ask_all(broker, request).await;
}
