//! Delegation tokens (38–41; KIP-48, KIP-373): created, renewed, expired. Times are milliseconds since 1970, periods
//! milliseconds.

use strata_protocol::messages::RemoveDelegationTokenRecord;
use strata_types::ErrorCode;

use super::Decision;
use crate::{DelegationToken, Image};

/// The most tokens that there may be at once.
pub const DELEGATION_TOKENS_MAX: usize = 10_000;

/// Records a new token.
pub fn create_delegation_token(image: &Image, token: &DelegationToken) -> Decision<Result<(), ErrorCode>> {
    if image.delegation_tokens().count() >= DELEGATION_TOKENS_MAX {
        return (Vec::new(), Err(ErrorCode::PolicyViolation));
    }
    (vec![token.to_record().into()], Ok(()))
}

/// Lets a token live for `period_ms` from now, at most to its end; answers when it expires.
pub fn renew_delegation_token(
    image: &Image,
    token_id: &str,
    principal: &str,
    (now_ms, period_ms): (i64, i64),
) -> Decision<Result<i64, ErrorCode>> {
    match usable(image, token_id, principal, now_ms) {
        Err(code) => (Vec::new(), Err(code)),
        Ok(token) => {
            let expires_ms = token.max_ms.min(now_ms.saturating_add(period_ms));
            let renewed = DelegationToken { expires_ms, ..token.clone() };
            (vec![renewed.to_record().into()], Ok(expires_ms))
        }
    }
}

/// Ends a token at once (a negative period), or `period_ms` from now; answers when it expires.
pub fn expire_delegation_token(
    image: &Image,
    token_id: &str,
    principal: &str,
    (now_ms, period_ms): (i64, i64),
) -> Decision<Result<i64, ErrorCode>> {
    match usable(image, token_id, principal, now_ms) {
        Err(code) => (Vec::new(), Err(code)),
        Ok(_) if period_ms < 0 => {
            let record = RemoveDelegationTokenRecord { token_id: token_id.into(), ..Default::default() };
            (vec![record.into()], Ok(period_ms))
        }
        Ok(_) => renew_delegation_token(image, token_id, principal, (now_ms, period_ms)),
    }
}

/// Removes the tokens that have expired.
pub fn sweep_delegation_tokens(image: &Image, now_ms: i64) -> Decision<()> {
    let expired = image.delegation_tokens().filter(|token| token.is_expired(now_ms));
    let remove = |token: &DelegationToken| {
        RemoveDelegationTokenRecord { token_id: token.token_id.clone(), ..Default::default() }.into()
    };
    (expired.map(remove).collect(), ())
}

fn usable<'a>(
    image: &'a Image,
    token_id: &str,
    principal: &str,
    now_ms: i64,
) -> Result<&'a DelegationToken, ErrorCode> {
    let token = image.delegation_token(token_id).ok_or(ErrorCode::DelegationTokenNotFound)?;
    if token.is_expired(now_ms) {
        return Err(ErrorCode::DelegationTokenExpired);
    }
    if !token.may_be_renewed_by(principal) {
        return Err(ErrorCode::DelegationTokenOwnerMismatch);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(image: &mut Image, records: &[crate::MetadataRecord]) {
        records.iter().for_each(|record| image.apply(record).expect("a record of ours"));
    }

    fn token(id: &str, expires_ms: i64) -> DelegationToken {
        DelegationToken {
            token_id: id.into(),
            owner: "User:o".into(),
            requester: "User:q".into(),
            renewers: vec!["User:r".into()],
            issued_ms: 0,
            max_ms: 100,
            expires_ms,
        }
    }

    #[test]
    fn a_token_lives_until_it_expires_is_ended_or_swept() {
        let mut image = Image::default();
        for made in [token("a", 10), token("b", 50)] {
            let (records, created) = create_delegation_token(&image, &made);
            assert_eq!(created, Ok(()));
            apply(&mut image, &records);
        }
        let renew = |image: &Image, who, now| renew_delegation_token(image, "a", who, (now, 500));
        assert_eq!(renew(&image, "User:q", 5).1, Err(ErrorCode::DelegationTokenOwnerMismatch));
        assert_eq!(renew(&image, "User:r", 11).1, Err(ErrorCode::DelegationTokenExpired));
        let (records, until) = renew(&image, "User:r", 5);
        assert_eq!(until, Ok(100), "no renewal leads beyond the end");
        apply(&mut image, &records);

        let swept = sweep_delegation_tokens(&image, 60).0;
        apply(&mut image, &swept);
        assert!(image.delegation_token("a").is_some() && image.delegation_token("b").is_none());
        let (records, ended) = expire_delegation_token(&image, "a", "User:o", (60, -1));
        assert_eq!(ended, Ok(-1));
        apply(&mut image, &records);
        assert_eq!(image.delegation_tokens().count(), 0);
        let gone = expire_delegation_token(&image, "a", "User:o", (60, -1)).1;
        assert_eq!(gone, Err(ErrorCode::DelegationTokenNotFound));
    }
}
