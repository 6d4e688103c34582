//! ExpireDelegationToken (40): ends a token at once (a negative period), or after a period (KIP-48).

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
use strata_types::ErrorCode;

use crate::broker::now;
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct ExpireDelegationToken;

impl Handler for ExpireDelegationToken {
    type Request = ExpireDelegationTokenRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<ExpireDelegationTokenResponse, Refusal> {
        let (code, expiry_timestamp_ms) = match expire(&cx, &request).await {
            Ok(expires_ms) => (ErrorCode::None, expires_ms),
            Err(code) => (code, -1),
        };
        Ok(ExpireDelegationTokenResponse {
            error_code: code.into(),
            expiry_timestamp_ms,
            ..Default::default()
        })
    }
}

async fn expire(cx: &Context, request: &ExpireDelegationTokenRequest) -> Result<i64, ErrorCode> {
    if !cx.may_use_tokens() {
        return Err(ErrorCode::DelegationTokenRequestNotAllowed);
    }
    let tokens = cx.broker.tokens.as_ref().ok_or(ErrorCode::DelegationTokenAuthDisabled)?;
    let token_id =
        tokens.find(&cx.broker.image(), &request.hmac).ok_or(ErrorCode::DelegationTokenNotFound)?;
    let times = (now(), request.expiry_time_period_ms);
    let decide =
        |image: &_| controller::expire_delegation_token(image, &token_id, cx.principal().as_str(), times);
    cx.broker.decide(decide).await.flatten()
}
