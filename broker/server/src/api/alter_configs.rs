//! AlterConfigs (33): replaces all settings of topics or brokers by those given. Old tools use it; newer ones send
//! IncrementalAlterConfigs, which leaves alone what is not named.

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use strata_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::Operation;

pub(crate) struct AlterConfigs;

impl Handler for AlterConfigs {
    type Request = AlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, mut request: Self::Request) -> Result<AlterConfigsResponse, Refusal> {
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
        let decided =
            cx.broker.decide(|image| controller::alter_configs(image, &request, &configs.rules(image))).await;
        let mut response = decided.unwrap_or_else(|code| AlterConfigsResponse {
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
