//! ElectLeaders (43): has the controller elect preferred (0) or, at the price of records, any (1) leaders (KIP-460).
//!
//! - No partitions named means all; then those that have their leader already are left out of the answer.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct ElectLeaders;

impl Handler for ElectLeaders {
    type Request = ElectLeadersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<ElectLeadersResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Alter, Resource::Cluster) {
            return Ok(ElectLeadersResponse { error_code: code.into(), ..Default::default() });
        }
        let decided = cx.broker.decide(|image| controller::elect_leaders(image, &request)).await;
        let mut response = decided
            .unwrap_or_else(|code| ElectLeadersResponse { error_code: code.into(), ..Default::default() });
        if cx.version == 0 {
            // There is no room for it there.
            response.error_code = 0;
        }
        Ok(response)
    }
}
