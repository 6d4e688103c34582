//! DeleteAcls (31): removes the access control entries that filters match, and says which they were.
//!
//! - Without an authoriser: SECURITY_DISABLED, as in Kafka.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use strata_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use strata_types::ErrorCode;

use super::{NO_AUTHORIZER, NO_CLUSTER_ACCESS, NOT_CHANGED, message};
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DeleteAcls;

impl Handler for DeleteAcls {
    type Request = DeleteAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    async fn handle(cx: Context, request: Self::Request) -> Result<DeleteAclsResponse, Refusal> {
        if !cx.allows(Operation::Alter, Resource::Cluster) {
            return Ok(refused(&request, ErrorCode::ClusterAuthorizationFailed, NO_CLUSTER_ACCESS));
        }
        if cx.broker.authorizer.is_off() {
            return Ok(refused(&request, ErrorCode::SecurityDisabled, NO_AUTHORIZER));
        }
        let decided = cx.broker.decide(|image| controller::delete_acls(image, &request)).await;
        Ok(decided.unwrap_or_else(|code| refused(&request, code, NOT_CHANGED)))
    }
}

fn refused(request: &DeleteAclsRequest, code: ErrorCode, why: &str) -> DeleteAclsResponse {
    let results = request.filters.iter().map(|_| DeleteAclsFilterResult {
        error_code: code.into(),
        error_message: message(why),
        ..Default::default()
    });
    DeleteAclsResponse { filter_results: results.collect(), ..Default::default() }
}
