//! IncrementalAlterConfigs (44), versions 0–1 (KIP-339): single configs are set, deleted, or as lists grown and shrunk.
//!
//! Each resource succeeds or fails as a whole. A record is written only for a value that really changes.

use std::collections::BTreeMap;

use strata_protocol::Str;
use strata_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use strata_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use strata_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use strata_types::{ErrorCode, InvalidTopicName};

use super::create_topics::{illegal_name, value_too_long};
use super::{ApiError, CONFIG_VALUE_BYTES_MAX, ConfigRules, Decision, duplicates, outcome};
use crate::image::config_record;
use crate::{ConfigResource, Image, MetadataRecord, UnknownResource};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Changes single configs of topics and brokers.
pub fn incremental_alter_configs(
    image: &Image,
    request: &IncrementalAlterConfigsRequest,
    rules: &dyn ConfigRules,
) -> Decision<IncrementalAlterConfigsResponse> {
    let name = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let decide = |resource: &_| alter(image, resource, rules);
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
    (records, IncrementalAlterConfigsResponse { responses, ..Default::default() })
}

/// Decides resource by resource, and answers an outcome for each: it succeeds or fails as a whole, and one that is named
/// twice fails both times.
pub(super) fn each_resource<R>(
    resources: &[R],
    validate_only: bool,
    name: impl Fn(&R) -> (i8, Str),
    decide: impl Fn(&R) -> Result<Vec<MetadataRecord>, ApiError>,
) -> Decision<Vec<(i16, Option<Str>)>> {
    let twice = duplicates(resources.iter().map(&name));
    let mut records = Vec::new();
    let mut outcomes = Vec::with_capacity(resources.len());
    for resource in resources {
        let result = match twice.contains(&name(resource)) {
            true => Err(ApiError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once.")),
            false => decide(resource),
        };
        outcomes.push(outcome(result.map(|more| {
            if !validate_only {
                records.extend(more);
            }
        })));
    }
    (records, outcomes)
}

fn alter(
    image: &Image,
    request: &AlterConfigsResource,
    rules: &dyn ConfigRules,
) -> Result<Vec<MetadataRecord>, ApiError> {
    check_nulls(
        request.configs.iter().filter(|c| c.config_operation != DELETE).map(|c| (&c.name, &c.value)),
    )?;
    if !duplicates(request.configs.iter().map(|config| config.name.as_str())).is_empty() {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
    }
    let resource = find_resource(image, request.resource_type, &request.resource_name)?;
    let mut after = BTreeMap::clone(&image.config(&resource));
    for config in &request.configs {
        let (key, value) = (&config.name, config.value.clone().unwrap_or_default());
        match config.config_operation {
            SET => {
                after.insert(key.clone(), value);
            }
            DELETE => {
                after.remove(key);
            }
            operation @ (APPEND | SUBTRACT) => {
                if !rules.is_list(&resource, key) {
                    let name = if operation == APPEND { "APPEND" } else { "SUBTRACT" };
                    let message = format!("Can't {name} to key {key} because its type is not LIST.");
                    return Err(ApiError::new(ErrorCode::InvalidConfig, message));
                }
                let before = after.get(key).cloned().or_else(|| rules.default_value(&resource, key));
                after.insert(
                    key.clone(),
                    altered_list(&before.unwrap_or_default(), &value, operation == APPEND),
                );
            }
            other => {
                return Err(ApiError::new(
                    ErrorCode::InvalidRequest,
                    format!("Unknown operations type {other}"),
                ));
            }
        }
    }
    records_to(image, &resource, &after, rules)
}

/// The resource that a request names, if it exists.
pub(super) fn find_resource(
    image: &Image,
    resource_type: i8,
    name: &str,
) -> Result<ConfigResource, ApiError> {
    let resource = ConfigResource::parse(resource_type, name).map_err(|unknown| match unknown {
        UnknownResource::Topic(InvalidTopicName::Empty) => {
            ApiError::new(ErrorCode::InvalidRequest, "Default topic resources are not allowed.")
        }
        UnknownResource::Topic(why) => illegal_name(name, why),
        other => ApiError::new(ErrorCode::InvalidRequest, other.to_string()),
    })?;
    match &resource {
        ConfigResource::Topic(name) if image.topic(name.as_str()).is_none() => {
            let message = format!("The topic '{name}' does not exist.");
            Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, message))
        }
        ConfigResource::Broker(id) if image.broker(*id).is_none() => {
            let message = format!("No node with id {id} found.");
            Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, message))
        }
        _ => Ok(resource),
    }
}

pub(super) fn check_nulls<'a>(
    configs: impl Iterator<Item = (&'a Str, &'a Option<Str>)>,
) -> Result<(), ApiError> {
    let nulls: Vec<&str> =
        configs.filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str()).collect();
    match nulls.is_empty() {
        true => Ok(()),
        false => {
            let message = format!("Null value not supported for : {}", nulls.join(", "));
            Err(ApiError::new(ErrorCode::InvalidRequest, message))
        }
    }
}

/// The records that take a resource from what it sets now to what it shall set, if the rules allow that.
pub(super) fn records_to(
    image: &Image,
    resource: &ConfigResource,
    after: &BTreeMap<Str, Str>,
    rules: &dyn ConfigRules,
) -> Result<Vec<MetadataRecord>, ApiError> {
    if after.values().any(|value| value.len() > CONFIG_VALUE_BYTES_MAX) {
        return Err(value_too_long());
    }
    rules.validate(resource, after).map_err(|invalid| ApiError::new(invalid.code, invalid.why))?;
    let before = image.config(resource);
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name, None));
    let set = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let changes = set.map(|(name, value)| (name, Some(value))).chain(gone);
    Ok(changes.map(|(name, value)| config_record(resource, name, value).into()).collect())
}

fn altered_list(before: &str, operand: &str, append: bool) -> Str {
    let mut items: Vec<&str> = before.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    for item in operand.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match append {
            true if !items.contains(&item) => items.push(item),
            true => {}
            false => items.retain(|present| *present != item),
        }
    }
    items.join(",").into()
}
