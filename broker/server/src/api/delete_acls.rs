//! DeleteAcls (31): refused, as by a Kafka that has no authoriser.

use std::ops::RangeInclusive;

use strata_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use strata_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use strata_types::ErrorCode;

use super::{NO_AUTHORIZER, message};
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct DeleteAcls;

impl Handler for DeleteAcls {
    type Request = DeleteAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    async fn handle(_: Context, request: Self::Request) -> Result<DeleteAclsResponse, Refusal> {
        let filter_results = request.filters.iter().map(|_| DeleteAclsFilterResult {
            error_code: ErrorCode::SecurityDisabled.into(),
            error_message: message(NO_AUTHORIZER),
            ..Default::default()
        });
        Ok(DeleteAclsResponse { filter_results: filter_results.collect(), ..Default::default() })
    }
}
