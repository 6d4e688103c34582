//! SCRAM credentials (KIP-554) and delegation tokens (KIP-48), as the metadata log keeps them.

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::messages::{DelegationTokenRecord, UserScramCredentialRecord};

/// A SCRAM mechanism, by the number that travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScramMechanism {
    Sha256,
    Sha512,
}

impl ScramMechanism {
    pub const fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The name that SASL knows it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// What the server keeps instead of a password (RFC 5802).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    pub salt: Bytes,
    pub stored_key: Bytes,
    pub server_key: Bytes,
    pub iterations: i32,
}

/// Nothing of it belongs into a log.
impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramCredential([hidden])")
    }
}

impl ScramCredential {
    pub(super) fn from_record(record: &UserScramCredentialRecord) -> Self {
        Self {
            salt: Bytes::copy_from_slice(&record.salt),
            stored_key: Bytes::copy_from_slice(&record.stored_key),
            server_key: Bytes::copy_from_slice(&record.server_key),
            iterations: record.iterations,
        }
    }

    pub(crate) fn to_record(&self, name: &Str, mechanism: ScramMechanism) -> UserScramCredentialRecord {
        UserScramCredentialRecord {
            name: name.clone(),
            mechanism: mechanism.code(),
            salt: self.salt.clone(),
            stored_key: self.stored_key.clone(),
            server_key: self.server_key.clone(),
            iterations: self.iterations,
            ..Default::default()
        }
    }
}

/// A delegation token without its secret, which follows from its id. Principals are `Type:name`; times are
/// milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationToken {
    pub token_id: Str,
    pub owner: Str,
    pub requester: Str,
    pub renewers: Vec<Str>,
    pub issued_ms: i64,
    /// No renewal leads beyond this.
    pub max_ms: i64,
    pub expires_ms: i64,
}

impl DelegationToken {
    pub(super) fn from_record(record: &DelegationTokenRecord) -> Self {
        Self {
            token_id: record.token_id.detached(),
            owner: record.owner.detached(),
            requester: record.requester.detached(),
            renewers: record.renewers.iter().map(Str::detached).collect(),
            issued_ms: record.issue_timestamp,
            max_ms: record.max_timestamp,
            expires_ms: record.expiration_timestamp,
        }
    }

    pub(crate) fn to_record(&self) -> DelegationTokenRecord {
        DelegationTokenRecord {
            owner: self.owner.clone(),
            requester: self.requester.clone(),
            renewers: self.renewers.clone(),
            issue_timestamp: self.issued_ms,
            max_timestamp: self.max_ms,
            expiration_timestamp: self.expires_ms,
            token_id: self.token_id.clone(),
            ..Default::default()
        }
    }

    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.max_ms < now_ms || self.expires_ms < now_ms
    }

    /// Whether this principal may renew and expire the token.
    pub fn may_be_renewed_by(&self, principal: &str) -> bool {
        self.owner == *principal || self.renewers.iter().any(|renewer| *renewer == *principal)
    }

    /// Whether the token is this principal's own, in one of the roles that it names.
    pub fn concerns(&self, principal: &str) -> bool {
        self.may_be_renewed_by(principal) || self.requester == *principal
    }
}
