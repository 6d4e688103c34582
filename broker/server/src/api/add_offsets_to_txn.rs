//! AddOffsetsToTxn (25): a transaction will commit a group's offsets: the group's partition of `__consumer_offsets` joins it.
//!
//! - v2: PRODUCER_FENCED, before that INVALID_PRODUCER_EPOCH (KIP-588). v4: TRANSACTION_ABORTABLE. Clients of transaction
//!   version 2 leave it out: TxnOffsetCommit does it for them.

use std::ops::RangeInclusive;

use strata_coordinator::transaction::{AddPartitions, TxnPartition};
use strata_coordinator::{TransactionRequest, TransactionResponse, TxnProducer, partition_for};
use strata_protocol::Str;
use strata_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::end_txn::fenced_for_client;
use crate::dispatch::{Context, Handler, Refusal};
use crate::internal::{self, CONSUMER_OFFSETS};
use crate::security::{Operation, Resource};

pub(crate) struct AddOffsetsToTxn;

const VERSION_WITH_FENCED: i16 = 2;

impl Handler for AddOffsetsToTxn {
    type Request = AddOffsetsToTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    async fn handle(cx: Context, request: Self::Request) -> Result<AddOffsetsToTxnResponse, Refusal> {
        let code = if !cx.allows(Operation::Write, Resource::TransactionalId(&request.transactional_id)) {
            ErrorCode::TransactionalIdAuthorizationFailed
        } else if !cx.allows(Operation::Read, Resource::Group(&request.group_id)) {
            ErrorCode::GroupAuthorizationFailed
        } else {
            add(&cx, request).await?
        };
        let error_code = fenced_for_client(code, cx.version >= VERSION_WITH_FENCED).into();
        Ok(AddOffsetsToTxnResponse { error_code, ..Default::default() })
    }
}

async fn add(cx: &Context, request: AddOffsetsToTxnRequest) -> Result<ErrorCode, Refusal> {
    let count = match internal::ensure(&cx.broker, CONSUMER_OFFSETS).await {
        Ok(count) => count,
        Err(code) => return Ok(code),
    };
    let partition = TxnPartition {
        topic: Str::from_static(CONSUMER_OFFSETS),
        partition: partition_for(&request.group_id, count),
    };
    let id = request.transactional_id;
    let add = AddPartitions {
        transactional_id: id.clone(),
        producer: TxnProducer {
            id: ProducerId(request.producer_id),
            epoch: ProducerEpoch(request.producer_epoch),
        },
        partitions: vec![partition],
        transaction_version: 0,
    };
    let ask = TransactionRequest::AddPartitions { add, wait: false };
    match cx.broker.transactions.ask(&cx.broker, &id, ask).await {
        TransactionResponse::Added(code) => Ok(code),
        other => Err(Refusal::not_an_answer_to("AddOffsetsToTxn", &other)),
    }
}
