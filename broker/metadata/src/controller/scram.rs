//! AlterUserScramCredentials (51) and DescribeUserScramCredentials (50), version 0 (KIP-554). A user succeeds or fails as
//! a whole; one who is named twice fails.

use std::collections::BTreeMap;

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use strata_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use strata_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use strata_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, RemoveUserScramCredentialRecord,
};
use strata_types::ErrorCode;

use super::{ApiError, Decision, duplicates, outcome};
use crate::{Image, MetadataRecord, ScramCredential, ScramMechanism};

/// What a credential may be iterated: fewer are too weak, more would cost a client too much at each connection.
pub const SCRAM_ITERATIONS_MIN: i32 = 4096;
pub const SCRAM_ITERATIONS_MAX: i32 = 16384;
/// The most users that one request may change.
const USERS_PER_REQUEST_MAX: usize = 10_000;
const SALT_BYTES_MAX: usize = 1024;

/// The two keys that a credential keeps of a salted password: stored key and server key. Cryptography is the caller's.
pub type ScramKeys<'a> = dyn Fn(ScramMechanism, &[u8]) -> (Bytes, Bytes) + 'a;

/// Changes users' credentials.
pub fn alter_user_scram_credentials(
    image: &Image,
    request: &AlterUserScramCredentialsRequest,
    keys: &ScramKeys<'_>,
) -> Decision<AlterUserScramCredentialsResponse> {
    let names = || {
        let deleted = request.deletions.iter().map(|deletion| &deletion.name);
        deleted.chain(request.upsertions.iter().map(|upsertion| &upsertion.name))
    };
    let twice = duplicates(names());
    let too_many = names().count() > USERS_PER_REQUEST_MAX;
    let mut records = Vec::new();
    let mut outcomes: BTreeMap<&Str, (i16, Option<Str>)> = BTreeMap::new();
    let mut decide = |name, decide: &dyn Fn() -> Result<MetadataRecord, ApiError>| {
        let result = if too_many {
            Err(ApiError::too_many("Unable to perform excessively large batch operation."))
        } else if twice.contains(name) {
            let message = "A user credential cannot be altered twice in the same request";
            Err(ApiError::new(ErrorCode::DuplicateResource, message))
        } else {
            decide()
        };
        outcomes.insert(name, outcome(result.map(|record| records.push(record))));
    };
    for deletion in &request.deletions {
        decide(&deletion.name, &|| delete(image, deletion));
    }
    for upsertion in &request.upsertions {
        decide(&upsertion.name, &|| upsert(upsertion, keys));
    }
    let results =
        outcomes.into_iter().map(|(user, (error_code, error_message))| AlterUserScramCredentialsResult {
            user: user.clone(),
            error_code,
            error_message,
            ..Default::default()
        });
    let results = results.collect();
    (records, AlterUserScramCredentialsResponse { results, ..Default::default() })
}

fn delete(image: &Image, deletion: &ScramCredentialDeletion) -> Result<MetadataRecord, ApiError> {
    let mechanism = check(&deletion.name, deletion.mechanism)?;
    if image.scram_credential(&deletion.name, mechanism).is_none() {
        let message = "Attempt to delete a user credential that does not exist";
        return Err(ApiError::new(ErrorCode::ResourceNotFound, message));
    }
    let (name, mechanism) = (deletion.name.clone(), deletion.mechanism);
    Ok(RemoveUserScramCredentialRecord { name, mechanism, ..Default::default() }.into())
}

fn upsert(upsertion: &ScramCredentialUpsertion, keys: &ScramKeys<'_>) -> Result<MetadataRecord, ApiError> {
    let mechanism = check(&upsertion.name, upsertion.mechanism)?;
    let unacceptable = |why: &'static str| Err(ApiError::new(ErrorCode::UnacceptableCredential, why));
    if upsertion.iterations < SCRAM_ITERATIONS_MIN {
        return unacceptable("Too few iterations");
    }
    if upsertion.iterations > SCRAM_ITERATIONS_MAX {
        return unacceptable("Too many iterations");
    }
    if upsertion.salt.len() > SALT_BYTES_MAX {
        return unacceptable("Too long a salt");
    }
    let (stored_key, server_key) = keys(mechanism, &upsertion.salted_password);
    let (salt, iterations) = (upsertion.salt.clone(), upsertion.iterations);
    let credential = ScramCredential { salt, stored_key, server_key, iterations };
    Ok(credential.to_record(&upsertion.name, mechanism).into())
}

fn check(name: &str, mechanism: i8) -> Result<ScramMechanism, ApiError> {
    if name.is_empty() {
        return Err(ApiError::new(ErrorCode::UnacceptableCredential, "Username must not be empty"));
    }
    ScramMechanism::from_code(mechanism)
        .ok_or_else(|| ApiError::new(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"))
}

/// Tells which credentials users have; of nobody in particular: of all.
pub fn describe_user_scram_credentials(
    image: &Image,
    request: &DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let named = request.users.as_deref().unwrap_or_default().iter().map(|user| user.name.clone());
    let named: Vec<Str> = named.collect();
    let everybody = named.is_empty();
    let users = match everybody {
        true => {
            let mut all: Vec<Str> = image.scram_credentials().map(|(name, _, _)| name.clone()).collect();
            all.dedup();
            all
        }
        false => named,
    };
    let twice = duplicates(users.iter());
    let mut told: Vec<&Str> = users.iter().collect();
    told.sort();
    told.dedup();
    let results = told.into_iter().map(|user| {
        let infos: Vec<CredentialInfo> = [ScramMechanism::Sha256, ScramMechanism::Sha512]
            .into_iter()
            .filter_map(|mechanism| {
                let iterations = image.scram_credential(user, mechanism)?.iterations;
                Some(CredentialInfo { mechanism: mechanism.code(), iterations, ..Default::default() })
            })
            .collect();
        let result = if twice.contains(user) {
            let message = format!(
                "Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
            );
            Err(ApiError::new(ErrorCode::DuplicateResource, message))
        } else if infos.is_empty() {
            let message = format!("Attempt to describe a user credential that does not exist: {user}");
            Err(ApiError::new(ErrorCode::ResourceNotFound, message))
        } else {
            Ok(())
        };
        let credential_infos = if result.is_ok() { infos } else { Vec::new() };
        let (error_code, error_message) = outcome(result);
        DescribeUserScramCredentialsResult {
            user: user.clone(),
            error_code,
            error_message,
            credential_infos,
            ..Default::default()
        }
    });
    DescribeUserScramCredentialsResponse {
        results: results.collect(),
        error_message: None,
        ..Default::default()
    }
}
