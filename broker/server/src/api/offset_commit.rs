//! OffsetCommit (8): a group remembers how far it has read.
//!
//! - Partitions that do not exist are answered with UNKNOWN_TOPIC_OR_PARTITION (by id, v10: UNKNOWN_TOPIC_ID) and do not
//!   hold up the others. v2–4 may give a retention of their own; v6: leader epochs; v9: groups of KIP-848.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_metadata::Image;
use strata_protocol::Str;
use strata_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use strata_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use strata_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use strata_types::{ErrorCode, TopicId};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct OffsetCommit;

impl Handler for OffsetCommit {
    type Request = OffsetCommitRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=10;

    async fn handle(cx: Context, mut request: Self::Request) -> Result<OffsetCommitResponse, Refusal> {
        let group_allowed = cx.check(Operation::Read, Resource::Group(&request.group_id));
        let allowed =
            |name: &str| group_allowed.and_then(|()| cx.check(Operation::Read, Resource::Topic(name)));
        let refused = take_unknown(&cx.broker.image(), &mut request.topics, cx.version, &allowed);
        if request.topics.is_empty() && (!refused.is_empty() || group_allowed.is_err()) {
            return Ok(OffsetCommitResponse { topics: refused, ..Default::default() });
        }
        let group = request.group_id.clone();
        let ask = GroupRequest::OffsetCommit { request, version: cx.version };
        match cx.broker.groups.ask(&cx.broker, &group, ask).await {
            GroupResponse::OffsetCommit(mut response) => {
                response.topics.extend(refused);
                Ok(response)
            }
            other => Err(Refusal::not_an_answer_to("OffsetCommit", &other)),
        }
    }
}

/// Fills in names and ids, and takes out what does not exist, as answers.
fn take_unknown(
    image: &Image,
    topics: &mut Vec<OffsetCommitRequestTopic>,
    version: i16,
    allowed: &dyn Fn(&str) -> Result<(), ErrorCode>,
) -> Vec<OffsetCommitResponseTopic> {
    let mut refused = Vec::new();
    topics.retain_mut(|asked| {
        let (topic, unknown) = match version {
            10.. => (image.topic_by_id(TopicId(asked.topic_id)), ErrorCode::UnknownTopicId),
            _ => (image.topic(&asked.name), ErrorCode::UnknownTopicOrPartition),
        };
        let mut wrong = Vec::new();
        let mut refuse = |partition_index: i32, code: ErrorCode| {
            let error_code = code.into();
            wrong.push(OffsetCommitResponsePartition { partition_index, error_code, ..Default::default() });
        };
        // Of a topic that is not there under an id, there is no name to ask about.
        let name = topic.map_or(asked.name.as_str(), |topic| topic.name.as_str());
        let denied = if topic.is_some() || version < 10 { allowed(name).err() } else { None };
        match topic {
            _ if denied.is_some() => {
                let code = denied.unwrap_or(unknown);
                asked.partitions.drain(..).for_each(|asked| refuse(asked.partition_index, code));
            }
            None => asked.partitions.drain(..).for_each(|asked| refuse(asked.partition_index, unknown)),
            Some(topic) => {
                (asked.name, asked.topic_id) = (Str::from(topic.name.as_str()), topic.id.0);
                asked.partitions.retain(|asked| {
                    let index = asked.partition_index;
                    let exists = usize::try_from(index).is_ok_and(|index| index < topic.partitions.len());
                    if !exists {
                        refuse(index, ErrorCode::UnknownTopicOrPartition);
                    }
                    exists
                });
            }
        }
        if !wrong.is_empty() {
            refused.push(OffsetCommitResponseTopic {
                name: asked.name.clone(),
                topic_id: asked.topic_id,
                partitions: wrong,
                ..Default::default()
            });
        }
        !asked.partitions.is_empty()
    });
    refused
}
