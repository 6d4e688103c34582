//! Where a connection stands in its authentication, and what it may send next.
//!
//! ```text
//!   start ──handshake──▶ exchange ──messages──▶ authenticated ──handshake──▶ exchange (again, as the same principal)
//!                            └──────wrong──────▶ failed: answered once, then closed
//! ```
//!
//! - After SaslHandshake v0 the mechanism's messages come as bare frames, after v1 within SaslAuthenticate (KIP-152).
//! - A session may end (KIP-368): by `connections.max.reauth.ms`, or with the token that it was authenticated by. A
//!   request after that closes the connection, unless it begins to authenticate again. One that does not end cannot be
//!   authenticated again, and one that does, once a second.

use std::sync::Arc;

use strata_metadata::Image;
use strata_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use strata_protocol::{ApiKey, Str};
use strata_types::ErrorCode;

use super::super::{Principal, Tokens};
use super::{Authenticated, Directory, Exchange, Outcome, TokenChecker};
use crate::config::{Mechanism, SaslSettings};

/// Between two times that a connection authenticates again.
const RENEWAL_INTERVAL_MIN_MS: i64 = 1_000;
/// Messages of one exchange beyond this are no honest client's.
const MESSAGES_MAX: usize = 8;

/// One connection's authentication.
pub(crate) struct SaslServer {
    settings: Arc<SaslSettings>,
    phase: Phase,
    /// As what the connection has authenticated, once it has.
    settled: Option<Settled>,
    /// When it last began to authenticate again.
    renewed_ms: Option<i64>,
}

enum Phase {
    Start,
    Exchange { exchange: Exchange, mechanism: Mechanism, bare: bool, messages: usize },
    Authenticated,
    Failed,
}

#[derive(Clone)]
struct Settled {
    principal: Principal,
    mechanism: Mechanism,
    /// `None`: for as long as it lasts.
    ends_ms: Option<i64>,
    /// The client speaks SaslAuthenticate v1 and so knows when to come again.
    may_reauthenticate: bool,
}

/// What exchanges look things up in; see [`Directory`].
#[derive(Clone, Copy)]
pub(crate) struct Authentication<'a> {
    pub image: &'a Image,
    pub tokens: Option<&'a Tokens>,
    pub bearer: &'a dyn TokenChecker,
    pub now_ms: i64,
}

/// What a message led to.
pub(crate) struct Step<R> {
    pub response: R,
    /// Set once: the connection belongs to this principal from here on.
    pub authenticated: Option<Principal>,
    /// Why the connection is closed after the response.
    pub failed: Option<String>,
}

impl SaslServer {
    pub(crate) fn new(settings: Arc<SaslSettings>) -> Self {
        Self { settings, phase: Phase::Start, settled: None, renewed_ms: None }
    }

    /// Whether the next frame is a bare message.
    pub(crate) fn expects_bare(&self) -> bool {
        matches!(self.phase, Phase::Exchange { bare: true, .. })
    }

    /// Whether a request may come now; the words are for the log.
    pub(crate) fn admits(&self, key: ApiKey, now_ms: i64) -> Result<(), String> {
        let (allowed, where_it_stands) = match &self.phase {
            Phase::Start => {
                (matches!(key, ApiKey::ApiVersions | ApiKey::SaslHandshake), "before authentication")
            }
            Phase::Exchange { .. } => (key == ApiKey::SaslAuthenticate, "during authentication"),
            Phase::Authenticated => {
                let ended = self.settled.as_ref().and_then(|settled| settled.ends_ms);
                let ended = ended.is_some_and(|ends_ms| now_ms >= ends_ms);
                (!ended || key == ApiKey::SaslHandshake, "after its session had ended")
            }
            Phase::Failed => (false, "after its authentication had failed"),
        };
        if allowed { Ok(()) } else { Err(format!("a {key} request came {where_it_stands}")) }
    }

