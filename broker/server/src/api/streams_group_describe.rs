//! StreamsGroupDescribe (89): the topology, members and tasks of streams groups (KIP-1071).
//!
//! - A group that reads a topic which the client may not see is not shown at all.
//! - v1 (Kafka 4.4): says whether a topology description is stored; none is, as on a Kafka broker without a plugin for it.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, GroupShard};
use strata_protocol::Str;
use strata_protocol::messages::streams_group_describe_response::DescribedGroup;
use strata_protocol::messages::{StreamsGroupDescribeRequest, StreamsGroupDescribeResponse};
use strata_types::ErrorCode;

use super::{OPERATIONS_UNASKED, message};
use crate::coordinators::Coordinators;
use crate::dispatch::{Context, Handler, Refusal};
use crate::features;
use crate::security::{Access, Operation, Resource};

pub(crate) struct StreamsGroupDescribe;

impl Handler for StreamsGroupDescribe {
    type Request = StreamsGroupDescribeRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<StreamsGroupDescribeResponse, Refusal> {
        let mut groups = Vec::with_capacity(request.group_ids.len());
        if !features::serves_streams_groups(&cx.broker) {
            groups.extend(request.group_ids.into_iter().map(|id| refused(id, ErrorCode::UnsupportedVersion)));
            return Ok(StreamsGroupDescribeResponse { groups, ..Default::default() });
        }
        let access = cx.access();
        let (allowed, denied): (Vec<Str>, Vec<Str>) = request
            .group_ids
            .into_iter()
            .partition(|id| access.allows(Operation::Describe, Resource::Group(id)));
        groups.extend(denied.into_iter().map(|id| refused(id, ErrorCode::GroupAuthorizationFailed)));
        let (nameless, named): (Vec<Str>, Vec<Str>) = allowed.into_iter().partition(|id| id.is_empty());
        groups.extend(nameless.into_iter().map(|id| refused(id, ErrorCode::InvalidGroupId)));
        for group_ids in Coordinators::<GroupShard>::by_partition(&cx.broker, named) {
            let Some(first) = group_ids.first().cloned() else { continue };
            let ask = GroupRequest::StreamsGroupDescribe { group_ids };
            match cx.broker.groups.ask(&cx.broker, &first, ask).await {
                GroupResponse::StreamsGroupDescribe(described) => groups.extend(described),
                other => return Err(Refusal::not_an_answer_to("StreamsGroupDescribe", &other)),
            }
        }
        for group in &mut groups {
            let show = request.include_authorized_operations && group.error_code == 0;
            group.authorized_operations =
                if show { access.operations(Resource::Group(&group.group_id)) } else { OPERATIONS_UNASKED };
            hide_unseen(group, &access);
        }
        Ok(StreamsGroupDescribeResponse { groups, ..Default::default() })
    }
}

fn hide_unseen(group: &mut DescribedGroup, access: &Access) {
    let subtopologies = group.topology.iter().flat_map(|topology| topology.subtopologies.iter().flatten());
    let mut topics = subtopologies.flat_map(|subtopology| {
        let internal =
            subtopology.repartition_source_topics.iter().chain(&subtopology.state_changelog_topics);
        let external = subtopology.source_topics.iter().chain(&subtopology.repartition_sink_topics);
        external.chain(internal.map(|topic| &topic.name))
    });
    if topics.all(|topic| access.sees(Operation::Describe, Resource::Topic(topic))) {
        return;
    }
    *group = DescribedGroup {
        group_id: group.group_id.clone(),
        error_code: ErrorCode::TopicAuthorizationFailed.code(),
        error_message: message(
            "The described group uses topics that the client is not authorized to describe.",
        ),
        authorized_operations: OPERATIONS_UNASKED,
        ..Default::default()
    };
}

fn refused(group_id: Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        group_id,
        error_code: code.code(),
        authorized_operations: OPERATIONS_UNASKED,
        ..Default::default()
    }
}
