//! InitProducerId (22): gives a producer its id and epoch (KIP-98).
//!
//! - Ids come from blocks of 1,000 that the controller hands out, so no two producers of the cluster's life share one.
//! - With a transactional id the coordinator decides: the id keeps its producer id, the epoch shuts out who had it before.
//!   A transaction that is still open is aborted first, and the client told to ask again (CONCURRENT_TRANSACTIONS).
//! - v3: a producer that has an id and lost its place asks for the next epoch (KIP-360); without a transactional id it
//!   simply gets another id, as in Kafka. v4: PRODUCER_FENCED, before that INVALID_PRODUCER_EPOCH (KIP-588).
//! - v6 (KIP-939, prepared transactions) is not stable in Kafka, and not spoken here.

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_coordinator::transaction::InitProducer;
use strata_coordinator::{TransactionRequest, TransactionResponse, TxnProducer};
use strata_protocol::Str;
use strata_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::end_txn::fenced_for_client;
use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource, ResourceType};

pub(crate) struct InitProducerId;

/// From here on clients know PRODUCER_FENCED.
const VERSION_WITH_FENCED: i16 = 4;

impl Handler for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: Self::Request) -> Result<InitProducerIdResponse, Refusal> {
        let given = match admit(&cx, &request) {
            Err(code) => Err(code),
            Ok(()) => match request.transactional_id.clone() {
                None => plain(&cx.broker).await,
                Some(id) => transactional(&cx.broker, id, &request).await?,
            },
        };
        Ok(match given {
            Ok(producer) => InitProducerIdResponse {
                producer_id: producer.id.0,
                producer_epoch: producer.epoch.0,
                ..Default::default()
            },
            Err(code) => InitProducerIdResponse {
                error_code: fenced_for_client(code, cx.version >= VERSION_WITH_FENCED).into(),
                producer_epoch: -1,
                ..Default::default()
            },
        })
    }
}

fn admit(cx: &Context, request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    let allowed = match &request.transactional_id {
        Some(id) if !cx.allows(Operation::Write, Resource::TransactionalId(id)) => {
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        }
        None if !cx.allows(Operation::IdempotentWrite, Resource::Cluster)
            && !cx.allows_some(Operation::Write, ResourceType::Topic) =>
        {
            Err(ErrorCode::ClusterAuthorizationFailed)
        }
        _ => Ok(()),
    };
    allowed?;
    // One says who the producer is only with the other.
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

type Given = Result<TxnProducer, ErrorCode>;

async fn plain(broker: &Broker) -> Given {
    let id = broker.producer_ids.next(broker).await?;
    Ok(TxnProducer { id, epoch: ProducerEpoch(0) })
}

async fn transactional(
    broker: &Arc<Broker>,
    transactional_id: Str,
    request: &InitProducerIdRequest,
) -> Result<Given, Refusal> {
    let expected = (request.producer_id != -1).then_some(TxnProducer {
        id: ProducerId(request.producer_id),
        epoch: ProducerEpoch(request.producer_epoch),
    });
    let mut ask =
        InitProducer { transactional_id, timeout_ms: request.transaction_timeout_ms, expected, fresh: None };
    loop {
        let request = TransactionRequest::InitProducerId(ask.clone());
        match broker.transactions.ask(broker, &ask.transactional_id, request).await {
            TransactionResponse::InitProducerId(given) => return Ok(given),
            TransactionResponse::ProducerIdNeeded => match broker.producer_ids.next(broker).await {
                Ok(id) => ask.fresh = Some(id),
                Err(code) => return Ok(Err(code)),
            },
            other => return Err(Refusal::not_an_answer_to("InitProducerId", &other)),
        }
    }
}