    /// Whether the connection, which has authenticated, may do so again now.
    fn is_renewable(&self, settled: &Settled, now_ms: i64) -> bool {
        let lately = self.renewed_ms.is_some_and(|renewed_ms| now_ms - renewed_ms < RENEWAL_INTERVAL_MIN_MS);
        settled.may_reauthenticate && settled.ends_ms.is_some() && !lately
    }

    /// The client chooses a mechanism.
    pub(crate) fn handshake(&mut self, version: i16, name: &str, now_ms: i64) -> Step<SaslHandshakeResponse> {
        let mechanisms = self.settings.mechanisms.iter();
        let mut response = SaslHandshakeResponse {
            mechanisms: mechanisms.map(|m| Str::from_static(m.mechanism.name())).collect(),
            ..Default::default()
        };
        if let Some(settled) = &self.settled {
            if !self.is_renewable(settled, now_ms) {
                response.error_code = ErrorCode::IllegalSaslState.into();
                return Step { response, authenticated: None, failed: None };
            }
            self.renewed_ms = Some(now_ms);
        }
        let chosen = Mechanism::from_name(name)
            .filter(|chosen| self.settings.mechanisms.iter().any(|m| m.mechanism == *chosen));
        let failed = match (chosen, &self.settled) {
            (None, _) => {
                response.error_code = ErrorCode::UnsupportedSaslMechanism.into();
                let name: String = name.chars().take(32).collect();
                Some(format!("the SASL mechanism {name:?} is not enabled"))
            }
            (Some(chosen), Some(settled)) if chosen != settled.mechanism => {
                response.error_code = ErrorCode::IllegalSaslState.into();
                Some("it wanted to authenticate again by another mechanism".to_owned())
            }
            (Some(mechanism), _) => {
                let (exchange, bare) = (Exchange::new(mechanism), version == 0);
                self.phase = Phase::Exchange { exchange, mechanism, bare, messages: 0 };
                None
            }
        };
        if failed.is_some() {
            self.phase = Phase::Failed;
        }
        Step { response, authenticated: None, failed }
    }

    /// The next message, within SaslAuthenticate.
    pub(crate) fn authenticate(
        &mut self,
        version: i16,
        message: &[u8],
        with: Authentication<'_>,
    ) -> Step<SaslAuthenticateResponse> {
        let stepped = self.step(message, version >= 1, with);
        match stepped {
            Ok((bytes, authenticated)) => {
                let ends_ms = self.settled.as_ref().filter(|_| authenticated.is_some());
                let ends_ms = ends_ms.and_then(|settled| settled.ends_ms);
                let response = SaslAuthenticateResponse {
                    auth_bytes: bytes.into(),
                    session_lifetime_ms: ends_ms.map_or(0, |ends_ms| (ends_ms - with.now_ms).max(0)),
                    error_message: None,
                    ..Default::default()
                };
                Step { response, authenticated, failed: None }
            }
            Err(why) => {
                let response = SaslAuthenticateResponse {
                    error_code: ErrorCode::SaslAuthenticationFailed.into(),
                    error_message: Some(Str::from(why.as_str())),
                    ..Default::default()
                };
                Step { response, authenticated: None, failed: Some(why) }
            }
        }
    }

    /// The next message, as a bare frame. A client of that kind cannot be told why it failed.
    pub(crate) fn bare(&mut self, message: &[u8], with: Authentication<'_>) -> Step<Vec<u8>> {
        match self.step(message, false, with) {
            Ok((response, authenticated)) => Step { response, authenticated, failed: None },
            Err(why) => Step { response: Vec::new(), authenticated: None, failed: Some(why) },
        }
    }

