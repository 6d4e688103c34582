//! DeleteTopics (20): deletes topics, with their logs and what the archive has of them.
//!
//! - v6: by name or by id. Internal topics can be deleted, as in Kafka.

use std::ops::RangeInclusive;

use strata_metadata::{Image, controller};
use strata_protocol::Str;
use strata_protocol::messages::delete_topics_request::DeleteTopicState;
use strata_protocol::messages::delete_topics_response::DeletableTopicResult;
use strata_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use strata_types::{ErrorCode, TopicId};

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::quotas::REFUSED;
use crate::security::{Operation, Resource};

pub(crate) struct DeleteTopics;

impl Handler for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=6;

    async fn handle(cx: Context, mut request: Self::Request) -> Result<DeleteTopicsResponse, Refusal> {
        if !cx.broker.config.settings.delete_topic_enable {
            return Ok(refused(&request, ErrorCode::TopicDeletionDisabled));
        }
        let denied = take_denied(&cx, &mut request);
        // Before v5 a client does not know of refusal by quota (KIP-599).
        let mut quota = cx.mutations(cx.version >= 5);
        let decide = |image: &Image| {
            let (mut records, mut response) = controller::delete_topics(image, &request);
            let refused_ids = quota.charge(image, &mut records);
            for result in response.responses.iter_mut().filter(|result| result.error_code == 0) {
                if refused_ids.contains(&TopicId(result.topic_id)) {
                    result.error_code = ErrorCode::ThrottlingQuotaExceeded.into();
                    result.error_message = message(REFUSED);
                }
            }
            (records, response)
        };
        let decided = cx.broker.decide(decide).await;
        let mut response = decided.unwrap_or_else(|code| refused(&request, code));
        response.responses.extend(denied);
        response.throttle_time_ms = cx.rest_after(&quota);
        Ok(response)
    }
}

/// Takes out what the sender may not delete, as answers. Of a topic that was named by its id, only those learn the name
/// who may describe it; and that there is none, only those who may describe one of that name.
fn take_denied(cx: &Context, request: &mut DeleteTopicsRequest) -> Vec<DeletableTopicResult> {
    let (image, access) = (cx.broker.image(), cx.access());
    let mut denied = Vec::new();
    let mut take = |name: Option<Str>, topic_id: uuid::Uuid| {
        let known = match &name {
            Some(name) => Some(name.clone()),
            None => image.topic_by_id(TopicId(topic_id)).map(|topic| Str::from(topic.name.as_str())),
        };
        let Some(known) = known else { return true };
        let seen = access.sees(Operation::Describe, Resource::Topic(&known));
        if seen && image.topic(&known).is_none() {
            return true;
        }
        let allowed = access.check(Operation::Delete, Resource::Topic(&known));
        if let Err(code) = allowed {
            denied.push(DeletableTopicResult {
                name: (name.is_some() || seen).then_some(known),
                topic_id,
                error_code: code.into(),
                error_message: message(super::denial(code)),
                ..Default::default()
            });
        }
        allowed.is_ok()
    };
    request.topic_names.retain(|name| take(Some(name.clone()), uuid::Uuid::nil()));
    request.topics.retain(|state| take(state.name.clone(), state.topic_id));
    denied
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
