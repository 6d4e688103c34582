//! SCRAM (RFC 5802, RFC 7677), without channel binding.
//!
//! ```text
//! client  n,,n=user,r=NONCE[,tokenauth=true]
//! server  r=NONCE+OURS,s=salt,i=iterations
//! client  c=biws,r=NONCE+OURS,p=proof        the nonce must be the whole one (CVE-2024-56128)
//! server  v=signature
//! ```
//!
//! - With `tokenauth=true` the user is a delegation token's id, and whoever proves its secret is its owner (KIP-48).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use strata_metadata::{ScramCredential, ScramMechanism};

use super::super::{Principal, crypto};
use super::{Authenticated, Directory, Outcome, invalid_credentials};

/// No honest message is longer.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// One exchange.
pub(in super::super) struct Scram {
    mechanism: ScramMechanism,
    server_nonce: String,
    state: State,
}

enum State {
    First,
    Final(Box<Expected>),
    Over,
}

/// What the client's proof is checked against.
struct Expected {
    /// The header that the final message must repeat.
    gs2_header: String,
    client_first_bare: String,
    server_first: String,
    nonce: String,
    credential: Arc<ScramCredential>,
    authenticated: Authenticated,
}

/// A nonce of our own; printable, without commas.
pub(super) fn server_nonce() -> String {
    URL_SAFE_NO_PAD.encode(crypto::random::<24>())
}

impl Scram {
    pub(super) fn new(mechanism: ScramMechanism, server_nonce: String) -> Self {
        Self { mechanism, server_nonce, state: State::First }
    }

    pub(super) fn step(&mut self, message: &[u8], directory: &Directory<'_>) -> Outcome {
        let text = match std::str::from_utf8(message) {
            Ok(text) if message.len() <= MESSAGE_BYTES_MAX => text,
            _ => return Outcome::Failed("Invalid SCRAM message".to_owned()),
        };
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => match self.first(text, directory) {
                Ok(expected) => {
                    let challenge = expected.server_first.clone().into_bytes();
                    self.state = State::Final(Box::new(expected));
                    Outcome::Challenge(challenge)
                }
                Err(failed) => failed,
            },
            State::Final(expected) => self.last(text, &expected),
            State::Over => Outcome::Failed("the SCRAM exchange is over".to_owned()),
        }
    }

    fn first(&self, text: &str, directory: &Directory<'_>) -> Result<Expected, Outcome> {
        let first = ClientFirst::parse(text)
            .ok_or_else(|| Outcome::Failed("Invalid SCRAM client first message format".to_owned()))?;
        if !first.authorization_id.is_empty() && first.authorization_id != first.user {
            let why =
                "Authentication failed: Client requested an authorization id that is different from username";
            return Err(Outcome::Failed(why.to_owned()));
        }
        let found = match first.by_token {
            true => self.token(&first.user, directory),
            false => directory.image.scram_credential(&first.user, self.mechanism).map(|credential| {
                let authenticated =
                    Authenticated { principal: Principal::user(&first.user), expires_ms: None };
                (Arc::new(credential.clone()), authenticated)
            }),
        };
        let (credential, authenticated) = found.ok_or_else(|| invalid_credentials(self.mechanism))?;
        let nonce = format!("{}{}", first.nonce, self.server_nonce);
        let salt = STANDARD.encode(&credential.salt);
        Ok(Expected {
            gs2_header: first.gs2_header.to_owned(),
            client_first_bare: first.bare.to_owned(),
            server_first: format!("r={nonce},s={salt},i={}", credential.iterations),
            nonce,
            credential,
            authenticated,
        })
    }

    fn token(&self, id: &str, directory: &Directory<'_>) -> Option<(Arc<ScramCredential>, Authenticated)> {
        let token = directory.image.delegation_token(id)?;
        if token.is_expired(directory.now_ms) {
            return None;
        }
        let principal = Principal::parse(&token.owner)?.with_token();
        let authenticated = Authenticated { principal, expires_ms: Some(token.expires_ms) };
        Some((directory.tokens?.credential(id, self.mechanism), authenticated))
    }

    fn last(&self, text: &str, expected: &Expected) -> Outcome {
        let parsed = text.rsplit_once(",p=").and_then(|(without_proof, proof)| {
            let binding_and_nonce = without_proof.strip_prefix("c=")?;
            let (binding, rest) = binding_and_nonce.split_once(",r=")?;
            let nonce = rest.split_once(',').map_or(rest, |(nonce, _)| nonce);
            Some((without_proof, binding, nonce, STANDARD.decode(proof).ok()?))
        });
        let Some((without_proof, binding, nonce, proof)) = parsed else {
            return Outcome::Failed("Invalid SCRAM client final message format".to_owned());
        };
        // Java's client binds `n,,` also where it has named an authorization id.
        let bound = STANDARD.decode(binding).unwrap_or_default();
        if bound != expected.gs2_header.as_bytes() && bound != b"n,," {
            return Outcome::Failed("Invalid channel binding in the final client message".to_owned());
        }
        if nonce != expected.nonce {
            return Outcome::Failed("Invalid client nonce in the final client message.".to_owned());
        }
        let Expected { credential, client_first_bare, server_first, .. } = expected;
        let auth_message = format!("{client_first_bare},{server_first},{without_proof}");
        let signature = crypto::scram_hmac(self.mechanism, &credential.stored_key, auth_message.as_bytes());
        if proof.len() != signature.len() {
            return invalid_credentials(self.mechanism);
        }
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(proof, sign)| proof ^ sign).collect();
        let stored_key = crypto::scram_digest(self.mechanism, &client_key);
        if !crypto::secrets_equal(&stored_key, &credential.stored_key) {
            return invalid_credentials(self.mechanism);
        }
        let signature = crypto::scram_hmac(self.mechanism, &credential.server_key, auth_message.as_bytes());
        Outcome::Done {
            authenticated: expected.authenticated.clone(),
            last: format!("v={}", STANDARD.encode(signature)).into_bytes(),
        }
    }
}

