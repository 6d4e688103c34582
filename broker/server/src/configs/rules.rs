//! What the controller asks about settings: whether they may be set, what they hold now. The words are Kafka's.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::sync::Arc;

use strata_log::{ConfigKind, LogConfig};
use strata_metadata::controller::{ConfigRules, InvalidConfig};
use strata_metadata::{ConfigResource, Image};
use strata_protocol::Str;
use strata_protocol::messages::create_topics_response::CreatableTopicConfigs;
use strata_types::ErrorCode;

use super::{Configs, Overrides, client_metrics, listener_key};
use crate::config::{Kind, Update, broker_key, without_listener};
use crate::security::{TLS_DYNAMIC, check_tls};

/// [`ConfigRules`] over one image.
pub(crate) struct Rules<'a> {
    pub(super) configs: &'a Configs,
    pub(super) image: &'a Image,
}

impl Rules<'_> {
    /// Where TLS settings are among the overrides, every TLS listener must be able to live with them.
    fn check_tls(&self, overrides: &Overrides) -> Result<(), String> {
        let is_tls = |name: &Str| TLS_DYNAMIC.contains(&without_listener(name).unwrap_or(name));
        if !overrides.keys().any(is_tls) {
            return Ok(());
        }
        let config = &self.configs.config;
        let (tls, overrides) =
            (config.listeners.iter().filter(|l| l.protocol.is_tls()), Arc::new(overrides.clone()));
        tls.map(|listener| check_tls(config, &listener.bind.name, self.image, overrides.clone()))
            .try_for_each(|checked| checked.map_err(|why| why.to_string()))
    }
}

impl ConfigRules for Rules<'_> {
    fn validate(&self, resource: &ConfigResource, overrides: &Overrides) -> Result<(), InvalidConfig> {
        let pairs = || overrides.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let refused = |code: ErrorCode| move |why: String| InvalidConfig { code, why };
        match resource {
            // What only holds between values, holds between a topic's own and the defaults too.
            ConfigResource::Topic(_) => self
                .configs
                .defaults(self.image)
                .unwrap_or_default()
                .with(pairs())
                .map(|_| ())
                .map_err(|error| refused(ErrorCode::InvalidConfig)(error.to_string())),
            ConfigResource::Broker(_) | ConfigResource::BrokerDefault => {
                let for_all = *resource == ConfigResource::BrokerDefault;
                check_updates(overrides, for_all).map_err(refused(ErrorCode::InvalidRequest))?;
                pairs()
                    .try_for_each(|(name, value)| check_broker(name, value))
                    .and_then(|()| self.check_tls(overrides))
                    .map_err(refused(ErrorCode::InvalidRequest))
            }
            ConfigResource::ClientMetrics(_) => client_metrics::check(overrides),
            ConfigResource::Group(_) => self.configs.check_group(self.image, overrides),
        }
    }

    fn is_list(&self, resource: &ConfigResource, key: &str) -> bool {
        match resource {
            ConfigResource::Topic(_) => {
                LogConfig::definition(key).is_some_and(|def| def.kind == ConfigKind::List)
            }
            ConfigResource::ClientMetrics(_) => matches!(key, "metrics" | "match"),
            ConfigResource::Group(_) => false,
            _ => broker_key(key).is_some_and(|key| key.kind == Kind::List),
        }
    }

    fn default_value(&self, resource: &ConfigResource, key: &str) -> Option<Str> {
        let described = match resource {
            ConfigResource::Topic(_) => self.configs.describe_topic(self.image, &Overrides::new()),
            ConfigResource::ClientMetrics(_) => return None,
            ConfigResource::Group(group) => return self.configs.group_value(self.image, group, key),
            _ => self.configs.describe_broker(self.image),
        };
        described.iter().find(|described| described.name.as_str() == key)?.effective().0
    }

    fn describe_topic(&self, overrides: &BTreeMap<Str, Str>) -> Vec<CreatableTopicConfigs> {
        let described = self.configs.describe_topic(self.image, overrides);
        let shown = described.into_iter().map(|described| {
            let (value, source) = described.effective();
            CreatableTopicConfigs {
                name: described.name,
                value,
                read_only: described.read_only,
                config_source: source as i8,
                is_sensitive: described.sensitive,
                ..Default::default()
            }
        });
        shown.collect()
    }
}

/// Whether all of these may change while brokers run, for all of them at once or for one.
fn check_updates(overrides: &Overrides, for_all: bool) -> Result<(), String> {
    let those = |update: Update| -> Vec<&str> {
        let names = overrides.keys().map(Str::as_str);
        names
            .filter(|name| {
                broker_key(name).map_or(update == Update::PerBroker && listener_key(name).is_some(), |key| {
                    key.update == update
                })
            })
            .collect()
    };
    let fixed = those(Update::ReadOnly);
    if !fixed.is_empty() {
        return Err(format!("Cannot update these configs dynamically: [{}]", fixed.join(", ")));
    }
    let own = if for_all { those(Update::PerBroker) } else { Vec::new() };
    match own.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{}]",
            own.join(", ")
        )),
    }
}

/// Whether a broker's setting may have this value. What no broker knows, Kafka takes.
fn check_broker(name: &str, value: &str) -> Result<(), String> {
    let Some(key) = broker_key(name).or_else(|| listener_key(name)) else { return Ok(()) };
    let invalid = |why: &str| format!("Invalid value {value} for configuration {name}: {why}");
    key.check_in_kafkas_words(value).map_err(|why| invalid(&why))?;
    if key.name == "max.connections.per.ip.overrides" {
        return connections_per_ip(value).map(|_| ());
    }
    let topics = LogConfig::DEFINITIONS.iter().filter(|def| def.broker_synonym == Some(key.name));
    topics
        .map(|def| LogConfig::validate_one(def.name, value))
        .try_for_each(|checked| checked.map_err(|why| invalid(&why.to_string())))
}

/// `host:count` pairs, by commas: how many connections some addresses may have. A host that is a name stands for its
/// addresses now.
pub(crate) fn connections_per_ip(text: &str) -> Result<Vec<(std::net::IpAddr, usize)>, String> {
    let mut limits = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (host, count) = entry.rsplit_once(':').ok_or_else(|| {
            format!("Invalid configuration for max.connections.per.ip.overrides: {entry} is not host:count")
        })?;
        let count = count.parse().map_err(|_| format!("For input string: \"{count}\""))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = (host, 0).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        limits.extend(addresses.map(|address| (address.ip().to_canonical(), count)));
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_per_address_are_read() {
        let limits = connections_per_ip("127.0.0.1:3, ::1:0,").unwrap();
        assert_eq!(limits, [("127.0.0.1".parse().unwrap(), 3), ("::1".parse().unwrap(), 0)]);
        assert_eq!(connections_per_ip("127.0.0.1:x"), Err("For input string: \"x\"".to_owned()));
        assert!(connections_per_ip("127.0.0.1").is_err());
    }

    #[test]
    fn brokers_settings_are_refused_in_kafkas_words() {
        let why = |name, value| check_broker(name, value).unwrap_err();
        let least = "Invalid value -1 for configuration num.io.threads: Value must be at least 1";
        assert_eq!(why("num.io.threads", "-1"), least);
        let number = "Invalid value x for configuration num.io.threads: Not a number of type INT";
        assert_eq!(why("num.io.threads", "x"), number);
        assert!(check_broker("somebodys.setting", "x").is_ok());
    }
}
