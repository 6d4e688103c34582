//! Settings of groups (KIP-848, KIP-932, KIP-1071): set per group, with the broker's own as their defaults.
//!
//! ```text
//! consumer.session.timeout.ms of group g   g's own ─▶ group.consumer.session.timeout.ms of the broker (dynamic, static, default)
//! ```

use std::collections::BTreeMap;

use strata_metadata::controller::InvalidConfig;
use strata_metadata::{ConfigResource, Image};
use strata_protocol::Str;
use strata_types::ErrorCode;

use super::{Configs, Described, Overrides, Said, Source};
use crate::config::{Kind, broker_key};

/// A setting of groups.
pub(super) struct GroupKey {
    pub name: &'static str,
    pub kind: Kind,
    fallback: Fallback,
}

/// What counts for a group that sets nothing.
enum Fallback {
    /// A setting of the broker; the numbers of other settings of the broker bound what a group may set.
    Broker { key: &'static str, min: Option<&'static str>, max: Option<&'static str> },
    /// A value of its own, and what else is allowed.
    Own { default: &'static str, allowed: fn(&str) -> bool, wanted: &'static str },
}

macro_rules! bounded {
    ($name:literal, $key:literal, $min:literal, $max:literal) => {
        GroupKey {
            name: $name,
            kind: Kind::Int,
            fallback: Fallback::Broker { key: $key, min: Some($min), max: Some($max) },
        }
    };
}

/// By name. Facts of Apache Kafka 4.3, and of 4.4 where a dead-letter queue is concerned.
pub(super) static KEYS: &[GroupKey] = &[
    bounded!(
        "consumer.assignment.interval.ms",
        "group.consumer.assignment.interval.ms",
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.max.assignment.interval.ms"
    ),
    bounded!(
        "consumer.heartbeat.interval.ms",
        "group.consumer.heartbeat.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms"
    ),
    bounded!(
        "consumer.session.timeout.ms",
        "group.consumer.session.timeout.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms"
    ),
    GroupKey {
        name: "errors.deadletterqueue.copy.record.enable",
        kind: Kind::Boolean,
        fallback: Fallback::Own { default: "false", allowed: |_| true, wanted: "true or false" },
    },
    GroupKey {
        name: "errors.deadletterqueue.topic.name",
        kind: Kind::String,
        fallback: Fallback::Own {
            default: "",
            allowed: |text| !text.starts_with("__"),
            wanted: "a topic's name that does not start with '__'",
        },
    },
    bounded!(
        "share.assignment.interval.ms",
        "group.share.assignment.interval.ms",
        "group.share.min.assignment.interval.ms",
        "group.share.max.assignment.interval.ms"
    ),
    GroupKey {
        name: "share.auto.offset.reset",
        kind: Kind::String,
        fallback: Fallback::Own {
            default: "latest",
            allowed: |text| matches!(text, "latest" | "earliest") || is_duration(text),
            wanted: "latest, earliest or by_duration:PnDTnHnMn.nS",
        },
    },
    bounded!(
        "share.delivery.count.limit",
        "group.share.delivery.count.limit",
        "group.share.min.delivery.count.limit",
        "group.share.max.delivery.count.limit"
    ),
    bounded!(
        "share.heartbeat.interval.ms",
        "group.share.heartbeat.interval.ms",
        "group.share.min.heartbeat.interval.ms",
        "group.share.max.heartbeat.interval.ms"
    ),
    GroupKey {
        name: "share.isolation.level",
        kind: Kind::String,
        fallback: Fallback::Own {
            default: "read_uncommitted",
            allowed: |text| matches!(text, "read_committed" | "read_uncommitted"),
            wanted: "read_committed or read_uncommitted",
        },
    },
    bounded!(
        "share.partition.max.record.locks",
        "group.share.partition.max.record.locks",
        "group.share.min.partition.max.record.locks",
        "group.share.max.partition.max.record.locks"
    ),
    bounded!(
        "share.record.lock.duration.ms",
        "group.share.record.lock.duration.ms",
        "group.share.min.record.lock.duration.ms",
        "group.share.max.record.lock.duration.ms"
    ),
    GroupKey {
        name: "share.renew.acknowledge.enable",
        kind: Kind::Boolean,
        fallback: Fallback::Own {
            default: "true",
            allowed: |text| text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
            wanted: "true or false",
        },
    },
    bounded!(
        "share.session.timeout.ms",
        "group.share.session.timeout.ms",
        "group.share.min.session.timeout.ms",
        "group.share.max.session.timeout.ms"
    ),
    bounded!(
        "streams.assignment.interval.ms",
        "group.streams.assignment.interval.ms",
        "group.streams.min.assignment.interval.ms",
        "group.streams.max.assignment.interval.ms"
    ),
    bounded!(
        "streams.heartbeat.interval.ms",
        "group.streams.heartbeat.interval.ms",
        "group.streams.min.heartbeat.interval.ms",
        "group.streams.max.heartbeat.interval.ms"
    ),
    GroupKey {
        name: "streams.initial.rebalance.delay.ms",
        kind: Kind::Int,
        fallback: Fallback::Broker { key: "group.streams.initial.rebalance.delay.ms", min: None, max: None },
    },
    GroupKey {
        name: "streams.num.standby.replicas",
        kind: Kind::Int,
        fallback: Fallback::Broker {
            key: "group.streams.num.standby.replicas",
            min: None,
            max: Some("group.streams.max.standby.replicas"),
        },
    },
    bounded!(
        "streams.session.timeout.ms",
        "group.streams.session.timeout.ms",
        "group.streams.min.session.timeout.ms",
        "group.streams.max.session.timeout.ms"
    ),
];

/// `by_duration:` and a duration of ISO 8601 that is not negative. The Java class that reads it is the judge of details.
fn is_duration(text: &str) -> bool {
    let body = text.strip_prefix("by_duration:").and_then(|text| text.strip_prefix('P'));
    body.is_some_and(|body| {
        body.bytes().any(|b| b.is_ascii_digit())
            && body
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'D' | b'T' | b'H' | b'M' | b'S' | b'.'))
            && body.bytes().last().is_some_and(|b| b.is_ascii_uppercase())
    })
}

