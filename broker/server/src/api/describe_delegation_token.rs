//! DescribeDelegationToken (41): the tokens that concern the sender, or those of which it may know otherwise (KIP-48).
//!
//! - No owners named means all; an empty list none.

use std::ops::RangeInclusive;

use strata_metadata::DelegationToken;
use strata_protocol::Str;
use strata_protocol::messages::describe_delegation_token_response::{
    DescribedDelegationToken, DescribedDelegationTokenRenewer,
};
use strata_protocol::messages::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};
use strata_types::ErrorCode;

use crate::broker::now;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DescribeDelegationToken;

impl Handler for DescribeDelegationToken {
    type Request = DescribeDelegationTokenRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeDelegationTokenResponse, Refusal> {
        let code = match (&cx.broker.tokens, cx.may_use_tokens()) {
            (_, false) => ErrorCode::DelegationTokenRequestNotAllowed,
            (None, true) => ErrorCode::DelegationTokenAuthDisabled,
            (Some(_), true) => ErrorCode::None,
        };
        let (Some(tokens), false) = (&cx.broker.tokens, code.is_error()) else {
            return Ok(DescribeDelegationTokenResponse { error_code: code.into(), ..Default::default() });
        };
        let owners: Option<Vec<String>> = request.owners.map(|owners| {
            owners.iter().map(|owner| format!("{}:{}", owner.principal_type, owner.principal_name)).collect()
        });
        let (image, access, now_ms) = (cx.broker.image(), cx.access(), now());
        let asked = |token: &DelegationToken| {
            owners.as_ref().is_none_or(|owners| owners.iter().any(|owner| token.concerns(owner)))
        };
        let may_know = |token: &DelegationToken| {
            token.concerns(cx.principal().as_str())
                || access.sees(Operation::Describe, Resource::DelegationToken(&token.token_id))
                || access.sees(Operation::DescribeTokens, Resource::User(&token.owner))
        };
        let shown = image
            .delegation_tokens()
            .filter(|token| !token.is_expired(now_ms) && asked(token) && may_know(token));
        let tokens = shown.map(|token| described(token, tokens.hmac(&token.token_id), cx.version)).collect();
        Ok(DescribeDelegationTokenResponse { tokens, ..Default::default() })
    }
}

fn described(token: &DelegationToken, hmac: bytes::Bytes, version: i16) -> DescribedDelegationToken {
    let (principal_type, principal_name) = parts(&token.owner);
    // Before v3 the answer has no place for who asked for the token (KIP-373).
    let (token_requester_principal_type, token_requester_principal_name) =
        if version >= 3 { parts(&token.requester) } else { Default::default() };
    let renewers = token.renewers.iter().map(|renewer| {
        let (principal_type, principal_name) = parts(renewer);
        DescribedDelegationTokenRenewer { principal_type, principal_name, ..Default::default() }
    });
    DescribedDelegationToken {
        principal_type,
        principal_name,
        token_requester_principal_type,
        token_requester_principal_name,
        issue_timestamp: token.issued_ms,
        expiry_timestamp: token.expires_ms,
        max_timestamp: token.max_ms,
        token_id: token.token_id.clone(),
        hmac,
        renewers: renewers.collect(),
        ..Default::default()
    }
}

fn parts(principal: &Str) -> (Str, Str) {
    let (kind, name) = principal.split_once(':').unwrap_or((principal, ""));
    (Str::from(kind), Str::from(name))
}
