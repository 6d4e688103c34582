//! The feature levels that a cluster starts with (KIP-584).

use strata_protocol::Str;
use strata_protocol::messages::FeatureLevelRecord;

use super::Decision;
use crate::{Image, MetadataRecord};

/// The name of the feature that says which versions of metadata records are written.
pub const METADATA_VERSION_FEATURE: &str = "metadata.version";

/// The level whose records this crate writes: Kafka's `4.3-IV0`.
pub const METADATA_VERSION: i16 = 30;

/// Finalizes the metadata version and these features, if the image is that of a new cluster: later, only an operator changes
/// them (KIP-584). The metadata version comes first, as Kafka's readers expect of a log.
pub fn bootstrap(image: &Image, features: &[(&'static str, i16)]) -> Decision<()> {
    let all = [(METADATA_VERSION_FEATURE, METADATA_VERSION)].into_iter().chain(features.iter().copied());
    let is_new = image.feature(METADATA_VERSION_FEATURE).is_none();
    let missing = all.filter(|&(name, level)| is_new && image.feature(name) != Some(level));
    let record = |(name, feature_level): (&'static str, i16)| -> MetadataRecord {
        FeatureLevelRecord { name: Str::from_static(name), feature_level, ..Default::default() }.into()
    };
    (missing.map(record).collect(), ())
}