impl Configs {
    /// Every setting of a group, by name.
    pub(crate) fn describe_group(&self, image: &Image, group: &str) -> Vec<Described> {
        let overrides = image.config(&ConfigResource::Group(group.into()));
        KEYS.iter().map(|key| self.describe_group_key(image, key, &overrides)).collect()
    }

    /// What counts for a group. `name` is the setting's own, such as `consumer.session.timeout.ms`.
    pub(crate) fn group_value(&self, image: &Image, group: &str, name: &str) -> Option<Str> {
        let key = KEYS.iter().find(|key| key.name == name)?;
        let overrides = image.config(&ConfigResource::Group(group.into()));
        self.describe_group_key(image, key, &overrides).effective().0
    }

    fn describe_group_key(&self, image: &Image, key: &'static GroupKey, overrides: &Overrides) -> Described {
        let mut said = Vec::new();
        if let Some(value) = overrides.get(key.name) {
            let name = Str::from_static(key.name);
            said.push(Said { name, value: Some(value.clone()), source: Source::Group });
        }
        match &key.fallback {
            Fallback::Broker { key, .. } => said.extend(self.said_of_broker(key, &self.dynamic(image))),
            Fallback::Own { default, .. } => said.push(Said {
                name: Str::from_static(key.name),
                value: Some(Str::from_static(default)),
                source: Source::Default,
            }),
        }
        Described {
            name: Str::from_static(key.name),
            said,
            default: None,
            type_code: key.kind.code(),
            read_only: false,
            sensitive: false,
            documentation: None,
        }
    }

    pub(super) fn check_group(
        &self,
        image: &Image,
        overrides: &BTreeMap<Str, Str>,
    ) -> Result<(), InvalidConfig> {
        let invalid = |why: String| InvalidConfig { code: ErrorCode::InvalidConfig, why };
        for (name, value) in overrides {
            let key = KEYS.iter().find(|key| key.name == name.as_str());
            let key = key.ok_or_else(|| invalid(format!("Unknown group config name: {name}")))?;
            key.kind
                .check(value)
                .map_err(|why| invalid(format!("Invalid value {value} for configuration {name}: {why}")))?;
            self.check_group_value(image, key, value).map_err(invalid)?;
        }
        for kind in ["consumer", "share", "streams"] {
            let number = |what: &str| {
                let name = format!("{kind}.{what}");
                let set = overrides.get(name.as_str()).cloned();
                set.or_else(|| self.group_value(image, "", &name))?.parse::<i64>().ok()
            };
            let (session, heartbeat) = (number("session.timeout.ms"), number("heartbeat.interval.ms"));
            if session <= heartbeat {
                return Err(invalid(format!(
                    "{kind}.session.timeout.ms must be greater than {kind}.heartbeat.interval.ms"
                )));
            }
        }
        Ok(())
    }

    fn check_group_value(&self, image: &Image, key: &GroupKey, value: &str) -> Result<(), String> {
        let name = key.name;
        match &key.fallback {
            Fallback::Own { allowed, wanted, .. } => match allowed(value) {
                true => Ok(()),
                false => Err(format!("Invalid value {value} for configuration {name}: allowed is {wanted}")),
            },
            Fallback::Broker { key, min, max } => {
                if let Some(Err(why)) = broker_key(key).map(|key| key.check(value)) {
                    return Err(format!("Invalid value {value} for configuration {name}: {why}"));
                }
                let number = |text: &str| text.trim().parse::<i64>().ok();
                let limit = |key: &Option<&'static str>| {
                    key.and_then(|key| Some((key, number(&self.broker_value(image, key)?)?)))
                };
                match (number(value), limit(min), limit(max)) {
                    (Some(value), Some((min, least)), _) if value < least => {
                        Err(format!("{name} must be greater than or equal to {min}"))
                    }
                    (Some(value), _, Some((max, most))) if value > most => {
                        Err(format!("{name} must be less than or equal to {max}"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_groups_fall_back_to_is_known() {
        for key in KEYS {
            if let Fallback::Broker { key: synonym, min, max } = &key.fallback {
                let all = [Some(*synonym), *min, *max];
                assert!(all.into_iter().flatten().all(|name| broker_key(name).is_some()), "{}", key.name);
            }
        }
        assert!(KEYS.is_sorted_by_key(|key| key.name));
    }

    #[test]
    fn durations_are_told_from_other_words() {
        assert!(is_duration("by_duration:PT1H") && is_duration("by_duration:P1DT2H3M4.5S"));
        assert!(
            !is_duration("by_duration:") && !is_duration("by_duration:PT") && !is_duration("by_duration:1h")
        );
        assert!(!is_duration("by_duration:P-1D") && !is_duration("PT1H"));
    }
}
