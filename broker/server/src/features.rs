//! The cluster's features (KIP-584): which levels this broker knows, and which a new cluster starts with.

use strata_metadata::controller::{METADATA_VERSION, METADATA_VERSION_FEATURE};

use crate::broker::Broker;

/// At 1 there are consumer groups of KIP-848.
const GROUP_VERSION: &str = "group.version";
/// At 1 there are streams groups (KIP-1071).
const STREAMS_VERSION: &str = "streams.version";

/// From level 2 on, the end of a transaction raises its producer's epoch (KIP-890).
pub(crate) const TRANSACTION_VERSION: &str = "transaction.version";

/// A feature and the levels of it that this broker can run at.
pub(crate) struct Feature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    /// What a new cluster is finalised at; 0 is "off".
    pub initial: i16,
}

/// By name. Levels are Kafka's. A feature is at 0 until what it stands for works here.
pub(crate) const SUPPORTED: &[Feature] = &[
    Feature { name: GROUP_VERSION, min: 0, max: 1, initial: 1 },
    Feature { name: METADATA_VERSION_FEATURE, min: 7, max: METADATA_VERSION, initial: METADATA_VERSION },
    Feature { name: SHARE_VERSION, min: 0, max: 1, initial: 1 },
    Feature { name: STREAMS_VERSION, min: 0, max: 1, initial: 1 },
    Feature { name: TRANSACTION_VERSION, min: 0, max: 2, initial: 2 },
];

/// Whether the cluster has the consumer protocol: finalised, and not left out of `group.coordinator.rebalance.protocols`.
pub(crate) fn serves_consumer_groups(broker: &Broker) -> bool {
    serves(broker, GROUP_VERSION, "consumer")
}

/// The same for the streams protocol.
pub(crate) fn serves_streams_groups(broker: &Broker) -> bool {
    serves(broker, STREAMS_VERSION, "streams")
}

fn serves(broker: &Broker, feature: &str, protocol: &str) -> bool {
    broker.image().feature(feature).unwrap_or(0) >= 1
        && broker.config.settings.group_rebalance_protocols.iter().any(|served| served == protocol)
}

/// Share groups (KIP-932).
pub(crate) const SHARE_VERSION: &str = "share.version";

/// Whether the cluster runs at a level of a feature above "off".
pub(crate) fn is_enabled(broker: &Broker, feature: &str) -> bool {
    broker.image().feature(feature).unwrap_or(0) > 0
}
