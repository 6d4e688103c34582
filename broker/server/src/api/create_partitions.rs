//! CreatePartitions (37): gives topics more partitions; answers once this broker has their logs.

use std::ops::RangeInclusive;

use strata_metadata::{Image, controller};
use strata_protocol::Str;
use strata_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use strata_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use strata_types::ErrorCode;

use crate::broker::seed;
use crate::dispatch::{Context, Handler, Refusal};
use crate::quotas::REFUSED;
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
        // Before v3 a client does not know of refusal by quota (KIP-599).
        let mut quota = cx.mutations(cx.version >= 3);
        let decide = |image: &Image| {
            let (mut records, mut response) = controller::create_partitions(image, &request, seed());
            let refused = quota.charge(image, &mut records);
            for result in &mut response.results {
                if image.topic(&result.name).is_some_and(|topic| refused.contains(&topic.id)) {
                    result.error_code = ErrorCode::ThrottlingQuotaExceeded.into();
                    result.error_message = Some(Str::from_static(REFUSED));
                }
            }
            (records, response)
        };
        let decided = cx.broker.decide(decide).await;
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
        response.throttle_time_ms = cx.rest_after(&quota);
        Ok(response)
    }
}
