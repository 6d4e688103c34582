//! ListConfigResources (74): what has settings (KIP-1142).
//!
//! - v0 lists metrics subscriptions only, of which there are none. v1: topics (2), brokers (4, and 8 for their loggers),
//!   metrics subscriptions (16) and groups (32), each if asked for; no type named means all.

use std::ops::RangeInclusive;

use strata_protocol::Str;
use strata_protocol::messages::list_config_resources_response::ConfigResource;
use strata_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct ListConfigResources;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const KNOWN: [i8; 5] = [TOPIC, BROKER, 8, 16, 32];

impl Handler for ListConfigResources {
    type Request = ListConfigResourcesRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<ListConfigResourcesResponse, Refusal> {
        let types = &request.resource_types;
        if types.iter().any(|kind| !KNOWN.contains(kind)) {
            let error_code = ErrorCode::UnsupportedVersion.into();
            return Ok(ListConfigResourcesResponse { error_code, ..Default::default() });
        }
        let wanted = |kind: i8| cx.version >= 1 && (types.is_empty() || types.contains(&kind));
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
        if wanted(BROKER) {
            let names = image.brokers().map(|broker| Str::from(broker.id.to_string()));
            config_resources.extend(names.map(|name| resource(BROKER, name)));
        }
        Ok(ListConfigResourcesResponse { config_resources, ..Default::default() })
    }
}
