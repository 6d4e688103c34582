//! UnregisterBroker (64): takes a broker out of the cluster that will not come back (KIP-500).
//!
//! - This node itself is refused: it serves, and would take its partitions' leaders with it. Kafka lets one do that.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct UnregisterBroker;

impl Handler for UnregisterBroker {
    type Request = UnregisterBrokerRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<UnregisterBrokerResponse, Refusal> {
        let refused = |code: ErrorCode, why: Option<String>| UnregisterBrokerResponse {
            error_code: code.into(),
            error_message: why.and_then(message),
            ..Default::default()
        };
        if !cx.allows(Operation::Alter, Resource::Cluster) {
            return Ok(refused(ErrorCode::ClusterAuthorizationFailed, None));
        }
        if request.broker_id == cx.broker.node_id {
            let why = format!("Broker {} serves this request; stop it first.", request.broker_id);
            return Ok(refused(ErrorCode::InvalidRequest, Some(why)));
        }
        let decided = cx.broker.decide(|image| controller::unregister_broker(image, &request)).await;
        Ok(decided.unwrap_or_else(|code| refused(code, None)))
    }
}
