//! DeleteTopics (20), versions 1–6: by name, and from version 6 by name or id (KIP-516).
//!
//! A topic that is named twice, be it once by name and once by id, is not deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::delete_topics_request::DeleteTopicState;
use strata_protocol::messages::delete_topics_response::DeletableTopicResult;
use strata_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, RemoveTopicRecord};
use strata_types::{ErrorCode, TopicId};
use uuid::Uuid;

use super::{ApiError, Decision, TOPICS_PER_REQUEST_MAX, duplicates, outcome};
use crate::{Image, Topic};

/// Deletes topics, with their configs. Which of the request's two lists is filled depends on its version.
pub fn delete_topics(image: &Image, request: &DeleteTopicsRequest) -> Decision<DeleteTopicsResponse> {
    let names = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::nil()));
    let states =
        request.topics.iter().map(|DeleteTopicState { name, topic_id, .. }| (name.clone(), *topic_id));
    let wanted: Vec<(Option<Str>, Uuid)> = names.chain(states).collect();
    let too_big = wanted.len() > TOPICS_PER_REQUEST_MAX;

    let twice = Twice {
        names: duplicates(wanted.iter().filter_map(|(name, _)| name.as_ref())),
        ids: duplicates(wanted.iter().filter(|(name, _)| name.is_none()).map(|(_, id)| id)),
    };
    let found: Vec<_> = wanted.iter().map(|(name, id)| find(image, name.as_ref(), id, &twice)).collect();
    let in_both_ways = duplicates(found.iter().flatten().map(|topic| topic.id));

    let mut records = Vec::new();
    let mut responses = Vec::with_capacity(wanted.len());
    let mut answered = BTreeSet::new();
    for ((given_name, given_id), found) in wanted.iter().zip(found) {
        let topic = found.as_ref().ok().copied();
        let name = topic.map(|topic| topic.name.as_str().into()).or_else(|| given_name.clone());
        let topic_id = topic.map_or(*given_id, |topic| topic.id.0);
        // What is named twice is answered once.
        if !answered.insert((name.clone(), topic_id)) {
            continue;
        }
        let result = match found {
            _ if too_big => Err(ApiError::too_many("Unable to perform excessively large batch operation.")),
            Ok(topic) if in_both_ways.contains(&topic.id) => {
                let message = "The provided topic name maps to an ID that was already supplied.";
                Err(ApiError::new(ErrorCode::InvalidRequest, message))
            }
            found => found.map(|topic| {
                records.push(RemoveTopicRecord { topic_id: topic.id.0, ..Default::default() }.into());
            }),
        };
        let (error_code, error_message) = outcome(result);
        responses.push(DeletableTopicResult {
            name,
            topic_id,
            error_code,
            error_message,
            ..Default::default()
        });
    }
    (records, DeleteTopicsResponse { responses, ..Default::default() })
}

/// What the request names more than once in the same way.
struct Twice<'a> {
    names: BTreeSet<&'a Str>,
    ids: BTreeSet<&'a Uuid>,
}

fn find<'a>(
    image: &'a Image,
    name: Option<&Str>,
    id: &Uuid,
    twice: &Twice<'_>,
) -> Result<&'a Arc<Topic>, ApiError> {
    let refuse = |message: &'static str| Err(ApiError::new(ErrorCode::InvalidRequest, message));
    match name {
        Some(_) if !id.is_nil() => refuse("You may not specify both topic name and topic id."),
        Some(name) if twice.names.contains(name) => refuse("Duplicate topic name."),
        Some(name) => image.topic(name).ok_or_else(unknown_topic),
        None if id.is_nil() => refuse("Neither topic name nor id were specified."),
        None if twice.ids.contains(id) => refuse("Duplicate topic id."),
        None => image.topic_by_id(TopicId(*id)).ok_or_else(|| {
            ApiError::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
        }),
    }
}

fn unknown_topic() -> ApiError {
    ApiError::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
}
