//! InitProducerId (22): gives an idempotent producer its id (KIP-98).
//!
//! - Ids come from blocks of 1,000 that the controller hands out, so no two producers of the cluster's life share one.
//! - v3: a producer that has an id and lost its place asks for the next epoch (KIP-360); without a transactional id it
//!   simply gets another id, as in Kafka.
//! - Transactional ids are refused until there is a transaction coordinator.

use std::ops::RangeInclusive;

use strata_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource, ResourceType};

pub(crate) struct InitProducerId;

impl Handler for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: Self::Request) -> Result<InitProducerIdResponse, Refusal> {
        let given = match request.transactional_id {
            None if !may_be_idempotent(&cx) => Err(ErrorCode::ClusterAuthorizationFailed),
            None => cx.broker.producer_ids.next(&cx.broker).await,
            Some(_) => Err(ErrorCode::InvalidRequest),
        };
        Ok(match given {
            Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
            Err(code) => {
                InitProducerIdResponse { error_code: code.into(), producer_epoch: -1, ..Default::default() }
            }
        })
    }
}

/// Whoever may write to some topic may do so idempotently (KIP-679).
fn may_be_idempotent(cx: &Context) -> bool {
    cx.allows_some(Operation::Write, ResourceType::Topic)
        || cx.allows(Operation::IdempotentWrite, Resource::Cluster)
}
