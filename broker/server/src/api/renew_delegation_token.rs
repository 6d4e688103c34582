//! RenewDelegationToken (39): lets a token live longer, at most to the end that it was issued with (KIP-48).

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};
use strata_types::ErrorCode;

use crate::broker::now;
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct RenewDelegationToken;

impl Handler for RenewDelegationToken {
    type Request = RenewDelegationTokenRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<RenewDelegationTokenResponse, Refusal> {
        let (code, expiry_timestamp_ms) = match renew(&cx, &request).await {
            Ok(expires_ms) => (ErrorCode::None, expires_ms),
            Err(code) => (code, -1),
        };
        Ok(RenewDelegationTokenResponse {
            error_code: code.into(),
            expiry_timestamp_ms,
            ..Default::default()
        })
    }
}

async fn renew(cx: &Context, request: &RenewDelegationTokenRequest) -> Result<i64, ErrorCode> {
    if !cx.may_use_tokens() {
        return Err(ErrorCode::DelegationTokenRequestNotAllowed);
    }
    let tokens = cx.broker.tokens.as_ref().ok_or(ErrorCode::DelegationTokenAuthDisabled)?;
    let period_ms = match request.renew_period_ms {
        1.. => request.renew_period_ms.min(tokens.expiry_ms),
        _ => tokens.expiry_ms,
    };
    let token_id =
        tokens.find(&cx.broker.image(), &request.hmac).ok_or(ErrorCode::DelegationTokenNotFound)?;
    let decide = |image: &_| {
        controller::renew_delegation_token(image, &token_id, cx.principal().as_str(), (now(), period_ms))
    };
    cx.broker.decide(decide).await.flatten()
}
