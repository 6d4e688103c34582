//! A topic's configuration: Kafka's names, defaults and bounds, and two of our own.

mod definitions;
mod value;

use strata_protocol::records::{Compression, TimestampType};

pub use definitions::{ConfigDef, ConfigKind};

/// One value that cannot stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("unknown topic config name: {name}")]
    Unknown { name: String },
    #[error("invalid value {value} for configuration {name}: {reason}")]
    Invalid { name: String, value: String, reason: String },
}

/// What happens to old records (`cleanup.policy`). Both may hold at once, and since KIP-1018 neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Whole segments go by age and size.
    pub delete: bool,
    /// The last record of each key stays.
    pub compact: bool,
}

/// How much of a topic that is archived stays on local disk as well (`local.retention.ms`, `local.retention.bytes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// As much as is kept in all (−2).
    FollowTotal,
    /// Everything (−1).
    Unlimited,
    Limit(i64),
}

/// When a record counts as written (`strata.durability`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on stable storage. Flushes are shared by all that wait (group commit).
    Disk,
    /// Once the operating system has it, as in Apache Kafka: a power loss of all replicas at once can lose it.
    Os,
}

/// What the broker does with a produced batch's codec (`compression.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// Keep the producer's.
    Producer,
    /// Compress again where the producer's is another.
    Codec(Compression),
}

/// The configuration of one topic's logs. Times are in milliseconds; `None` is "without limit".
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    pub cleanup_policy: CleanupPolicy,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_type: CompressionType,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub follower_replication_throttled_replicas: String,
    pub index_interval_bytes: usize,
    pub leader_replication_throttled_replicas: String,
    pub local_retention_bytes: Retention,
    pub local_retention_ms: Retention,
    pub max_compaction_lag_ms: i64,
    /// The largest record batch that is accepted.
    pub max_message_bytes: usize,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub errors_deadletterqueue_group_enable: bool,
    pub remote_log_copy_disable: bool,
    pub remote_log_delete_on_disable: bool,
    pub remote_storage_enable: bool,
    pub retention_bytes: Option<u64>,
    pub retention_ms: Option<i64>,
    pub segment_bytes: usize,
    pub segment_index_bytes: usize,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
    /// How long a committed record may wait before it is archived.
    pub archive_lag_ms: i64,
    pub durability: Durability,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_type: CompressionType::Producer,
            compression_zstd_level: 3,
            delete_retention_ms: DAY_MS,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            follower_replication_throttled_replicas: String::new(),
            index_interval_bytes: 4096,
            leader_replication_throttled_replicas: String::new(),
            local_retention_bytes: Retention::FollowTotal,
            local_retention_ms: Retention::FollowTotal,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            message_timestamp_after_max_ms: 3_600_000,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_type: TimestampType::CreateTime,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            min_insync_replicas: 1,
            preallocate: false,
            errors_deadletterqueue_group_enable: false,
            remote_log_copy_disable: false,
            remote_log_delete_on_disable: false,
            remote_storage_enable: false,
            retention_bytes: None,
            retention_ms: Some(7 * DAY_MS),
            segment_bytes: 1 << 30,
            segment_index_bytes: 10 << 20,
            segment_jitter_ms: 0,
            segment_ms: 7 * DAY_MS,
            unclean_leader_election_enable: false,
            archive_lag_ms: 60_000,
            durability: Durability::Disk,
        }
    }
}

const DAY_MS: i64 = 24 * 3_600_000;

impl LogConfig {
    /// Every config that a topic can have, by name.
    pub const DEFINITIONS: &'static [ConfigDef] = definitions::DEFINITIONS;

    /// Kafka's defaults with these values over them.
    pub fn from_map<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ConfigError> {
        Self::default().with(values)
    }

    /// This configuration with these values over it. The first value that cannot stand is the error.
    pub fn with<'a>(
        &self,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ConfigError> {
        let mut config = self.clone();
        for (name, value) in values {
            let definition =
                Self::definition(name).ok_or_else(|| ConfigError::Unknown { name: name.to_string() })?;
            (definition.set)(&mut config, value.trim()).map_err(|reason| ConfigError::Invalid {
                name: name.to_string(),
                value: value.to_string(),
                reason,
            })?;
        }
        config.check()?;
        Ok(config)
    }

    /// Whether one value could stand by itself.
    pub fn validate_one(name: &str, value: &str) -> Result<(), ConfigError> {
        Self::from_map([(name, value)]).map(|_| ())
    }

