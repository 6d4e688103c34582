//! ListGroups (16): every group that this broker coordinates. v4: by state (KIP-518). v5: by type (KIP-848).

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct ListGroups;

impl Handler for ListGroups {
    type Request = ListGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    async fn handle(cx: Context, request: Self::Request) -> Result<ListGroupsResponse, Refusal> {
        let mut response = ListGroupsResponse::default();
        let ask = || GroupRequest::ListGroups { request: request.clone() };
        for answer in cx.broker.groups.ask_all(&cx.broker, ask).await {
            match answer {
                GroupResponse::ListGroups(Ok(groups)) => response.groups.extend(groups),
                GroupResponse::ListGroups(Err(code)) => response.error_code = code.into(),
                other => return Err(Refusal::not_an_answer_to("ListGroups", &other)),
            }
        }
        let access = cx.access();
        if !access.sees(Operation::Describe, Resource::Cluster) {
            response
                .groups
                .retain(|group| access.sees(Operation::Describe, Resource::Group(&group.group_id)));
        }
        Ok(response)
    }
}