    fn step(
        &mut self,
        message: &[u8],
        may_reauthenticate: bool,
        with: Authentication<'_>,
    ) -> Result<(Vec<u8>, Option<Principal>), String> {
        let outcome = self.outcome(message, with);
        match outcome {
            Outcome::Challenge(bytes) => Ok((bytes, None)),
            Outcome::Done { authenticated, last } => {
                match self.settle(authenticated, may_reauthenticate, with.now_ms) {
                    Ok(principal) => Ok((last, Some(principal))),
                    Err(why) => {
                        self.phase = Phase::Failed;
                        Err(why)
                    }
                }
            }
            Outcome::Failed(why) => {
                self.phase = Phase::Failed;
                Err(why)
            }
        }
    }

    fn outcome(&mut self, message: &[u8], with: Authentication<'_>) -> Outcome {
        let Phase::Exchange { exchange, mechanism, messages, .. } = &mut self.phase else {
            return Outcome::Failed("SaslAuthenticate must follow a SaslHandshake".to_owned());
        };
        *messages += 1;
        let settings = self.settings.mechanisms.iter().find(|m| m.mechanism == *mechanism);
        let (Some(settings), 0..=MESSAGES_MAX) = (settings, *messages) else {
            return Outcome::Failed("the exchange takes too many messages".to_owned());
        };
        let Authentication { image, tokens, bearer, now_ms } = with;
        exchange.step(message, &Directory { settings, image, tokens, bearer, now_ms })
    }

