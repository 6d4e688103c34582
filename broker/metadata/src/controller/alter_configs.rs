//! AlterConfigs (33), versions 0–2: replaces all of a resource's configs. Old clients use it; what the request leaves out
//! goes back to its default, which is why KIP-339 brought the incremental one.

use std::collections::BTreeMap;

use strata_protocol::messages::alter_configs_request::AlterConfigsResource;
use strata_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use strata_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use strata_types::ErrorCode;

use super::incremental_alter_configs::{check_nulls, each_resource, find_resource, records_to};
use super::{ApiError, ConfigRules, Decision, duplicates};
use crate::{Image, MetadataRecord};

/// Replaces the configs of topics and brokers.
pub fn alter_configs(
    image: &Image,
    request: &AlterConfigsRequest,
    rules: &dyn ConfigRules,
) -> Decision<AlterConfigsResponse> {
    let name = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let decide = |resource: &_| replace(image, resource, rules);
    let (records, outcomes) = each_resource(&request.resources, request.validate_only, name, decide);
    let response =
        |(resource, (error_code, error_message)): (&AlterConfigsResource, _)| AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        };
    let responses = request.resources.iter().zip(outcomes).map(response).collect();
    (records, AlterConfigsResponse { responses, ..Default::default() })
}

fn replace(
    image: &Image,
    request: &AlterConfigsResource,
    rules: &dyn ConfigRules,
) -> Result<Vec<MetadataRecord>, ApiError> {
    check_nulls(request.configs.iter().map(|config| (&config.name, &config.value)))?;
    if !duplicates(request.configs.iter().map(|config| config.name.as_str())).is_empty() {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
    }
    let resource = find_resource(image, request.resource_type, &request.resource_name)?;
    let after: BTreeMap<_, _> = request
        .configs
        .iter()
        .filter_map(|config| Some((config.name.clone(), config.value.clone()?)))
        .collect();
    records_to(image, &resource, &after, rules)
}
