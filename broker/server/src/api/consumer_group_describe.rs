//! ConsumerGroupDescribe (69): state, epochs and members of consumer groups, with what each has and is to have (KIP-848).
//!
//! - v1: which protocol a member speaks (KIP-1099).

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, GroupShard};
use strata_protocol::messages::consumer_group_describe_response::DescribedGroup;
use strata_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use strata_types::ErrorCode;

use super::{OPERATIONS_UNASKED, message};
use crate::coordinators::Coordinators;
use crate::dispatch::{Context, Handler, Refusal};
use crate::features;
use crate::security::{Operation, Resource};

pub(crate) struct ConsumerGroupDescribe;

impl Handler for ConsumerGroupDescribe {
    type Request = ConsumerGroupDescribeRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<ConsumerGroupDescribeResponse, Refusal> {
        if !features::serves_consumer_groups(&cx.broker) {
            let refused = request.group_ids.into_iter().map(|group_id| DescribedGroup {
                group_id,
                error_code: ErrorCode::UnsupportedVersion.into(),
                ..Default::default()
            });
            return Ok(ConsumerGroupDescribeResponse { groups: refused.collect(), ..Default::default() });
        }
        let mut groups = Vec::with_capacity(request.group_ids.len());
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
            let ask = GroupRequest::ConsumerGroupDescribe { group_ids };
            match cx.broker.groups.ask(&cx.broker, &first, ask).await {
                GroupResponse::ConsumerGroupDescribe(described) => groups.extend(described),
                other => return Err(Refusal::not_an_answer_to("ConsumerGroupDescribe", &other)),
            }
        }
        for group in &mut groups {
            let show = request.include_authorized_operations && group.error_code == 0;
            group.authorized_operations = match show {
                true => access.operations(Resource::Group(&group.group_id)),
                false => OPERATIONS_UNASKED,
            };
            let may_see = |topic: &str| access.sees(Operation::Describe, Resource::Topic(topic));
            if !topics_of(group).all(may_see) {
                group.error_code = ErrorCode::TopicAuthorizationFailed.into();
                group.error_message =
                    message("The described group uses topics that the client is not authorized to describe.");
                group.members.clear();
            }
        }
        Ok(ConsumerGroupDescribeResponse { groups, ..Default::default() })
    }
}

/// The topics of which a description tells.
fn topics_of(group: &DescribedGroup) -> impl Iterator<Item = &str> {
    let assignments = group.members.iter().flat_map(|member| [&member.assignment, &member.target_assignment]);
    assignments.flat_map(|assignment| &assignment.topic_partitions).map(|topic| topic.topic_name.as_str())
}
