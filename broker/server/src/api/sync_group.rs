//! SyncGroup (14): the leader brings the assignment, everybody takes theirs; answered when the leader has spoken.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct SyncGroup;

impl Handler for SyncGroup {
    type Request = SyncGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: Self::Request) -> Result<SyncGroupResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Read, Resource::Group(&request.group_id)) {
            return Ok(SyncGroupResponse { error_code: code.into(), ..Default::default() });
        }
        let group = request.group_id.clone();
        let request = GroupRequest::Sync { request };
        match cx.broker.groups.ask(&cx.broker, &group, request).await {
            GroupResponse::Sync(response) => Ok(response),
            other => Err(Refusal::not_an_answer_to("SyncGroup", &other)),
        }
    }
}
