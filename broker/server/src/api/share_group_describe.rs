//! ShareGroupDescribe (77): state and members of share groups (KIP-932). A group with members that have topics which the
//! client must not see is TOPIC_AUTHORIZATION_FAILED, without its members.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, GroupShard, ShareRequest, ShareResponse};
use strata_protocol::messages::share_group_describe_response::DescribedGroup;
use strata_protocol::messages::{ShareGroupDescribeRequest, ShareGroupDescribeResponse};
use strata_types::ErrorCode;

use super::{OPERATIONS_UNASKED, message};
use crate::coordinators::Coordinators;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct ShareGroupDescribe;

impl Handler for ShareGroupDescribe {
    type Request = ShareGroupDescribeRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<ShareGroupDescribeResponse, Refusal> {
        let mut groups: Vec<DescribedGroup> = Vec::with_capacity(request.group_ids.len());
        let access = cx.access();
        let mut asked = request.group_ids;
        asked.retain(|group_id| match access.check(Operation::Describe, Resource::Group(group_id)) {
            Ok(()) => true,
            Err(code) => {
                let (group_id, error_code) = (group_id.clone(), code.into());
                groups.push(DescribedGroup { group_id, error_code, ..Default::default() });
                false
            }
        });
        for group_ids in Coordinators::<GroupShard>::by_partition(&cx.broker, asked) {
            let Some(first) = group_ids.first().cloned() else { continue };
            let ask = GroupRequest::Share(ShareRequest::Describe { group_ids });
            match cx.broker.groups.ask(&cx.broker, &first, ask).await {
                GroupResponse::Share(ShareResponse::Describe(described)) => groups.extend(described),
                other => return Err(Refusal::not_an_answer_to("ShareGroupDescribe", &other)),
            }
        }
        for group in &mut groups {
            let mut topics = group.members.iter().flat_map(|member| &member.assignment.topic_partitions);
            if !topics.all(|topic| access.sees(Operation::Describe, Resource::Topic(&topic.topic_name))) {
                group.error_code = ErrorCode::TopicAuthorizationFailed.into();
                group.error_message = message(
                    "The group has described topic(s) that the client is not authorized to describe.",
                );
                group.members = Vec::new();
            }
            let show = request.include_authorized_operations && group.error_code == 0;
            group.authorized_operations = match show {
                true => access.operations(Resource::Group(&group.group_id)),
                false => OPERATIONS_UNASKED,
            };
        }
        Ok(ShareGroupDescribeResponse { groups, ..Default::default() })
    }
}
