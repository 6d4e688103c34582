//! UpdateFeatures (57): finalizes features at other levels, all that are named or none (KIP-584).
//!
//! - v1: `upgrade_type` instead of a flag, and `validate_only` (KIP-778). v2: one error for the whole request, no results.

use std::ops::RangeInclusive;

use strata_metadata::controller::{self, SupportedFeature};
use strata_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};
use crate::features;
use crate::security::{Operation, Resource};

pub(crate) struct UpdateFeatures;

impl Handler for UpdateFeatures {
    type Request = UpdateFeaturesRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<UpdateFeaturesResponse, Refusal> {
        let refused = |code: ErrorCode| UpdateFeaturesResponse {
            error_code: code.into(),
            error_message: None,
            ..Default::default()
        };
        if !cx.allows(Operation::Alter, Resource::Cluster) {
            return Ok(refused(ErrorCode::ClusterAuthorizationFailed));
        }
        let supported: Vec<_> = features::SUPPORTED
            .iter()
            .map(|feature| SupportedFeature { name: feature.name, min: feature.min, max: feature.max })
            .collect();
        let node = cx.broker.node_id;
        let decided =
            cx.broker.decide(|image| controller::update_features(image, &request, node, &supported)).await;
        Ok(decided.unwrap_or_else(refused))
    }
}
