//! JoinGroup (11): a consumer enters its group, or a rebalance of it; answered when the group's members are known.
//!
//! - v4: a member without an id first gets one (KIP-394). v5: static members (KIP-345). v9: the leader of a group whose
//!   assignment stands may be told to skip it (KIP-814).
//! - The protocols' metadata is the clients' own and is never read here.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::Str;
use strata_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use uuid::Uuid;

use crate::coordinators::client;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct JoinGroup;

impl Handler for JoinGroup {
    type Request = JoinGroupRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=9;

    async fn handle(cx: Context, request: Self::Request) -> Result<JoinGroupResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Read, Resource::Group(&request.group_id)) {
            return Ok(JoinGroupResponse {
                error_code: code.into(),
                generation_id: -1,
                member_id: request.member_id,
                protocol_name: (cx.version < 7).then(Str::default),
                ..Default::default()
            });
        }
        let group = request.group_id.clone();
        let request = GroupRequest::Join { request, client: client(&cx), new_member: Uuid::new_v4() };
        match cx.broker.groups.ask(&cx.broker, &group, request).await {
            GroupResponse::Join(response) => Ok(response),
            other => Err(Refusal::not_an_answer_to("JoinGroup", &other)),
        }
    }
}
