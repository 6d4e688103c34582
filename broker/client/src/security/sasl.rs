//! SASL on the client's side: PLAIN, SCRAM and OAUTHBEARER over SaslHandshake v1 and SaslAuthenticate.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use strata_protocol::Str;
use strata_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest};
use strata_types::{ErrorCode, jaas};

use super::Lookup;
use crate::connection::Connection;
use crate::error::{ClientError, Result};

/// What a server may ask a password to be iterated: more would be a way to keep a client busy.
const ITERATIONS_MAX: u32 = 1_000_000;
const ITERATIONS_MIN: u32 = 4_096;

/// Who the client says it is, and how it proves that.
pub(crate) enum Credentials {
    Plain {
        user: String,
        password: String,
    },
    Scram {
        algorithm: Algorithm,
        user: String,
        password: String,
        by_token: bool,
    },
    /// The file is read for every connection, so that a token may be replaced.
    OauthBearer {
        token_file: String,
    },
}

#[derive(Clone, Copy)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Credentials {
    pub(super) fn new(get: &Lookup<'_>) -> Result<Self> {
        let wrong = |why: String| Err(ClientError::Options(why));
        let mechanism = get("sasl.mechanism").unwrap_or("GSSAPI");
        if mechanism == "OAUTHBEARER" {
            let url = get("sasl.oauthbearer.token.endpoint.url").unwrap_or_default();
            return match url.strip_prefix("file:") {
                Some(path) => {
                    let token_file = format!("/{}", path.trim_start_matches('/'));
                    Ok(Self::OauthBearer { token_file })
                }
                None => wrong(format!(
                    "sasl.oauthbearer.token.endpoint.url={url}: this client takes its token from a file: URL"
                )),
            };
        }
        let algorithm = match mechanism {
            "PLAIN" => None,
            "SCRAM-SHA-256" => Some(Algorithm::Sha256),
            "SCRAM-SHA-512" => Some(Algorithm::Sha512),
            other => {
                let allowed = "allowed are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER";
                return wrong(format!("sasl.mechanism={other}: {allowed}"));
            }
        };
        let Some(text) = get("sasl.jaas.config") else {
            return wrong("sasl.jaas.config is missing: it holds the user's name and password".to_owned());
        };
        let mut jaas = match jaas::parse(text) {
            Ok(jaas) => jaas,
            Err(why) => return wrong(format!("sasl.jaas.config: {why}")),
        };
        let (Some(user), Some(password)) = (jaas.options.remove("username"), jaas.options.remove("password"))
        else {
            return wrong("sasl.jaas.config lacks a username or a password".to_owned());
        };
        let by_token = jaas.options.get("tokenauth").is_some_and(|value| value == "true");
        Ok(match algorithm {
            None => Self::Plain { user, password },
            Some(algorithm) => Self::Scram { algorithm, user, password, by_token },
        })
    }

    fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain { .. } => "PLAIN",
            Self::Scram { algorithm: Algorithm::Sha256, .. } => "SCRAM-SHA-256",
            Self::Scram { algorithm: Algorithm::Sha512, .. } => "SCRAM-SHA-512",
            Self::OauthBearer { .. } => "OAUTHBEARER",
        }
    }
}

