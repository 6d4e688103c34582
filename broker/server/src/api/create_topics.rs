//! CreateTopics (19): makes topics, each by itself; answers once this broker has their logs.
//!
//! - Partitions and replication factor of −1 are the broker's defaults (v4). v5: the answer has the topic's settings
//!   (KIP-525). v7: and its id.

use std::ops::RangeInclusive;

use strata_protocol::messages::create_topics_response::CreatableTopicResult;
use strata_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct CreateTopics;

impl Handler for CreateTopics {
    type Request = CreateTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=7;

    async fn handle(cx: Context, mut request: Self::Request) -> Result<CreateTopicsResponse, Refusal> {
        let access = cx.access();
        let mut denied = Vec::new();
        if !access.sees(Operation::Create, Resource::Cluster) {
            request.topics.retain(|topic| {
                match access.check(Operation::Create, Resource::Topic(&topic.name)) {
                    Ok(()) => true,
                    Err(code) => {
                        denied.push(CreatableTopicResult {
                            name: topic.name.clone(),
                            error_code: code.into(),
                            error_message: message("Authorization failed."),
                            ..Default::default()
                        });
                        false
                    }
                }
            });
        }
        let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        // Before v6 a client does not know of refusal by quota (KIP-599).
        let mut quota = cx.mutations(cx.version >= 6);
        let created = cx.broker.create_topics_within(request, Some(&mut quota)).await;
        let mut response = created.unwrap_or_else(|code| CreateTopicsResponse {
            topics: names
                .into_iter()
                .map(|name| CreatableTopicResult {
                    name,
                    error_code: code.into(),
                    error_message: message("the metadata could not be changed"),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        for topic in response.topics.iter_mut().filter(|topic| topic.error_code == 0) {
            if !access.sees(Operation::DescribeConfigs, Resource::Topic(&topic.name)) {
                topic.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.into();
                (topic.num_partitions, topic.replication_factor, topic.configs) = (-1, -1, None);
            }
        }
        response.topics.extend(denied);
        response.throttle_time_ms = cx.rest_after(&quota);
        Ok(response)
    }
}
