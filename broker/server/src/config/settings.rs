//! The settings that the broker's own code reads, typed; the configuration was checked before, so nothing here fails.

use std::time::Duration;

use strata_coordinator::{ConsumerConfig, MigrationPolicy, ShareConfig, StreamsConfig};

use super::Values;
use super::value::parse_boolean;
use crate::quotas::Window;

/// What the broker's parts go by. Names are Kafka's, with the unit where Kafka's lack it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub add_partitions_to_txn_retry_backoff_max_ms: i64,
    pub auto_create_topics_enable: bool,
    pub dead_letter_auto_create_topics_enable: bool,
    pub dead_letter_topic_prefix: String,
    pub broker_rack: Option<String>,
    pub connections_max_idle: Duration,
    pub(crate) controller_quota_window: Window,
    pub default_replication_factor: i16,
    pub delete_topic_enable: bool,
    pub fetch_bytes_max: usize,
    pub fetch_session_slots_max: usize,
    pub flush_offset_checkpoint_interval: Duration,
    pub group_consumer: ConsumerConfig,
    pub group_streams: StreamsConfig,
    pub group_initial_rebalance_delay_ms: i32,
    pub group_max_session_timeout_ms: i32,
    pub group_max_size: i32,
    pub group_min_session_timeout_ms: i32,
    pub group_share: ShareConfig,
    /// Lower case: `classic`, `consumer`, `share`, `streams`.
    pub group_rebalance_protocols: Vec<String>,
    pub high_watermark_checkpoint_interval: Duration,
    pub listen_backlog: i32,
    pub message_bytes_max: usize,
    pub num_partitions: i32,
    pub offset_metadata_bytes_max: usize,
    pub offsets_commit_timeout_ms: i64,
    pub offsets_retention_check_interval_ms: i64,
    pub offsets_retention_ms: i64,
    pub offsets_topic_num_partitions: i32,
    pub offsets_topic_replication_factor: i16,
    pub offsets_topic_segment_bytes: i64,
    pub open_files_max: usize,
    pub(crate) quota_window: Window,
    pub remote_list_offsets_timeout: Duration,
    pub request_bytes_max: usize,
    pub request_partitions_max: usize,
    pub requests_in_flight_max: usize,
    pub retention_check_interval: Duration,
    pub share_delivery_count_limit: i16,
    pub share_partition_record_locks_max: i32,
    pub share_record_lock_duration_ms: i32,
    pub share_sessions_max: usize,
    pub share_state_topic_min_isr: i16,
    pub share_state_topic_num_partitions: i32,
    pub share_state_topic_replication_factor: i16,
    pub share_state_topic_segment_bytes: i64,
    pub share_updates_per_snapshot: u32,
    pub share_write_timeout_ms: i64,
    pub transaction_abort_check_interval_ms: i64,
    pub transaction_expiry_check_interval_ms: i64,
    pub transaction_max_timeout_ms: i32,
    pub transaction_state_log_min_isr: i16,
    pub transaction_state_log_num_partitions: i32,
    pub transaction_state_log_replication_factor: i16,
    pub transaction_state_log_segment_bytes: i64,
    pub transaction_two_phase_commit_enable: bool,
    pub transactional_id_expiration_ms: i64,
    pub telemetry_bytes_max: usize,
}

