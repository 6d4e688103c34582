//! DescribeShareGroupOffsets (90): where share groups start in their partitions (KIP-932).
//!
//! - No topics named: all whose state is kept. A partition of which nothing is known has start offset −1, and no error.
//!   A group that there is not has no state.
//! - v1: the lag (KIP-1226): what is committed in the log and not settled in the group; −1 where that is not known.

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_coordinator::{GroupRequest, GroupResponse, ShareRequest, ShareResponse, ShareTopic};
use strata_protocol::Str;
use strata_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup as AskedGroup;
use strata_protocol::messages::describe_share_group_offsets_response::{
    DescribeShareGroupOffsetsResponseGroup as Group, DescribeShareGroupOffsetsResponsePartition as Described,
    DescribeShareGroupOffsetsResponseTopic as Topic,
};
use strata_protocol::messages::{DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponse};
use strata_types::{ErrorCode, TopicId};

use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Access, Operation, Resource};
use crate::share;

pub(crate) struct DescribeShareGroupOffsets;

/// What is told where nothing is known.
const UNKNOWN: i64 = -1;

impl Handler for DescribeShareGroupOffsets {
    type Request = DescribeShareGroupOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<DescribeShareGroupOffsetsResponse, Refusal> {
        let access = cx.access();
        let mut groups = Vec::with_capacity(request.groups.len());
        for asked in request.groups {
            let mut group = Group { group_id: asked.group_id.clone(), ..Default::default() };
            if let Err(code) = access.check(Operation::Describe, Resource::Group(&asked.group_id)) {
                group.error_code = code.into();
                groups.push(group);
                continue;
            }
            match state(&cx.broker, &asked.group_id, false).await? {
                Ok(known) => group.topics = describe(&cx.broker, &access, &asked, known).await,
                Err((ErrorCode::GroupIdNotFound, _)) => {
                    group.topics = describe(&cx.broker, &access, &asked, Vec::new()).await;
                }
                Err((code, message)) => (group.error_code, group.error_message) = (code.into(), message),
            }
            groups.push(group);
        }
        Ok(DescribeShareGroupOffsetsResponse { groups, ..Default::default() })
    }
}

/// Which partitions' state is kept for a group; an error is the group coordinator's.
pub(super) async fn state(
    broker: &Arc<Broker>,
    group_id: &Str,
    if_empty: bool,
) -> Result<Result<Vec<ShareTopic>, (ErrorCode, Option<Str>)>, Refusal> {
    let ask = GroupRequest::Share(ShareRequest::State { group_id: group_id.clone(), if_empty });
    match broker.groups.ask(broker, group_id, ask).await {
        GroupResponse::Share(ShareResponse::State(known)) => {
            Ok(known.map_err(|failure| (failure.code, Some(failure.message))))
        }
        other => Err(Refusal::not_an_answer_to("a share group's state", &other)),
    }
}

async fn describe(
    broker: &Arc<Broker>,
    access: &Access,
    asked: &AskedGroup,
    known: Vec<ShareTopic>,
) -> Vec<Topic> {
    let image = broker.image();
    let wanted: Vec<(Str, Vec<i32>)> = match &asked.topics {
        Some(topics) => {
            topics.iter().map(|topic| (topic.topic_name.clone(), topic.partitions.clone())).collect()
        }
        None => known
            .iter()
            .filter(|topic| access.sees(Operation::Describe, Resource::Topic(&topic.name)))
            .map(|topic| (topic.name.clone(), topic.partitions.clone()))
            .collect(),
    };
    let mut described = Vec::with_capacity(wanted.len());
    for (topic_name, wanted) in wanted {
        let topic_id = image.topic(&topic_name).map(|topic| topic.id.0).unwrap_or_default();
        let denied = access.check(Operation::Describe, Resource::Topic(&topic_name)).err();
        let mut partitions = Vec::with_capacity(wanted.len());
        for partition_index in wanted {
            let is_known = known.iter().any(|t| t.id == topic_id && t.partitions.contains(&partition_index));
            partitions.push(match denied {
                Some(code) => Described {
                    partition_index,
                    start_offset: UNKNOWN,
                    lag: UNKNOWN,
                    error_code: code.into(),
                    ..Default::default()
                },
                None if is_known => {
                    partition(broker, &asked.group_id, TopicId(topic_id), partition_index).await
                }
                None => unknown(partition_index),
            });
        }
        described.push(Topic { topic_name, topic_id, partitions, ..Default::default() });
    }
    described
}

fn unknown(partition_index: i32) -> Described {
    Described { partition_index, start_offset: UNKNOWN, lag: UNKNOWN, ..Default::default() }
}

async fn partition(broker: &Arc<Broker>, group: &Str, topic: TopicId, partition_index: i32) -> Described {
    match share::summary(broker, &share::key(group, (topic, partition_index))).await {
        Ok(summary) => {
            let end = broker.partitions.by_id(topic, partition_index).map(|p| p.high_watermark().0);
            let settled = i64::from(summary.delivery_complete_count);
            let lag = match end {
                Ok(end) if summary.start_offset >= 0 && settled >= 0 => {
                    (end - summary.start_offset - settled).max(0)
                }
                _ => UNKNOWN,
            };
            Described {
                partition_index,
                start_offset: summary.start_offset,
                leader_epoch: summary.leader_epoch,
                lag,
                ..Default::default()
            }
        }
        Err(error) => Described {
            error_code: error.code.into(),
            error_message: error.message.map(Str::from_static),
            ..unknown(partition_index)
        },
    }
}
