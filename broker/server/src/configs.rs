//! Settings of topics and brokers as the cluster has them: what is set where, and what counts.
//!
//! ```text
//! a topic's setting   topic override ─▶ this broker ─▶ all brokers ─▶ server.properties ─▶ Kafka's default
//! a broker's setting                    this broker ─▶ all brokers ─▶ server.properties ─▶ Kafka's default
//!                     (the first that says something counts; DescribeConfigs shows all of them, as synonyms)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use strata_log::{ConfigDef, LogConfig};
use strata_metadata::controller::ConfigRules;
use strata_metadata::{ConfigResource, Image};
use strata_protocol::Str;
use strata_protocol::messages::create_topics_response::CreatableTopicConfigs;
use strata_types::TopicName;

use crate::config::{Config, Kind, Update, broker_key, broker_keys, broker_synonyms};

/// Where a value comes from, by the number on the wire (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Topic = 1,
    Broker = 2,
    BrokerDefault = 3,
    Static = 4,
    Default = 5,
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
    pub name: &'static str,
    pub said: Vec<Said>,
    /// What counts when nothing is said.
    default: Option<&'static str>,
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
            None => (self.default.map(Str::from_static), Source::Default),
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
        // In the topic's unit, where the broker was told in another one.
        if let ([first, ..], Some(server)) = (said.as_mut_slice(), def.broker_synonym)
            && first.source == Source::Static
            && first.name.as_str() != server
        {
            first.value = self.config.given_in_unit_of(server).map(Str::from);
        }
        Described {
            name: def.name,
            said,
            default: Some(def.default),
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
            name: key.name,
            said: self.said_of_broker(key.name, &dynamic),
            default: None,
            type_code: key.kind.code(),
            read_only: !can_change(key.name),
            sensitive: key.is_sensitive(),
            documentation: None,
        });
        described.collect()
    }

    /// What is set for all brokers, and nothing else (KIP-226).
    pub(crate) fn describe_broker_default(&self, image: &Image) -> Vec<Described> {
        let set = image.config(&ConfigResource::BrokerDefault);
        let described = broker_keys().filter_map(|key| {
            let value = Some(set.get(key.name)?.clone());
            let said = vec![Said { name: Str::from_static(key.name), value, source: Source::BrokerDefault }];
            let (type_code, sensitive) = (key.kind.code(), key.is_sensitive());
            Some(Described {
                default: None,
                name: key.name,
                said,
                type_code,
                read_only: false,
                sensitive,
                documentation: None,
            })
        });
        described.collect()
    }

    fn said_of_broker(&self, name: &'static str, dynamic: &[(Source, Arc<Overrides>); 2]) -> Vec<Said> {
        let own = [name];
        let names = match broker_synonyms(name) {
            [] => &own[..],
            synonyms => synonyms,
        };
        let mut said: Vec<Said> = Vec::new();
        for (source, map) in dynamic {
            let value = map.get(name).map(|value| Some(value.clone()));
            said.extend(value.map(|value| Said { name: Str::from_static(name), value, source: *source }));
        }
        for &name in names {
            let value = self.config.given(name).map(|value| Some(Str::from(value)));
            said.extend(value.map(|value| Said {
                name: Str::from_static(name),
                value,
                source: Source::Static,
            }));
        }
        // As in Kafka, a default in another unit is no synonym.
        let default = broker_key(name).and_then(|key| key.default).map(Str::from_static);
        let name = Str::from_static(name);
        said.extend(default.map(|value| Said { name, value: Some(value), source: Source::Default }));
        said
    }

    /// What the controller asks about settings.
    pub(crate) fn rules<'a>(&'a self, image: &'a Image) -> Rules<'a> {
        Rules { configs: self, image }
    }
}

/// Settings of the broker's own parts that follow a change at once.
const FOLLOWED: &[&str] = &[
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
];

/// Whether a broker setting may be changed while the broker runs: those that are topics' defaults, and those that its parts
/// follow.
fn can_change(name: &str) -> bool {
    broker_key(name).is_some_and(|key| key.update != Update::ReadOnly)
        && (FOLLOWED.contains(&name)
            || LogConfig::DEFINITIONS.iter().any(|def| def.broker_synonym == Some(name)))
}

/// [`ConfigRules`] over one image.
pub(crate) struct Rules<'a> {
    configs: &'a Configs,
    image: &'a Image,
}

impl ConfigRules for Rules<'_> {
    fn validate(&self, resource: &ConfigResource, overrides: &Overrides) -> Result<(), String> {
        match resource {
            ConfigResource::Topic(_) => {
                let pairs = overrides.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                // What only holds between values, holds between a topic's own and the defaults too.
                let defaults = self.configs.defaults(self.image).unwrap_or_default();
                defaults.with(pairs).map(|_| ()).map_err(|error| error.to_string())
            }
            ConfigResource::Broker(_) | ConfigResource::BrokerDefault => {
                overrides.iter().try_for_each(|(name, value)| {
                    let key =
                        broker_key(name).ok_or_else(|| format!("Unknown broker config name: {name}"))?;
                    if !can_change(name) {
                        return Err(format!("Cannot update these configs dynamically: [{name}]"));
                    }
                    let invalid = |why: &dyn std::fmt::Display| {
                        format!("Invalid value {value} for configuration {name}: {why}")
                    };
                    key.check(value).map_err(|why| invalid(&why))?;
                    let topics =
                        LogConfig::DEFINITIONS.iter().filter(|def| def.broker_synonym == Some(name.as_str()));
                    topics
                        .map(|def| LogConfig::validate_one(def.name, value))
                        .try_for_each(|checked| checked.map_err(|why| invalid(&why)))
                })
            }
        }
    }

    fn is_list(&self, resource: &ConfigResource, key: &str) -> bool {
        match resource {
            ConfigResource::Topic(_) => {
                LogConfig::definition(key).is_some_and(|def| def.kind == strata_log::ConfigKind::List)
            }
            _ => broker_key(key).is_some_and(|key| key.kind == Kind::List),
        }
    }

    fn default_value(&self, resource: &ConfigResource, key: &str) -> Option<Str> {
        let described = match resource {
            ConfigResource::Topic(_) => self.configs.describe_topic(self.image, &Overrides::new()),
            _ => self.configs.describe_broker(self.image),
        };
        described.iter().find(|described| described.name == key)?.effective().0
    }

    fn describe_topic(&self, overrides: &Overrides) -> Vec<CreatableTopicConfigs> {
        let described = self.configs.describe_topic(self.image, overrides);
        let shown = described.iter().map(|described| {
            let (value, source) = described.effective();
            CreatableTopicConfigs {
                name: Str::from_static(described.name),
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

/// The overrides of a topic, if the name is one.
pub(crate) fn topic_overrides(image: &Image, name: &str) -> Option<Arc<Overrides>> {
    let known = TopicName::new(name).is_ok() && image.topic(name).is_some();
    known.then(|| image.topic_config(name))
}