impl Settings {
    pub(super) fn new(values: &Values<'_>) -> Self {
        let get = Get(values);
        Self {
            add_partitions_to_txn_retry_backoff_max_ms: get
                .number("add.partitions.to.txn.retry.backoff.max.ms"),
            auto_create_topics_enable: get.flag("auto.create.topics.enable"),
            dead_letter_auto_create_topics_enable: get
                .flag("errors.deadletterqueue.auto.create.topics.enable"),
            dead_letter_topic_prefix: get.text("errors.deadletterqueue.topic.name.prefix"),
            broker_rack: values.given("broker.rack").map(str::to_owned),
            connections_max_idle: get.millis("connections.max.idle.ms"),
            controller_quota_window: get.window("controller.quota.window"),
            default_replication_factor: get.narrow("default.replication.factor") as i16,
            delete_topic_enable: get.flag("delete.topic.enable"),
            fetch_bytes_max: get.size("fetch.max.bytes"),
            fetch_session_slots_max: get.size("max.incremental.fetch.session.cache.slots"),
            flush_offset_checkpoint_interval: get.millis("log.flush.offset.checkpoint.interval.ms"),
            group_consumer: consumer_groups(&get),
            group_streams: streams_groups(&get),
            group_initial_rebalance_delay_ms: get.narrow("group.initial.rebalance.delay.ms"),
            group_max_session_timeout_ms: get.narrow("group.max.session.timeout.ms"),
            group_max_size: get.narrow("group.max.size"),
            group_min_session_timeout_ms: get.narrow("group.min.session.timeout.ms"),
            group_share: share(&get),
            group_rebalance_protocols: get.list("group.coordinator.rebalance.protocols"),
            high_watermark_checkpoint_interval: get.millis("replica.high.watermark.checkpoint.interval.ms"),
            listen_backlog: get.narrow("socket.listen.backlog.size"),
            message_bytes_max: get.size("message.max.bytes"),
            num_partitions: get.narrow("num.partitions"),
            offset_metadata_bytes_max: get.size("offset.metadata.max.bytes"),
            offsets_commit_timeout_ms: get.number("offsets.commit.timeout.ms"),
            offsets_retention_check_interval_ms: get.number("offsets.retention.check.interval.ms"),
            offsets_retention_ms: get.number("offsets.retention.minutes").saturating_mul(60_000),
            offsets_topic_num_partitions: get.narrow("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: get.narrow("offsets.topic.replication.factor") as i16,
            offsets_topic_segment_bytes: get.number("offsets.topic.segment.bytes"),
            open_files_max: get.size("strata.open.files.max"),
            quota_window: get.window("quota.window"),
            remote_list_offsets_timeout: get.millis("remote.list.offsets.request.timeout.ms"),
            request_bytes_max: get.size("socket.request.max.bytes"),
            request_partitions_max: get.size("max.request.partition.size.limit"),
            requests_in_flight_max: get.size("strata.requests.in.flight.max"),
            retention_check_interval: get.millis("log.retention.check.interval.ms"),
            share_delivery_count_limit: get.narrow("group.share.delivery.count.limit") as i16,
            share_partition_record_locks_max: get.narrow("group.share.partition.max.record.locks"),
            share_record_lock_duration_ms: get.narrow("group.share.record.lock.duration.ms"),
            share_sessions_max: get.size("group.share.max.share.sessions"),
            telemetry_bytes_max: get.size("telemetry.max.bytes"),
            share_state_topic_min_isr: get.narrow("share.coordinator.state.topic.min.isr") as i16,
            share_state_topic_num_partitions: get.narrow("share.coordinator.state.topic.num.partitions"),
            share_state_topic_replication_factor: get
                .narrow("share.coordinator.state.topic.replication.factor")
                as i16,
            share_state_topic_segment_bytes: get.number("share.coordinator.state.topic.segment.bytes"),
            share_updates_per_snapshot: get.narrow("share.coordinator.snapshot.update.records.per.snapshot")
                as u32,
            share_write_timeout_ms: get.number("share.coordinator.write.timeout.ms"),
            transaction_abort_check_interval_ms: get
                .number("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            transaction_expiry_check_interval_ms: get
                .number("transaction.remove.expired.transaction.cleanup.interval.ms"),
            transaction_max_timeout_ms: get.narrow("transaction.max.timeout.ms"),
            transaction_state_log_min_isr: get.narrow("transaction.state.log.min.isr") as i16,
            transaction_state_log_num_partitions: get.narrow("transaction.state.log.num.partitions"),
            transaction_state_log_replication_factor: get.narrow("transaction.state.log.replication.factor")
                as i16,
            transaction_state_log_segment_bytes: get.number("transaction.state.log.segment.bytes"),
            transaction_two_phase_commit_enable: get.flag("transaction.two.phase.commit.enable"),
            transactional_id_expiration_ms: get.number("transactional.id.expiration.ms"),
        }
    }
}

fn consumer_groups(get: &Get<'_>) -> ConsumerConfig {
    let policy = get.0.effective("group.consumer.migration.policy").and_then(MigrationPolicy::parse);
    let otherwise = ConsumerConfig::default();
    ConsumerConfig {
        session_timeout_ms: get.narrow("group.consumer.session.timeout.ms"),
        session_timeout_min_ms: get.narrow("group.consumer.min.session.timeout.ms"),
        session_timeout_max_ms: get.narrow("group.consumer.max.session.timeout.ms"),
        heartbeat_interval_ms: get.narrow("group.consumer.heartbeat.interval.ms"),
        heartbeat_interval_min_ms: get.narrow("group.consumer.min.heartbeat.interval.ms"),
        heartbeat_interval_max_ms: get.narrow("group.consumer.max.heartbeat.interval.ms"),
        assignment_interval_ms: get.narrow("group.consumer.assignment.interval.ms"),
        assignment_interval_min_ms: get.narrow("group.consumer.min.assignment.interval.ms"),
        assignment_interval_max_ms: get.narrow("group.consumer.max.assignment.interval.ms"),
        max_size: get.narrow("group.consumer.max.size"),
        assignors: get.list("group.consumer.assignors").iter().map(|name| assignor(name)).collect(),
        migration_policy: policy.unwrap_or(otherwise.migration_policy),
        ..otherwise
    }
}

fn streams_groups(get: &Get<'_>) -> StreamsConfig {
    StreamsConfig {
        session_timeout_ms: get.narrow("group.streams.session.timeout.ms"),
        session_timeout_min_ms: get.narrow("group.streams.min.session.timeout.ms"),
        session_timeout_max_ms: get.narrow("group.streams.max.session.timeout.ms"),
        heartbeat_interval_ms: get.narrow("group.streams.heartbeat.interval.ms"),
        heartbeat_interval_min_ms: get.narrow("group.streams.min.heartbeat.interval.ms"),
        heartbeat_interval_max_ms: get.narrow("group.streams.max.heartbeat.interval.ms"),
        assignment_interval_ms: get.narrow("group.streams.assignment.interval.ms"),
        assignment_interval_min_ms: get.narrow("group.streams.min.assignment.interval.ms"),
        assignment_interval_max_ms: get.narrow("group.streams.max.assignment.interval.ms"),
        initial_rebalance_delay_ms: get.narrow("group.streams.initial.rebalance.delay.ms"),
        standby_replicas: get.narrow("group.streams.num.standby.replicas"),
        standby_replicas_max: get.narrow("group.streams.max.standby.replicas"),
        max_size: get.narrow("group.streams.max.size"),
        ..StreamsConfig::default()
    }
}

/// The assignor's name, where the setting names Kafka's class of it.
fn assignor(name: &str) -> String {
    match name.rsplit('.').next() {
        Some("uniformassignor") => "uniform".to_owned(),
        Some("rangeassignor") => "range".to_owned(),
        _ => name.to_owned(),
    }
}

/// What concerns share groups' members (`group.share.*`).
fn share(get: &Get<'_>) -> ShareConfig {
    let bounds = |min: &str, max: &str| (get.narrow(min), get.narrow(max));
    ShareConfig {
        session_timeout_ms: get.narrow("group.share.session.timeout.ms"),
        session_timeout_bounds_ms: bounds(
            "group.share.min.session.timeout.ms",
            "group.share.max.session.timeout.ms",
        ),
        heartbeat_interval_ms: get.narrow("group.share.heartbeat.interval.ms"),
        heartbeat_interval_bounds_ms: bounds(
            "group.share.min.heartbeat.interval.ms",
            "group.share.max.heartbeat.interval.ms",
        ),
        assignment_interval_ms: get.narrow("group.share.assignment.interval.ms"),
        assignment_interval_bounds_ms: bounds(
            "group.share.min.assignment.interval.ms",
            "group.share.max.assignment.interval.ms",
        ),
        max_size: get.narrow("group.share.max.size"),
        ..Default::default()
    }
}

struct Get<'a>(&'a Values<'a>);

impl Get<'_> {
    /// A setting's number. Every name used above is a known number with a default, which a test holds.
    fn number(&self, name: &str) -> i64 {
        self.0.effective(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn narrow(&self, name: &str) -> i32 {
        self.number(name).try_into().unwrap_or_default()
    }

    fn size(&self, name: &str) -> usize {
        self.number(name).try_into().unwrap_or_default()
    }

    fn window(&self, name: &str) -> Window {
        Window {
            samples: self.size(&format!("{name}.num")),
            length_ms: self.number(&format!("{name}.size.seconds")).saturating_mul(1000),
        }
    }

    /// A negative time is none at all: the task or limit is off.
    fn millis(&self, name: &str) -> Duration {
        self.number(name).try_into().map_or(Duration::MAX, Duration::from_millis)
    }

    /// A list's entries, in lower case.
    fn list(&self, name: &str) -> Vec<String> {
        let text = self.0.effective(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_lowercase).collect()
    }

    fn text(&self, name: &str) -> String {
        self.0.effective(name).unwrap_or_default().trim().to_owned()
    }

    fn flag(&self, name: &str) -> bool {
        self.0.effective(name).and_then(parse_boolean).unwrap_or_default()
    }
}
