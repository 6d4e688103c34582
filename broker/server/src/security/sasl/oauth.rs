//! OAUTHBEARER (RFC 7628): a bearer token in one message.
//!
//! ```text
//! client  n,[a=id],\x01auth=Bearer TOKEN\x01[extension=value\x01…]\x01
//! server  (empty)                                  taken
//! server  {"status":"invalid_token"}               refused; the client acknowledges with \x01, then the exchange ends
//! ```
//!
//! A token is a JWT (RFC 7519). Its signature is verified with the keys of a JWK set, and only by an algorithm that the
//! key itself is for: `none`, and a public key taken for a shared secret, cannot come up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

use super::super::Principal;
use super::{Authenticated, Directory, Outcome};
use crate::config::SignedTokens;

/// No honest token is longer.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// A JWK set with more keys is refused.
const KEYS_MAX: usize = 100;

/// Why a token is not taken; for the log, not for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidToken {
    #[error("it is no signed JWT")]
    Malformed,
    #[error("its algorithm {0} is not allowed")]
    Algorithm(String),
    #[error("no key verifies it")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it has no {0}")]
    Missing(String),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    Early,
    #[error("it is from another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("the keys are not there yet")]
    NoKeys,
}

/// Checks bearer tokens, against keys that change.
pub(crate) trait TokenChecker {
    /// The name of the principal and when the token ends, in milliseconds since 1970.
    fn check(&self, token: &str, now_ms: i64) -> Result<(String, i64), InvalidToken>;
}

/// Where OAUTHBEARER is not spoken.
#[cfg(test)]
pub(super) struct NoBearer;

#[cfg(test)]
impl TokenChecker for NoBearer {
    fn check(&self, _: &str, _: i64) -> Result<(String, i64), InvalidToken> {
        Err(InvalidToken::NoKeys)
    }
}

/// One exchange.
#[derive(Default)]
pub(in super::super) struct Bearer {
    refused: bool,
}

impl Bearer {
    pub(super) fn step(&mut self, message: &[u8], directory: &Directory<'_>) -> Outcome {
        const REFUSED: &str = "{\"status\":\"invalid_token\"}";
        if self.refused {
            return Outcome::Failed(REFUSED.to_owned());
        }
        let Some((authorization_id, token)) = parse(message) else {
            return Outcome::Failed("Invalid OAUTHBEARER client first message".to_owned());
        };
        match directory.bearer.check(token, directory.now_ms) {
            Ok((name, _)) if !authorization_id.is_empty() && authorization_id != name => {
                Outcome::Failed(format!(
                    "Authentication failed: Client requested an authorization id ({authorization_id}) that is \
                     different from the token's principal name ({name})"
                ))
            }
            Ok((name, expires_ms)) => Outcome::Done {
                authenticated: Authenticated {
                    principal: Principal::user(&name),
                    expires_ms: Some(expires_ms),
                },
                last: Vec::new(),
            },
            Err(why) => {
                tracing::debug!("a bearer token was refused: {why}");
                self.refused = true;
                Outcome::Challenge(REFUSED.as_bytes().to_vec())
            }
        }
    }
}

/// Authorization id and token.
fn parse(message: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(message).ok()?;
    let (header, pairs) = text.split_once('\u{1}')?;
    let authorization = header.strip_prefix("n,")?.strip_suffix(',')?;
    let authorization_id = match authorization {
        "" => "",
        id => id.strip_prefix("a=")?,
    };
    let auth = pairs.split('\u{1}').find_map(|pair| pair.strip_prefix("auth="))?;
    let (scheme, token) = auth.split_once(' ')?;
    let token = token.trim();
    let plain = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    plain.then_some((authorization_id, token))
}

/// The keys of a JWK set (RFC 7517) that can verify: RSA and elliptic curves.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// Where the key says which algorithm it is for.
    algorithm: Option<String>,
    public: PublicKey,
}

#[derive(Debug)]
enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl KeySet {
    /// Reads a JWK set. Keys that cannot verify signatures are left out.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, &'static str> {
        let set: Map<String, Value> = serde_json::from_slice(json).map_err(|_| "it is no JSON object")?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("it has no list of keys")?;
        if keys.len() > KEYS_MAX {
            return Err("it has too many keys");
        }
        Ok(Self { keys: keys.iter().filter_map(key).collect() })
    }

    fn verify(&self, header: &Map<String, Value>, message: &[u8], sign: &[u8]) -> Result<(), InvalidToken> {
        let algorithm = text(header, "alg").unwrap_or("none");
        let id = text(header, "kid");
        let fits = |key: &&Key| {
            let named = id.is_none() || key.id.as_deref() == id;
            named && key.algorithm.as_deref().is_none_or(|own| own == algorithm)
        };
        let mut found = false;
        for key in self.keys.iter().filter(fits) {
            match key.public.verify(algorithm, message, sign) {
                Some(true) => return Ok(()),
                Some(false) => found = true,
                None => {}
            }
        }
        match found {
            true => Err(InvalidToken::Signature),
            false if ALGORITHMS.contains(&algorithm) => Err(InvalidToken::UnknownKey),
            false => Err(InvalidToken::Algorithm(algorithm.chars().take(16).collect())),
        }
    }
}

