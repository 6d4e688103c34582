//! How the client shows who it is: TLS and SASL, by the names that Kafka's clients have for their settings.
//!
//! ```text
//! security.protocol  = SASL_SSL
//! sasl.mechanism     = SCRAM-SHA-256
//! sasl.jaas.config   = org.apache.kafka.common.security.scram.ScramLoginModule required username="a" password="b";
//! ssl.truststore.type = PEM
//! ssl.truststore.location = ca.pem
//! ```

mod sasl;
mod tls;

use std::sync::{Arc, OnceLock};

use strata_types::properties;

use crate::error::{ClientError, Result};

pub(crate) use sasl::authenticate;
pub(crate) use tls::Stream;

/// How a client secures its connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Security {
    pub(crate) tls: Option<Arc<tls::Tls>>,
    pub(crate) sasl: Option<Arc<sasl::Credentials>>,
}

/// Nothing of it belongs into a log.
impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (tls, sasl) = (self.tls.is_some(), self.sasl.is_some());
        f.debug_struct("Security").field("tls", &tls).field("sasl", &sasl).finish_non_exhaustive()
    }
}

static PROCESS: OnceLock<Security> = OnceLock::new();

impl Security {
    /// Reads the text of a `client.properties`.
    ///
    /// # Errors
    /// [`ClientError::Options`] where a setting is missing, unknown, or names a file that cannot be used.
    pub fn from_properties(text: &str) -> Result<Self> {
        let pairs = properties::parse(text).map_err(|error| ClientError::Options(error.to_string()))?;
        let get = |key: &str| {
            let found = pairs.iter().rev().find(|(name, _)| name == key);
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let (tls, sasl) = match get("security.protocol").unwrap_or("PLAINTEXT") {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            other => {
                let allowed = "allowed are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL";
                return Err(ClientError::Options(format!("security.protocol={other}: {allowed}")));
            }
        };
        Ok(Self {
            tls: if tls { Some(Arc::new(tls::Tls::new(&get)?)) } else { None },
            sasl: if sasl { Some(Arc::new(sasl::Credentials::new(&get)?)) } else { None },
        })
    }

    /// What [`crate::ClientOptions::default`] gives every client of this process, set once: a process belongs to one
    /// cluster. Later calls change nothing.
    pub fn use_for_process(self) {
        let _ = PROCESS.set(self);
    }

    pub(crate) fn of_process() -> Self {
        PROCESS.get().cloned().unwrap_or_default()
    }
}

/// A setting, where it has a value.
type Lookup<'a> = dyn Fn(&str) -> Option<&'a str> + 'a;
