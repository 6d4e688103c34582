//! CreateTopics (19): makes topics, each by itself; answers once this broker has their logs.
//!
//! - Partitions and replication factor of −1 are the broker's defaults (v4). v5: the answer has the topic's settings
//!   (KIP-525). v7: and its id.

use std::ops::RangeInclusive;

use strata_protocol::messages::create_topics_response::CreatableTopicResult;
use strata_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::message;
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct CreateTopics;

impl Handler for CreateTopics {
    type Request = CreateTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=7;

    async fn handle(cx: Context, request: Self::Request) -> Result<CreateTopicsResponse, Refusal> {
        let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        Ok(cx.broker.create_topics(request).await.unwrap_or_else(|code| CreateTopicsResponse {
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
        }))
    }
}
