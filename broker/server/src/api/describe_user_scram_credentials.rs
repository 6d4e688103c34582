//! DescribeUserScramCredentials (50): which SCRAM credentials users have, without their secrets (KIP-554).

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};
use strata_types::ErrorCode;

use super::{NO_CLUSTER_ACCESS, message};
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DescribeUserScramCredentials;

impl Handler for DescribeUserScramCredentials {
    type Request = DescribeUserScramCredentialsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<DescribeUserScramCredentialsResponse, Refusal> {
        if !cx.allows(Operation::Describe, Resource::Cluster) {
            return Ok(DescribeUserScramCredentialsResponse {
                error_code: ErrorCode::ClusterAuthorizationFailed.into(),
                error_message: message(NO_CLUSTER_ACCESS),
                ..Default::default()
            });
        }
        Ok(controller::describe_user_scram_credentials(&cx.broker.image(), &request))
    }
}
