//! StreamsGroupHeartbeat (88): a thread of a Kafka Streams application joins its group, shows that it lives, and learns
//! its tasks (KIP-1071).
//!
//! - The application's internal topics are made here, by the rights of whoever asks. What keeps one from being made is told
//!   in the status that says that it is missing.
//! - v1 (Kafka 4.4): members may tell how far their state is, which makes no difference here; the answer says how far is
//!   near enough, and never asks for a topology description.

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse, StreamsStatus};
use strata_protocol::Str;
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::streams_group_heartbeat_request::Topology;
use strata_protocol::messages::{
    CreateTopicsRequest, StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse,
};
use strata_types::{ErrorCode, TopicName};

use crate::coordinators::client;
use crate::dispatch::{Context, Handler, Refusal};
use crate::features;
use crate::internal::is_internal;
use crate::security::{Operation, Resource};

/// Kafka's defaults: how many records behind is as good as there, and how often members tell.
const ACCEPTABLE_RECOVERY_LAG: i64 = 10_000;
const TASK_OFFSET_INTERVAL_MS: i32 = 60_000;

/// How many topics that could not be made are told of.
const NAMED_FAILURES_MAX: usize = 3;

pub(crate) struct StreamsGroupHeartbeat;

impl Handler for StreamsGroupHeartbeat {
    type Request = StreamsGroupHeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<StreamsGroupHeartbeatResponse, Refusal> {
        if let Err((code, words)) = check(&cx, &request) {
            return Ok(refused(code, words));
        }
        let group = request.group_id.clone();
        let request = GroupRequest::StreamsGroupHeartbeat { request, client: client(&cx) };
        match cx.broker.groups.ask(&cx.broker, &group, request).await {
            GroupResponse::StreamsGroupHeartbeat(heartbeat) => {
                let mut response = heartbeat.response;
                if cx.version >= 1 && response.error_code == 0 {
                    response.acceptable_recovery_lag = ACCEPTABLE_RECOVERY_LAG;
                    response.task_offset_interval_ms = TASK_OFFSET_INTERVAL_MS;
                }
                if let Some(reason) = make_topics(&cx, heartbeat.missing_topics).await {
                    add_reason(&mut response, &reason);
                }
                Ok(response)
            }
            other => Err(Refusal::not_an_answer_to("StreamsGroupHeartbeat", &other)),
        }
    }
}

/// What is refused before the coordinator is asked.
fn check(cx: &Context, request: &StreamsGroupHeartbeatRequest) -> Result<(), (ErrorCode, Option<String>)> {
    if !features::serves_streams_groups(&cx.broker) {
        return Err((ErrorCode::UnsupportedVersion, None));
    }
    if !cx.allows(Operation::Read, Resource::Group(&request.group_id)) {
        return Err((ErrorCode::GroupAuthorizationFailed, None));
    }
    let Some(topology) = &request.topology else { return Ok(()) };
    let topics = topics_of(topology);
    let named = |wrong: fn(&str) -> bool| -> Vec<&str> {
        topics.iter().copied().filter(|topic| wrong(topic)).collect()
    };
    let prohibited = named(is_internal);
    if !prohibited.is_empty() {
        let names = prohibited.join(",");
        let words =
            format!("Use of Kafka internal topics {names} in a Kafka Streams topology is prohibited.");
        return Err((ErrorCode::StreamsInvalidTopology, Some(words)));
    }
    let invalid = named(|topic| TopicName::new(topic).is_err());
    if !invalid.is_empty() {
        let words = format!("Topic names {} are not valid topic names.", invalid.join(","));
        return Err((ErrorCode::StreamsInvalidTopology, Some(words)));
    }
    let access = cx.access();
    if topics.iter().any(|topic| !access.allows(Operation::Describe, Resource::Topic(topic))) {
        return Err((ErrorCode::TopicAuthorizationFailed, None));
    }
    Ok(())
}

/// Every topic of the topology once, in the order in which it names them.
fn topics_of(topology: &Topology) -> Vec<&str> {
    let mut seen = std::collections::HashSet::new();
    let topics = topology.subtopologies.iter().flat_map(|subtopology| {
        let internal =
            subtopology.repartition_source_topics.iter().chain(&subtopology.state_changelog_topics);
        let external = subtopology.source_topics.iter().chain(&subtopology.repartition_sink_topics);
        external.chain(internal.map(|topic| &topic.name))
    });
    topics.map(Str::as_str).filter(|topic| seen.insert(*topic)).collect()
}

/// Makes what is missing. Answers what is to be said of topics that cannot be made.
async fn make_topics(cx: &Context, topics: Vec<CreatableTopic>) -> Option<String> {
    if topics.is_empty() {
        return None;
    }
    let access = cx.access();
    let may_create = |topic: &CreatableTopic| {
        access.sees(Operation::Create, Resource::Cluster)
            || access.allows(Operation::Create, Resource::Topic(&topic.name))
    };
    let denied: Vec<&str> =
        topics.iter().filter(|t| !may_create(t)).map(|topic| topic.name.as_str()).collect();
    if !denied.is_empty() {
        return Some(format!("Unauthorized to CREATE on topics {}.", denied.join(", ")));
    }
    let names: Vec<Str> = topics.iter().map(|topic| topic.name.clone()).collect();
    let request = CreateTopicsRequest { topics, ..Default::default() };
    let failures: Vec<(Str, String)> = match cx.broker.create_topics(request).await {
        Ok(response) => {
            let failed = response.topics.into_iter().filter(|topic| !is_made(topic.error_code));
            failed
                .map(|topic| (topic.name, topic.error_message.map_or_else(String::new, String::from)))
                .collect()
        }
        Err(code) => names.into_iter().map(|name| (name, code.to_string())).collect(),
    };
    if failures.is_empty() {
        return None;
    }
    let named: Vec<String> =
        failures.iter().take(NAMED_FAILURES_MAX).map(|(topic, why)| format!("{topic} ({why})")).collect();
    let more = match failures.len().saturating_sub(NAMED_FAILURES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("Creation failed: {}{more}.", named.join(", ")))
}

/// Whether the topic is there now, by whomever.
fn is_made(code: i16) -> bool {
    matches!(ErrorCode::from_code(code), Some(ErrorCode::None | ErrorCode::TopicAlreadyExists))
}

/// Says why a topic is still missing, where it is said that it is.
fn add_reason(response: &mut StreamsGroupHeartbeatResponse, reason: &str) {
    let missing = StreamsStatus::MissingInternalTopics as i8;
    for status in response.status.iter_mut().flatten().filter(|status| status.status_code == missing) {
        status.status_detail = Str::from(format!("{}; {reason}", status.status_detail));
    }
}

fn refused(code: ErrorCode, words: Option<String>) -> StreamsGroupHeartbeatResponse {
    StreamsGroupHeartbeatResponse {
        error_code: code.code(),
        error_message: words.map(Str::from),
        ..Default::default()
    }
}
