//! IncrementalAlterConfigs (44): sets (0), deletes (1), appends to (2) or subtracts from (3) settings of topics and
//! brokers (KIP-339), groups, metrics subscriptions and this broker's loggers. Each resource is changed as a whole or not at all.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use strata_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::loggers;
use crate::security::Operation;

pub(crate) struct IncrementalAlterConfigs;

const BROKER_LOGGER: i8 = 8;

impl Handler for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        cx: Context,
        mut request: Self::Request,
    ) -> Result<IncrementalAlterConfigsResponse, Refusal> {
        let access = cx.access();
        let mut denied = Vec::new();
        request.resources.retain(|resource| {
            let named = super::config_resource(resource.resource_type, &resource.resource_name);
            match named.map_or(Ok(()), |named| access.check(Operation::AlterConfigs, named)) {
                Ok(()) => true,
                Err(code) => {
                    denied.push(AlterConfigsResourceResponse {
                        error_code: code.into(),
                        error_message: message(super::denial(code)),
                        resource_type: resource.resource_type,
                        resource_name: resource.resource_name.clone(),
                        ..Default::default()
                    });
                    false
                }
            }
        });
        let loggers = take_loggers(&cx, &mut request);
        let configs = cx.broker.configs.clone();
        let decided = cx
            .broker
            .decide(|image| controller::incremental_alter_configs(image, &request, &configs.rules(image)))
            .await;
        let mut response = decided.unwrap_or_else(|code| IncrementalAlterConfigsResponse {
            responses: request
                .resources
                .iter()
                .map(|resource| AlterConfigsResourceResponse {
                    error_code: code.into(),
                    error_message: message("the metadata could not be changed"),
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        response.responses.extend(loggers);
        response.responses.extend(denied);
        Ok(response)
    }
}

/// Loggers are this process's own: what is asked of them is done here, and no controller hears of it.
fn take_loggers(
    cx: &Context,
    request: &mut IncrementalAlterConfigsRequest,
) -> Vec<AlterConfigsResourceResponse> {
    let (node, validate_only) = (cx.broker.node_id.to_string(), request.validate_only);
    let mut answers = Vec::new();
    request.resources.retain(|resource| {
        if resource.resource_type != BROKER_LOGGER {
            return true;
        }
        let (code, why) = match loggers::alter(&node, resource, validate_only) {
            Ok(()) => (ErrorCode::None, None),
            Err((code, why)) => (code, message(why)),
        };
        answers.push(AlterConfigsResourceResponse {
            error_code: code.into(),
            error_message: why,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        });
        false
    });
    answers
}
