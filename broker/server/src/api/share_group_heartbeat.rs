//! ShareGroupHeartbeat (76): a member of a share group joins, shows that it lives, says what it subscribes to, leaves
//! (KIP-932).
//!
//! - Epoch 0 joins, −1 leaves; the member brings its own id. What is assigned is told when joining, when the request says
//!   what the member subscribes to, and when it has changed.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, ShareRequest, ShareResponse};
use strata_protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use strata_types::ErrorCode;

use crate::coordinators::client;
use crate::dispatch::{Context, Handler, Refusal};
use crate::features;
use crate::security::{Operation, Resource};

pub(crate) struct ShareGroupHeartbeat;

impl Handler for ShareGroupHeartbeat {
    type Request = ShareGroupHeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<ShareGroupHeartbeatResponse, Refusal> {
        if let Err(code) = check(&cx, &request) {
            return Ok(ShareGroupHeartbeatResponse { error_code: code.into(), ..Default::default() });
        }
        let group = request.group_id.clone();
        let ask = GroupRequest::Share(ShareRequest::Heartbeat { request, client: client(&cx) });
        match cx.broker.groups.ask(&cx.broker, &group, ask).await {
            GroupResponse::Share(ShareResponse::Heartbeat(response)) => Ok(response),
            other => Err(Refusal::not_an_answer_to("ShareGroupHeartbeat", &other)),
        }
    }
}

fn check(cx: &Context, request: &ShareGroupHeartbeatRequest) -> Result<(), ErrorCode> {
    if !features::is_enabled(&cx.broker, features::SHARE_VERSION) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let access = cx.access();
    access.check(Operation::Read, Resource::Group(&request.group_id))?;
    let mut topics = request.subscribed_topic_names.iter().flatten();
    topics.try_for_each(|topic| access.check(Operation::Describe, Resource::Topic(topic)))
}
