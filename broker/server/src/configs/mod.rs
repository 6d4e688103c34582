//! Settings of topics, brokers, groups and metrics subscriptions as the cluster has them: what is set where, and what counts.
//!
//! ```text
//! a topic's setting   topic override ─▶ this broker ─▶ all brokers ─▶ server.properties ─▶ Kafka's default
//! a broker's setting                    this broker ─▶ all brokers ─▶ server.properties ─▶ Kafka's default
//! a group's setting   group override ─▶ (the broker's setting, likewise)
//!                     (the first that says something counts; DescribeConfigs shows all of them, as synonyms)
//! ```

mod client_metrics;
mod groups;
mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use strata_log::{ConfigDef, LogConfig};
use strata_metadata::{ConfigResource, Image};
use strata_protocol::Str;
use strata_types::TopicName;

pub(crate) use self::rules::{Rules, connections_per_ip};
use crate::config::{Config, Key, Update, broker_key, broker_keys, broker_synonyms};

/// Where a value comes from, by the number on the wire (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Topic = 1,
    Broker = 2,
    BrokerDefault = 3,
    Static = 4,
    Default = 5,
    BrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

/// A value that something says about a setting, and under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub name: Str,
    pub value: Option<Str>,
    pub source: Source,
}

/// A setting with everything that is said about it; the first counts.
pub(crate) struct Described {
    pub name: Str,
    pub said: Vec<Said>,
    /// What counts when nothing is said.
    pub default: Option<Str>,
    pub type_code: i8,
    pub read_only: bool,
    pub sensitive: bool,
    pub documentation: Option<&'static str>,
}

impl Described {
    /// What counts: the value and its source.
    pub(crate) fn effective(&self) -> (Option<Str>, Source) {
        match self.said.first() {
            Some(said) => (said.value.clone(), said.source),
            None => (self.default.clone(), Source::Default),
        }
    }
}

/// Reads settings out of the configuration and the metadata. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Configs {
    config: Arc<Config>,
}

type Overrides = BTreeMap<Str, Str>;

impl Configs {
    /// # Errors
    /// When the broker's own configuration gives topics a default that cannot be one.
    pub(crate) fn new(config: Arc<Config>) -> Result<Self, strata_log::ConfigError> {
        let new = Self { config };
        new.defaults(&Image::default())?;
        Ok(new)
    }

    /// The configuration of a topic's logs.
    pub(crate) fn log_config(&self, image: &Image, topic: &str) -> LogConfig {
        let defaults = self.defaults(image).or_else(|_| self.defaults(&Image::default())).unwrap_or_default();
        let overrides = image.topic_config(topic);
        let pairs = overrides.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        defaults.with(pairs).unwrap_or_else(|error| {
            // The controller let it pass, so a newer broker wrote it; the rest still counts for something.
            tracing::error!(topic, "the topic's settings cannot be used: {error}");
            defaults
        })
    }

