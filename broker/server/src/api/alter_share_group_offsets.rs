//! AlterShareGroupOffsets (91): has an empty share group start elsewhere (KIP-932). The partition's state begins anew:
//! what was acknowledged above the new start is delivered again.

use std::ops::RangeInclusive;

use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse};
use strata_coordinator::{GroupRequest, GroupResponse, ShareRequest, ShareResponse, ShareTopic};
use strata_protocol::Str;
use strata_protocol::messages::alter_share_group_offsets_request::AlterShareGroupOffsetsRequestTopic as AskedTopic;
use strata_protocol::messages::alter_share_group_offsets_response::{
    AlterShareGroupOffsetsResponsePartition as Altered, AlterShareGroupOffsetsResponseTopic as Topic,
};
use strata_protocol::messages::{AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponse};
use strata_types::{ErrorCode, TopicId};
use uuid::Uuid;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};
use crate::share;

pub(crate) struct AlterShareGroupOffsets;

impl Handler for AlterShareGroupOffsets {
    type Request = AlterShareGroupOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<AlterShareGroupOffsetsResponse, Refusal> {
        let access = cx.access();
        if let Err(code) = access.check(Operation::Read, Resource::Group(&request.group_id)) {
            return Ok(refused(code, None));
        }
        let group_id = request.group_id.detached();
        let (mut responses, mut altered) = (Vec::new(), Vec::new());
        for topic in request.topics {
            let denied = access.check(Operation::Read, Resource::Topic(&topic.topic_name)).err();
            let (answer, known) = checked(&cx, &topic, denied);
            if !known.partitions.is_empty() {
                altered.push((known, topic));
            }
            responses.push(answer);
        }
        let topics = altered.iter().map(|(known, _)| known.clone()).collect();
        let ask = GroupRequest::Share(ShareRequest::Alter { group_id: group_id.clone(), topics });
        let state_epoch = match cx.broker.groups.ask(&cx.broker, &group_id, ask).await {
            GroupResponse::Share(ShareResponse::Alter(Ok(epoch))) => epoch,
            GroupResponse::Share(ShareResponse::Alter(Err(failure))) => {
                return Ok(refused(failure.code, Some(failure.message)));
            }
            other => return Err(Refusal::not_an_answer_to("AlterShareGroupOffsets", &other)),
        };
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (known, topic) in altered {
            for asked in topic.partitions.iter().filter(|p| known.partitions.contains(&p.partition_index)) {
                let pair = (known.id, asked.partition_index);
                let outcome = initialize(&cx, &group_id, pair, state_epoch, asked.start_offset).await;
                match outcome {
                    Ok(()) => done.push(pair),
                    Err(code) => {
                        failed.push(pair);
                        tell(&mut responses, pair, code);
                    }
                }
            }
        }
        let ask = GroupRequest::Share(ShareRequest::Initialized { group_id: group_id.clone(), done, failed });
        cx.broker.groups.ask(&cx.broker, &group_id, ask).await;
        Ok(AlterShareGroupOffsetsResponse { responses, ..Default::default() })
    }
}

fn refused(code: ErrorCode, error_message: Option<Str>) -> AlterShareGroupOffsetsResponse {
    AlterShareGroupOffsetsResponse { error_code: code.into(), error_message, ..Default::default() }
}

/// The answer so far, and what of the topic is to be altered.
fn checked(cx: &Context, topic: &AskedTopic, denied: Option<ErrorCode>) -> (Topic, ShareTopic) {
    let image = cx.broker.image();
    let existing = image.topic(&topic.topic_name);
    let topic_id = existing.map(|topic| topic.id.0).unwrap_or_default();
    let count = existing.map_or(0, |topic| topic.partitions.len() as i32);
    let mut known = ShareTopic { id: topic_id, name: topic.topic_name.detached(), partitions: Vec::new() };
    let partitions = topic.partitions.iter().map(|asked| {
        let index = asked.partition_index;
        let code = match denied {
            Some(code) => Some(code),
            None if !(0..count).contains(&index) => Some(ErrorCode::UnknownTopicOrPartition),
            None => None,
        };
        if code.is_none() && !known.partitions.contains(&index) {
            known.partitions.push(index);
        }
        Altered {
            partition_index: index,
            error_code: code.unwrap_or(ErrorCode::None).into(),
            error_message: code
                .filter(|code| *code == ErrorCode::UnknownTopicOrPartition)
                .and_then(|_| message("This server does not host this topic-partition.")),
            ..Default::default()
        }
    });
    let partitions = partitions.collect();
    (Topic { topic_name: topic.topic_name.clone(), topic_id, partitions, ..Default::default() }, known)
}

async fn initialize(
    cx: &Context,
    group: &Str,
    (topic, partition): (Uuid, i32),
    state_epoch: i32,
    start_offset: i64,
) -> Result<(), ErrorCode> {
    let key = share::key(group, (TopicId(topic), partition));
    let ask = PersisterRequest::Initialize { key: key.clone(), state_epoch, start_offset };
    match share::ask(&cx.broker, &key, ask).await {
        PersisterResponse::Done(done) => done.map_err(|error| error.code),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

fn tell(responses: &mut [Topic], (topic, partition): (Uuid, i32), code: ErrorCode) {
    let topics = responses.iter_mut().filter(|answer| answer.topic_id == topic);
    for answer in topics.flat_map(|answer| &mut answer.partitions) {
        if answer.partition_index == partition {
            answer.error_code = code.into();
        }
    }
}
