//! A connection's session: what its listener speaks, and whom it belongs to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use strata_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use strata_protocol::{ApiKey, Encoded, Encoder};
use strata_types::ErrorCode;
use tokio::sync::Notify;

use super::sasl::{Authentication, SaslServer, Step};
use super::{Bearer, Principal};
use crate::broker::{Broker, now};
use crate::config::{Listener, SecurityProtocol};
use crate::dispatch::Refusal;

/// One connection's session. The principal is set once, and never changes.
pub(crate) struct Session {
    protocol: SecurityProtocol,
    principal: OnceLock<Principal>,
    sasl: Option<Sasl>,
}

struct Sasl {
    server: Mutex<SaslServer>,
    receive_bytes_max: usize,
    /// Where bearer tokens are checked.
    bearer: Bearer,
    settled: AtomicBool,
    news: Notify,
    /// Why the connection is closed after its last answer.
    failed: OnceLock<String>,
}

impl Session {
    /// A session of a listener without SASL belongs to `principal` from the start.
    pub(crate) fn new(listener: &Listener, principal: Principal, bearer: &Bearer) -> Self {
        let sasl = listener.sasl.as_ref().map(|settings| Sasl {
            server: Mutex::new(SaslServer::new(settings.clone())),
            receive_bytes_max: settings.receive_bytes_max,
            bearer: bearer.clone(),
            settled: AtomicBool::new(false),
            news: Notify::new(),
            failed: OnceLock::new(),
        });
        let fixed = OnceLock::new();
        if sasl.is_none() {
            let _ = fixed.set(principal);
        }
        Self { protocol: listener.protocol, principal: fixed, sasl }
    }

    /// Whom the connection belongs to; before it has authenticated, nobody.
    pub(crate) fn principal(&self) -> &Principal {
        self.principal.get().unwrap_or_else(|| Principal::nobody())
    }

    pub(crate) fn protocol(&self) -> SecurityProtocol {
        self.protocol
    }

    /// The longest frame that is read now, where that is less than what any request may be; frames may then be shorter
    /// than a request, too.
    pub(crate) fn unauthenticated_frame_bytes_max(&self) -> Option<usize> {
        let sasl = self.sasl.as_ref()?;
        (!sasl.settled.load(Ordering::Relaxed)).then_some(sasl.receive_bytes_max)
    }

    /// Resolves once the connection has authenticated; at once where it need not.
    pub(crate) async fn authenticated(&self) {
        let Some(sasl) = &self.sasl else { return };
        while !sasl.settled.load(Ordering::Relaxed) {
            sasl.news.notified().await;
        }
    }

    /// Whether a request may be served now.
    pub(crate) fn admits(&self, key: ApiKey) -> Result<(), Refusal> {
        let Some(sasl) = &self.sasl else { return Ok(()) };
        let admitted = sasl.server.lock().admits(key, now());
        admitted.map_err(|why| Refusal::close("not authenticated", why))
    }

    /// What was wrong with the authentication, once it has failed.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.sasl.as_ref()?.failed.get().map(String::as_str)
    }

    pub(crate) fn handshake(&self, version: i16, mechanism: &str) -> SaslHandshakeResponse {
        match &self.sasl {
            Some(sasl) => {
                let step = sasl.server.lock().handshake(version, mechanism, now());
                self.settle(sasl, step)
            }
            None => {
                SaslHandshakeResponse { error_code: ErrorCode::IllegalSaslState.into(), ..Default::default() }
            }
        }
    }

    pub(crate) fn authenticate(
        &self,
        broker: &Broker,
        version: i16,
        message: &[u8],
    ) -> SaslAuthenticateResponse {
        match &self.sasl {
            Some(sasl) => {
                let image = broker.image();
                let step = sasl.server.lock().authenticate(version, message, sasl.with(broker, &image));
                self.settle(sasl, step)
            }
            None => SaslAuthenticateResponse {
                error_code: ErrorCode::IllegalSaslState.into(),
                error_message: Some(
                    "SaslAuthenticate request received after successful authentication".into(),
                ),
                ..Default::default()
            },
        }
    }

    /// The answer to a frame that is no request but a bare message of the mechanism; `None` where a request is expected.
    pub(crate) fn bare(&self, broker: &Broker, frame: &Bytes) -> Option<Result<Encoded, Refusal>> {
        let sasl = self.sasl.as_ref().filter(|sasl| !sasl.settled.load(Ordering::Relaxed))?;
        let mut server = sasl.server.lock();
        if !server.expects_bare() {
            return None;
        }
        let image = broker.image();
        let step = server.bare(frame, sasl.with(broker, &image));
        drop(server);
        let bytes = self.settle(sasl, step);
        if let Some(why) = self.failure() {
            return Some(Err(Refusal::close("authentication", why)));
        }
        let mut answer = Encoder::new();
        answer.i32(bytes.len() as i32);
        let mut body = Encoder::new();
        body.raw(&Bytes::from(bytes));
        answer.append(body);
        Some(Ok(answer.finish()))
    }

    fn settle<R>(&self, sasl: &Sasl, step: Step<R>) -> R {
        if let Some(principal) = step.authenticated {
            // Authenticating again confirms what is set: it can never be another principal.
            let _ = self.principal.set(principal);
            sasl.settled.store(true, Ordering::Relaxed);
            sasl.news.notify_waiters();
            sasl.news.notify_one();
        }
        if let Some(why) = step.failed {
            let _ = sasl.failed.set(why);
        }
        step.response
    }
}

impl Sasl {
    fn with<'a>(&'a self, broker: &'a Broker, image: &'a strata_metadata::Image) -> Authentication<'a> {
        Authentication { image, tokens: broker.tokens.as_ref(), bearer: &self.bearer, now_ms: now() }
    }
}