const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"];

fn key(value: &Value) -> Option<Key> {
    let key = value.as_object()?;
    if text(key, "use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(key, name)?).ok();
    let point = || Some([&[4][..], &number("x")?, &number("y")?].concat());
    let public = match (text(key, "kty")?, text(key, "crv")) {
        ("RSA", _) => PublicKey::Rsa { n: number("n")?, e: number("e")? },
        ("EC", Some("P-256")) => PublicKey::P256(point()?),
        ("EC", Some("P-384")) => PublicKey::P384(point()?),
        _ => return None,
    };
    let owned = |name| text(key, name).map(str::to_owned);
    Some(Key { id: owned("kid"), algorithm: owned("alg"), public })
}

impl PublicKey {
    /// Whether the signature is right; `None` where this kind of key does not sign by that algorithm.
    fn verify(&self, algorithm: &str, message: &[u8], sign: &[u8]) -> Option<bool> {
        match self {
            Self::Rsa { n, e } => {
                let parameters: &signature::RsaParameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return None,
                };
                Some(RsaPublicKeyComponents { n, e }.verify(parameters, message, sign).is_ok())
            }
            Self::P256(point) => (algorithm == "ES256").then(|| {
                let key = UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, sign).is_ok()
            }),
            Self::P384(point) => (algorithm == "ES384").then(|| {
                let key = UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point);
                key.verify(message, sign).is_ok()
            }),
        }
    }
}

/// Checks a token's signature, and then what it says.
pub(crate) fn check_signed(
    token: &str,
    keys: &KeySet,
    wanted: &SignedTokens,
    now_ms: i64,
) -> Result<(String, i64), InvalidToken> {
    let (signed, sign) = token.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(InvalidToken::Malformed)?;
    let (header, sign) = (object(header)?, decode(sign)?);
    if header.contains_key("crit") {
        return Err(InvalidToken::Malformed);
    }
    keys.verify(&header, signed.as_bytes(), &sign)?;
    let claims = object(payload)?;
    if wanted.issuer.as_deref().is_some_and(|issuer| text(&claims, "iss") != Some(issuer)) {
        return Err(InvalidToken::Issuer);
    }
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !wanted.audiences.is_empty() && !wanted.audiences.iter().any(|a| audiences.contains(&a.as_str())) {
        return Err(InvalidToken::Audience);
    }
    let skew_ms = wanted.clock_skew.as_millis() as i64;
    lifetime_and_name(&claims, &wanted.principal_claim, skew_ms, now_ms)
}

/// Checks a token that nobody has signed: its algorithm must say so, and its signature be empty.
pub(crate) fn check_unsecured(
    token: &str,
    principal_claim: &str,
    skew_ms: i64,
    now_ms: i64,
) -> Result<(String, i64), InvalidToken> {
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let [header, payload, ""] = parts[..] else { return Err(InvalidToken::Malformed) };
    let header = object(header)?;
    match text(&header, "alg") {
        Some("none") => lifetime_and_name(&object(payload)?, principal_claim, skew_ms, now_ms),
        other => Err(InvalidToken::Algorithm(other.unwrap_or_default().chars().take(16).collect())),
    }
}

fn lifetime_and_name(
    claims: &Map<String, Value>,
    principal_claim: &str,
    skew_ms: i64,
    now_ms: i64,
) -> Result<(String, i64), InvalidToken> {
    let missing = |name: &str| InvalidToken::Missing(name.to_owned());
    let expires_ms = seconds(claims, "exp").ok_or_else(|| missing("exp"))?;
    let issued_ms = seconds(claims, "iat").ok_or_else(|| missing("iat"))?;
    if now_ms.saturating_sub(skew_ms) >= expires_ms {
        return Err(InvalidToken::Expired);
    }
    let begins_ms = seconds(claims, "nbf").unwrap_or(issued_ms).max(issued_ms);
    if now_ms.saturating_add(skew_ms) < begins_ms {
        return Err(InvalidToken::Early);
    }
    let name = text(claims, principal_claim).map(str::trim).filter(|name| !name.is_empty());
    Ok((name.ok_or_else(|| missing(principal_claim))?.to_owned(), expires_ms))
}

/// A NumericDate, in milliseconds.
fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = claims.get(name)?.as_f64().filter(|value| value.is_finite())?;
    Some((value * 1000.0) as i64)
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

fn object(part: &str) -> Result<Map<String, Value>, InvalidToken> {
    serde_json::from_slice(&decode(part)?).map_err(|_| InvalidToken::Malformed)
}

fn decode(part: &str) -> Result<Vec<u8>, InvalidToken> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken::Malformed)
}

#[cfg(test)]
mod tests;