    fn defaults(&self, image: &Image) -> Result<LogConfig, strata_log::ConfigError> {
        let dynamic = self.dynamic(image);
        let pairs = LogConfig::DEFINITIONS.iter().filter_map(|def| Some((def.name, def.broker_synonym?)));
        let said =
            |name: &str| dynamic.iter().find_map(|(_, map)| map.get(name).map(|value| value.to_string()));
        let defaults: Vec<_> = self.config.topic_defaults(pairs, &said).collect();
        LogConfig::from_map(defaults.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// What the cluster's metadata says of this broker and of all, in the order in which it counts.
    fn dynamic(&self, image: &Image) -> [(Source, Arc<Overrides>); 2] {
        [
            (Source::Broker, image.config(&ConfigResource::Broker(self.config.node_id))),
            (Source::BrokerDefault, image.config(&ConfigResource::BrokerDefault)),
        ]
    }

    /// What counts of a broker's setting: the cluster's word, else the configuration's, else the default.
    pub(crate) fn broker_value(&self, image: &Image, name: &str) -> Option<String> {
        let dynamic = self.dynamic(image);
        let said = dynamic.iter().find_map(|(_, map)| map.get(name).map(|value| value.to_string()));
        said.or_else(|| self.config.effective(name).map(str::to_owned))
    }

    /// The same for a whole number. The table of settings holds that there is one.
    pub(crate) fn broker_number(&self, image: &Image, name: &str) -> i64 {
        let value = self.broker_value(image, name);
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    }

    /// The same for true and false.
    pub(crate) fn broker_flag(&self, image: &Image, name: &str) -> bool {
        self.broker_value(image, name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Every setting of a topic, by name.
    pub(crate) fn describe_topic(&self, image: &Image, overrides: &Overrides) -> Vec<Described> {
        let dynamic = self.dynamic(image);
        let shown = LogConfig::DEFINITIONS.iter().filter(|def| !def.is_internal());
        shown.map(|def| self.describe_topic_key(def, overrides, &dynamic)).collect()
    }

    fn describe_topic_key(
        &self,
        def: &'static ConfigDef,
        overrides: &Overrides,
        dynamic: &[(Source, Arc<Overrides>); 2],
    ) -> Described {
        let mut said = Vec::new();
        if let Some(value) = overrides.get(def.name) {
            said.push(Said {
                name: Str::from_static(def.name),
                value: Some(value.clone()),
                source: Source::Topic,
            });
        }
        if let Some(server) = def.broker_synonym {
            said.extend(self.said_of_broker(server, dynamic));
        }
        // Said of the broker in another unit, it counts, but Kafka does not say where it comes from.
        let given = def.broker_synonym.and_then(|server| self.config.given_in_unit_of(server));
        Described {
            name: Str::from_static(def.name),
            said,
            default: Some(given.map_or(Str::from_static(def.default), Str::from)),
            type_code: def.kind.id(),
            read_only: false,
            sensitive: false,
            documentation: Some(def.doc),
        }
    }

    /// Every setting of this broker, by name.
    pub(crate) fn describe_broker(&self, image: &Image) -> Vec<Described> {
        let dynamic = self.dynamic(image);
        let described = broker_keys().map(|key| Described {
            name: Str::from_static(key.name),
            said: self.said_of_broker(key.name, &dynamic),
            default: None,
            type_code: key.kind.code(),
            read_only: key.update == Update::ReadOnly,
            sensitive: key.is_sensitive(),
            documentation: None,
        });
        described.chain(foreign(&dynamic)).collect()
    }

    /// What is set for all brokers, and nothing else (KIP-226).
    pub(crate) fn describe_broker_default(&self, image: &Image) -> Vec<Described> {
        let dynamic = [(Source::BrokerDefault, image.config(&ConfigResource::BrokerDefault))];
        let described = broker_keys().filter_map(|key| {
            let value = Some(dynamic[0].1.get(key.name)?.clone());
            let name = Str::from_static(key.name);
            let said = vec![Said { name: name.clone(), value, source: Source::BrokerDefault }];
            let (type_code, sensitive) = (key.kind.code(), key.is_sensitive());
            Some(Described {
                default: None,
                name,
                said,
                type_code,
                read_only: false,
                sensitive,
                documentation: None,
            })
        });
        described.chain(foreign(&dynamic)).collect()
    }

    /// What counts for one of this broker's listeners: its own value of the setting, if it has one.
    pub(crate) fn listener_value(&self, image: &Image, listener: &str, name: &str) -> Option<Str> {
        let own = format!("listener.name.{}.{name}", listener.to_lowercase());
        let dynamic = self.dynamic(image).into_iter().find_map(|(_, map)| map.get(own.as_str()).cloned());
        dynamic.or_else(|| self.config.given(&own).map(Str::from))
    }

    fn said_of_broker(&self, name: &'static str, dynamic: &[(Source, Arc<Overrides>); 2]) -> Vec<Said> {
        let own = [name];
        let names = match broker_synonyms(name) {
            [] => &own[..],
            synonyms => synonyms,
        };
        let mut said: Vec<Said> = Vec::new();
        let mut say = |name: &'static str, value: Option<Str>, source| {
            said.extend(value.map(|value| Said { name: Str::from_static(name), value: Some(value), source }));
        };
        for (source, map) in dynamic {
            names.iter().for_each(|name| say(name, map.get(*name).cloned(), *source));
        }
        names.iter().for_each(|name| say(name, self.config.given(name).map(Str::from), Source::Static));
        let default = |name| broker_key(name)?.default.map(Str::from_static);
        names.iter().for_each(|name| say(name, default(name), Source::Default));
        // As in Kafka, what is said in another unit only shows behind what is said in this one.
        said.into_iter().skip_while(|said| said.name.as_str() != name).collect()
    }

    /// What the controller asks about settings.
    pub(crate) fn rules<'a>(&'a self, image: &'a Image) -> Rules<'a> {
        Rules { configs: self, image }
    }
}

/// Settings that are no broker's as far as we know, a plugin's perhaps. Kafka takes them, and never shows what they hold.
fn foreign(dynamic: &[(Source, Arc<Overrides>)]) -> impl Iterator<Item = Described> {
    let mut names: BTreeMap<Str, Vec<Said>> = BTreeMap::new();
    for (source, map) in dynamic {
        for (name, value) in map.iter().filter(|(name, _)| broker_key(name).is_none()) {
            let said = Said { name: name.clone(), value: Some(value.clone()), source: *source };
            names.entry(name.clone()).or_default().push(said);
        }
    }
    names.into_iter().map(|(name, said)| {
        let known = listener_key(&name);
        Described {
            sensitive: known.is_none_or(Key::is_sensitive),
            type_code: known.map_or(0, |key| key.kind.code()),
            name,
            said,
            default: None,
            read_only: false,
            documentation: None,
        }
    })
}

/// The setting that `listener.name.NAME.SETTING` sets for one listener.
pub(crate) fn listener_key(name: &str) -> Option<&'static Key> {
    broker_key(name.strip_prefix("listener.name.")?.split_once('.')?.1)
}

/// The overrides of a topic, if the name is one.
pub(crate) fn topic_overrides(image: &Image, name: &str) -> Option<Arc<Overrides>> {
    let known = TopicName::new(name).is_ok() && image.topic(name).is_some();
    known.then(|| image.topic_config(name))
}
