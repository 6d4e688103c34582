//! DeleteGroups (42): deletes empty groups with their offsets. v3: an error has a message.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, GroupShard};
use strata_protocol::messages::delete_groups_response::DeletableGroupResult;
use strata_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::coordinators::Coordinators;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

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
        for group_ids in Coordinators::<GroupShard>::by_partition(&cx.broker, asked) {
            let Some(first) = group_ids.first().cloned() else { continue };
            match cx.broker.groups.ask(&cx.broker, &first, GroupRequest::DeleteGroups { group_ids }).await {
                GroupResponse::DeleteGroups(deleted) => results.extend(deleted),
                other => return Err(Refusal::not_an_answer_to("DeleteGroups", &other)),
            }
        }
        Ok(DeleteGroupsResponse { results, ..Default::default() })
    }
}
