//! Produce (0): appends batches, one per partition.
//!
//! - `acks=0` gets no answer; what goes wrong closes the connection, which is all that such a client can notice. `acks=1`
//!   is answered once the log has the batch, `acks=-1` once it is committed, or with REQUEST_TIMED_OUT.
//! - v0–2 are advertised, as librdkafka wants, and refused, as in Kafka 4 (KIP-896). v7: zstd may be used. v8: the answer
//!   names the records that were wrong (KIP-467). v10: it may name the new leader (KIP-951). v13: topics by id (KIP-516).
//! - Records of a transaction are verified before the first of them reaches a partition (KIP-890): the partition must be
//!   part of it, or, from v12 on, becomes so. v11: TRANSACTION_ABORTABLE. What older clients would not try again, they are
//!   told as NOT_ENOUGH_REPLICAS, as in Kafka.
//! - `min.insync.replicas` counts for no more than the replicas there are, so one replica is always enough of one.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use strata_coordinator::TxnProducer;
use strata_coordinator::transaction::TxnPartition;
use strata_log::{AppendError, TxnCheck};
use strata_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use strata_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use strata_protocol::messages::{ProduceRequest, ProduceResponse};
use strata_protocol::records::{self, InvalidBatch, Origin, RecordError};
use strata_protocol::{Records, Str};
use strata_types::{ErrorCode, Offset, TimestampMs, TopicId};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::message;
use crate::broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::internal;
use crate::partition::Partition;
use crate::quotas::Kind;
use crate::security::{Operation, Resource};
use crate::trace::span;
use crate::verification::{self, Expects};

pub(crate) struct Produce;

/// The client id by which Kafka's own tools may write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";
const VERSION_WITH_ZSTD: i16 = 7;
const VERSION_WITH_ABORTABLE: i16 = 11;
/// From here on the broker adds partitions to transactions.
const VERSION_THAT_ADDS: i16 = 12;

impl Handler for Produce {
    type Request = ProduceRequest;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const ADVERTISED: RangeInclusive<i16> = 0..=13;

    async fn handle(cx: Context, request: Self::Request) -> Result<ProduceResponse, Refusal> {
        let acks = request.acks;
        let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
        let mut waiting = Vec::new();
        let mut responses = match request.transactional_id.clone() {
            None => append_all(&cx, request, &Checks::default(), &mut waiting),
            Some(id) if !cx.allows(Operation::Write, Resource::TransactionalId(&id)) => {
                refuse_all(&request, ErrorCode::TransactionalIdAuthorizationFailed)
            }
            Some(id) => {
                // Until the records are in the log: later requests of this producer may not need to be verified.
                let _turn = cx.peer.transactional_turn.lock().await;
                match verify(&cx, &id, &request).await {
                    Ok(checks) => append_all(&cx, request, &checks, &mut waiting),
                    Err(code) => refuse_all(&request, code),
                }
            }
        };
        // The records are in the log; it is the next request that waits (KIP-219).
        let throttle_time_ms = cx.charge(Kind::Produce, cx.request_bytes as f64);
        match acks {
            0 => return Err(silence_or_close(&responses)),
            -1 => {
                let committed = commit(&mut responses, waiting, deadline);
                committed.instrument(span!("await commit")).await;
            }
            _ => {}
        }
        Ok(ProduceResponse { responses, throttle_time_ms, ..Default::default() })
    }
}

/// Waits until what was appended is committed, and answers where it is not in time.
async fn commit(responses: &mut [TopicProduceResponse], waiting: Vec<Waiting>, deadline: Instant) {
    for Waiting { partition, end, topic_index, partition_index } in waiting {
        let committed = timeout_at(deadline, partition.committed(end)).await;
        if let Err(code) = committed.unwrap_or(Err(ErrorCode::RequestTimedOut)) {
            let answer = &mut responses[topic_index].partition_responses[partition_index];
            *answer = Refused::new(code, None).answer(answer.index);
        }
    }
}

/// An appended batch that is not known to be committed.
struct Waiting {
    partition: Arc<Partition>,
    end: Offset,
    topic_index: usize,
    partition_index: usize,
}

/// By the places of topic and partition in a transactional request: what the append must check, or why it may not be.
type Checks = HashMap<(usize, usize), Result<TxnCheck, ErrorCode>>;

