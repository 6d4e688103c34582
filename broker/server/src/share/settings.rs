//! A share group's settings: what the broker's configuration says, or what was set for the group.

use strata_coordinator::share::partition::ShareLimits;

use crate::broker::Broker;

#[expect(dead_code, reason = "groups have no settings of their own yet")]
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
    pub(crate) fn of(broker: &Broker, _group: &str) -> Self {
        let settings = &broker.config.settings;
        Self {
            limits: ShareLimits {
                record_locks_max: settings.share_partition_record_locks_max,
                delivery_count_limit: settings.share_delivery_count_limit,
                lock_duration_ms: settings.share_record_lock_duration_ms,
                renew_enabled: true,
            },
            committed: false,
            offset_reset: OffsetReset::Latest,
        }
    }
}
