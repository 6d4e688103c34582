//! AlterClientQuotas (49), versions 0–1 (KIP-546, KIP-599, KIP-612): sets and removes quotas of users, client ids and addresses.
//!
//! Each entity succeeds or fails as a whole. A record is written only for a value that really changes.

use std::collections::BTreeSet;

use strata_protocol::Str;
use strata_protocol::messages::alter_client_quotas_request::{EntryData as Wanted, OpData};
use strata_protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use strata_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use strata_types::ErrorCode;

use super::{ApiError, Decision, outcome};
use crate::{Image, MetadataRecord, QuotaEntity, QuotaName};

/// The most quota changes that one request may ask for; Kafka's limit of 10,000 records a request comes to the same.
pub const QUOTA_CHANGES_PER_REQUEST_MAX: usize = 10_000;

/// What a quota's number must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Int,
    Long,
    Double,
}

/// The quotas that users and client ids may have, and what kind of number each is.
const OF_CLIENTS: &[(&str, Number)] = &[
    ("consumer_byte_rate", Number::Long),
    ("controller_mutation_rate", Number::Double),
    ("producer_byte_rate", Number::Long),
    ("request_percentage", Number::Double),
];
/// The same of addresses.
const OF_ADDRESSES: &[(&str, Number)] = &[("connection_creation_rate", Number::Int)];

/// Changes quotas.
pub fn alter_client_quotas(
    image: &Image,
    request: &AlterClientQuotasRequest,
) -> Decision<AlterClientQuotasResponse> {
    let (mut records, mut seen, mut left) = (Vec::new(), BTreeSet::new(), QUOTA_CHANGES_PER_REQUEST_MAX);
    let mut entries = Vec::with_capacity(request.entries.len());
    for entry in &request.entries {
        let changed = match left.checked_sub(entry.ops.len()) {
            Some(rest) => {
                left = rest;
                alter(image, entry, &mut seen)
            }
            None => Err(ApiError::too_many("Too many quota changes in one request.")),
        };
        let (error_code, error_message) = outcome(changed.map(|more| {
            if !request.validate_only {
                records.extend(more);
            }
        }));
        let entity = entry.entity.iter().map(|part| EntityData {
            entity_type: part.entity_type.clone(),
            entity_name: part.entity_name.clone(),
            ..Default::default()
        });
        entries.push(EntryData { error_code, error_message, entity: entity.collect(), ..Default::default() });
    }
    (records, AlterClientQuotasResponse { entries, ..Default::default() })
}

fn alter(
    image: &Image,
    entry: &Wanted,
    seen: &mut BTreeSet<QuotaEntity>,
) -> Result<Vec<MetadataRecord>, ApiError> {
    let invalid = |why: String| ApiError::new(ErrorCode::InvalidRequest, why);
    let parts = entry.entity.iter().map(|part| (&part.entity_type, part.entity_name.as_ref()));
    let entity = QuotaEntity::parse(parts).map_err(|why| invalid(why.to_string()))?;
    if !seen.insert(entity.clone()) {
        return Err(invalid("Ignoring duplicate entity".to_owned()));
    }
    if let Some(QuotaName::Named(address)) = &entity.ip
        && address.parse::<core::net::IpAddr>().is_err()
    {
        // A name could mean another address tomorrow, and the controller asks no resolver.
        return Err(invalid(format!("{address} is not a valid IP or resolvable host.")));
    }
    let allowed = if entity.ip.is_some() { OF_ADDRESSES } else { OF_CLIENTS };
    let (mut records, mut keys) = (Vec::new(), BTreeSet::new());
    let before = image.client_quota(&entity);
    for op in &entry.ops {
        if !keys.insert(op.key.as_str()) {
            return Err(invalid(format!("Duplicate quota key {}", op.key)));
        }
        let after = wanted(op, allowed).map_err(invalid)?;
        if before.get(&op.key).copied() != after {
            records.push(entity.record(&op.key, after).into());
        }
    }
    Ok(records)
}

/// What a quota shall be; `None`: removed.
fn wanted(op: &OpData, allowed: &[(&str, Number)]) -> Result<Option<f64>, String> {
    if op.remove {
        return Ok(None);
    }
    let (key, value): (&Str, f64) = (&op.key, op.value);
    let Some((_, number)) = allowed.iter().find(|(name, _)| *name == key.as_str()) else {
        return Err(format!("Invalid configuration key {key}"));
    };
    if value.is_nan() || value <= 0.0 {
        return Err(format!("Quota {key} must be greater than 0"));
    }
    let (max, name) = match number {
        Number::Int => (f64::from(i32::MAX), "an INT"),
        Number::Long => (i64::MAX as f64, "a LONG"),
        Number::Double => return Ok(Some(value)),
    };
    if value > max {
        return Err(format!("Proposed value for {key} is too large for {name}."));
    }
    const EPSILON: f64 = 1e-6;
    match (value - value.round()).abs() <= EPSILON {
        true => Ok(Some(value)),
        false => Err(format!("{key} cannot be a fractional value.")),
    }
}
