//! Settings of subscriptions to clients' metrics (KIP-714): which metrics, how often, of which clients.

use std::collections::BTreeMap;

use strata_metadata::controller::InvalidConfig;
use strata_metadata::{ConfigResource, Image};
use strata_protocol::Str;
use strata_types::ErrorCode;

use super::{Configs, Described, Said, Source};
use crate::config::Kind;
use crate::telemetry::{INTERVAL_DEFAULT_MS, INTERVAL_MAX_MS, INTERVAL_MIN_MS, Match};

const INTERVAL: &str = "interval.ms";
const MATCH: &str = "match";
const METRICS: &str = "metrics";

impl Configs {
    /// Every setting of a subscription, by name; empty where there is no such subscription.
    pub(crate) fn describe_client_metrics(&self, image: &Image, name: &str) -> Vec<Described> {
        let set = image.config(&ConfigResource::ClientMetrics(name.into()));
        if set.is_empty() {
            return Vec::new();
        }
        let interval = Str::from(INTERVAL_DEFAULT_MS.to_string());
        let keys = [
            (INTERVAL, Kind::Int, interval),
            (MATCH, Kind::List, Str::default()),
            (METRICS, Kind::List, Str::default()),
        ];
        let described = keys.into_iter().map(|(name, kind, default)| {
            // The default is not among what is said, other than for topics and brokers.
            let said = set.get(name).map(|value| Said {
                name: Str::from_static(name),
                value: Some(value.clone()),
                source: Source::ClientMetrics,
            });
            Described {
                name: Str::from_static(name),
                said: said.into_iter().collect(),
                default: Some(default),
                type_code: kind.code(),
                read_only: false,
                sensitive: false,
                documentation: None,
            }
        });
        described.collect()
    }
}

/// Whether a subscription may have these values. The words are Kafka's.
pub(super) fn check(overrides: &BTreeMap<Str, Str>) -> Result<(), InvalidConfig> {
    for (name, value) in overrides {
        match name.as_str() {
            INTERVAL => {
                let interval = value.trim().parse::<i32>().ok();
                if !interval.is_some_and(|ms| (INTERVAL_MIN_MS..=INTERVAL_MAX_MS).contains(&ms)) {
                    return Err(InvalidConfig {
                        code: ErrorCode::InvalidRequest,
                        why: format!(
                            "Invalid value {value} for interval.ms, interval must be between {INTERVAL_MIN_MS} and \
                             {INTERVAL_MAX_MS} (1 hour)"
                        ),
                    });
                }
            }
            MATCH => {
                Match::parse(value).map_err(|why| InvalidConfig { code: ErrorCode::InvalidConfig, why })?;
            }
            METRICS => {}
            other => {
                let why = format!("Unknown client metrics configuration: {other}");
                return Err(InvalidConfig { code: ErrorCode::InvalidRequest, why });
            }
        }
    }
    Ok(())
}