/// Authenticates a connection; answers how long its session lasts in milliseconds, 0 for as long as it is open.
pub(crate) async fn authenticate(connection: &Connection, credentials: &Credentials) -> Result<i64> {
    let mechanism = Str::from_static(credentials.mechanism());
    let chosen = connection.call(&SaslHandshakeRequest { mechanism, ..Default::default() }).await?;
    if chosen.error_code != 0 {
        let enabled: Vec<&str> = chosen.mechanisms.iter().map(Str::as_str).collect();
        let message = format!("the broker offers {}", enabled.join(", "));
        return Err(ClientError::broker(chosen.error_code, Some(&message)));
    }
    let last = match credentials {
        Credentials::Plain { user, password } => {
            say(connection, format!("\0{user}\0{password}").into_bytes()).await?
        }
        Credentials::OauthBearer { token_file } => {
            let token = tokio::fs::read_to_string(token_file).await;
            let token =
                token.map_err(|error| ClientError::Options(format!("the token {token_file}: {error}")))?;
            let answer =
                say(connection, format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", token.trim()).into()).await?;
            if !answer.auth_bytes.is_empty() {
                // Refused: the server ends the exchange when this is acknowledged.
                say(connection, vec![1]).await?;
            }
            answer
        }
        Credentials::Scram { algorithm, user, password, by_token } => {
            let client = ScramClient::new(*algorithm, user, *by_token, nonce());
            let first = say(connection, client.first()).await?;
            let (message, signature) = client.last(&first.auth_bytes, password).map_err(failed)?;
            let last = say(connection, message).await?;
            if *last.auth_bytes != *format!("v={}", STANDARD.encode(signature)).as_bytes() {
                return Err(failed("the broker does not know the password either"));
            }
            last
        }
    };
    Ok(last.session_lifetime_ms)
}

async fn say(connection: &Connection, message: Vec<u8>) -> Result<SaslAuthenticateResponse> {
    let request = SaslAuthenticateRequest { auth_bytes: Bytes::from(message), ..Default::default() };
    let answer = connection.call(&request).await?;
    ClientError::check_with(answer.error_code, answer.error_message.as_deref())?;
    Ok(answer)
}

fn failed(why: &str) -> ClientError {
    ClientError::Broker { code: ErrorCode::SaslAuthenticationFailed, message: Some(why.to_owned()) }
}

/// # Panics
/// Where the machine has no random source; nothing could be proved safely then.
fn nonce() -> String {
    let mut bytes = [0; 24];
    SystemRandom::new().fill(&mut bytes).expect("the machine has a random source");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// One exchange of SCRAM (RFC 5802).
struct ScramClient {
    algorithm: Algorithm,
    first_bare: String,
    nonce: String,
}

impl ScramClient {
    fn new(algorithm: Algorithm, user: &str, by_token: bool, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let extension = if by_token { ",tokenauth=true" } else { "" };
        Self { algorithm, first_bare: format!("n={user},r={nonce}{extension}"), nonce }
    }

    fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.first_bare).into_bytes()
    }

    /// The final message, and the signature by which the server must prove itself.
    fn last(
        &self,
        server_first: &[u8],
        password: &str,
    ) -> std::result::Result<(Vec<u8>, Vec<u8>), &'static str> {
        const WRONG: &str = "the broker's SCRAM message cannot be read";
        let server_first = std::str::from_utf8(server_first).map_err(|_| WRONG)?;
        let mut parts = server_first.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(WRONG);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the broker's nonce does not begin with ours");
        }
        let salt = STANDARD.decode(salt).map_err(|_| WRONG)?;
        let iterations: u32 = iterations.parse().map_err(|_| WRONG)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err("the broker asks for too few or too many iterations");
        }
        let iterations = NonZeroU32::new(iterations).ok_or(WRONG)?;
        let (hash, mac, derivation) = match self.algorithm {
            Algorithm::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
            Algorithm::Sha512 => (&digest::SHA512, hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512),
        };
        let mut salted = vec![0; hash.output_len()];
        pbkdf2::derive(derivation, iterations, &salt, password.as_bytes(), &mut salted);
        let sign = |key: &[u8], message: &[u8]| hmac::sign(&hmac::Key::new(mac, key), message);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash, client_key.as_ref());
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let signature = sign(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = sign(&salted, b"Server Key");
        let expected = sign(server_key.as_ref(), message.as_bytes()).as_ref().to_vec();
        Ok((format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes(), expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_proof_is_that_of_the_standard() {
        let client = ScramClient::new(Algorithm::Sha256, "user", false, "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(client.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (last, signature) = client.last(server.as_bytes(), "pencil").unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8(last).unwrap(), expected);
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_server_that_answers_another_nonce_or_asks_too_much_is_refused() {
        let client = ScramClient::new(Algorithm::Sha256, "user", false, "abc".to_owned());
        for server in [
            "r=abd1,s=AAAA,i=4096",
            "r=abc,s=AAAA,i=4096",
            "r=abc1,s=AAAA,i=1",
            "r=abc1,s=AAAA,i=99999999",
            "x",
        ] {
            assert!(client.last(server.as_bytes(), "p").is_err(), "{server}");
        }
    }
}
