//! DeleteTopics (20): deletes topics, with their logs and what the archive has of them.
//!
//! - v6: by name or by id. Internal topics can be deleted, as in Kafka.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::delete_topics_request::DeleteTopicState;
use strata_protocol::messages::delete_topics_response::DeletableTopicResult;
use strata_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct DeleteTopics;

impl Handler for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=6;

    async fn handle(cx: Context, request: Self::Request) -> Result<DeleteTopicsResponse, Refusal> {
        if !cx.broker.config.settings.delete_topic_enable {
            return Ok(refused(&request, ErrorCode::TopicDeletionDisabled));
        }
        let decided = cx.broker.decide(|image| controller::delete_topics(image, &request)).await;
        Ok(decided.unwrap_or_else(|code| refused(&request, code)))
    }
}

fn refused(request: &DeleteTopicsRequest, code: ErrorCode) -> DeleteTopicsResponse {
    let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), uuid::Uuid::nil()));
    let states =
        request.topics.iter().map(|DeleteTopicState { name, topic_id, .. }| (name.clone(), *topic_id));
    let responses = by_name.chain(states).map(|(name, topic_id)| DeletableTopicResult {
        name,
        topic_id,
        error_code: code.into(),
        ..Default::default()
    });
    DeleteTopicsResponse { responses: responses.collect(), ..Default::default() }
}
