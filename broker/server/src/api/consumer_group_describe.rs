//! ConsumerGroupDescribe (69): state, epochs and members of consumer groups, with what each has and is to have (KIP-848).
//!
//! - v1: which protocol a member speaks (KIP-1099).

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, GroupShard};
use strata_protocol::messages::consumer_group_describe_response::DescribedGroup;
use strata_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use strata_types::ErrorCode;

use super::{GROUP_OPERATIONS, OPERATIONS_UNASKED};
use crate::coordinators::Coordinators;
use crate::dispatch::{Context, Handler, Refusal};
use crate::features;

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
        for group_ids in Coordinators::<GroupShard>::by_partition(&cx.broker, request.group_ids) {
            let Some(first) = group_ids.first().cloned() else { continue };
            let ask = GroupRequest::ConsumerGroupDescribe { group_ids };
            match cx.broker.groups.ask(&cx.broker, &first, ask).await {
                GroupResponse::ConsumerGroupDescribe(described) => groups.extend(described),
                other => return Err(Refusal::not_an_answer_to("ConsumerGroupDescribe", &other)),
            }
        }
        for group in &mut groups {
            let show = request.include_authorized_operations && group.error_code == 0;
            group.authorized_operations = if show { GROUP_OPERATIONS } else { OPERATIONS_UNASKED };
        }
        Ok(ConsumerGroupDescribeResponse { groups, ..Default::default() })
    }
}
