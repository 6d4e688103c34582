//! DeleteGroups (42): deletes empty groups with their offsets; of a share group, what the share coordinator keeps goes
//! first. v3: an error has a message.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, GroupShard};
use strata_protocol::Str;
use strata_protocol::messages::delete_groups_response::DeletableGroupResult;
use strata_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use strata_types::ErrorCode;

use super::describe_share_group_offsets::state;
use crate::coordinators::Coordinators;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};
use crate::share;

pub(crate) struct DeleteGroups;

impl Handler for DeleteGroups {
    type Request = DeleteGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;

    async fn handle(cx: Context, request: Self::Request) -> Result<DeleteGroupsResponse, Refusal> {
        let mut results = Vec::with_capacity(request.groups_names.len());
        let access = cx.access();
        let mut asked = request.groups_names;
        asked.retain(|group_id| match access.check(Operation::Delete, Resource::Group(group_id)) {
            Ok(()) => true,
            Err(code) => {
                let (group_id, error_code) = (group_id.clone(), code.into());
                results.push(DeletableGroupResult { group_id, error_code, ..Default::default() });
                false
            }
        });
        let mut deletable = Vec::with_capacity(asked.len());
        for group_id in asked {
            match forget_share_state(&cx, &group_id).await? {
                Ok(()) => deletable.push(group_id),
                Err(code) => {
                    let error_code = code.into();
                    results.push(DeletableGroupResult { group_id, error_code, ..Default::default() });
                }
            }
        }
        for group_ids in Coordinators::<GroupShard>::by_partition(&cx.broker, deletable) {
            let Some(first) = group_ids.first().cloned() else { continue };
            match cx.broker.groups.ask(&cx.broker, &first, GroupRequest::DeleteGroups { group_ids }).await {
                GroupResponse::DeleteGroups(deleted) => results.extend(deleted),
                other => return Err(Refusal::not_an_answer_to("DeleteGroups", &other)),
            }
        }
        Ok(DeleteGroupsResponse { results, ..Default::default() })
    }
}

/// Has the share coordinator forget what it keeps for the group, if it is a share group without members.
async fn forget_share_state(cx: &Context, group_id: &Str) -> Result<Result<(), ErrorCode>, Refusal> {
    let Ok(topics) = state(&cx.broker, group_id, true).await? else { return Ok(Ok(())) };
    for topic in topics {
        if let Err(code) = share::delete_state(&cx.broker, group_id, &topic).await {
            return Ok(Err(code));
        }
    }
    Ok(Ok(()))
}
