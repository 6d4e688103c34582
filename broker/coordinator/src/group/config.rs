use strata_types::TimestampMs;

/// A group coordinator's settings and limits. The default is Kafka's, where Kafka has the setting.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members to join.
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub group_max_session_timeout_ms: i32,
    /// `group.max.size`: members of one group.
    pub group_max_size: i32,
    pub consumer: ConsumerConfig,
    pub share: ShareConfig,
    pub streams: StreamsConfig,
    /// `offset.metadata.max.bytes`. Kafka counts UTF-16 units, whatever the name says, and so do we.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
    /// How long a member that has not yet got its first join reply is waited for; Kafka's constant.
    pub new_member_join_timeout_ms: i32,
    /// Groups that one shard may have; a request that would create one more gets `POLICY_VIOLATION`.
    pub groups_max: usize,
    /// Member ids given out (KIP-394) in one group and not yet used; beyond, `GROUP_MAX_SIZE_REACHED`.
    pub pending_joins_per_group_max: usize,
    /// Bytes of one member's protocols, names and metadata together; beyond, `INVALID_REQUEST`.
    pub member_metadata_bytes_max: usize,
    /// Bytes of a group's record, all members' metadata and assignments together; a leader that assigns more gets
    /// `UNKNOWN_SERVER_ERROR`, as it does where Kafka's log refuses the record. Below the internal topic's
    /// `max.message.bytes`.
    pub group_metadata_bytes_max: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        const MINUTE_MS: TimestampMs = 60_000;
        Self {
            group_initial_rebalance_delay_ms: 3_000,
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
            group_max_size: i32::MAX,
            consumer: ConsumerConfig::default(),
            share: ShareConfig::default(),
            streams: StreamsConfig::default(),
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 10_080 * MINUTE_MS,
            offsets_retention_check_interval_ms: 10 * MINUTE_MS,
            new_member_join_timeout_ms: 300_000,
            groups_max: 1_000_000,
            pending_joins_per_group_max: 10_000,
            member_metadata_bytes_max: 1024 * 1024,
            group_metadata_bytes_max: 1000 * 1024,
        }
    }
}

