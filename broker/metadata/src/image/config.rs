use std::collections::BTreeMap;
use std::sync::Arc;

use strata_protocol::Str;
use strata_types::{InvalidTopicName, NodeId, TopicName};

/// The values that are set on a resource, by config name. Defaults are not in it.
pub type ConfigMap = Arc<BTreeMap<Str, Str>>;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// What dynamic configs are set on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigResource {
    Topic(TopicName),
    Broker(NodeId),
    /// Every broker that does not say otherwise.
    BrokerDefault,
    /// A subscription to clients' metrics (KIP-714), by its name.
    ClientMetrics(Str),
    /// A group, by its id, whether there is one yet or not (KIP-848).
    Group(Str),
}

/// Why a request or a record names no resource of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownResource {
    #[error("Unknown resource type {0}")]
    Type(i8),
    #[error(transparent)]
    Topic(#[from] InvalidTopicName),
    #[error("Node id must be an integer, but it is: {0}")]
    Broker(String),
    #[error("Default {0} resources are not allowed.")]
    NoName(&'static str),
}

impl ConfigResource {
    /// The resource that a request or a record names; an empty broker name stands for all brokers.
    pub fn parse(resource_type: i8, name: &str) -> Result<Self, UnknownResource> {
        match resource_type {
            TOPIC => Ok(Self::Topic(TopicName::new(name)?)),
            BROKER if name.is_empty() => Ok(Self::BrokerDefault),
            BROKER => match name.parse::<NodeId>() {
                // One spelling for one broker: `+1` and `01` would be resources of their own.
                Ok(id) if id >= 0 && id.to_string() == name => Ok(Self::Broker(id)),
                _ => Err(UnknownResource::Broker(name.to_owned())),
            },
            CLIENT_METRICS if name.is_empty() => Err(UnknownResource::NoName("client metrics")),
            CLIENT_METRICS => Ok(Self::ClientMetrics(name.into())),
            GROUP if name.is_empty() => Err(UnknownResource::NoName("group")),
            GROUP => Ok(Self::Group(name.into())),
            other => Err(UnknownResource::Type(other)),
        }
    }

    /// Kafka's number of the kind of resource (`ConfigResource.Type`).
    pub fn resource_type(&self) -> i8 {
        match self {
            Self::Topic(_) => TOPIC,
            Self::Broker(_) | Self::BrokerDefault => BROKER,
            Self::ClientMetrics(_) => CLIENT_METRICS,
            Self::Group(_) => GROUP,
        }
    }

    /// The resource's name on the wire.
    pub fn resource_name(&self) -> Str {
        match self {
            Self::Topic(name) => name.as_str().into(),
            Self::Broker(id) => id.to_string().into(),
            Self::BrokerDefault => Str::default(),
            Self::ClientMetrics(name) | Self::Group(name) => name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_read_back_from_its_wire_form() {
        let topic = ConfigResource::Topic(TopicName::new("t").expect("a legal name"));
        let metrics = ConfigResource::ClientMetrics("m".into());
        let group = ConfigResource::Group("g".into());
        for resource in [topic, ConfigResource::Broker(3), ConfigResource::BrokerDefault, metrics, group] {
            let parsed = ConfigResource::parse(resource.resource_type(), &resource.resource_name());
            assert_eq!(parsed, Ok(resource));
        }
    }

    #[test]
    fn a_broker_has_one_spelling() {
        for name in ["+1", "01", "-1", "x", "99999999999"] {
            assert_eq!(ConfigResource::parse(BROKER, name), Err(UnknownResource::Broker(name.to_owned())));
        }
    }
}
