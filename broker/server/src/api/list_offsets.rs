//! ListOffsets (2): the offset at a time, or at one of the ends.
//!
//! - Negative times are names: −1 the latest, −2 the earliest, −3 the one with the largest timestamp (v7), −4 the earliest
//!   on local disk (v8), −5 the last one in the archive (v9), −6 the first one that is not there yet (v11).
//! - v2: for readers of committed records, the latest is the last stable offset. v4: leader epochs. v10: the broker may take
//!   `timeout_ms` to ask the archive.
//! - A time is looked up in the archive first, where the archive goes back further than the local log.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use strata_log::{RemoteLog, TimestampAndOffset};
use strata_protocol::messages::list_offsets_request::ListOffsetsPartition;
use strata_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use strata_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use strata_types::{ErrorCode, LeaderEpoch, Offset};

use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::partition::Partition;
use crate::security::{Operation, Resource};

pub(crate) struct ListOffsets;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

impl Handler for ListOffsets {
    type Request = ListOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=11;

    async fn handle(cx: Context, request: Self::Request) -> Result<ListOffsetsResponse, Refusal> {
        let committed = request.isolation_level == 1;
        let timeout = match request.timeout_ms {
            ms if cx.version >= 10 && ms > 0 => Duration::from_millis(ms as u64),
            _ => cx.broker.config.settings.remote_list_offsets_timeout,
        };
        let mut topics = Vec::with_capacity(request.topics.len());
        let access = cx.access();
        for topic in request.topics {
            let allowed = access.check(Operation::Describe, Resource::Topic(&topic.name));
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                if let Err(code) = allowed {
                    partitions.push(answer(asked.partition_index, Err(code), cx.version));
                    continue;
                }
                let look = look_up(&cx.broker, &topic.name, &asked, cx.version, committed);
                let found =
                    tokio::time::timeout(timeout, look).await.unwrap_or(Err(ErrorCode::RequestTimedOut));
                partitions.push(answer(asked.partition_index, found, cx.version));
            }
            topics.push(ListOffsetsTopicResponse { name: topic.name, partitions, ..Default::default() });
        }
        Ok(ListOffsetsResponse { topics, ..Default::default() })
    }
}

pub(crate) type Found = Option<TimestampAndOffset>;

fn answer(
    partition_index: i32,
    found: Result<Found, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let mut answer = ListOffsetsPartitionResponse { partition_index, ..Default::default() };
    match found {
        Ok(Some(found)) => {
            answer.offset = found.offset.0;
            answer.timestamp = found.timestamp;
            // Before v4 there is no room for it.
            if version >= 4 {
                answer.leader_epoch = found.leader_epoch.0;
            }
        }
        Ok(None) => {}
        Err(code) => answer.error_code = code.into(),
    }
    answer
}

async fn look_up(
    broker: &Arc<Broker>,
    topic: &str,
    asked: &ListOffsetsPartition,
    version: i16,
    committed: bool,
) -> Result<Found, ErrorCode> {
    let partition = broker.partitions.by_name(topic, asked.partition_index)?;
    partition.check_epoch(asked.current_leader_epoch)?;
    let log = &partition.log;
    let remote = broker.remote.as_deref();
    match asked.timestamp {
        LATEST => Ok(Some(at(partition.visible_until(committed), Some(partition.leader_epoch())))),
        EARLIEST => Ok(Some(at(log.start_offset(), log.epoch_for_offset(log.start_offset())))),
        MAX_TIMESTAMP if version >= 7 => max_timestamp(&partition, remote).await,
        EARLIEST_LOCAL if version >= 8 => {
            let start = log.local_start_offset();
            Ok(Some(at(start, log.epoch_for_offset(start))))
        }
        LATEST_TIERED if version >= 9 => {
            let last = archived_until(&partition, remote).map(|until| Offset(until.0 - 1));
            Ok(last.map(|offset| at(offset, log.epoch_for_offset(offset))))
        }
        EARLIEST_PENDING_UPLOAD if version >= 11 => {
            if !log.config().remote_storage_enable {
                return Ok(None);
            }
            let pending =
                archived_until(&partition, remote).unwrap_or(log.start_offset()).max(log.start_offset());
            Ok(Some(at(pending, log.epoch_for_offset(pending))))
        }
        // A name that this version does not have.
        timestamp if timestamp < 0 => Err(ErrorCode::UnsupportedVersion),
        timestamp => {
            let found = by_time(&partition, remote, timestamp).await?;
            // A record that is not committed yet may still go away.
            Ok(found.filter(|found| found.offset < partition.visible_until(committed)))
        }
    }
}

fn at(offset: Offset, leader_epoch: Option<LeaderEpoch>) -> TimestampAndOffset {
    TimestampAndOffset { timestamp: -1, offset, leader_epoch: leader_epoch.unwrap_or(LeaderEpoch::UNKNOWN) }
}

fn archived_until(partition: &Partition, remote: Option<&dyn RemoteLog>) -> Option<Offset> {
    remote?.archived_until(&partition.id)
}

/// The archive, where it has records that the local log has no more.
fn older<'a>(partition: &Partition, remote: Option<&'a dyn RemoteLog>) -> Option<&'a dyn RemoteLog> {
    remote.filter(|_| partition.log.start_offset() < partition.log.local_start_offset())
}

/// The first record, here or in the archive, whose timestamp is `timestamp` or later.
pub(crate) async fn by_time(
    partition: &Partition,
    remote: Option<&dyn RemoteLog>,
    timestamp: i64,
) -> Result<Found, ErrorCode> {
    let log = &partition.log;
    if let Some(archive) = older(partition, remote) {
        let found = archive.offset_for_timestamp(&partition.id, timestamp, log.start_offset()).await;
        let found = found.map_err(|error| error.error_code())?;
        // What is on both sides is the same record; below the local start the archive alone knows.
        if found.as_ref().is_some_and(|found| found.offset < log.local_start_offset()) {
            return Ok(found);
        }
    }
    log.offset_for_timestamp(timestamp).map_err(|error| error.error_code())
}

async fn max_timestamp(partition: &Partition, remote: Option<&dyn RemoteLog>) -> Result<Found, ErrorCode> {
    let local = partition.log.max_timestamp().map_err(|error| error.error_code())?;
    let archived = match older(partition, remote) {
        Some(archive) => archive.max_timestamp(&partition.id).await.map_err(|error| error.error_code())?,
        None => None,
    };
    // Of equal timestamps, the first record's.
    Ok(match (archived, local) {
        (Some(archived), Some(local)) if local.timestamp > archived.timestamp => Some(local),
        (Some(archived), _) => Some(archived),
        (None, local) => local,
    })
}
