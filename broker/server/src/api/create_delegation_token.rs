//! CreateDelegationToken (38): issues a token by which others may authenticate as its owner (KIP-48).
//!
//! - Nobody who is anonymous, or has authenticated by a token, gets one. v3: somebody else's token may be asked for, by
//!   whoever may create tokens for that user (KIP-373).

use std::ops::RangeInclusive;

use strata_metadata::{DelegationToken, controller};
use strata_protocol::Str;
use strata_protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
use strata_types::{ErrorCode, TopicId};
use uuid::Uuid;

use crate::broker::now;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Principal, Resource};

pub(crate) struct CreateDelegationToken;

const RENEWERS_MAX: usize = 100;

/// From this version on, the answer tells who asked for the token; it has no place for it before (KIP-373).
const REQUESTER_SINCE: i16 = 3;

impl Handler for CreateDelegationToken {
    type Request = CreateDelegationTokenRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=3;

    async fn handle(cx: Context, request: Self::Request) -> Result<CreateDelegationTokenResponse, Refusal> {
        let version = cx.version;
        let mut response = Self::create(cx, request).await?;
        if version < REQUESTER_SINCE {
            response.token_requester_principal_type = Str::default();
            response.token_requester_principal_name = Str::default();
        }
        Ok(response)
    }
}

impl CreateDelegationToken {
    async fn create(
        cx: Context,
        request: CreateDelegationTokenRequest,
    ) -> Result<CreateDelegationTokenResponse, Refusal> {
        let requester = cx.principal().clone();
        let owner = match request.owner_principal_name.as_deref() {
            None | Some("") => requester.clone(),
            Some(name) => {
                let kind = request.owner_principal_type.as_deref().unwrap_or_default();
                match Principal::parse(&format!("{kind}:{name}")) {
                    Some(owner) => owner,
                    None => return Ok(refused(&requester, &requester, ErrorCode::InvalidPrincipalType)),
                }
            }
        };
        if !cx.may_use_tokens() {
            return Ok(refused(&owner, &requester, ErrorCode::DelegationTokenRequestNotAllowed));
        }
        if owner != requester && !cx.allows(Operation::CreateTokens, Resource::User(owner.as_str())) {
            return Ok(refused(&owner, &requester, ErrorCode::DelegationTokenAuthorizationFailed));
        }
        let Some(tokens) = cx.broker.tokens.as_ref() else {
            return Ok(refused(&owner, &requester, ErrorCode::DelegationTokenAuthDisabled));
        };
        if request.renewers.len() > RENEWERS_MAX
            || request.renewers.iter().any(|renewer| renewer.principal_type != "User")
        {
            return Ok(refused(&owner, &requester, ErrorCode::InvalidPrincipalType));
        }
        let now_ms = now();
        let life_ms = match request.max_lifetime_ms {
            1.. => request.max_lifetime_ms.min(tokens.max_lifetime_ms),
            _ => tokens.max_lifetime_ms,
        };
        let max_ms = now_ms.saturating_add(life_ms);
        let renewers =
            request.renewers.iter().map(|r| Str::from(format!("{}:{}", r.principal_type, r.principal_name)));
        let token = DelegationToken {
            token_id: Str::from(TopicId(Uuid::new_v4()).to_string()),
            owner: Str::from(owner.as_str()),
            requester: Str::from(requester.as_str()),
            renewers: renewers.collect(),
            issued_ms: now_ms,
            max_ms,
            expires_ms: max_ms.min(now_ms.saturating_add(tokens.expiry_ms)),
        };
        let decided = cx.broker.decide(|image| controller::create_delegation_token(image, &token)).await;
        if let Err(code) = decided.flatten() {
            return Ok(refused(&owner, &requester, code));
        }
        Ok(CreateDelegationTokenResponse {
            issue_timestamp_ms: token.issued_ms,
            expiry_timestamp_ms: token.expires_ms,
            max_timestamp_ms: token.max_ms,
            hmac: tokens.hmac(&token.token_id),
            token_id: token.token_id,
            ..refused(&owner, &requester, ErrorCode::None)
        })
    }
}

fn refused(owner: &Principal, requester: &Principal, code: ErrorCode) -> CreateDelegationTokenResponse {
    CreateDelegationTokenResponse {
        error_code: code.into(),
        principal_type: Str::from(owner.kind()),
        principal_name: Str::from(owner.name()),
        token_requester_principal_type: Str::from(requester.kind()),
        token_requester_principal_name: Str::from(requester.name()),
        issue_timestamp_ms: -1,
        expiry_timestamp_ms: -1,
        max_timestamp_ms: -1,
        ..Default::default()
    }
}