/// Asks the transaction's coordinator about those partitions that its records have not reached yet.
async fn verify(cx: &Context, id: &Str, request: &ProduceRequest) -> Result<Checks, ErrorCode> {
    let expects = match cx.version {
        VERSION_THAT_ADDS.. => Expects::Added,
        _ if !verification::is_on(&cx.broker) => {
            let all = places(request).map(|(at, _, _)| (at, Ok(TxnCheck::Off)));
            return Ok(all.collect());
        }
        version => Expects::Verified { abortable: version >= VERSION_WITH_ABORTABLE },
    };
    let (mut checks, mut asked, mut partitions) = (Checks::new(), Vec::new(), Vec::new());
    let mut producer = None;
    for (at, topic, data) in places(request) {
        let Some(of) = transactional_producer(data, cx.version) else { continue };
        if *producer.get_or_insert(of) != of {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        let (name, id) = (&topic.name, TopicId(topic.topic_id));
        let Ok(partition) = find_allowed(cx, name, id, data.index) else { continue };
        match partition.log.begin_verification(of.id, of.epoch) {
            None => {
                checks.insert(at, Ok(TxnCheck::Verified(None)));
            }
            Some(guard) => {
                asked.push((at, guard));
                let topic = Str::from(partition.id.partition.topic.as_str());
                partitions.push(TxnPartition { topic, partition: data.index });
            }
        }
    }
    if let Some(producer) = producer.filter(|_| !partitions.is_empty()) {
        let codes = verification::ask(&cx.broker, id, producer, partitions, expects).await;
        for ((at, guard), code) in asked.into_iter().zip(codes) {
            let check = match code {
                ErrorCode::None => Ok(TxnCheck::Verified(Some(guard))),
                code => Err(code),
            };
            checks.insert(at, check);
        }
    }
    Ok(checks)
}

/// The partitions of a request, with their places in it.
fn places(
    request: &ProduceRequest,
) -> impl Iterator<Item = ((usize, usize), &TopicProduceData, &PartitionProduceData)> {
    request.topic_data.iter().enumerate().flat_map(|(topic_index, topic)| {
        let partitions = topic.partition_data.iter().enumerate();
        partitions.map(move |(index, data)| ((topic_index, index), topic, data))
    })
}

/// Whose transaction a partition's batch belongs to. Batches that are wrong are refused when they are appended.
fn transactional_producer(data: &PartitionProduceData, version: i16) -> Option<TxnProducer> {
    let Some(Records::Bytes(bytes)) = &data.records else { return None };
    let batch = records::single_batch(bytes.clone(), version >= VERSION_WITH_ZSTD).ok()?;
    let header = batch.header();
    let producer = TxnProducer { id: header.producer_id, epoch: header.producer_epoch };
    (header.is_transactional() && header.has_producer()).then_some(producer)
}

/// Why a partition's transactional batch was not appended, as clients of this version understand it.
fn unverified(code: ErrorCode, version: i16) -> Refused {
    let retriable = match code {
        ErrorCode::ConcurrentTransactions => version < VERSION_THAT_ADDS,
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => true,
        _ => false,
    };
    if retriable {
        let why = format!(
            "Unable to verify the partition has been added to the transaction. Underlying error: {code}"
        );
        return Refused::new(ErrorCode::NotEnoughReplicas, message(why));
    }
    let why = (code == ErrorCode::InvalidTxnState).then_some("Partition was not added to the transaction");
    Refused::new(code, why.and_then(message))
}

fn refuse_all(request: &ProduceRequest, code: ErrorCode) -> Vec<TopicProduceResponse> {
    let topics = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .iter()
            .map(|data| Refused::new(code, None).answer(data.index))
            .collect(),
        ..Default::default()
    });
    topics.collect()
}

fn append_all(
    cx: &Context,
    request: ProduceRequest,
    checks: &Checks,
    waiting: &mut Vec<Waiting>,
) -> Vec<TopicProduceResponse> {
    let now = broker::now();
    let _append = span!("append", topics = request.topic_data.len()).entered();
    let refusal = if !(-1..=1).contains(&request.acks) {
        Some((ErrorCode::InvalidRequiredAcks, "acks must be 0, 1 or -1"))
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
                None => {
                    let check = checks.get(&(responses.len(), answers.len())).copied();
                    append_one(cx, request.acks, &topic.name, TopicId(topic.topic_id), data, now, check)
                }
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
    check: Option<Result<TxnCheck, ErrorCode>>,
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
    let batch = records::single_batch(bytes, cx.version >= VERSION_WITH_ZSTD)?;
    let check = match check {
        Some(Ok(check)) => check,
        Some(Err(code)) => return Err(unverified(code, cx.version)),
        // A request that names a transactional id has its transactional batches checked; without one, this is Kafka's code.
        None if batch.header().is_transactional() => {
            return Err(Refused::new(ErrorCode::TransactionalIdAuthorizationFailed, None));
        }
        None => TxnCheck::Off,
    };
    let appended = partition.append_checked(batch.into_bytes(), now, Origin::Client, check)?;
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
