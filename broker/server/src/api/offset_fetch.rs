//! OffsetFetch (9): how far groups have read.
//!
//! - v2: no topics named means all. v7: with `require_stable`, offsets of open transactions are an error to retry.
//!   v8: several groups at once (KIP-709). v9: members of KIP-848 groups. v10: topics by id.

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_coordinator::{GroupRequest, GroupResponse, offset_fetch};
use strata_protocol::Str;
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use strata_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use strata_types::{ErrorCode, TopicId};

use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Access, Operation, Resource};

pub(crate) struct OffsetFetch;

impl Handler for OffsetFetch {
    type Request = OffsetFetchRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=10;

    async fn handle(cx: Context, request: Self::Request) -> Result<OffsetFetchResponse, Refusal> {
        let require_stable = request.require_stable;
        let asked = offset_fetch::groups(request, cx.version);
        let mut answers = Vec::with_capacity(asked.len());
        let access = cx.access();
        for mut group in asked.iter().cloned() {
            if let Err(code) = access.check(Operation::Describe, Resource::Group(&group.group_id)) {
                let (group_id, error_code) = (group.group_id, code.into());
                answers.push(OffsetFetchResponseGroup { group_id, error_code, ..Default::default() });
                continue;
            }
            let denied = take_denied(&cx, &access, &mut group);
            let everything = group.topics.is_none();
            let mut answer = match cx.version {
                10.. => fetch_by_id(&cx.broker, group, require_stable).await?,
                _ => fetch(&cx.broker, group, require_stable).await?,
            };
            if everything {
                answer.topics.retain(|topic| access.sees(Operation::Describe, Resource::Topic(&topic.name)));
            }
            answer.topics.extend(denied);
            answers.push(answer);
        }
        Ok(offset_fetch::response(&asked, answers, cx.version))
    }
}

/// Takes out the topics that the sender may not describe, as answers.
fn take_denied(
    cx: &Context,
    access: &Access,
    group: &mut OffsetFetchRequestGroup,
) -> Vec<OffsetFetchResponseTopics> {
    let image = cx.broker.image();
    let mut denied = Vec::new();
    for topics in group.topics.iter_mut() {
        topics.retain(|asked| {
            let by_id = || image.topic_by_id(TopicId(asked.topic_id)).map(|topic| topic.name.as_str());
            let name = if cx.version >= 10 { by_id() } else { Some(asked.name.as_str()) };
            let allowed =
                name.map_or(Ok(()), |name| access.check(Operation::Describe, Resource::Topic(name)));
            if let Err(code) = allowed {
                let partitions =
                    asked.partition_indexes.iter().map(|&partition_index| OffsetFetchResponsePartitions {
                        partition_index,
                        committed_offset: -1,
                        error_code: code.into(),
                        ..Default::default()
                    });
                let (name, topic_id, partitions) = (asked.name.clone(), asked.topic_id, partitions.collect());
                denied.push(OffsetFetchResponseTopics { name, topic_id, partitions, ..Default::default() });
            }
            allowed.is_ok()
        });
    }
    denied
}

async fn fetch(
    broker: &Arc<Broker>,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> Result<OffsetFetchResponseGroup, Refusal> {
    let id = group.group_id.clone();
    match broker.groups.ask(broker, &id, GroupRequest::OffsetFetch { group, require_stable }).await {
        GroupResponse::OffsetFetch(answer) => Ok(answer),
        other => Err(Refusal::not_an_answer_to("OffsetFetch", &other)),
    }
}

/// Names for ids on the way in, ids for names on the way out.
async fn fetch_by_id(
    broker: &Arc<Broker>,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> Result<OffsetFetchResponseGroup, Refusal> {
    let image = broker.image();
    let mut unknown = Vec::new();
    for topics in group.topics.iter_mut() {
        topics.retain_mut(|asked| match image.topic_by_id(TopicId(asked.topic_id)) {
            Some(topic) => {
                asked.name = Str::from(topic.name.as_str());
                true
            }
            None => {
                let partitions =
                    asked.partition_indexes.iter().map(|&partition_index| OffsetFetchResponsePartitions {
                        partition_index,
                        committed_offset: -1,
                        error_code: ErrorCode::UnknownTopicId.into(),
                        ..Default::default()
                    });
                let (topic_id, partitions) = (asked.topic_id, partitions.collect());
                unknown.push(OffsetFetchResponseTopics { topic_id, partitions, ..Default::default() });
                false
            }
        });
    }
    let mut answer = fetch(broker, group, require_stable).await?;
    // Asked for all, a group may still have offsets of topics that are gone: they have no id to be named by.
    answer.topics.retain_mut(|topic| match image.topic(&topic.name) {
        Some(known) => {
            topic.topic_id = known.id.0;
            true
        }
        None => false,
    });
    answer.topics.extend(unknown);
    Ok(answer)
}
