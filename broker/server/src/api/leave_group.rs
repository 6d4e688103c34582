//! LeaveGroup (13): members leave; from v3 several at once, also by their static ids (KIP-345).

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct LeaveGroup;

impl Handler for LeaveGroup {
    type Request = LeaveGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: Self::Request) -> Result<LeaveGroupResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Read, Resource::Group(&request.group_id)) {
            return Ok(LeaveGroupResponse { error_code: code.into(), ..Default::default() });
        }
        let group = request.group_id.clone();
        let request = GroupRequest::Leave { request, version: cx.version };
        match cx.broker.groups.ask(&cx.broker, &group, request).await {
            GroupResponse::Leave(response) => Ok(response),
            other => Err(Refusal::not_an_answer_to("LeaveGroup", &other)),
        }
    }
}
