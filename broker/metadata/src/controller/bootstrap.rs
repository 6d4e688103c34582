//! What a cluster starts with: feature levels (KIP-584), and users (KIP-900).

use strata_protocol::Str;
use strata_protocol::messages::FeatureLevelRecord;

use super::Decision;
use crate::{Image, MetadataRecord, ScramCredential, ScramMechanism};

/// The name of the feature that says which versions of metadata records are written.
pub const METADATA_VERSION_FEATURE: &str = "metadata.version";

/// The level whose records this crate writes: Kafka's `4.3-IV0`.
pub const METADATA_VERSION: i16 = 30;

/// Finalizes the metadata version and these features, and adds these users, if the image is that of a new cluster: later, only
/// an operator changes them. The metadata version comes first, as Kafka's readers expect of a log.
pub fn bootstrap(
    image: &Image,
    features: &[(&'static str, i16)],
    users: &[(Str, ScramMechanism, ScramCredential)],
) -> Decision<()> {
    if image.feature(METADATA_VERSION_FEATURE).is_some() {
        return (Vec::new(), ());
    }
    let all = [(METADATA_VERSION_FEATURE, METADATA_VERSION)].into_iter().chain(features.iter().copied());
    let features = all.map(|(name, feature_level)| -> MetadataRecord {
        FeatureLevelRecord { name: Str::from_static(name), feature_level, ..Default::default() }.into()
    });
    let users = users.iter().map(|(name, mechanism, credential)| -> MetadataRecord {
        credential.to_record(name, *mechanism).into()
    });
    (features.chain(users).collect(), ())
}
