//! The table of topic configs: what DescribeConfigs tells, and how each value is read.

use super::LogConfig;
use super::value::{Bounds, Value};

/// A config's type, as DescribeConfigs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigKind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

impl ConfigKind {
    /// The number on the wire.
    pub const fn id(self) -> i8 {
        self as i8
    }
}

/// One topic config.
pub struct ConfigDef {
    pub name: &'static str,
    pub kind: ConfigKind,
    pub default: &'static str,
    pub doc: &'static str,
    /// The broker config that sets the default of all topics.
    pub broker_synonym: Option<&'static str>,
    pub(super) set: fn(&mut LogConfig, &str) -> Result<(), String>,
    pub(super) get: fn(&LogConfig) -> String,
}

impl ConfigDef {
    /// Whether tools do not list it.
    pub fn is_internal(&self) -> bool {
        self.name.starts_with("internal.")
    }
}

macro_rules! definitions {
    ($($name:literal: $kind:ident = $default:literal, $field:ident, $bounds:expr, $synonym:expr, $doc:literal;)+) => {
        /// In the order of names.
        pub(super) const DEFINITIONS: &[ConfigDef] = &[$(ConfigDef {
            name: $name,
            kind: ConfigKind::$kind,
            default: $default,
            doc: $doc,
            broker_synonym: $synonym,
            set: |config, text| {
                config.$field = Value::read(text, $bounds)?;
                Ok(())
            },
            get: |config| Value::show(&config.$field),
        },)+];
    };
}

