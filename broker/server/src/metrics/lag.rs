//! How far groups are behind: in records, and in the age of the first record that they have not read.
//!
//! Looked at now and then in the background, since it asks every coordinator and may read from the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::Str;
use strata_protocol::messages::ListGroupsRequest;
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_protocol::records::{DecompressLimit, batches};
use strata_types::{Offset, PartitionId, TimestampMs};

use crate::broker::Broker;
use crate::partition::Partition;
use crate::server::blocking;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most partitions of groups that are told of; the rest is left out.
const SERIES_MAX: usize = 10_000;
/// Reads of the archive in one look; who is left out comes with a later one.
const ARCHIVE_READS_MAX: usize = 100;
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
    /// The time of the first record that was not read. `None`: there is none, or it cannot be read.
    unread_since: Option<TimestampMs>,
}

impl Lag {
    /// The age of the first record that was not read.
    pub(super) fn seconds(&self, now: TimestampMs) -> Option<f64> {
        match self.records {
            0 => Some(0.0),
            _ => self.unread_since.map(|since| now.saturating_sub(since).max(0) as f64 / 1000.0),
        }
    }
}

/// Looks, until the broker stops.
pub(crate) async fn follow(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while broker.stopping.run_until_cancelled(ticks.tick()).await.is_some() {
        // An archive that does not answer must not keep the broker from stopping.
        let Some(found) = broker.stopping.run_until_cancelled(look(&broker)).await else { return };
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
    remember(&broker.metrics.lag.load(), &mut behind);
    let in_log =
        move || behind.into_iter().map(|(lag, partition)| (in_log(lag, &partition), partition)).collect();
    let behind: Vec<_> = blocking(in_log).await.unwrap_or_default();
    in_archive(broker, behind).await
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
                unread_since: None,
            };
            behind.push((lag, partition));
        }
    }
}

/// A group that has not moved waits for the same record as when it was looked at last.
fn remember(last: &[Lag], behind: &mut [(Lag, Arc<Partition>)]) {
    let known: HashMap<_, _> =
        last.iter().map(|lag| ((&lag.group, &lag.topic, lag.partition), lag)).collect();
    for (lag, _) in behind.iter_mut().filter(|(lag, _)| lag.records > 0) {
        let last = known.get(&(&lag.group, &lag.topic, lag.partition));
        lag.unread_since =
            last.filter(|last| last.committed == lag.committed).and_then(|last| last.unread_since);
    }
}

fn in_log(mut lag: Lag, partition: &Partition) -> Lag {
    let from = Offset(lag.committed).max(partition.log.start_offset());
    if lag.records > 0 && lag.unread_since.is_none() && from >= partition.log.local_start_offset() {
        let read = partition.log.read_batches(from, 1, partition.high_watermark());
        lag.unread_since = read.ok().and_then(|bytes| first_time(bytes, from));
    }
    lag
}

/// Asks the archive where the log has no answer.
async fn in_archive(broker: &Broker, behind: Vec<(Lag, Arc<Partition>)>) -> Vec<Lag> {
    let (mut found, mut reads) = (Vec::with_capacity(behind.len()), 0);
    for (mut lag, partition) in behind {
        let from = Offset(lag.committed).max(partition.log.start_offset());
        let is_cold = from < partition.log.local_start_offset();
        if let Some(remote) = broker
            .remote
            .as_ref()
            .filter(|_| lag.records > 0 && lag.unread_since.is_none() && is_cold && reads < ARCHIVE_READS_MAX)
        {
            reads += 1;
            // An archive that is away is told of by those who need it.
            let read = remote.fetch(&partition.id, from, 1).await.ok();
            lag.unread_since = read.and_then(|read| first_time(read.batches, from));
        }
        found.push(lag);
    }
    found
}

/// The time of the first record from an offset on.
fn first_time(bytes: Bytes, from: Offset) -> Option<TimestampMs> {
    let batch = batches(bytes).next()?.ok()?;
    let records = batch.records(DecompressLimit(BATCH_BYTES_MAX)).ok()?;
    records.filter_map(Result::ok).find(|record| record.offset >= from.0).map(|record| record.timestamp)
}
