//! Configs of topics, brokers and groups.

use strata_protocol::messages::describe_configs_request::DescribeConfigsResource;
use strata_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use strata_types::{NodeId, TopicName};

use super::Admin;
use crate::error::{ClientError, Result};

/// What has configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigResource {
    Topic(TopicName),
    /// `None` is the default of all brokers.
    Broker(Option<NodeId>),
    Group(String),
}

impl ConfigResource {
    fn on_wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.to_string()),
            Self::Broker(node) => (4, node.map_or(String::new(), |node| node.to_string())),
            Self::Group(group) => (32, group.clone()),
        }
    }
}

/// One config as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None` when it is sensitive, or not set.
    pub value: Option<String>,
    pub is_default: bool,
    pub is_read_only: bool,
    pub is_sensitive: bool,
}

/// DescribeConfigs' word for "nobody has set it".
const SOURCE_DEFAULT: i8 = 5;

impl Admin {
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>> {
        let (resource_type, name) = resource.on_wire();
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name: name.into(),
                configuration_keys: None,
                ..Default::default()
            }],
            ..Default::default()
        };
        // A broker's configs are known to that broker only.
        let answer = match resource {
            ConfigResource::Broker(Some(node)) => self.client.call(*node, &request).await?,
            _ => self.client.call_any(&request).await?,
        };
        let result = answer.results.first().ok_or(ClientError::Incomplete("the configs"))?;
        ClientError::check_with(result.error_code, result.error_message.as_deref())?;
        Ok(result.configs.iter().map(entry).collect())
    }

    /// Sets configs, or with `None` takes them back to their defaults (KIP-339).
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[(&str, Option<&str>)],
    ) -> Result<()> {
        const SET: i8 = 0;
        const DELETE: i8 = 1;
        let (resource_type, name) = resource.on_wire();
        let change = |(name, value): &(&str, Option<&str>)| AlterableConfig {
            name: (*name).into(),
            config_operation: if value.is_some() { SET } else { DELETE },
            value: value.map(Into::into),
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name: name.into(),
                configs: changes.iter().map(change).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let code = |answer: &IncrementalAlterConfigsResponse| {
            answer.responses.first().map_or(0, |resource| resource.error_code)
        };
        let answer = match resource {
            ConfigResource::Broker(Some(node)) => self.client.call(*node, &request).await?,
            _ => self.client.call_controller(&request, code).await?,
        };
        let result = answer.responses.first().ok_or(ClientError::Incomplete("the resource"))?;
        ClientError::check_with(result.error_code, result.error_message.as_deref())
    }
}

fn entry(config: &DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: config.name.to_string(),
        value: config.value.as_ref().map(|value| value.to_string()),
        is_default: config.config_source == SOURCE_DEFAULT,
        is_read_only: config.read_only,
        is_sensitive: config.is_sensitive,
    }
}