definitions! {
    "cleanup.policy": List = "delete", cleanup_policy, Bounds::ANY, Some("log.cleanup.policy"),
        "What happens to old records: `delete` drops whole segments by age and size, `compact` keeps the last record of each key.";
    "compression.gzip.level": Int = "-1", compression_gzip_level, Bounds(-1, 9), Some("compression.gzip.level"),
        "The level at which the broker compresses where `compression.type` is gzip.";
    "compression.lz4.level": Int = "9", compression_lz4_level, Bounds(1, 17), Some("compression.lz4.level"),
        "The level at which the broker compresses where `compression.type` is lz4. Accepted; our lz4 has one level, the fast one.";
    "compression.type": String = "producer", compression_type, Bounds::ANY, Some("compression.type"),
        "The codec that batches are kept in; `producer` keeps each as it came.";
    "compression.zstd.level": Int = "3", compression_zstd_level, Bounds(-131_072, 22), Some("compression.zstd.level"),
        "The level at which the broker compresses where `compression.type` is zstd.";
    "delete.retention.ms": Long = "86400000", delete_retention_ms, Bounds::NOT_NEGATIVE, Some("log.cleaner.delete.retention.ms"),
        "How long a tombstone stays readable in a compacted topic.";
    "errors.deadletterqueue.group.enable": Boolean = "false", errors_deadletterqueue_group_enable, Bounds::ANY, None,
        "Whether share groups may use the topic as their dead-letter queue.";
    "file.delete.delay.ms": Long = "60000", file_delete_delay_ms, Bounds::NOT_NEGATIVE, Some("log.segment.delete.delay.ms"),
        "How long a dropped segment's file stays, as `.deleted`.";
    "flush.messages": Long = "9223372036854775807", flush_messages, Bounds::POSITIVE, Some("log.flush.interval.messages"),
        "After how many records a flush is asked for, where strata.durability is `os`; with `disk` every record is flushed.";
    "flush.ms": Long = "9223372036854775807", flush_ms, Bounds::NOT_NEGATIVE, Some("log.flush.interval.ms"),
        "After what time a flush is asked for, where strata.durability is `os`; with `disk` every record is flushed.";
    "follower.replication.throttled.replicas": List = "", follower_replication_throttled_replicas, Bounds::ANY, None,
        "Replicas whose replication is throttled on the follower's side: `partition:broker,…` or `*`.";
    "index.interval.bytes": Int = "4096", index_interval_bytes, Bounds::INT_NOT_NEGATIVE, Some("log.index.interval.bytes"),
        "How many bytes of log stand between two entries of an index.";
    "internal.segment.bytes": Int = "1073741824", segment_bytes, Bounds(1024, i32::MAX as i64), None,
        "segment.bytes without its lower bound, for tests.";
    "leader.replication.throttled.replicas": List = "", leader_replication_throttled_replicas, Bounds::ANY, None,
        "Replicas whose replication is throttled on the leader's side: `partition:broker,…` or `*`.";
    "local.retention.bytes": Long = "-2", local_retention_bytes, Bounds(-2, i64::MAX), Some("log.local.retention.bytes"),
        "How many archived bytes of a partition stay on local disk as well; -2 follows retention.bytes.";
    "local.retention.ms": Long = "-2", local_retention_ms, Bounds(-2, i64::MAX), Some("log.local.retention.ms"),
        "How long archived records stay on local disk as well; -2 follows retention.ms.";
    "max.compaction.lag.ms": Long = "9223372036854775807", max_compaction_lag_ms, Bounds::POSITIVE, Some("log.cleaner.max.compaction.lag.ms"),
        "The longest that a record may wait for compaction.";
    "max.message.bytes": Int = "1048588", max_message_bytes, Bounds::INT_NOT_NEGATIVE, Some("message.max.bytes"),
        "The largest record batch that is accepted, after compression.";
    "message.timestamp.after.max.ms": Long = "3600000", message_timestamp_after_max_ms, Bounds::NOT_NEGATIVE, Some("log.message.timestamp.after.max.ms"),
        "How far a record's timestamp may be ahead of the broker's clock.";
    "message.timestamp.before.max.ms": Long = "9223372036854775807", message_timestamp_before_max_ms, Bounds::NOT_NEGATIVE, Some("log.message.timestamp.before.max.ms"),
        "How far a record's timestamp may be behind the broker's clock.";
    "message.timestamp.type": String = "CreateTime", message_timestamp_type, Bounds::ANY, Some("log.message.timestamp.type"),
        "Whether a record's timestamp is its producer's (CreateTime) or the time of the append (LogAppendTime).";
    "min.cleanable.dirty.ratio": Double = "0.5", min_cleanable_dirty_ratio, Bounds(0, 1), Some("log.cleaner.min.cleanable.ratio"),
        "What share of a log must be new before compaction runs.";
    "min.compaction.lag.ms": Long = "0", min_compaction_lag_ms, Bounds::NOT_NEGATIVE, Some("log.cleaner.min.compaction.lag.ms"),
        "How long a record stays as it is before compaction may drop it.";
    "min.insync.replicas": Int = "1", min_insync_replicas, Bounds(1, i32::MAX as i64), Some("min.insync.replicas"),
        "How many replicas must have a record before a producer with acks=all is told that it is written.";
    "preallocate": Boolean = "false", preallocate, Bounds::ANY, Some("log.preallocate"),
        "Whether a new segment's place on disk is allocated at once.";
    "remote.log.copy.disable": Boolean = "false", remote_log_copy_disable, Bounds::ANY, None,
        "Stops archiving; what is archived stays readable.";
    "remote.log.delete.on.disable": Boolean = "false", remote_log_delete_on_disable, Bounds::ANY, None,
        "Whether switching remote.storage.enable off drops what is archived.";
    "remote.storage.enable": Boolean = "false", remote_storage_enable, Bounds::ANY, None,
        "Whether the topic is archived: cold records live in Parquet on object storage and stay readable by consumers.";
    "retention.bytes": Long = "-1", retention_bytes, Bounds::OR_MINUS_ONE, Some("log.retention.bytes"),
        "How many bytes of a partition are kept; -1 is without limit.";
    "retention.ms": Long = "604800000", retention_ms, Bounds::OR_MINUS_ONE, Some("log.retention.ms"),
        "How long records are kept; -1 is without limit.";
    "segment.bytes": Int = "1073741824", segment_bytes, Bounds(1 << 20, i32::MAX as i64), Some("log.segment.bytes"),
        "The size at which a segment is closed and another begun.";
    "segment.index.bytes": Int = "10485760", segment_index_bytes, Bounds(4, i32::MAX as i64), Some("log.index.size.max.bytes"),
        "The size of an index at which its segment is closed.";
    "segment.jitter.ms": Long = "0", segment_jitter_ms, Bounds::NOT_NEGATIVE, Some("log.roll.jitter.ms"),
        "By how much segment.ms is shortened at random, so that not all segments close at once.";
    "segment.ms": Long = "604800000", segment_ms, Bounds::POSITIVE, Some("log.roll.ms"),
        "The age at which a segment is closed.";
    "strata.archive.lag.ms": Long = "60000", archive_lag_ms, Bounds::NOT_NEGATIVE, Some("strata.archive.lag.ms"),
        "How long a committed record may wait before it is archived.";
    "strata.durability": String = "disk", durability, Bounds::ANY, Some("strata.durability"),
        "When a record counts as written: on stable storage (`disk`), or once the operating system has it (`os`).";
    "unclean.leader.election.enable": Boolean = "false", unclean_leader_election_enable, Bounds::ANY, Some("unclean.leader.election.enable"),
        "Whether a replica that lacks records may lead when no other is left.";
}
