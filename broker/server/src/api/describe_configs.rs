//! DescribeConfigs (32): the settings of topics, brokers, groups and metrics subscriptions, and where each comes from.
//!
//! - v1: source and synonyms (KIP-226). v3: type and documentation (KIP-569).
//! - A broker answers for itself; the empty broker name asks what is set for all brokers. Passwords are never shown.

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::describe_configs_request::DescribeConfigsResource;
use strata_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use strata_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use strata_types::{ErrorCode, TopicName};

use super::message;
use crate::broker::Broker;
use crate::configs::{self, Described, Source};
use crate::dispatch::{Context, Handler, Refusal};
use crate::loggers;
use crate::security::Operation;

pub(crate) struct DescribeConfigs;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

impl Handler for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=4;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeConfigsResponse, Refusal> {
        let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
        let access = cx.access();
        let results = request.resources.into_iter().map(|resource| {
            let allowed = super::config_resource(resource.resource_type, &resource.resource_name)
                .map_or(Ok(()), |named| access.check(Operation::DescribeConfigs, named));
            let described = match allowed {
                Ok(()) => describe(&cx.broker, &resource),
                Err(code) => Err((code, super::denial(code).to_owned())),
            };
            let mut result = DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
                error_message: None,
                ..Default::default()
            };
            match described {
                Ok(described) => {
                    let wanted = resource.configuration_keys;
                    let is_wanted = |described: &&Described| {
                        wanted
                            .as_ref()
                            .is_none_or(|keys| keys.iter().any(|key| key.as_str() == described.name.as_str()))
                    };
                    let shown = described.iter().filter(is_wanted);
                    result.configs =
                        shown.map(|described| show(described, synonyms, documentation)).collect();
                }
                Err((code, why)) => (result.error_code, result.error_message) = (code.into(), message(why)),
            }
            result
        });
        Ok(DescribeConfigsResponse { results: results.collect(), ..Default::default() })
    }
}

fn describe(
    broker: &Arc<Broker>,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, (ErrorCode, String)> {
    let image = broker.image();
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            if let Err(error) = TopicName::new(name) {
                return Err((ErrorCode::InvalidTopicException, error.to_string()));
            }
            let overrides = configs::topic_overrides(&image, name).ok_or_else(|| {
                (ErrorCode::UnknownTopicOrPartition, "this server does not host this topic".to_owned())
            })?;
            Ok(broker.configs.describe_topic(&image, &overrides))
        }
        BROKER if name.is_empty() => Ok(broker.configs.describe_broker_default(&image)),
        BROKER if name.parse() == Ok(broker.node_id) => Ok(broker.configs.describe_broker(&image)),
        BROKER => {
            let why = format!("this is broker {}; ask broker {name} for its own settings", broker.node_id);
            Err((ErrorCode::InvalidRequest, why))
        }
        BROKER_LOGGER if name.parse() == Ok(broker.node_id) => Ok(loggers::describe()),
        BROKER_LOGGER => {
            let why = format!("Unexpected broker id, expected {}, but received {name}", broker.node_id);
            Err((ErrorCode::InvalidRequest, why))
        }
        CLIENT_METRICS if name.is_empty() => {
            Err((ErrorCode::InvalidRequest, "Client metrics subscription name must not be empty".to_owned()))
        }
        CLIENT_METRICS => Ok(broker.configs.describe_client_metrics(&image, name)),
        GROUP if name.is_empty() => {
            Err((ErrorCode::InvalidRequest, "Group name must not be empty".to_owned()))
        }
        GROUP => Ok(broker.configs.describe_group(&image, name)),
        kind => Err((ErrorCode::InvalidRequest, format!("resources of type {kind} have no settings here"))),
    }
}

fn show(described: &Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let hidden = described.sensitive;
    let (value, source) = described.effective();
    let has_synonyms = synonyms && source != Source::BrokerLogger;
    let all = described.said.iter().filter(|_| has_synonyms).map(|said| DescribeConfigsSynonym {
        name: said.name.clone(),
        value: said.value.clone().filter(|_| !hidden),
        source: said.source as i8,
        ..Default::default()
    });
    DescribeConfigsResourceResult {
        name: described.name.clone(),
        value: value.filter(|_| !hidden),
        read_only: described.read_only,
        config_source: source as i8,
        is_sensitive: hidden,
        synonyms: all.collect(),
        config_type: described.type_code,
        documentation: described.documentation.filter(|_| documentation).map(Str::from_static),
        ..Default::default()
    }
}
