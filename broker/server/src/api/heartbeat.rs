//! Heartbeat (12): a member is alive, and learns of a rebalance.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct Heartbeat;

impl Handler for Heartbeat {
    type Request = HeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    async fn handle(cx: Context, request: Self::Request) -> Result<HeartbeatResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Read, Resource::Group(&request.group_id)) {
            return Ok(HeartbeatResponse { error_code: code.into(), ..Default::default() });
        }
        let group = request.group_id.clone();
        let request = GroupRequest::Heartbeat { request };
        match cx.broker.groups.ask(&cx.broker, &group, request).await {
            GroupResponse::Heartbeat(response) => Ok(response),
            other => Err(Refusal::not_an_answer_to("Heartbeat", &other)),
        }
    }
}
