//! DeleteRecords (21): moves partitions' log start offsets up; what lies below is gone for readers at once, from the disk
//! with the next retention run, and from the archive.
//!
//! - Offset −1 means everything that is committed. Beyond the high watermark is OFFSET_OUT_OF_RANGE; below the start there
//!   is nothing to do. Topics that are only compacted keep what they have: POLICY_VIOLATION.

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_protocol::messages::delete_records_request::DeleteRecordsPartition;
use strata_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use strata_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use strata_types::{ErrorCode, Offset};

use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::internal;
use crate::security::{Operation, Resource};
use crate::server::blocking;

pub(crate) struct DeleteRecords;

impl Handler for DeleteRecords {
    type Request = DeleteRecordsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<DeleteRecordsResponse, Refusal> {
        let mut topics = Vec::with_capacity(request.topics.len());
        let access = cx.access();
        for topic in request.topics {
            let allowed = access.check(Operation::Delete, Resource::Topic(&topic.name));
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let mut result = DeleteRecordsPartitionResult {
                    partition_index: asked.partition_index,
                    low_watermark: -1,
                    ..Default::default()
                };
                let deleted = match allowed {
                    Ok(()) => delete(&cx.broker, &topic.name, asked).await,
                    Err(code) => Err(code),
                };
                match deleted {
                    Ok(start) => result.low_watermark = start.0,
                    Err(code) => result.error_code = code.into(),
                }
                partitions.push(result);
            }
            topics.push(DeleteRecordsTopicResult { name: topic.name, partitions, ..Default::default() });
        }
        Ok(DeleteRecordsResponse { topics, ..Default::default() })
    }
}

async fn delete(
    broker: &Arc<Broker>,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, ErrorCode> {
    if internal::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = broker.partitions.by_name(topic, asked.partition_index)?;
    let config = partition.log.config();
    if !config.cleanup_policy.delete && config.cleanup_policy.compact {
        return Err(ErrorCode::PolicyViolation);
    }
    let committed = partition.high_watermark();
    let until = if asked.offset == -1 { committed } else { Offset(asked.offset) };
    if until < Offset::ZERO || until > committed {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let moved = blocking({
        let log = partition.log.clone();
        move || log.advance_start_offset(until)
    })
    .await;
    let moved = moved.map_err(|_| ErrorCode::UnknownServerError)?.map_err(|error| error.error_code())?;
    if moved
        && let Some(remote) = broker.remote.as_ref().filter(|_| config.remote_storage_enable)
        && let Err(error) = remote.start_offset_advanced(&partition.id, until).await
    {
        // The log's start decides what readers see; the archive catches up with the next retention run.
        tracing::warn!(partition = %partition.id.partition, "deleted records are still in the archive: {error}");
    }
    Ok(partition.log.start_offset())
}
