//! BrokerRegistration (62), versions 0–4 (KIP-631): a broker process joins the cluster, fenced at first.
//!
//! A process is known by its random incarnation id. While an incarnation's session lives, another one with the same
//! broker id is refused. A new incarnation has lost what its predecessor knew, so it stops leading until it is unfenced.

use strata_protocol::messages::broker_registration_request::{Feature, Listener};
use strata_protocol::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use strata_protocol::messages::{
    BrokerRegistrationRequest, BrokerRegistrationResponse, RegisterBrokerRecord,
};
use strata_types::ErrorCode;
use uuid::Uuid;

use super::{Decision, METADATA_VERSION_FEATURE, duplicates, election};
use crate::{Image, MetadataRecord};

/// Kafka keeps the first hundred ids for meanings such as "unassigned" and "lost".
const RESERVED_DIRECTORY_IDS: u128 = 100;

/// Registers a broker. `session_alive` is whether the incarnation that is registered now still sends heartbeats. The
/// broker epoch in the response is the offset at which the metadata log then stands.
pub fn register_broker(
    image: &Image,
    cluster_id: &str,
    request: &BrokerRegistrationRequest,
    session_alive: bool,
) -> Decision<BrokerRegistrationResponse> {
    match check(image, cluster_id, request, session_alive) {
        Err(code) => {
            (Vec::new(), BrokerRegistrationResponse { error_code: code.code(), ..Default::default() })
        }
        Ok(()) => {
            let (records, broker_epoch) = records(image, request);
            (records, BrokerRegistrationResponse { broker_epoch, ..Default::default() })
        }
    }
}

fn check(
    image: &Image,
    cluster_id: &str,
    request: &BrokerRegistrationRequest,
    session_alive: bool,
) -> Result<(), ErrorCode> {
    if request.cluster_id.as_str() != cluster_id {
        return Err(ErrorCode::InconsistentClusterId);
    }
    if request.broker_id < 0 || request.is_migrating_zk_broker {
        return Err(ErrorCode::InvalidRegistration);
    }
    let reserved = |id: &Uuid| id.as_u128() < RESERVED_DIRECTORY_IDS;
    if request.log_dirs.iter().any(reserved) || !duplicates(request.log_dirs.iter()).is_empty() {
        return Err(ErrorCode::InvalidRegistration);
    }
    let others = image.brokers().filter(|broker| broker.id != request.broker_id);
    if others.flat_map(|broker| &broker.log_dirs).any(|dir| request.log_dirs.contains(dir)) {
        return Err(ErrorCode::InvalidRegistration);
    }
    for (name, level) in image.features() {
        let feature = request.features.iter().find(|feature| feature.name == *name);
        let supported = feature.map_or(0..=0, |f| f.min_supported_version..=f.max_supported_version);
        // Only the metadata's version has no level 0 to fall back to.
        let may_lack = feature.is_none() && name.as_str() != METADATA_VERSION_FEATURE;
        if !supported.contains(&level) && !may_lack {
            return Err(ErrorCode::UnsupportedVersion);
        }
    }
    match image.broker(request.broker_id) {
        Some(before) if before.incarnation_id != request.incarnation_id && session_alive => {
            Err(ErrorCode::DuplicateBrokerRegistration)
        }
        _ => Ok(()),
    }
}

fn records(image: &Image, request: &BrokerRegistrationRequest) -> (Vec<MetadataRecord>, i64) {
    let before = image.broker(request.broker_id);
    let same = before.filter(|before| before.incarnation_id == request.incarnation_id);
    let broker_epoch = same.map_or(image.next_offset().0, |same| same.epoch);
    let endpoint = |listener: &Listener| BrokerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
        ..Default::default()
    };
    let feature = |feature: &Feature| BrokerFeature {
        name: feature.name.clone(),
        min_supported_version: feature.min_supported_version,
        max_supported_version: feature.max_supported_version,
        ..Default::default()
    };
    let record = RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        broker_epoch,
        end_points: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
        rack: request.rack.clone(),
        fenced: same.is_none_or(|same| same.fenced),
        in_controlled_shutdown: same.is_some_and(|same| same.in_controlled_shutdown),
        log_dirs: request.log_dirs.clone(),
        ..Default::default()
    };
    let mut records = match same {
        Some(_) => Vec::new(),
        None => election::broker_gone(image, request.broker_id),
    };
    records.push(record.into());
    (records, broker_epoch)
}
