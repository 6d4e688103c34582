//! How far groups are behind: in records, and in the age of the first record that they have not read.
//!
//! Looked at now and then in the background, since it asks every coordinator and may read from the disk.

use std::sync::Arc;
use std::time::Duration;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::Str;
use strata_protocol::messages::ListGroupsRequest;
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_protocol::records::{DecompressLimit, batches};
use strata_types::{Offset, PartitionId, TimestampMs};

use crate::broker::{Broker, now};
use crate::partition::Partition;
use crate::server::blocking;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most partitions of groups that are told of; the rest is left out.
const SERIES_MAX: usize = 10_000;
/// The most that one batch may come to when its first records' times are looked at.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One partition of one group.
#[derive(Debug, Clone)]
pub(super) struct Lag {
    pub group: Str,
    pub topic: Str,
    pub partition: PartitionId,
    pub committed: i64,
    pub records: i64,
    /// `None`: the record is not on the local disk, or cannot be read.
    pub seconds: Option<f64>,
}

/// Looks, until the broker stops.
pub(crate) async fn follow(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while broker.stopping.run_until_cancelled(ticks.tick()).await.is_some() {
        let found = look(&broker).await;
        broker.metrics.lag.store(found.into());
    }
}

async fn look(broker: &Arc<Broker>) -> Vec<Lag> {
    let list = || GroupRequest::ListGroups { request: ListGroupsRequest::default() };
    let mut behind = Vec::new();
    for response in broker.groups.ask_all(broker, list).await {
        let GroupResponse::ListGroups(Ok(groups)) = response else { continue };
        for group in groups {
            committed(broker, &group.group_id, &mut behind).await;
            if behind.len() >= SERIES_MAX {
                behind.truncate(SERIES_MAX);
                break;
            }
        }
    }
    let measure = move || behind.into_iter().map(|(lag, partition)| aged(lag, &partition)).collect();
    blocking(measure).await.unwrap_or_default()
}

async fn committed(broker: &Arc<Broker>, id: &Str, behind: &mut Vec<(Lag, Arc<Partition>)>) {
    let group = OffsetFetchRequestGroup { group_id: id.clone(), topics: None, ..Default::default() };
    let request = GroupRequest::OffsetFetch { group, require_stable: false };
    let GroupResponse::OffsetFetch(answer) = broker.groups.ask(broker, id, request).await else { return };
    for topic in answer.topics {
        for told in topic.partitions.iter().filter(|told| told.committed_offset >= 0) {
            let Ok(partition) = broker.partitions.by_name(&topic.name, told.partition_index) else {
                continue;
            };
            let records = partition.high_watermark().0.saturating_sub(told.committed_offset).max(0);
            let lag = Lag {
                group: id.clone(),
                topic: topic.name.clone(),
                partition: told.partition_index,
                committed: told.committed_offset,
                records,
                seconds: (records == 0).then_some(0.0),
            };
            behind.push((lag, partition));
        }
    }
}

fn aged(mut lag: Lag, partition: &Partition) -> Lag {
    if lag.records > 0 {
        let age = time_of(partition, Offset(lag.committed)).map(|time| now().saturating_sub(time).max(0));
        lag.seconds = age.map(|ms| ms as f64 / 1000.0);
    }
    lag
}

/// The time of the first record from an offset on.
fn time_of(partition: &Partition, from: Offset) -> Option<TimestampMs> {
    if from < partition.log.local_start_offset() {
        return None;
    }
    let bytes = partition.log.read_batches(from, 1, partition.high_watermark()).ok()?;
    let batch = batches(bytes).next()?.ok()?;
    let records = batch.records(DecompressLimit(BATCH_BYTES_MAX)).ok()?;
    records.filter_map(Result::ok).find(|record| record.offset >= from.0).map(|record| record.timestamp)
}
