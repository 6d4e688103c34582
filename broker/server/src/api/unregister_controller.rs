//! UnregisterController (94): takes a controller out of the cluster's registrations (new in Kafka 4.4).
//!
//! - There is one controller, this node, and it serves.

use std::ops::RangeInclusive;

use strata_protocol::messages::{UnregisterControllerRequest, UnregisterControllerResponse};
use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct UnregisterController;

impl Handler for UnregisterController {
    type Request = UnregisterControllerRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<UnregisterControllerResponse, Refusal> {
        let id = request.controller_id;
        let (code, why) = if !cx.allows(Operation::Alter, Resource::Cluster) {
            (ErrorCode::ClusterAuthorizationFailed, None)
        } else if id == cx.broker.node_id {
            (
                ErrorCode::InvalidRequest,
                message(format!("Controller {id} serves this request; stop it first.")),
            )
        } else {
            (
                ErrorCode::UnknownControllerId,
                message(format!("Controller ID {id} is not currently registered")),
            )
        };
        Ok(UnregisterControllerResponse { error_code: code.into(), error_message: why, ..Default::default() })
    }
}