struct ClientFirst<'a> {
    gs2_header: &'a str,
    bare: &'a str,
    authorization_id: String,
    user: String,
    nonce: &'a str,
    by_token: bool,
}

impl<'a> ClientFirst<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        // Channel binding is not offered, so `y` and `p` are not to be asked for.
        let rest = text.strip_prefix("n,")?;
        let (authorization, bare) = rest.split_once(',')?;
        let authorization_id = match authorization {
            "" => String::new(),
            id => unescape(id.strip_prefix("a=")?)?,
        };
        let mut parts = bare.split(',');
        let mut part = parts.next()?;
        if part.starts_with("m=") {
            part = parts.next()?;
        }
        let user = unescape(part.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        let printable = |b: u8| (0x21..=0x7e).contains(&b);
        if user.is_empty() || nonce.is_empty() || !nonce.bytes().all(printable) {
            return None;
        }
        let by_token = parts.any(|extension| extension.eq_ignore_ascii_case("tokenauth=true"));
        let gs2_header = &text[..text.len() - bare.len()];
        Some(Self { gs2_header, bare, authorization_id, user, nonce, by_token })
    }
}

/// A name in which `=2C` stands for a comma and `=3D` for `=`; nothing else may follow a `=`.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (c, rest) = match part.get(..2)? {
            "2C" => (',', &part[2..]),
            "3D" => ('=', &part[2..]),
            _ => return None,
        };
        out.push(c);
        out.push_str(rest);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use strata_metadata::Image;
    use strata_metadata::controller::alter_user_scram_credentials;
    use strata_protocol::messages::AlterUserScramCredentialsRequest;
    use strata_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;

    use super::super::oauth::NoBearer;
    use super::*;
    use crate::config::{Mechanism, MechanismSettings};

    const SALT: &[u8] = b"salt of the user";

    fn image(mechanism: ScramMechanism, user: &str, password: &str) -> Image {
        let iterations = NonZeroU32::new(4096).unwrap();
        let salted = crypto::salted_password(mechanism, password.as_bytes(), SALT, iterations);
        let upsertion = ScramCredentialUpsertion {
            name: user.into(),
            mechanism: mechanism.code(),
            iterations: 4096,
            salt: SALT.into(),
            salted_password: salted.into(),
            ..Default::default()
        };
        let request = AlterUserScramCredentialsRequest { upsertions: vec![upsertion], ..Default::default() };
        let mut image = Image::default();
        let (records, _) = alter_user_scram_credentials(&image, &request, &crypto::scram_keys);
        records.iter().for_each(|record| image.apply(record).unwrap());
        image
    }

    /// A client: it answers the server's first message, with whatever nonce it is told to send.
    fn proof(
        mechanism: ScramMechanism,
        password: &str,
        server_first: &str,
        first_bare: &str,
        nonce: &str,
    ) -> String {
        let iterations = NonZeroU32::new(4096).unwrap();
        let salted = crypto::salted_password(mechanism, password.as_bytes(), SALT, iterations);
        let client_key = crypto::scram_hmac(mechanism, &salted, b"Client Key");
        let stored_key = crypto::scram_digest(mechanism, &client_key);
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{first_bare},{server_first},{without_proof}");
        let signature = crypto::scram_hmac(mechanism, &stored_key, message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }

    fn run(password: &str, change_nonce: impl Fn(&str) -> String) -> Outcome {
        let mechanism = ScramMechanism::Sha256;
        let image = image(mechanism, "us=er,", "secret");
        let settings = MechanismSettings {
            mechanism: Mechanism::Scram(mechanism),
            reauthenticate_after: None,
            plain_users: Default::default(),
            oauth: None,
        };
        let directory =
            Directory { settings: &settings, image: &image, tokens: None, bearer: &NoBearer, now_ms: 0 };
        let mut scram = Scram::new(mechanism, server_nonce());
        let bare = "n=us=3Der=2C,r=abc";
        let Outcome::Challenge(first) = scram.step(format!("n,,{bare}").as_bytes(), &directory) else {
            panic!("the first message is right");
        };
        let first = String::from_utf8(first).unwrap();
        let nonce = first.split(',').next().unwrap().strip_prefix("r=").unwrap();
        let last = proof(mechanism, password, &first, bare, &change_nonce(nonce));
        scram.step(last.as_bytes(), &directory)
    }

    #[test]
    fn the_right_password_authenticates() {
        match run("secret", str::to_owned) {
            Outcome::Done { authenticated, last } => {
                assert_eq!(authenticated.principal.name(), "us=er,");
                assert!(last.starts_with(b"v="));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(run("Secret", str::to_owned), Outcome::Failed(_)));
    }

    #[test]
    fn cve_2024_56128_a_final_message_with_another_nonce_is_refused() {
        // The proof is right for the message that carries it: only the check of the nonce can tell.
        for nonce in ["abc", "", "abcd"] {
            assert!(
                matches!(run("secret", |_| nonce.to_owned()), Outcome::Failed(why) if why.contains("nonce"))
            );
        }
        assert!(matches!(run("secret", |nonce| format!("{nonce}x")), Outcome::Failed(_)));
    }

    #[test]
    fn malformed_first_messages_are_refused() {
        for text in [
            "",
            "n,,",
            "y,,n=u,r=x",
            "p=x,,n=u,r=x",
            "n,,n=,r=x",
            "n,,n=u,r=",
            "n,,n=u=2X,r=x",
            "n,b,n=u,r=x",
            "n,,r=x,n=u",
        ] {
            assert!(ClientFirst::parse(text).is_none(), "{text}");
        }
        assert!(ClientFirst::parse("n,a=u,n=u,r=x,tokenauth=true").unwrap().by_token);
    }
}
