//! Group coordinators, in `__consumer_offsets`.

use std::sync::Arc;

use strata_coordinator::{GroupConfig, GroupShard, RuntimeOptions, Shard};

use super::Hosted;
use crate::broker::Broker;
use crate::internal::CONSUMER_OFFSETS;
use crate::partition::Partition;
use crate::share;

impl Hosted for GroupShard {
    const TOPIC: &'static str = CONSUMER_OFFSETS;

    fn new(broker: &Broker, partition: &Partition) -> (Self, RuntimeOptions) {
        let settings = &broker.config.settings;
        let config = GroupConfig {
            group_initial_rebalance_delay_ms: settings.group_initial_rebalance_delay_ms,
            group_min_session_timeout_ms: settings.group_min_session_timeout_ms,
            group_max_session_timeout_ms: settings.group_max_session_timeout_ms,
            group_max_size: settings.group_max_size,
            share: settings.group_share.clone(),
            consumer: settings.group_consumer.clone(),
            streams: settings.group_streams.clone(),
            offset_metadata_max_bytes: settings.offset_metadata_bytes_max,
            offsets_retention_ms: settings.offsets_retention_ms,
            offsets_retention_check_interval_ms: settings.offsets_retention_check_interval_ms,
            ..Default::default()
        };
        let options = RuntimeOptions {
            append_bytes_max: partition.log.config().max_message_bytes,
            write_timeout_ms: settings.offsets_commit_timeout_ms,
            ..Default::default()
        };
        (GroupShard::new(config), options)
    }

    fn follow(&mut self, broker: &Broker) {
        self.set_metadata(broker.views.of(broker.image()));
    }

    fn act(broker: &Arc<Broker>, _: &Arc<Partition>, action: <Self as Shard>::Action) {
        share::act(broker, action);
    }
}
