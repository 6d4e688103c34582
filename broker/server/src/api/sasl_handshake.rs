//! SaslHandshake (17): the client chooses a mechanism; the answer names those that are enabled.
//!
//! - v0: the mechanism's messages follow as bare frames. v1: within SaslAuthenticate (KIP-152). After authentication it
//!   begins another one, as the same principal, where the session would end (KIP-368). Where it would not, more often than
//!   once a second, or on a listener without SASL, it is ILLEGAL_SASL_STATE.

use std::ops::RangeInclusive;

use strata_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};

use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct SaslHandshake;

impl Handler for SaslHandshake {
    type Request = SaslHandshakeRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<SaslHandshakeResponse, Refusal> {
        Ok(cx.peer.session.handshake(cx.version, &request.mechanism))
    }
}
