//! Share coordinators, in `__share_group_state`.

use std::sync::Arc;

use strata_coordinator::share::persister::{PersisterConfig, PersisterShard};
use strata_coordinator::{RuntimeOptions, Shard};

use super::Hosted;
use crate::broker::Broker;
use crate::internal::SHARE_GROUP_STATE;
use crate::partition::Partition;

impl Hosted for PersisterShard {
    const TOPIC: &'static str = SHARE_GROUP_STATE;

    fn new(broker: &Broker, partition: &Partition) -> (Self, RuntimeOptions) {
        let settings = &broker.config.settings;
        let config = PersisterConfig { updates_per_snapshot: settings.share_updates_per_snapshot };
        let options = RuntimeOptions {
            append_bytes_max: partition.log.config().max_message_bytes,
            write_timeout_ms: settings.share_write_timeout_ms,
            ..Default::default()
        };
        (PersisterShard::new(config), options)
    }

    fn act(_: &Arc<Broker>, _: &Arc<Partition>, action: <Self as Shard>::Action) {
        match action {}
    }
}
