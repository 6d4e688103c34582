//! DeleteShareGroupOffsets (92): has an empty share group forget topics: their state goes, and if a member subscribes to
//! them again, `share.auto.offset.reset` decides where it starts (KIP-932).

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, ShareRequest, ShareResponse};
use strata_protocol::Str;
use strata_protocol::messages::delete_share_group_offsets_response::DeleteShareGroupOffsetsResponseTopic as Topic;
use strata_protocol::messages::{DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponse};
use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};
use crate::share;

pub(crate) struct DeleteShareGroupOffsets;

impl Handler for DeleteShareGroupOffsets {
    type Request = DeleteShareGroupOffsetsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<DeleteShareGroupOffsetsResponse, Refusal> {
        let access = cx.access();
        if let Err(code) = access.check(Operation::Delete, Resource::Group(&request.group_id)) {
            return Ok(refused(code, None));
        }
        let group_id = request.group_id.detached();
        let image = cx.broker.image();
        let (mut responses, mut wanted) = (Vec::new(), Vec::new());
        for topic in request.topics {
            let topic_name = topic.topic_name;
            let mut answer = Topic { topic_name: topic_name.clone(), ..Default::default() };
            match (access.check(Operation::Read, Resource::Topic(&topic_name)), image.topic(&topic_name)) {
                (Err(code), _) => answer.error_code = code.into(),
                (Ok(()), Some(known)) => {
                    answer.topic_id = known.id.0;
                    wanted.push((known.id.0, topic_name.detached()));
                }
                (Ok(()), None) => {
                    answer.error_code = ErrorCode::UnknownTopicOrPartition.into();
                    answer.error_message = message("This server does not host this topic-partition.");
                }
            }
            responses.push(answer);
        }
        let ask = GroupRequest::Share(ShareRequest::Delete { group_id: group_id.clone(), topics: wanted });
        let topics = match cx.broker.groups.ask(&cx.broker, &group_id, ask).await {
            GroupResponse::Share(ShareResponse::State(Ok(topics))) => topics,
            GroupResponse::Share(ShareResponse::State(Err(failure))) => {
                return Ok(refused(failure.code, Some(failure.message)));
            }
            other => return Err(Refusal::not_an_answer_to("DeleteShareGroupOffsets", &other)),
        };
        let mut topic_ids = Vec::with_capacity(topics.len());
        for topic in topics {
            match share::delete_state(&cx.broker, &group_id, &topic).await {
                Ok(()) => topic_ids.push(topic.id),
                Err(code) => {
                    for answer in responses.iter_mut().filter(|answer| answer.topic_id == topic.id) {
                        answer.error_code = code.into();
                    }
                }
            }
        }
        let ask = GroupRequest::Share(ShareRequest::Deleted { group_id: group_id.clone(), topic_ids });
        cx.broker.groups.ask(&cx.broker, &group_id, ask).await;
        Ok(DeleteShareGroupOffsetsResponse { responses, ..Default::default() })
    }
}

fn refused(code: ErrorCode, error_message: Option<Str>) -> DeleteShareGroupOffsetsResponse {
    DeleteShareGroupOffsetsResponse { error_code: code.into(), error_message, ..Default::default() }
}
