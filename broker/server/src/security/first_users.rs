//! The users that a new cluster starts with, as their records keep them.

use strata_metadata::{ScramCredential, ScramMechanism};
use strata_protocol::Str;

use super::crypto;
use crate::config::{FirstUser, Secret};

/// Each user's name, mechanism and credential. Iterating a password takes some milliseconds.
pub(crate) fn first_users(users: &[FirstUser]) -> Vec<(Str, ScramMechanism, ScramCredential)> {
    users.iter().map(|user| (Str::from(user.name.as_str()), user.mechanism, credential(user))).collect()
}

fn credential(user: &FirstUser) -> ScramCredential {
    let FirstUser { mechanism, iterations, .. } = *user;
    match &user.secret {
        Secret::Salted { salted_password, salt } => {
            crypto::scram_credential(mechanism, salted_password, salt.clone().into(), iterations)
        }
        Secret::Password { password, salt } => {
            let salt = salt.clone().unwrap_or_else(|| crypto::random::<24>().to_vec());
            let salted = crypto::salted_password(mechanism, password.as_bytes(), &salt, iterations);
            crypto::scram_credential(mechanism, &salted, salt.into(), iterations)
        }
    }
}
