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
