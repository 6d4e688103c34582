//! Whom a listener's certificate names, which a new one must name as well: a listener that changed its name while the broker
//! runs would be somebody else to its clients. `ssl.allow.dn.changes` and `ssl.allow.san.changes` allow it.

use std::collections::BTreeSet;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;

use super::{TlsError, principal};
use crate::config::Config;

/// Of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    subject: String,
    /// Its other names, each as it is encoded.
    names: BTreeSet<Vec<u8>>,
}

impl Identity {
    /// That of the first certificate of a chain.
    pub(super) fn of(leaf: Option<&CertificateDer<'_>>) -> Result<Self, TlsError> {
        let unreadable = |why: String| TlsError::new("ssl.keystore", why);
        let leaf = leaf.ok_or_else(|| unreadable("there is no certificate in it".to_owned()))?;
        let subject = principal::distinguished_name(leaf).map_err(unreadable)?;
        let certificate = Certificate::from_der(leaf).map_err(|error| unreadable(error.to_string()))?;
        let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
        let found = found.map_err(|error| unreadable(error.to_string()))?;
        let names = found.map(|(_, names)| names.0).unwrap_or_default();
        let names = names.iter().filter_map(|name| name.to_der().ok()).collect();
        Ok(Self { subject, names })
    }

    /// Whether this one may take the place of the one before: its subject is the same, and it has all other names that
    /// that one has.
    pub(super) fn stays_that_of(
        &self,
        before: &Self,
        config: &Config,
        listener: &str,
    ) -> Result<(), TlsError> {
        const SUBJECT: &str = "ssl.allow.dn.changes";
        const NAMES: &str = "ssl.allow.san.changes";
        let allowed = |key: &str| config.effective_for(listener, key) == Some("true");
        if self.subject != before.subject && !allowed(SUBJECT) {
            let why =
                format!("the new certificate is for {}, the old one for {}", self.subject, before.subject);
            return Err(TlsError::new(SUBJECT, why));
        }
        if !self.names.is_superset(&before.names) && !allowed(NAMES) {
            let why = "the new certificate lacks alternative names that the old one has";
            return Err(TlsError::new(NAMES, why));
        }
        Ok(())
    }
}
