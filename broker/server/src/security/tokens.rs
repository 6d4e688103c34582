//! Delegation tokens (KIP-48): their secrets, which follow from their ids, and the credentials that follow from those.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_metadata::controller::SCRAM_ITERATIONS_MIN;
use strata_metadata::{Image, ScramCredential, ScramMechanism};
use strata_protocol::Str;

use super::crypto;
use crate::config::TokenSettings;

/// Credentials that are kept, so that a client that connects often does not cost an iteration of its password each time.
const CREDENTIALS_KEPT_MAX: usize = 1_000;

/// What the broker needs to issue and check delegation tokens.
pub(crate) struct Tokens {
    secret: String,
    pub(crate) max_lifetime_ms: i64,
    pub(crate) expiry_ms: i64,
    credentials: Mutex<HashMap<(Str, ScramMechanism), Arc<ScramCredential>>>,
}

impl Tokens {
    pub(crate) fn new(settings: &TokenSettings) -> Self {
        Self {
            secret: settings.secret.clone(),
            max_lifetime_ms: settings.max_lifetime_ms,
            expiry_ms: settings.expiry_ms,
            credentials: Mutex::default(),
        }
    }

    /// The secret of the token with this id: as base64 it is the password.
    pub(crate) fn hmac(&self, token_id: &str) -> Bytes {
        crypto::hmac_sha512(self.secret.as_bytes(), token_id.as_bytes()).into()
    }

    /// The id of the token with this secret.
    pub(crate) fn find(&self, image: &Image, hmac: &[u8]) -> Option<Str> {
        let mut tokens = image.delegation_tokens();
        let token = tokens.find(|token| crypto::secrets_equal(&self.hmac(&token.token_id), hmac))?;
        Some(token.token_id.clone())
    }

    /// What a client that knows the token's secret proves itself against.
    pub(super) fn credential(&self, token_id: &str, mechanism: ScramMechanism) -> Arc<ScramCredential> {
        let key = (Str::from(token_id), mechanism);
        if let Some(known) = self.credentials.lock().get(&key) {
            return known.clone();
        }
        let password = STANDARD.encode(self.hmac(token_id));
        // The salt only has to differ from token to token.
        let salt = crypto::hmac_sha512(self.secret.as_bytes(), format!("salt {token_id}").as_bytes());
        let iterations = NonZeroU32::new(SCRAM_ITERATIONS_MIN as u32).unwrap_or(NonZeroU32::MIN);
        let salted = crypto::salted_password(mechanism, password.as_bytes(), &salt, iterations);
        let credential = Arc::new(crypto::scram_credential(mechanism, &salted, salt.into(), iterations));
        let mut kept = self.credentials.lock();
        if kept.len() >= CREDENTIALS_KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, credential.clone());
        credential
    }
}
