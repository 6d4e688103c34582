//! TxnOffsetCommit (28): a group's offsets as part of a transaction (KIP-98): they count once it commits.
//!
//! - The group's partition of `__consumer_offsets` must be part of the transaction: by AddOffsetsToTxn, which is verified
//!   (KIP-890), or, from v5 on, by this very request.
//! - v3: says who commits, so that the group can tell members that are gone (KIP-447). v4: TRANSACTION_ABORTABLE. v6: topics
//!   by id. Partitions that do not exist do not hold up the others.

use std::ops::RangeInclusive;

use strata_coordinator::transaction::TxnPartition;
use strata_coordinator::{GroupRequest, GroupResponse, TxnProducer, partition_for};
use strata_metadata::Image;
use strata_protocol::Str;
use strata_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use strata_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use strata_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId, TopicId, VerificationGuard};

use crate::dispatch::{Context, Handler, Refusal};
use crate::internal::CONSUMER_OFFSETS;
use crate::security::{Operation, Resource};
use crate::verification::{self, Expects};

pub(crate) struct TxnOffsetCommit;

const VERSION_WITH_LOADING: i16 = 2;
const VERSION_WITH_ABORTABLE: i16 = 4;
const VERSION_THAT_ADDS: i16 = 5;
const VERSION_BY_ID: i16 = 6;

impl Handler for TxnOffsetCommit {
    type Request = TxnOffsetCommitRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;
    /// 6 is understood but not yet advertised, as in Kafka 4.3.
    const ADVERTISED: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, mut request: Self::Request) -> Result<TxnOffsetCommitResponse, Refusal> {
        if let Err(code) = admit(&cx, &request) {
            return Ok(refused(request, code, cx.version));
        }
        let unknown = take_unknown(&cx, &mut request.topics);
        if request.topics.is_empty() && !unknown.is_empty() {
            return Ok(TxnOffsetCommitResponse { topics: unknown, ..Default::default() });
        }
        let guard = match verify(&cx, &request).await {
            Ok(guard) => guard,
            Err(code) => {
                let mut response = refused(request, code, cx.version);
                response.topics.extend(unknown);
                return Ok(response);
            }
        };
        let group = request.group_id.clone();
        let ask = GroupRequest::TxnOffsetCommit { request, guard };
        match cx.broker.groups.ask(&cx.broker, &group, ask).await {
            GroupResponse::TxnOffsetCommit(mut response) => {
                for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.error_code = for_version(partition.error_code, cx.version);
                }
                response.topics.extend(unknown);
                Ok(response)
            }
            other => Err(Refusal::not_an_answer_to("TxnOffsetCommit", &other)),
        }
    }
}

fn admit(cx: &Context, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    if !cx.allows(Operation::Write, Resource::TransactionalId(&request.transactional_id)) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if !cx.allows(Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    Ok(())
}

/// Sees to it that the group's partition is part of the transaction. Answers under which guard that was asked.
async fn verify(
    cx: &Context,
    request: &TxnOffsetCommitRequest,
) -> Result<Option<VerificationGuard>, ErrorCode> {
    let expects = if cx.version >= VERSION_THAT_ADDS {
        Expects::Added
    } else if verification::is_on(&cx.broker) {
        Expects::Verified { abortable: cx.version >= VERSION_WITH_ABORTABLE }
    } else {
        return Ok(None);
    };
    let topic = cx.broker.partitions.topic(CONSUMER_OFFSETS).ok_or(ErrorCode::NotCoordinator)?;
    let index = partition_for(&request.group_id, topic.partitions.len() as i32);
    let partition = topic.partitions.get(index as usize).and_then(Option::as_ref);
    let partition = partition.ok_or(ErrorCode::NotCoordinator)?;
    let (id, epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
    let Some(guard) = partition.log.begin_verification(id, epoch) else { return Ok(None) };
    let at = TxnPartition { topic: Str::from_static(CONSUMER_OFFSETS), partition: index };
    let producer = TxnProducer { id, epoch };
    let codes = verification::ask(&cx.broker, &request.transactional_id, producer, vec![at], expects).await;
    match codes.first().copied().unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => Ok(Some(guard)),
        // It is not the group's coordinator that is to be looked for.
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {
            Err(ErrorCode::CoordinatorLoadInProgress)
        }
        code => Err(code),
    }
}

/// Fills in names and ids, and takes out what does not exist or is forbidden, as answers.
fn take_unknown(
    cx: &Context,
    topics: &mut Vec<TxnOffsetCommitRequestTopic>,
) -> Vec<TxnOffsetCommitResponseTopic> {
    let (image, access) = (cx.broker.image(), cx.access());
    let mut refused = Vec::new();
    topics.retain_mut(|asked| {
        let known = identify(&image, asked, cx.version);
        let known = known.and_then(|partitions| {
            let allowed = access.allows(Operation::Read, Resource::Topic(&asked.name));
            if allowed { Ok(partitions) } else { Err(ErrorCode::TopicAuthorizationFailed) }
        });
        let mut wrong = Vec::new();
        asked.partitions.retain(|partition| {
            let index = partition.partition_index;
            let code = match known {
                Ok(count) if (0..count).contains(&index) => return true,
                Ok(_) => ErrorCode::UnknownTopicOrPartition,
                Err(code) => code,
            };
            wrong.push(result(index, code));
            false
        });
        if !wrong.is_empty() {
            refused.push(TxnOffsetCommitResponseTopic {
                name: asked.name.clone(),
                topic_id: asked.topic_id,
                partitions: wrong,
                ..Default::default()
            });
        }
        !asked.partitions.is_empty()
    });
    refused
}

/// Fills in the name or the id. Answers the number of partitions.
fn identify(image: &Image, asked: &mut TxnOffsetCommitRequestTopic, version: i16) -> Result<i32, ErrorCode> {
    let (topic, unknown) = match version {
        VERSION_BY_ID.. => (image.topic_by_id(TopicId(asked.topic_id)), ErrorCode::UnknownTopicId),
        _ => (image.topic(&asked.name), ErrorCode::UnknownTopicOrPartition),
    };
    let topic = topic.ok_or(unknown)?;
    (asked.name, asked.topic_id) = (Str::from(topic.name.as_str()), topic.id.0);
    Ok(topic.partitions.len() as i32)
}

fn refused(request: TxnOffsetCommitRequest, code: ErrorCode, version: i16) -> TxnOffsetCommitResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let mut refused = result(partition.partition_index, code);
            refused.error_code = for_version(refused.error_code, version);
            refused
        });
        TxnOffsetCommitResponseTopic {
            partitions: partitions.collect(),
            name: topic.name,
            topic_id: topic.topic_id,
            ..Default::default()
        }
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn result(partition_index: i32, code: ErrorCode) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition { partition_index, error_code: code.into(), ..Default::default() }
}

/// The first clients did not know that a coordinator may be loading.
fn for_version(code: i16, version: i16) -> i16 {
    if version < VERSION_WITH_LOADING && code == ErrorCode::CoordinatorLoadInProgress.code() {
        return ErrorCode::CoordinatorNotAvailable.code();
    }
    code
}
