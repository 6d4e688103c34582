//! CVE-2026-33557, CVE-2026-110985: a token counts only with a signature that a known key verifies.

use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::*;
use crate::config::KeySource;

const NOW_MS: i64 = 1_700_000_000_000;

struct Issuer {
    pair: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { pair }
    }

    fn keys(&self) -> KeySet {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let json = serde_json::json!({"keys": [
            {"kty": "oct", "kid": "k", "k": "AAAA"},
            {"kty": "EC", "crv": "P-256", "kid": "k", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)},
        ]});
        KeySet::parse(json.to_string().as_bytes()).unwrap()
    }

    fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let sign = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign))
    }
}

const HEADER: &str = r#"{"alg":"ES256","kid":"k"}"#;
const CLAIMS: &str =
    r#"{"sub":"alice","iss":"https://issuer","aud":["kafka","x"],"iat":1699999990,"exp":1700000060}"#;

fn wanted() -> SignedTokens {
    SignedTokens {
        keys: KeySource::File("unused".into()),
        issuer: Some("https://issuer".to_owned()),
        audiences: vec!["kafka".to_owned()],
        principal_claim: "sub".to_owned(),
        clock_skew: Duration::from_secs(30),
    }
}

#[test]
fn a_signed_token_says_who_and_until_when() {
    let issuer = Issuer::new();
    let token = issuer.token(HEADER, CLAIMS);
    let checked = check_signed(&token, &issuer.keys(), &wanted(), NOW_MS);
    assert_eq!(checked, Ok(("alice".to_owned(), 1_700_000_060_000)));
}

#[test]
fn cve_2026_33557_what_no_known_key_has_signed_is_refused() {
    let (issuer, forger) = (Issuer::new(), Issuer::new());
    let check = |token: &str| check_signed(token, &issuer.keys(), &wanted(), NOW_MS);
    assert_eq!(check(&forger.token(HEADER, CLAIMS)), Err(InvalidToken::Signature));
    let token = issuer.token(HEADER, CLAIMS);
    let (signed, sign) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode(CLAIMS.replace("alice", "admin"));
    assert_eq!(check(&format!("{header}.{other}.{sign}")), Err(InvalidToken::Signature));
    assert_eq!(check(&format!("{signed}.")), Err(InvalidToken::Signature));
    assert_eq!(check(signed), Err(InvalidToken::Malformed));
}

#[test]
fn cve_2026_110985_neither_none_nor_a_shared_secret_nor_another_key_verifies() {
    let issuer = Issuer::new();
    let check = |header: &str| check_signed(&issuer.token(header, CLAIMS), &issuer.keys(), &wanted(), NOW_MS);
    for (header, error) in [
        (r#"{"alg":"none"}"#, InvalidToken::Algorithm("none".to_owned())),
        (r#"{"alg":"None","kid":"k"}"#, InvalidToken::Algorithm("None".to_owned())),
        (r#"{"kid":"k"}"#, InvalidToken::Algorithm("none".to_owned())),
        (r#"{"alg":"HS256","kid":"k"}"#, InvalidToken::Algorithm("HS256".to_owned())),
        (r#"{"alg":"RS256","kid":"k"}"#, InvalidToken::UnknownKey),
        (r#"{"alg":"ES256","kid":"other"}"#, InvalidToken::UnknownKey),
        (r#"{"alg":"ES256","kid":"k","crit":["exp"]}"#, InvalidToken::Malformed),
    ] {
        assert_eq!(check(header), Err(error), "{header}");
    }
    let payload = URL_SAFE_NO_PAD.encode(CLAIMS);
    let unsigned = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#));
    assert!(check_signed(&unsigned, &issuer.keys(), &wanted(), NOW_MS).is_err());
    // The handler for unsigned tokens is for those alone.
    assert_eq!(check_unsecured(&unsigned, "sub", 0, NOW_MS).unwrap().0, "alice");
    assert!(check_unsecured(&issuer.token(HEADER, CLAIMS), "sub", 0, NOW_MS).is_err());
}

#[test]
fn time_issuer_and_audience_are_checked() {
    let issuer = Issuer::new();
    let check = |from: &str, to: &str, now_ms| {
        let token = issuer.token(HEADER, &CLAIMS.replace(from, to));
        check_signed(&token, &issuer.keys(), &wanted(), now_ms)
    };
    assert!(check("", "", 1_700_000_089_000).is_ok(), "within the skew");
    assert_eq!(check("", "", 1_700_000_090_000), Err(InvalidToken::Expired));
    assert_eq!(check("", "", 1_699_999_900_000), Err(InvalidToken::Early));
    assert_eq!(check("https://issuer", "https://other", NOW_MS), Err(InvalidToken::Issuer));
    assert_eq!(check("\"kafka\"", "\"other\"", NOW_MS), Err(InvalidToken::Audience));
    assert_eq!(check("\"exp\"", "\"exq\"", NOW_MS), Err(InvalidToken::Missing("exp".to_owned())));
    assert_eq!(check("alice", " ", NOW_MS), Err(InvalidToken::Missing("sub".to_owned())));
}

#[test]
fn the_first_message_is_parsed_and_nothing_else() {
    assert_eq!(parse(b"n,,\x01auth=Bearer abc\x01\x01"), Some(("", "abc")));
    assert_eq!(parse(b"n,a=u,\x01x=y\x01auth=bearer abc\x01\x01"), Some(("u", "abc")));
    for wrong in [
        &b""[..],
        b"n,,",
        b"y,,\x01auth=Bearer a\x01",
        b"n,,\x01auth=Basic a\x01",
        b"n,,\x01auth=Bearer \x01",
    ] {
        assert_eq!(parse(wrong), None, "{wrong:?}");
    }
}
