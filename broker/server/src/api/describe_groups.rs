//! DescribeGroups (15): state and members of classic groups.
//!
//! - v3: allowed operations. v6: a group that is not there is an error of its own, with a message (KIP-1043).

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, GroupShard};
use strata_protocol::messages::describe_groups_response::DescribedGroup;
use strata_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::OPERATIONS_UNASKED;
use crate::coordinators::Coordinators;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DescribeGroups;

impl Handler for DescribeGroups {
    type Request = DescribeGroupsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeGroupsResponse, Refusal> {
        let mut groups = Vec::with_capacity(request.groups.len());
        let access = cx.access();
        let mut asked = request.groups;
        asked.retain(|group_id| match access.check(Operation::Describe, Resource::Group(group_id)) {
            Ok(()) => true,
            Err(code) => {
                let (group_id, error_code) = (group_id.clone(), code.into());
                groups.push(DescribedGroup {
                    group_id,
                    error_code,
                    error_message: None,
                    ..Default::default()
                });
                false
            }
        });
        for group_ids in Coordinators::<GroupShard>::by_partition(&cx.broker, asked) {
            let Some(first) = group_ids.first().cloned() else { continue };
            let ask = GroupRequest::DescribeGroups { group_ids, version: cx.version };
            match cx.broker.groups.ask(&cx.broker, &first, ask).await {
                GroupResponse::DescribeGroups(described) => groups.extend(described),
                other => return Err(Refusal::not_an_answer_to("DescribeGroups", &other)),
            }
        }
        for group in &mut groups {
            let show = request.include_authorized_operations && group.error_code == 0;
            group.authorized_operations = match show {
                true => access.operations(Resource::Group(&group.group_id)),
                false => OPERATIONS_UNASKED,
            };
        }
        Ok(DescribeGroupsResponse { groups, ..Default::default() })
    }
}