    fn settle(
        &mut self,
        authenticated: Authenticated,
        may_reauthenticate: bool,
        now_ms: i64,
    ) -> Result<Principal, String> {
        let Phase::Exchange { mechanism, .. } = self.phase else {
            return Err("there was no exchange".to_owned());
        };
        let Authenticated { principal, expires_ms } = authenticated;
        if let Some(before) = &self.settled
            && before.principal != principal
        {
            return Err(format!(
                "Cannot change principals during re-authentication from {}.{}: {}.{}",
                before.principal.kind(),
                before.principal.name(),
                principal.kind(),
                principal.name()
            ));
        }
        let after = self.settings.mechanisms.iter().find(|m| m.mechanism == mechanism);
        let after = after.and_then(|settings| settings.reauthenticate_after);
        let by_settings = after.map(|after| now_ms.saturating_add_unsigned(after.as_millis() as u64));
        let ends_ms = [by_settings, expires_ms].into_iter().flatten().min();
        self.settled = Some(Settled { principal: principal.clone(), mechanism, ends_ms, may_reauthenticate });
        self.phase = Phase::Authenticated;
        Ok(principal)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::super::oauth::NoBearer;
    use super::*;
    use crate::config::MechanismSettings;

    fn server(reauthenticate_after: Option<Duration>) -> SaslServer {
        let users = [("a", "p"), ("b", "q")].map(|(user, password)| (user.to_owned(), password.to_owned()));
        let plain = MechanismSettings {
            mechanism: Mechanism::Plain,
            reauthenticate_after,
            plain_users: HashMap::from(users),
            oauth: None,
        };
        SaslServer::new(Arc::new(SaslSettings { mechanisms: vec![plain], receive_bytes_max: 1000 }))
    }

    fn authenticate(server: &mut SaslServer, message: &[u8], now_ms: i64) -> Step<SaslAuthenticateResponse> {
        let image = Image::default();
        let with = Authentication { image: &image, tokens: None, bearer: &NoBearer, now_ms };
        server.authenticate(1, message, with)
    }

    #[test]
    fn nothing_but_authentication_is_admitted_before_it() {
        let mut server = server(None);
        for key in ApiKey::ALL {
            let admitted = server.admits(*key, 0).is_ok();
            assert_eq!(admitted, matches!(key, ApiKey::ApiVersions | ApiKey::SaslHandshake), "{key}");
        }
        assert!(server.handshake(1, "PLAIN", 0).failed.is_none());
        for key in ApiKey::ALL {
            assert_eq!(server.admits(*key, 0).is_ok(), *key == ApiKey::SaslAuthenticate, "{key}");
        }
        assert!(authenticate(&mut server, b"\0a\0wrong", 0).failed.is_some());
        assert!(ApiKey::ALL.iter().all(|key| server.admits(*key, 0).is_err()), "failed is failed");
    }

    #[test]
    fn cve_2017_12610_the_principal_is_that_of_the_credentials_and_stays() {
        let mut server = server(None);
        server.handshake(1, "PLAIN", 0);
        // An authorization id that is not the user's own is not taken for it.
        assert!(authenticate(&mut server, b"b\0a\0p", 0).authenticated.is_none());
        let mut server = self::server(Some(Duration::from_secs(9)));
        server.handshake(1, "PLAIN", 0);
        let first = authenticate(&mut server, b"\0a\0p", 0).authenticated.unwrap();
        assert_eq!(first.as_str(), "User:a");
        server.handshake(1, "PLAIN", 0);
        let again = authenticate(&mut server, b"\0b\0q", 0);
        assert!(again.authenticated.is_none());
        assert!(again.failed.unwrap().starts_with("Cannot change principals during re-authentication"));
    }

    #[test]
    fn a_session_ends_and_can_be_begun_again() {
        let mut server = server(Some(Duration::from_secs(1)));
        server.handshake(1, "PLAIN", 0);
        let step = authenticate(&mut server, b"\0a\0p", 5_000);
        assert_eq!(step.response.session_lifetime_ms, 1_000);
        assert!(server.admits(ApiKey::Produce, 5_999).is_ok());
        assert!(server.admits(ApiKey::Produce, 6_000).is_err());
        assert!(server.admits(ApiKey::SaslHandshake, 6_000).is_ok());
        assert_eq!(server.handshake(1, "PLAIN", 6_000).response.error_code, 0);
        assert!(server.admits(ApiKey::Produce, 6_000).is_err());
        assert!(authenticate(&mut server, b"\0a\0p", 6_000).failed.is_none());
        assert!(server.admits(ApiKey::Produce, 6_500).is_ok());
        // Once a second, and the session goes on as it was.
        let illegal = ErrorCode::IllegalSaslState.code();
        assert_eq!(server.handshake(1, "PLAIN", 6_999).response.error_code, illegal);
        assert!(server.admits(ApiKey::Produce, 6_999).is_ok());
        assert_eq!(server.handshake(1, "PLAIN", 7_000).response.error_code, 0);
    }

    #[test]
    fn a_session_without_an_end_is_not_begun_again() {
        let mut server = server(None);
        server.handshake(1, "PLAIN", 0);
        assert_eq!(authenticate(&mut server, b"\0a\0p", 0).response.session_lifetime_ms, 0);
        let step = server.handshake(1, "PLAIN", 5_000);
        assert_eq!(step.response.error_code, ErrorCode::IllegalSaslState.code());
        assert!(step.failed.is_none() && server.admits(ApiKey::Produce, 5_000).is_ok());
    }

    #[test]
    fn a_mechanism_that_is_not_enabled_is_refused_with_those_that_are() {
        let mut server = server(None);
        let step = server.handshake(1, "GSSAPI", 0);
        assert_eq!(step.response.error_code, ErrorCode::UnsupportedSaslMechanism.code());
        assert_eq!(step.response.mechanisms, ["PLAIN"]);
        assert!(step.failed.is_some() && server.admits(ApiKey::SaslHandshake, 0).is_err());
    }

    #[test]
    fn bare_messages_follow_the_first_version_of_the_handshake() {
        let mut server = server(None);
        server.handshake(0, "PLAIN", 0);
        assert!(server.expects_bare());
        let image = Image::default();
        let with = Authentication { image: &image, tokens: None, bearer: &NoBearer, now_ms: 0 };
        assert_eq!(server.bare(b"\0a\0p", with).authenticated.unwrap().name(), "a");
        assert!(!server.expects_bare());
        let step = server.handshake(1, "PLAIN", 0);
        assert_eq!(step.response.error_code, ErrorCode::IllegalSaslState.code());
        assert!(server.admits(ApiKey::Produce, 0).is_ok());
    }
}
