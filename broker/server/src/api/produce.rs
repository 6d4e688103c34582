//! Produce (0): appends batches, one per partition.
//!
//! - `acks=0` gets no answer; what goes wrong closes the connection, which is all that such a client can notice. `acks=1`
//!   is answered once the log has the batch, `acks=-1` once it is committed, or with REQUEST_TIMED_OUT.
//! - v0–2 are advertised, as librdkafka wants, and refused, as in Kafka 4 (KIP-896). v7: zstd may be used. v8: the answer
//!   names the records that were wrong (KIP-467). v10: it may name the new leader (KIP-951). v13: topics by id (KIP-516).
//! - `min.insync.replicas` counts for no more than the replicas there are, so one replica is always enough of one.

use std::ops::RangeInclusive;
use std::time::Duration;

use std::sync::Arc;
use strata_log::AppendError;
use strata_protocol::messages::produce_request::PartitionProduceData;
use strata_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use strata_protocol::messages::{ProduceRequest, ProduceResponse};
use strata_protocol::records::{self, InvalidBatch, Origin, RecordError};
use strata_protocol::{Records, Str};
use strata_types::{ErrorCode, Offset, TimestampMs, TopicId};
use tokio::time::{Instant, timeout_at};

use super::message;
use crate::broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::internal;
use crate::partition::Partition;
use crate::security::{Operation, Resource};

pub(crate) struct Produce;

/// The client id by which Kafka's own tools may write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

impl Handler for Produce {
    type Request = ProduceRequest;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const ADVERTISED: RangeInclusive<i16> = 0..=13;

    async fn handle(cx: Context, request: Self::Request) -> Result<ProduceResponse, Refusal> {
        let acks = request.acks;
        let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
        let mut waiting = Vec::new();
        let mut responses = append_all(&cx, request, &mut waiting);
        match acks {
            0 => return Err(silence_or_close(&responses)),
            -1 => {
                for Waiting { partition, end, topic_index, partition_index } in waiting {
                    let committed = timeout_at(deadline, partition.committed(end)).await;
                    if let Err(code) = committed.unwrap_or(Err(ErrorCode::RequestTimedOut)) {
                        let answer = &mut responses[topic_index].partition_responses[partition_index];
                        *answer = Refused::new(code, None).answer(answer.index);
                    }
                }
            }
            _ => {}
        }
        Ok(ProduceResponse { responses, ..Default::default() })
    }
}

/// An appended batch that is not known to be committed.
struct Waiting {
    partition: Arc<Partition>,
    end: Offset,
    topic_index: usize,
    partition_index: usize,
}

fn append_all(
    cx: &Context,
    request: ProduceRequest,
    waiting: &mut Vec<Waiting>,
) -> Vec<TopicProduceResponse> {
    let now = broker::now();
    let refusal = if !(-1..=1).contains(&request.acks) {
        Some((ErrorCode::InvalidRequiredAcks, "acks must be 0, 1 or -1"))
    } else if request.transactional_id.is_some() {
        Some((ErrorCode::InvalidTxnState, "transactions are not supported yet"))
    } else {
        None
    };
    let mut responses = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let appended = match refusal {
                Some((code, why)) => Err(Refused::new(code, message(why))),
                None => append_one(cx, request.acks, &topic.name, TopicId(topic.topic_id), data, now),
            };
            answers.push(match appended {
                Ok((partition, end, answer)) => {
                    let (topic_index, partition_index) = (responses.len(), answers.len());
                    waiting.push(Waiting { partition, end, topic_index, partition_index });
                    answer
                }
                Err(refused) => refused.answer(index),
            });
        }
        responses.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: answers,
            ..Default::default()
        });
    }
    responses
}

type Appended = (Arc<Partition>, Offset, PartitionProduceResponse);

/// Why a partition's batch was not appended.
struct Refused {
    code: ErrorCode,
    message: Option<Str>,
    records: Vec<RecordError>,
}

impl Refused {
    fn new(code: ErrorCode, message: Option<Str>) -> Self {
        Self { code, message, records: Vec::new() }
    }

    fn answer(self, index: i32) -> PartitionProduceResponse {
        let record_errors = self.records.into_iter().map(|error| BatchIndexAndErrorMessage {
            batch_index: error.batch_index,
            batch_index_error_message: message(error.message),
            ..Default::default()
        });
        PartitionProduceResponse {
            index,
            error_code: self.code.into(),
            base_offset: -1,
            record_errors: record_errors.collect(),
            error_message: self.message,
            ..Default::default()
        }
    }
}

impl From<InvalidBatch> for Refused {
    fn from(invalid: InvalidBatch) -> Self {
        Self { code: invalid.error, message: message(invalid.message), records: invalid.record_errors }
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Invalid(invalid) => invalid.into(),
            error => Self::new(error.error_code(), message(error.to_string())),
        }
    }
}

fn append_one(
    cx: &Context,
    acks: i16,
    name: &Str,
    id: TopicId,
    data: PartitionProduceData,
    now: TimestampMs,
) -> Result<Appended, Refused> {
    let index = data.index;
    let partition = find_allowed(cx, name, id, index).map_err(|code| Refused::new(code, None))?;
    let topic = partition.id.partition.topic.as_str();
    if internal::is_written_by_brokers_only(topic) && cx.client_id.as_deref() != Some(ADMIN_CLIENT) {
        let why = format!("{topic} is an internal topic: only brokers write to it");
        return Err(Refused::new(ErrorCode::InvalidTopicException, message(why)));
    }
    if acks == -1
        && let Err(error) = partition.check_min_isr()
    {
        return Err(Refused::new(ErrorCode::NotEnoughReplicas, message(error.to_string())));
    }
    let Some(Records::Bytes(bytes)) = data.records else {
        return Err(Refused::new(ErrorCode::InvalidRecord, message("there is no record batch")));
    };
    let batch = records::single_batch(bytes, cx.version >= 7)?;
    if batch.header().is_transactional() {
        // A request that names a transactional id does not come this far; without one, this is Kafka's code.
        return Err(Refused::new(ErrorCode::TransactionalIdAuthorizationFailed, None));
    }
    let appended = partition.append(batch.into_bytes(), now, Origin::Client)?;
    let answer = PartitionProduceResponse {
        index,
        base_offset: appended.first_offset.0,
        log_append_time_ms: appended.append_time.unwrap_or(-1),
        log_start_offset: appended.log_start_offset.0,
        error_message: None,
        ..Default::default()
    };
    Ok((partition, appended.last_offset.next(), answer))
}

/// The partition, if its topic may be written to. Whether a topic is there, only those learn who may write to one of its
/// name.
fn find_allowed(cx: &Context, name: &Str, id: TopicId, index: i32) -> Result<Arc<Partition>, ErrorCode> {
    let write = |name: &str| cx.check(Operation::Write, Resource::Topic(name));
    if cx.version < 13 {
        write(name)?;
        return cx.broker.partitions.by_name(name, index);
    }
    let found = cx.broker.partitions.by_id(id, index)?;
    write(found.id.partition.topic.as_str())?;
    Ok(found)
}

fn silence_or_close(responses: &[TopicProduceResponse]) -> Refusal {
    let mut answers = responses.iter().flat_map(|topic| &topic.partition_responses);
    match answers.find_map(|answer| ErrorCode::from_code(answer.error_code).filter(|code| code.is_error())) {
        Some(code) => Refusal::close("acks=0", format!("an unacknowledged produce request failed: {code}")),
        None => Refusal::Silent,
    }
}
