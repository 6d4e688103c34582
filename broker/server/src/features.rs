//! The cluster's features (KIP-584): which levels this broker knows, and which a new cluster starts with.

use strata_metadata::controller::{METADATA_VERSION, METADATA_VERSION_FEATURE};

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
    Feature { name: "group.version", min: 0, max: 0, initial: 0 },
    Feature { name: METADATA_VERSION_FEATURE, min: 7, max: METADATA_VERSION, initial: METADATA_VERSION },
    Feature { name: "transaction.version", min: 0, max: 0, initial: 0 },
];
