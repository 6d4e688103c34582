//! AddPartitionsToTxn (24): partitions join a transaction; the first one begins it (KIP-98).
//!
//! - All partitions or none: where one does not exist, the others are answered OPERATION_NOT_ATTEMPTED.
//! - v0–3 are clients'. v4: brokers' requests, of several transactions at once, which may only ask whether partitions have
//!   joined (KIP-890). v2: PRODUCER_FENCED, before that INVALID_PRODUCER_EPOCH (KIP-588). v5: TRANSACTION_ABORTABLE.

use std::ops::RangeInclusive;

use strata_coordinator::transaction::{AddPartitions, TxnPartition};
use strata_coordinator::{TransactionRequest, TransactionResponse, TxnProducer};
use strata_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use strata_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use strata_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::end_txn::fenced_for_client;
use crate::dispatch::{Context, Handler, Refusal};
use crate::internal;
use crate::security::{Operation, Resource};

pub(crate) struct AddPartitionsToTxn;

const VERSION_WITH_FENCED: i16 = 2;
/// From here on brokers ask.
const VERSION_OF_BROKERS: i16 = 4;

impl Handler for AddPartitionsToTxn {
    type Request = AddPartitionsToTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: Self::Request) -> Result<AddPartitionsToTxnResponse, Refusal> {
        if cx.version < VERSION_OF_BROKERS {
            let transaction = AddPartitionsToTxnTransaction {
                transactional_id: request.v3_and_below_transactional_id,
                producer_id: request.v3_and_below_producer_id,
                producer_epoch: request.v3_and_below_producer_epoch,
                topics: request.v3_and_below_topics,
                ..Default::default()
            };
            let results_by_topic_v3_and_below = answer(&cx, &transaction).await?;
            return Ok(AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() });
        }
        if !cx.allows(Operation::ClusterAction, Resource::Cluster) {
            let error_code = ErrorCode::ClusterAuthorizationFailed.into();
            return Ok(AddPartitionsToTxnResponse { error_code, ..Default::default() });
        }
        let mut results_by_transaction = Vec::with_capacity(request.transactions.len());
        for transaction in &request.transactions {
            results_by_transaction.push(AddPartitionsToTxnResult {
                transactional_id: transaction.transactional_id.clone(),
                topic_results: answer(&cx, transaction).await?,
                ..Default::default()
            });
        }
        Ok(AddPartitionsToTxnResponse { results_by_transaction, ..Default::default() })
    }
}

type Results = Vec<AddPartitionsToTxnTopicResult>;

async fn answer(cx: &Context, transaction: &AddPartitionsToTxnTransaction) -> Result<Results, Refusal> {
    let topics = &transaction.topics;
    let id = &transaction.transactional_id;
    // A broker has looked at what its client may do.
    let is_client = cx.version < VERSION_OF_BROKERS;
    if is_client && !cx.allows(Operation::Write, Resource::TransactionalId(id)) {
        return Ok(results(topics, |_, _| ErrorCode::TransactionalIdAuthorizationFailed));
    }
    let refused = |topic: &AddPartitionsToTxnTopic, partition: i32| {
        let is_internal = internal::is_written_by_brokers_only(&topic.name);
        if is_client && (is_internal || !cx.allows(Operation::Write, Resource::Topic(&topic.name))) {
            return Some(ErrorCode::TopicAuthorizationFailed);
        }
        cx.broker.partitions.by_name(&topic.name, partition).err()
    };
    let any = topics.iter().any(|topic| topic.partitions.iter().any(|&at| refused(topic, at).is_some()));
    if any {
        return Ok(results(topics, |topic, at| {
            refused(topic, at).unwrap_or(ErrorCode::OperationNotAttempted)
        }));
    }
    let partitions = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|&partition| TxnPartition { topic: topic.name.detached(), partition })
    });
    let add = AddPartitions {
        transactional_id: id.clone(),
        producer: TxnProducer {
            id: ProducerId(transaction.producer_id),
            epoch: ProducerEpoch(transaction.producer_epoch),
        },
        partitions: partitions.collect(),
        transaction_version: if is_client { 0 } else { 2 },
    };
    let count = add.partitions.len();
    let request = if transaction.verify_only {
        TransactionRequest::Verify { add }
    } else {
        TransactionRequest::AddPartitions { add, wait: false }
    };
    let codes = match cx.broker.transactions.ask(&cx.broker, id, request).await {
        TransactionResponse::Added(code) => vec![code; count],
        TransactionResponse::Verified(codes) => codes,
        other => return Err(Refusal::not_an_answer_to("AddPartitionsToTxn", &other)),
    };
    let mut codes = codes.into_iter();
    Ok(results(topics, |_, _| {
        let code = codes.next().unwrap_or(ErrorCode::UnknownServerError);
        fenced_for_client(code, cx.version >= VERSION_WITH_FENCED)
    }))
}

fn results(
    topics: &[AddPartitionsToTxnTopic],
    mut code: impl FnMut(&AddPartitionsToTxnTopic, i32) -> ErrorCode,
) -> Results {
    let topics = topics.iter().map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|&partition_index| AddPartitionsToTxnPartitionResult {
                partition_index,
                partition_error_code: code(topic, partition_index).into(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    topics.collect()
}
