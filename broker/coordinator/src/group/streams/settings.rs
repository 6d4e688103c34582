//! A group's own settings: the broker's, unless the group has others (resource type 32).

use strata_protocol::Str;

use crate::group::GroupShard;

/// What counts for one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamsSettings {
    pub(super) session_timeout_ms: i32,
    pub(super) heartbeat_interval_ms: i32,
    pub(super) assignment_interval_ms: i32,
    pub(super) initial_rebalance_delay_ms: i32,
    pub(super) standby_replicas: usize,
}

impl GroupShard {
    pub(super) fn streams_settings(&self, group_id: &Str) -> StreamsSettings {
        let config = &self.config.streams;
        let own = self.metadata.view().group_config(group_id);
        // The broker's bounds may have changed since the group's setting was made.
        let setting = |name: &str, otherwise: i32, min: i32, max: i32| {
            let own = own.as_ref().and_then(|own| own.get(name)?.parse::<i32>().ok());
            own.map_or(otherwise, |own| own.max(min).min(max))
        };
        let standby_replicas =
            setting("streams.num.standby.replicas", config.standby_replicas, 0, config.standby_replicas_max);
        StreamsSettings {
            session_timeout_ms: setting(
                "streams.session.timeout.ms",
                config.session_timeout_ms,
                config.session_timeout_min_ms,
                config.session_timeout_max_ms,
            ),
            heartbeat_interval_ms: setting(
                "streams.heartbeat.interval.ms",
                config.heartbeat_interval_ms,
                config.heartbeat_interval_min_ms,
                config.heartbeat_interval_max_ms,
            ),
            assignment_interval_ms: setting(
                "streams.assignment.interval.ms",
                config.assignment_interval_ms,
                config.assignment_interval_min_ms,
                config.assignment_interval_max_ms,
            ),
            initial_rebalance_delay_ms: setting(
                "streams.initial.rebalance.delay.ms",
                config.initial_rebalance_delay_ms,
                0,
                i32::MAX,
            ),
            standby_replicas: usize::try_from(standby_replicas).unwrap_or(0),
        }
    }
}
