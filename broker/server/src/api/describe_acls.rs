//! DescribeAcls (29): without an authoriser there are no ACLs; that is an error, as in Kafka, and not an empty list.

use std::ops::RangeInclusive;

use strata_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use strata_types::ErrorCode;

use super::{NO_AUTHORIZER, message};
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct DescribeAcls;

impl Handler for DescribeAcls {
    type Request = DescribeAclsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    async fn handle(_: Context, _: Self::Request) -> Result<DescribeAclsResponse, Refusal> {
        Ok(DescribeAclsResponse {
            error_code: ErrorCode::SecurityDisabled.into(),
            error_message: message(NO_AUTHORIZER),
            ..Default::default()
        })
    }
}
