//! CreateAcls (30): adds access control entries, each by itself. One that is there already is a success.
//!
//! - Without an authoriser nothing is stored that nobody would obey: SECURITY_DISABLED, as in Kafka.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::create_acls_response::AclCreationResult;
use strata_protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use strata_types::ErrorCode;
use uuid::Uuid;

use super::{NO_AUTHORIZER, NO_CLUSTER_ACCESS, NOT_CHANGED, message};
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct CreateAcls;

impl Handler for CreateAcls {
    type Request = CreateAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    async fn handle(cx: Context, request: Self::Request) -> Result<CreateAclsResponse, Refusal> {
        if !cx.allows(Operation::Alter, Resource::Cluster) {
            return Ok(refused(&request, ErrorCode::ClusterAuthorizationFailed, NO_CLUSTER_ACCESS));
        }
        if cx.broker.authorizer.is_off() {
            return Ok(refused(&request, ErrorCode::SecurityDisabled, NO_AUTHORIZER));
        }
        let decide = |image: &_| {
            let mut ids = std::iter::repeat_with(Uuid::new_v4);
            controller::create_acls(image, &request, &mut ids)
        };
        let decided = cx.broker.decide(decide).await;
        Ok(decided.unwrap_or_else(|code| refused(&request, code, NOT_CHANGED)))
    }
}

fn refused(request: &CreateAclsRequest, code: ErrorCode, why: &str) -> CreateAclsResponse {
    let results = request.creations.iter().map(|_| AclCreationResult {
        error_code: code.into(),
        error_message: message(why),
        ..Default::default()
    });
    CreateAclsResponse { results: results.collect(), ..Default::default() }
}
