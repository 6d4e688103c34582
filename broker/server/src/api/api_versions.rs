//! ApiVersions (18): what this broker speaks.
//!
//! - The first request on most connections. A version that we do not know is answered in version 0, with
//!   UNSUPPORTED_VERSION and our range for this key, so that the client can ask again (KIP-511).
//! - v3: the client names its software, which must look like a name; finalised features (KIP-584) follow as tagged fields.
//!   Those that hold their default are left out: old librdkafka fails on them.
//! - v5: the client may say which cluster and node it expects (KIP-1242).

use std::ops::RangeInclusive;

use strata_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use strata_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use strata_protocol::{ApiKey, Request};
use strata_types::ErrorCode;

use crate::dispatch::{self, Answer, Context, Handler, Refusal, TABLE};
use crate::features;

pub(crate) struct ApiVersions;

impl Handler for ApiVersions {
    type Request = ApiVersionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    /// 5 is understood but not yet advertised, as in Kafka 4.3: some clients take the highest number they see.
    const ADVERTISED: RangeInclusive<i16> = 0..=4;

    async fn handle(cx: Context, request: Self::Request) -> Result<ApiVersionsResponse, Refusal> {
        if cx.version >= 3
            && !(is_name(&request.client_software_name) && is_name(&request.client_software_version))
        {
            return Ok(ApiVersionsResponse {
                error_code: ErrorCode::InvalidRequest.into(),
                ..Default::default()
            });
        }
        if cx.version >= 3 {
            let told = (request.client_software_name.detached(), request.client_software_version.detached());
            *cx.peer.software.lock() = Some(told);
        }
        if let Some(expected) = request.cluster_id.filter(|expected| *expected != cx.broker.cluster_id) {
            tracing::debug!(%expected, "a client looks for another cluster");
            return Ok(ApiVersionsResponse {
                error_code: ErrorCode::RebootstrapRequired.into(),
                ..Default::default()
            });
        }
        let image = cx.broker.image();
        // As in Kafka without a receiver: clients need not ask what nobody would look at.
        let receives = cx.broker.config.effective("strata.metrics.listener").is_some_and(|at| !at.is_empty());
        let finalized = image.features().filter(|(_, level)| *level > 0);
        let supported_features = features::SUPPORTED.iter().map(|feature| SupportedFeatureKey {
            name: feature.name.into(),
            // Clients before 4.0 refuse a range that starts at 0 (KAFKA-17011).
            min_version: if cx.version < 4 { feature.min.max(1) } else { feature.min },
            max_version: feature.max,
            ..Default::default()
        });
        Ok(ApiVersionsResponse {
            api_keys: TABLE.iter().filter(|api| receives || !is_telemetry(api.key)).map(row).collect(),
            supported_features: supported_features.collect(),
            finalized_features_epoch: image.next_offset().0.saturating_sub(1),
            finalized_features: finalized
                .map(|(name, level)| FinalizedFeatureKey {
                    name: name.clone(),
                    max_version_level: level,
                    min_version_level: level,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
    }
}

fn is_telemetry(key: ApiKey) -> bool {
    matches!(key, ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry)
}

/// The answer to a version that we do not know.
pub(crate) fn unsupported_version(correlation_id: i32) -> Answer {
    let own = TABLE.iter().filter(|api| api.key == ApiKey::ApiVersions);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.into(),
        api_keys: own.map(row).collect(),
        ..Default::default()
    };
    dispatch::encode::<ApiVersionsRequest>(correlation_id, 0, &response)
}

fn row(api: &dispatch::Api) -> ApiVersion {
    ApiVersion {
        api_key: api.key as i16,
        min_version: *api.advertised.start(),
        max_version: *api.advertised.end(),
        ..Default::default()
    }
}

/// Kafka's rule for software names and versions: letters, digits, `-` and `.`, none of the two at the ends.
fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.bytes().all(inner) && ends(text.bytes().next()) && ends(text.bytes().last())
}

const _: () = assert!(<ApiVersionsRequest as Request>::KEY as i16 == 18);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_checked_as_kafka_checks_them() {
        assert!(is_name("apache-kafka-java") && is_name("4.3.1") && is_name("x"));
        assert!(!is_name("") && !is_name("-x") && !is_name("x.") && !is_name("a b"));
    }

    #[test]
    fn the_table_is_in_order_and_within_what_the_protocol_knows() {
        assert!(TABLE.windows(2).all(|pair| (pair[0].key as i16) < pair[1].key as i16));
        for api in TABLE {
            let known = api.key.versions();
            assert!(api.advertised.end() <= known.end(), "{}", api.key);
            // Produce starts at 0 although nobody may send that: librdkafka wants it so (KAFKA-18659).
            assert!(api.key == ApiKey::Produce || api.advertised.start() >= known.start(), "{}", api.key);
        }
    }
}
