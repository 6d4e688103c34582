//! SaslAuthenticate (36): a message of the mechanism, and its answer (KIP-152).
//!
//! - v1: the answer says how long the session lasts (KIP-368). What is wrong is answered once, a little later
//!   (`connection.failed.authentication.delay.ms`), and then the connection is closed.

use std::ops::RangeInclusive;

use strata_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct SaslAuthenticate;

impl Handler for SaslAuthenticate {
    type Request = SaslAuthenticateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<SaslAuthenticateResponse, Refusal> {
        let session = cx.peer.session.clone();
        let response = session.authenticate(&cx.broker, cx.version, &request.auth_bytes);
        if session.failure().is_some() {
            tokio::time::sleep(cx.broker.config.security.failed_authentication_delay).await;
        }
        Ok(response)
    }
}
