//! SASL on the server's side. Sans-IO: a mechanism is fed the client's messages and answers with its own.
//!
//! ```text
//! SaslHandshake(mechanism) ─▶ Exchange::new
//! SaslAuthenticate(bytes)  ─▶ Exchange::step ─▶ Challenge(bytes) … ─▶ Done(principal, final bytes) │ Failed(words)
//! ```

mod oauth;
mod plain;
mod scram;
mod server;

pub(crate) use oauth::{InvalidToken, KeySet, TokenChecker, check_signed, check_unsecured};
pub(crate) use server::{Authentication, SaslServer, Step};

use strata_metadata::{Image, ScramMechanism};

use super::{Principal, Tokens};
use crate::config::{Mechanism, MechanismSettings};

/// What mechanisms look things up in. Times are milliseconds since 1970.
pub(crate) struct Directory<'a> {
    pub settings: &'a MechanismSettings,
    pub image: &'a Image,
    pub tokens: Option<&'a Tokens>,
    /// Checks bearer tokens; only OAUTHBEARER asks.
    pub bearer: &'a dyn TokenChecker,
    pub now_ms: i64,
}

/// What comes of a message.
#[derive(Debug)]
pub(super) enum Outcome {
    Challenge(Vec<u8>),
    Done {
        authenticated: Authenticated,
        last: Vec<u8>,
    },
    /// The words go to the client: they say nothing that it does not know.
    Failed(String),
}

/// Who a client has proved to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Authenticated {
    pub principal: Principal,
    /// When what it proved that with ends.
    pub expires_ms: Option<i64>,
}

/// One run of a mechanism.
pub(super) enum Exchange {
    Plain,
    Scram(scram::Scram),
    OauthBearer(oauth::Bearer),
}

impl Exchange {
    pub(super) fn new(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Scram(scram) => Self::Scram(scram::Scram::new(scram, scram::server_nonce())),
            Mechanism::OauthBearer => Self::OauthBearer(oauth::Bearer::default()),
        }
    }

    pub(super) fn step(&mut self, message: &[u8], directory: &Directory<'_>) -> Outcome {
        match self {
            Self::Plain => plain::check(message, &directory.settings.plain_users),
            Self::Scram(scram) => scram.step(message, directory),
            Self::OauthBearer(bearer) => bearer.step(message, directory),
        }
    }
}

/// What Kafka tells a client whose credentials are wrong.
fn invalid_credentials(mechanism: ScramMechanism) -> Outcome {
    Outcome::Failed(format!(
        "Authentication failed during authentication due to invalid credentials with SASL mechanism {}",
        mechanism.name()
    ))
}
