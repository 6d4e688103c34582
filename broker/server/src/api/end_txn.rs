//! EndTxn (26): commits or aborts a transaction (KIP-98).
//!
//! - The answer means that the end is decided: its record is committed. Markers follow; until they are written, what
//!   begins the next transaction is answered CONCURRENT_TRANSACTIONS, or waits.
//! - v2: PRODUCER_FENCED, before that INVALID_PRODUCER_EPOCH (KIP-588). v4: TRANSACTION_ABORTABLE. v5: transaction
//!   version 2: the answer has the producer's id and epoch for its next transaction, and a retry is told from the next
//!   end (KIP-890).

use std::ops::RangeInclusive;

use strata_coordinator::transaction::EndTxn as EndRequest;
use strata_coordinator::{TransactionRequest, TransactionResponse, TxnProducer};
use strata_protocol::messages::{EndTxnRequest, EndTxnResponse};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct EndTxn;

const VERSION_WITH_FENCED: i16 = 2;
const VERSION_WITH_EPOCH_BUMP: i16 = 5;

impl Handler for EndTxn {
    type Request = EndTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: Self::Request) -> Result<EndTxnResponse, Refusal> {
        let bumps = cx.version >= VERSION_WITH_EPOCH_BUMP;
        let ended = if cx.allows(Operation::Write, Resource::TransactionalId(&request.transactional_id)) {
            end(&cx, request).await?
        } else {
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        };
        Ok(match ended {
            Ok(producer) if bumps => EndTxnResponse {
                producer_id: producer.id.0,
                producer_epoch: producer.epoch.0,
                ..Default::default()
            },
            Ok(_) => EndTxnResponse::default(),
            Err(code) => EndTxnResponse {
                error_code: fenced_for_client(code, cx.version >= VERSION_WITH_FENCED).into(),
                ..Default::default()
            },
        })
    }
}

/// Clients of old versions know a fenced producer by another code.
pub(super) fn fenced_for_client(code: ErrorCode, knows_fenced: bool) -> ErrorCode {
    if code == ErrorCode::ProducerFenced && !knows_fenced { ErrorCode::InvalidProducerEpoch } else { code }
}

async fn end(cx: &Context, request: EndTxnRequest) -> Result<Result<TxnProducer, ErrorCode>, Refusal> {
    let mut ask = EndRequest {
        transactional_id: request.transactional_id,
        producer: TxnProducer {
            id: ProducerId(request.producer_id),
            epoch: ProducerEpoch(request.producer_epoch),
        },
        commit: request.committed,
        transaction_version: if cx.version >= VERSION_WITH_EPOCH_BUMP { 2 } else { 0 },
        fresh: None,
    };
    let broker = &cx.broker;
    loop {
        let request = TransactionRequest::EndTxn(ask.clone());
        match broker.transactions.ask(broker, &ask.transactional_id, request).await {
            TransactionResponse::EndTxn(ended) => return Ok(ended),
            // The producer's epochs are used up.
            TransactionResponse::ProducerIdNeeded => match broker.producer_ids.next(broker).await {
                Ok(id) => ask.fresh = Some(id),
                Err(code) => return Ok(Err(code)),
            },
            other => return Err(Refusal::not_an_answer_to("EndTxn", &other)),
        }
    }
}
