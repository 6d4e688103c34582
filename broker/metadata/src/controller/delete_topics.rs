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

    let twice = Twice::new(image, &wanted);
    let mut answered = BTreeSet::new();
    let mut records = Vec::new();
    let mut responses = Vec::with_capacity(wanted.len());
    for (name, id) in &wanted {
        let result = match too_big {
            true => Err(ApiError::too_many("Unable to perform excessively large batch operation.")),
            false => find(image, name.as_ref(), *id, &twice),
        };
        // What is named twice in the same way is answered once.
        if result.is_err() && !answered.insert((name.clone(), *id)) {
            continue;
        }
        let topic = result.as_ref().ok().copied();
        if let Some(topic) = topic {
            records.push(RemoveTopicRecord { topic_id: topic.id.0, ..Default::default() }.into());
        }
        let (error_code, error_message) = outcome(result.map(drop));
        responses.push(DeletableTopicResult {
            name: topic.map(|topic| topic.name.as_str().into()).or_else(|| name.clone()),
            topic_id: topic.map_or(*id, |topic| topic.id.0),
            error_code,
            error_message,
            ..Default::default()
        });
    }
    (records, DeleteTopicsResponse { responses, ..Default::default() })
}

/// What the request names more than once.
struct Twice {
    names: BTreeSet<Str>,
    ids: BTreeSet<Uuid>,
    /// Ids of topics that are named by id, so that the same topic's name is one too many.
    given_ids: BTreeSet<Uuid>,
}

impl Twice {
    fn new(image: &Image, wanted: &[(Option<Str>, Uuid)]) -> Self {
        let ids = || wanted.iter().filter(|(name, _)| name.is_none()).map(|(_, id)| *id);
        Self {
            names: duplicates(wanted.iter().filter_map(|(name, _)| name.clone())),
            ids: duplicates(ids()),
            given_ids: ids().filter(|&id| image.topic_by_id(TopicId(id)).is_some()).collect(),
        }
    }
}

fn find<'a>(
    image: &'a Image,
    name: Option<&Str>,
    id: Uuid,
    twice: &Twice,
) -> Result<&'a Arc<Topic>, ApiError> {
    let refuse = |message: &'static str| Err(ApiError::new(ErrorCode::InvalidRequest, message));
    match name {
        Some(_) if !id.is_nil() => refuse("You may not specify both topic name and topic id."),
        Some(name) if twice.names.contains(name) => refuse("Duplicate topic name."),
        Some(name) => match image.topic(name) {
            Some(topic) if twice.given_ids.contains(&topic.id.0) => {
                refuse("The provided topic name maps to an ID that was already supplied.")
            }
            Some(topic) => Ok(topic),
            None => Err(unknown_topic()),
        },
        None if id.is_nil() => refuse("Neither topic name nor id were specified."),
        None if twice.ids.contains(&id) => refuse("Duplicate topic id."),
        None => image.topic_by_id(TopicId(id)).ok_or_else(|| {
            ApiError::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
        }),
    }
}

pub(super) fn unknown_topic() -> ApiError {
    ApiError::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
}
