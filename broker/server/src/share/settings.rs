//! A share group's settings: what was set for the group (resource type 32), or what the broker's configuration says.

use strata_coordinator::share::partition::ShareLimits;
use strata_metadata::ConfigResource;

use super::dead_letters;
use crate::broker::Broker;

/// Where a share group starts in a partition that it has never read (`share.auto.offset.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OffsetReset {
    Earliest,
    Latest,
    /// At the first record that is no older.
    ByDuration {
        ago_ms: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShareSettings {
    pub limits: ShareLimits,
    /// `share.isolation.level`: whether records of open and aborted transactions are kept from the group.
    pub committed: bool,
    pub offset_reset: OffsetReset,
}

impl ShareSettings {
    pub(crate) fn of(broker: &Broker, group: &str) -> Self {
        let settings = &broker.config.settings;
        let own = broker.image().config(&ConfigResource::Group(group.into()));
        let text = |name: &str| own.get(name).map(|value| value.as_str());
        let number =
            |name: &str, otherwise: i32| text(name).and_then(|t| t.parse().ok()).unwrap_or(otherwise);
        let delivery_count_limit =
            number("share.delivery.count.limit", settings.share_delivery_count_limit.into());
        Self {
            limits: ShareLimits {
                record_locks_max: number(
                    "share.partition.max.record.locks",
                    settings.share_partition_record_locks_max,
                ),
                delivery_count_limit: i16::try_from(delivery_count_limit).unwrap_or(i16::MAX),
                lock_duration_ms: number(
                    "share.record.lock.duration.ms",
                    settings.share_record_lock_duration_ms,
                ),
                renew_enabled: text("share.renew.acknowledge.enable") != Some("false"),
                dead_letters: text(dead_letters::TOPIC).is_some_and(|topic| !topic.trim().is_empty()),
            },
            committed: text("share.isolation.level") == Some("read_committed"),
            offset_reset: text("share.auto.offset.reset")
                .and_then(OffsetReset::parse)
                .unwrap_or(OffsetReset::Latest),
        }
    }
}

impl OffsetReset {
    /// `earliest`, `latest` or `by_duration:` with a duration of ISO 8601.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            other => {
                let ago_ms = duration_ms(other.strip_prefix("by_duration:")?)?;
                Some(Self::ByDuration { ago_ms })
            }
        }
    }
}

/// `PnDTnHnMn.nS`, lower case; negative ones are none.
fn duration_ms(text: &str) -> Option<i64> {
    let text = text.strip_prefix('p')?;
    let (days, time) = text.split_once('t').unwrap_or((text, ""));
    let mut total = 0.0;
    for (part, units) in [(days, &[('d', 86_400.0)][..]), (time, &[('h', 3_600.0), ('m', 60.0), ('s', 1.0)])]
    {
        let mut rest = part;
        for (unit, seconds) in units {
            if let Some((number, after)) = rest.split_once(*unit) {
                let is_plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                total += number.parse::<f64>().ok().filter(|_| is_plain)? * seconds;
                rest = after;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    let is_something = text.bytes().any(|b| b.is_ascii_digit()) && !text.ends_with('t');
    is_something.then_some((total * 1_000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_resets_are_parsed_as_kafka_parses_them() {
        let ago = |text: &str| match OffsetReset::parse(text) {
            Some(OffsetReset::ByDuration { ago_ms }) => Some(ago_ms),
            _ => None,
        };
        assert_eq!(OffsetReset::parse("earliest"), Some(OffsetReset::Earliest));
        assert_eq!(ago("by_duration:PT1H"), Some(3_600_000));
        assert_eq!(ago("by_duration:P1DT2H3M4.5S"), Some(93_784_500));
        assert_eq!(ago("by_duration:P2D"), Some(172_800_000));
        for wrong in
            ["", "by_duration:", "by_duration:1H", "by_duration:P", "by_duration:PT", "by_duration:PT-1H"]
        {
            assert_eq!(ago(wrong), None, "{wrong}");
        }
    }
}