    pub fn definition(name: &str) -> Option<&'static ConfigDef> {
        let at = Self::DEFINITIONS.binary_search_by(|definition| definition.name.cmp(name)).ok()?;
        Self::DEFINITIONS.get(at)
    }

    /// A config's value as `DescribeConfigs` shows it.
    pub fn value(&self, name: &str) -> Option<String> {
        Self::definition(name).map(|definition| (definition.get)(self))
    }

    /// The level at which a codec compresses; `None` is the codec's usual one.
    pub(crate) fn compression_level(&self, codec: Compression) -> Option<i32> {
        match codec {
            Compression::Gzip => Some(self.compression_gzip_level).filter(|level| *level >= 0),
            Compression::Lz4 => Some(self.compression_lz4_level),
            Compression::Zstd => Some(self.compression_zstd_level),
            Compression::None | Compression::Snappy => None,
        }
    }

    /// How long records stay on local disk.
    pub(crate) fn local_ms(&self) -> Option<i64> {
        match self.local_retention_ms {
            Retention::FollowTotal => self.retention_ms,
            Retention::Unlimited => None,
            Retention::Limit(limit) => Some(limit),
        }
    }

    /// How many bytes stay on local disk.
    pub(crate) fn local_bytes(&self) -> Option<u64> {
        match self.local_retention_bytes {
            Retention::FollowTotal => self.retention_bytes,
            Retention::Unlimited => None,
            Retention::Limit(limit) => Some(limit.unsigned_abs()),
        }
    }

    /// What only holds between values.
    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |name: &str, reason: &str| {
            Err(ConfigError::Invalid {
                name: name.to_string(),
                value: self.value(name).unwrap_or_default(),
                reason: reason.to_string(),
            })
        };
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms {
            return invalid("min.compaction.lag.ms", "it must not be above max.compaction.lag.ms");
        }
        if let (Retention::Limit(local), Some(total)) = (self.local_retention_ms, self.retention_ms)
            && local > total
        {
            return invalid("local.retention.ms", "it must not be above retention.ms");
        }
        if let (Retention::Limit(local), Some(total)) = (self.local_retention_bytes, self.retention_bytes)
            && local.unsigned_abs() > total
        {
            return invalid("local.retention.bytes", "it must not be above retention.bytes");
        }
        if self.remote_storage_enable && self.cleanup_policy.compact {
            return invalid("cleanup.policy", "a topic with remote.storage.enable cannot be compacted");
        }
        if self.remote_storage_enable
            && self.local_retention_ms == Retention::Unlimited
            && self.retention_ms.is_some()
        {
            return invalid("local.retention.ms", "it must not be -1 while retention.ms has a limit");
        }
        if self.remote_storage_enable
            && self.local_retention_bytes == Retention::Unlimited
            && self.retention_bytes.is_some()
        {
            return invalid("local.retention.bytes", "it must not be -1 while retention.bytes has a limit");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_in_the_table_is_the_default_of_its_field() {
        let default = LogConfig::default();
        for definition in LogConfig::DEFINITIONS {
            assert_eq!((definition.get)(&default), definition.default, "{}", definition.name);
        }
    }

    #[test]
    fn every_shown_value_can_be_set_again() {
        let default = LogConfig::default();
        let shown: Vec<_> =
            LogConfig::DEFINITIONS.iter().map(|d| (d.name, default.value(d.name).unwrap())).collect();
        let again = LogConfig::from_map(shown.iter().map(|(name, value)| (*name, value.as_str()))).unwrap();
        assert_eq!(again, default);
    }

    #[test]
    fn the_table_is_in_the_order_of_names() {
        assert!(LogConfig::DEFINITIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn a_bad_value_names_itself() {
        for (name, value) in [
            ("retention.ms", "soon"),
            ("retention.ms", "-2"),
            ("segment.bytes", "1"),
            ("cleanup.policy", "burn"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("remote.storage.enable", "yes"),
            ("min.insync.replicas", "0"),
            ("strata.durability", "hope"),
            ("message.timestamp.type", "Never"),
            ("local.retention.ms", "-3"),
        ] {
            let error = LogConfig::from_map([(name, value)]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(value), "{text}");
        }
        assert!(matches!(LogConfig::from_map([("no.such", "1")]), Err(ConfigError::Unknown { .. })));
    }

    #[test]
    fn local_retention_may_not_exceed_the_total() {
        assert!(LogConfig::from_map([("retention.ms", "10"), ("local.retention.ms", "11")]).is_err());
        let config = LogConfig::from_map([("retention.ms", "10"), ("local.retention.ms", "9")]).unwrap();
        assert_eq!(config.local_ms(), Some(9));
        let config = LogConfig::from_map([("retention.ms", "10")]).unwrap();
        assert_eq!(config.local_ms(), Some(10));
    }

    #[test]
    fn an_archived_topic_is_not_compacted() {
        for policy in ["compact", "compact,delete"] {
            assert!(
                LogConfig::from_map([("cleanup.policy", policy), ("remote.storage.enable", "true")]).is_err()
            );
        }
        assert!(LogConfig::from_map([("cleanup.policy", ""), ("remote.storage.enable", "true")]).is_ok());
    }

    #[test]
    fn both_policies_can_hold_at_once() {
        let config = LogConfig::from_map([("cleanup.policy", "compact, delete")]).unwrap();
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
        assert_eq!(config.value("cleanup.policy").unwrap(), "compact,delete");
    }
}
