//! CreateAcls (30): refused, as by a Kafka that has no authoriser.

use std::ops::RangeInclusive;

use strata_protocol::messages::create_acls_response::AclCreationResult;
use strata_protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use strata_types::ErrorCode;

use super::{NO_AUTHORIZER, message};
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct CreateAcls;

impl Handler for CreateAcls {
    type Request = CreateAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    async fn handle(_: Context, request: Self::Request) -> Result<CreateAclsResponse, Refusal> {
        let results = request.creations.iter().map(|_| AclCreationResult {
            error_code: ErrorCode::SecurityDisabled.into(),
            error_message: message(NO_AUTHORIZER),
            ..Default::default()
        });
        Ok(CreateAclsResponse { results: results.collect(), ..Default::default() })
    }
}
