//! ListConfigResources (74): what has settings (KIP-1142).
//!
//! - v0 lists metrics subscriptions only (KIP-714). v1: topics (2), brokers (4, and 8 for their loggers),
//!   metrics subscriptions (16) and groups (32), each if asked for; no type named means all.

use std::ops::RangeInclusive;

use strata_protocol::Str;
use strata_protocol::messages::list_config_resources_response::ConfigResource;
use strata_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct ListConfigResources;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const KNOWN: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

impl Handler for ListConfigResources {
    type Request = ListConfigResourcesRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<ListConfigResourcesResponse, Refusal> {
        if let Err(code) = cx.check(Operation::DescribeConfigs, Resource::Cluster) {
            return Ok(ListConfigResourcesResponse { error_code: code.into(), ..Default::default() });
        }
        let types = &request.resource_types;
        if types.iter().any(|kind| !KNOWN.contains(kind)) {
            let error_code = ErrorCode::UnsupportedVersion.into();
            return Ok(ListConfigResourcesResponse { error_code, ..Default::default() });
        }
        let wanted = |kind: i8| match cx.version {
            0 => kind == CLIENT_METRICS,
            _ => types.is_empty() || types.contains(&kind),
        };
        let resource = |resource_type: i8, resource_name: Str| ConfigResource {
            resource_name,
            resource_type,
            ..Default::default()
        };
        let image = cx.broker.image();
        let mut config_resources = Vec::new();
        if wanted(TOPIC) {
            let names = image.topics().map(|topic| Str::from(topic.name.as_str()));
            config_resources.extend(names.map(|name| resource(TOPIC, name)));
        }
        for kind in [BROKER, BROKER_LOGGER] {
            let brokers = image.brokers().filter(|_| wanted(kind));
            config_resources.extend(brokers.map(|broker| resource(kind, Str::from(broker.id.to_string()))));
        }
        for (set, _) in image.configs() {
            let kind = set.resource_type();
            if matches!(kind, CLIENT_METRICS | GROUP) && wanted(kind) {
                config_resources.push(resource(kind, set.resource_name()));
            }
        }
        Ok(ListConfigResourcesResponse { config_resources, ..Default::default() })
    }
}
