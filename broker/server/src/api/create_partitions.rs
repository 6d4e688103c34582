//! CreatePartitions (37): gives topics more partitions; answers once this broker has their logs.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use strata_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use crate::broker::seed;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct CreatePartitions;

impl Handler for CreatePartitions {
    type Request = CreatePartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;

    async fn handle(cx: Context, mut request: Self::Request) -> Result<CreatePartitionsResponse, Refusal> {
        let access = cx.access();
        let mut denied = Vec::new();
        request.topics.retain(|topic| match access.check(Operation::Alter, Resource::Topic(&topic.name)) {
            Ok(()) => true,
            Err(code) => {
                denied.push(CreatePartitionsTopicResult {
                    name: topic.name.clone(),
                    error_code: code.into(),
                    error_message: None,
                    ..Default::default()
                });
                false
            }
        });
        let decided = cx.broker.decide(|image| controller::create_partitions(image, &request, seed())).await;
        let mut response = decided.unwrap_or_else(|code| CreatePartitionsResponse {
            results: request
                .topics
                .iter()
                .map(|topic| CreatePartitionsTopicResult {
                    name: topic.name.clone(),
                    error_code: code.into(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        response.results.extend(denied);
        Ok(response)
    }
}