/// What concerns consumer groups of KIP-848 (`group.consumer.*`).
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// `group.consumer.session.timeout.ms`; a group's own setting counts first.
    pub session_timeout_ms: i32,
    pub session_timeout_min_ms: i32,
    pub session_timeout_max_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`; a group's own setting counts first.
    pub heartbeat_interval_ms: i32,
    pub heartbeat_interval_min_ms: i32,
    pub heartbeat_interval_max_ms: i32,
    /// `group.consumer.assignment.interval.ms`: the least time between two target assignments of a group; 0 for none.
    pub assignment_interval_ms: i32,
    pub assignment_interval_min_ms: i32,
    pub assignment_interval_max_ms: i32,
    /// `group.consumer.regex.refresh.interval.ms`
    pub regex_refresh_interval_ms: i64,
    /// `group.consumer.max.size`
    pub max_size: i32,
    /// `group.consumer.assignors`, by name; the first is the default.
    pub assignors: Vec<String>,
    /// `group.consumer.migration.policy`
    pub migration_policy: MigrationPolicy,
    /// Bytes of all that one member says of itself (names, topics, its regular expression); beyond, `INVALID_REQUEST`.
    pub member_bytes_max: usize,
    /// Bytes of one regular expression; beyond, `INVALID_REGULAR_EXPRESSION`.
    pub regex_bytes_max: usize,
    /// Different regular expressions in one group; beyond, `INVALID_REGULAR_EXPRESSION`.
    pub regexes_per_group_max: usize,
}

/// Which way groups may change between the classic and the consumer protocol while they have members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    Disabled,
    Downgrade,
    Upgrade,
    Bidirectional,
}

impl MigrationPolicy {
    /// The setting's value, in any case; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let policies = [
            ("disabled", Self::Disabled),
            ("downgrade", Self::Downgrade),
            ("upgrade", Self::Upgrade),
            ("bidirectional", Self::Bidirectional),
        ];
        policies.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, policy)| policy)
    }

    pub(super) fn allows_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(super) fn allows_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            session_timeout_min_ms: 45_000,
            session_timeout_max_ms: 60_000,
            heartbeat_interval_ms: 5_000,
            heartbeat_interval_min_ms: 5_000,
            heartbeat_interval_max_ms: 15_000,
            assignment_interval_ms: 1_000,
            assignment_interval_min_ms: 0,
            assignment_interval_max_ms: 15_000,
            regex_refresh_interval_ms: 600_000,
            max_size: i32::MAX,
            assignors: vec!["uniform".to_owned(), "range".to_owned()],
            migration_policy: MigrationPolicy::Bidirectional,
            member_bytes_max: 512 * 1024,
            regex_bytes_max: 4_096,
            regexes_per_group_max: 1_000,
        }
    }
}

/// What concerns share groups (`group.share.*`). A group's own settings count first, within the bounds.
#[derive(Debug, Clone)]
pub struct ShareConfig {
    /// `group.share.session.timeout.ms`
    pub session_timeout_ms: i32,
    pub session_timeout_bounds_ms: (i32, i32),
    /// `group.share.heartbeat.interval.ms`
    pub heartbeat_interval_ms: i32,
    pub heartbeat_interval_bounds_ms: (i32, i32),
    /// `group.share.assignment.interval.ms`: the least time between two target assignments of a group; 0 for none.
    pub assignment_interval_ms: i32,
    pub assignment_interval_bounds_ms: (i32, i32),
    /// `group.share.max.size`
    pub max_size: i32,
    /// Bytes of all that one member says of itself; beyond, `INVALID_REQUEST`.
    pub member_bytes_max: usize,
}

impl Default for ShareConfig {
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            session_timeout_bounds_ms: (45_000, 60_000),
            heartbeat_interval_ms: 5_000,
            heartbeat_interval_bounds_ms: (5_000, 15_000),
            assignment_interval_ms: 1_000,
            assignment_interval_bounds_ms: (0, 15_000),
            max_size: 200,
            member_bytes_max: 512 * 1024,
        }
    }
}

/// What concerns streams groups (`group.streams.*`).
#[derive(Debug, Clone)]
pub struct StreamsConfig {
    /// `group.streams.session.timeout.ms`; a group's own setting counts first.
    pub session_timeout_ms: i32,
    pub session_timeout_min_ms: i32,
    pub session_timeout_max_ms: i32,
    /// `group.streams.heartbeat.interval.ms`; a group's own setting counts first.
    pub heartbeat_interval_ms: i32,
    pub heartbeat_interval_min_ms: i32,
    pub heartbeat_interval_max_ms: i32,
    /// `group.streams.assignment.interval.ms`: the least time between two target assignments of a group; 0 for none.
    pub assignment_interval_ms: i32,
    pub assignment_interval_min_ms: i32,
    pub assignment_interval_max_ms: i32,
    /// `group.streams.initial.rebalance.delay.ms`: how long a new group waits for more members; 0 for not at all.
    pub initial_rebalance_delay_ms: i32,
    /// `group.streams.num.standby.replicas`, of each task with state; a group's own setting counts first.
    pub standby_replicas: i32,
    pub standby_replicas_max: i32,
    /// `group.streams.max.size`
    pub max_size: i32,
    /// Bytes of all that one member says of itself (names, tags, endpoint); beyond, `INVALID_REQUEST`.
    pub member_bytes_max: usize,
    /// Bytes of a topology as its record has it; beyond, `STREAMS_INVALID_TOPOLOGY`.
    pub topology_bytes_max: usize,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            session_timeout_min_ms: 45_000,
            session_timeout_max_ms: 60_000,
            heartbeat_interval_ms: 5_000,
            heartbeat_interval_min_ms: 5_000,
            heartbeat_interval_max_ms: 15_000,
            assignment_interval_ms: 1_000,
            assignment_interval_min_ms: 0,
            assignment_interval_max_ms: 15_000,
            initial_rebalance_delay_ms: 3_000,
            standby_replicas: 0,
            standby_replicas_max: 2,
            max_size: i32::MAX,
            member_bytes_max: 64 * 1024,
            topology_bytes_max: 1000 * 1024,
        }
    }
}
