//! UpdateFeatures (57), versions 0–2 (KIP-584, KIP-778): an operator finalizes features at other levels.
//!
//! All of a request's features change, or none. Which levels there are, every broker has said when it registered. The metadata
//! version stays where it is: this crate writes its records at one level, and reads no other's.

use std::collections::BTreeSet;

use strata_protocol::Str;
use strata_protocol::messages::update_features_request::FeatureUpdateKey;
use strata_protocol::messages::update_features_response::UpdatableFeatureResult;
use strata_protocol::messages::{FeatureLevelRecord, UpdateFeaturesRequest, UpdateFeaturesResponse};
use strata_types::{ErrorCode, NodeId};

use super::{ApiError, Decision, METADATA_VERSION_FEATURE};
use crate::{Image, MetadataRecord};

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;

/// A feature and the levels that this controller knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedFeature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
}

/// Changes features' levels. `node` is this controller's id, for the answer's words; `supported` is what it can do.
pub fn update_features(
    image: &Image,
    request: &UpdateFeaturesRequest,
    node: NodeId,
    supported: &[SupportedFeature],
) -> Decision<UpdateFeaturesResponse> {
    let (mut records, mut seen) = (Vec::new(), BTreeSet::new());
    for update in &request.feature_updates {
        match update_one(image, update, node, supported, &mut seen) {
            Ok(record) => records.push(record),
            Err(error) => return (Vec::new(), refused(error)),
        }
    }
    if request.validate_only {
        records.clear();
    }
    // Versions 0 and 1 want a word on each.
    let results = request.feature_updates.iter().map(|update| UpdatableFeatureResult {
        feature: update.feature.clone(),
        error_message: None,
        ..Default::default()
    });
    let response =
        UpdateFeaturesResponse { error_message: None, results: results.collect(), ..Default::default() };
    (records, response)
}

fn refused(error: ApiError) -> UpdateFeaturesResponse {
    let why = error.message.unwrap_or_default();
    let all = format!("The update failed for all features since the following feature had an error: {why}");
    UpdateFeaturesResponse {
        error_code: error.code.code(),
        error_message: Some(all.into()),
        ..Default::default()
    }
}

fn update_one(
    image: &Image,
    update: &FeatureUpdateKey,
    node: NodeId,
    supported: &[SupportedFeature],
    seen: &mut BTreeSet<Str>,
) -> Result<MetadataRecord, ApiError> {
    let (name, level) = (&update.feature, update.max_version_level);
    if !seen.insert(name.clone()) {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            format!("Provided more than one update for {name}"),
        ));
    }
    let invalid = |why: String| {
        ApiError::new(
            ErrorCode::InvalidUpdateVersion,
            format!("Invalid update version {level} for feature {name}. {why}"),
        )
    };
    if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&upgrade_type(update)) {
        return Err(invalid("The controller does not support the given upgrade type.".into()));
    }
    if level < 0 {
        return Err(invalid("A feature version cannot be less than 0.".into()));
    }
    check_supported(image, name, level, node, supported).map_err(invalid)?;
    let current = image.feature(name).unwrap_or(0);
    let is_upgrade = upgrade_type(update) == UPGRADE;
    if level < current && is_upgrade {
        return Err(invalid(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
                .into(),
        ));
    }
    if level > current && !is_upgrade {
        return Err(invalid("Can't downgrade to a newer version.".into()));
    }
    if name.as_str() == METADATA_VERSION_FEATURE && level != current {
        return Err(other_metadata_version(level, current));
    }
    Ok(FeatureLevelRecord { name: name.clone(), feature_level: level, ..Default::default() }.into())
}

/// Version 0 knows a flag only.
fn upgrade_type(update: &FeatureUpdateKey) -> i8 {
    if update.allow_downgrade { SAFE_DOWNGRADE } else { update.upgrade_type }
}

fn check_supported(
    image: &Image,
    name: &str,
    level: i16,
    node: NodeId,
    supported: &[SupportedFeature],
) -> Result<(), String> {
    let Some(feature) = supported.iter().find(|feature| feature.name == name) else {
        return Err(format!("Local controller {node} does not support this feature."));
    };
    let SupportedFeature { min, max, .. } = *feature;
    if !(min..=max).contains(&level) {
        return Err(format!("Local controller {node} only supports versions {min}-{max}"));
    }
    for broker in image.brokers() {
        let said = broker.features.iter().find(|feature| feature.name.as_str() == name);
        let (min, max) = said.map_or((0, 0), |f| (f.min_supported_version, f.max_supported_version));
        if level != 0 && !(min..=max).contains(&level) {
            return Err(format!("Broker {} only supports versions {min}-{max}", broker.id));
        }
    }
    Ok(())
}

fn other_metadata_version(level: i16, current: i16) -> ApiError {
    let (change, why) = match level < current {
        true => (
            "downgrade",
            "Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        false => ("upgrade", "This controller writes its records at one version only."),
    };
    let message = format!("Unsupported metadata.version {change} from {current} to {level}. {why}");
    ApiError::new(ErrorCode::InvalidUpdateVersion, message)
}
