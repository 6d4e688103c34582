//! IncrementalAlterConfigs (44): sets (0), deletes (1), appends to (2) or subtracts from (3) settings of topics and
//! brokers (KIP-339). Each resource is changed as a whole or not at all.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use strata_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::Operation;

pub(crate) struct IncrementalAlterConfigs;

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
        response.responses.extend(denied);
        Ok(response)
    }
}
