//! Users that a new cluster starts with: without them, nobody could log in to a broker whose listeners all ask for SCRAM, to make
//! the first one. Written as for `kafka-storage format --add-scram` (KIP-900), several parted by `;`.
//!
//! ```text
//! strata.add.scram = SCRAM-SHA-512=[name=admin,password=admin-secret];SCRAM-SHA-256=[name=alice,iterations=8192,password=…]
//! ```
//!
//! Instead of a password there may be a `saltedpassword` with its `salt`, both in base64. A cluster that is there already has
//! the users that it has.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use strata_metadata::ScramMechanism;
use strata_metadata::controller::{SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN};

use super::{ConfigError, Values};

pub(super) const KEY: &str = "strata.add.scram";

/// A user to be.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstUser {
    pub name: String,
    pub mechanism: ScramMechanism,
    pub iterations: NonZeroU32,
    pub secret: Secret,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// To be salted: with this, or with random bytes.
    Password {
        password: String,
        salt: Option<Vec<u8>>,
    },
    Salted {
        salted_password: Vec<u8>,
        salt: Vec<u8>,
    },
}

/// The secret belongs into no log.
impl std::fmt::Debug for FirstUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FirstUser({}, [hidden])", self.name)
    }
}

pub(super) fn first_users(values: &Values<'_>) -> Result<Vec<FirstUser>, ConfigError> {
    let text = values.given(KEY).unwrap_or_default();
    // A password may hold a semicolon; what ends one entry and begins the next is a bracket before it.
    let entries = text.split_inclusive("];").map(|entry| entry.trim().trim_end_matches(';'));
    let entries = entries.filter(|entry| !entry.is_empty());
    // The value stays out of the words: it holds passwords.
    entries.map(|entry| parse(entry).map_err(|why| ConfigError::invalid(KEY, "[hidden]", why))).collect()
}

fn parse(entry: &str) -> Result<FirstUser, String> {
    const FORM: &str = "allowed is SCRAM-SHA-256|SCRAM-SHA-512=[name=NAME,iterations=N,password=PASSWORD]";
    let (mechanism, rest) = entry.split_once('=').ok_or(FORM)?;
    let mechanism = match mechanism.trim() {
        "SCRAM-SHA-256" => ScramMechanism::Sha256,
        "SCRAM-SHA-512" => ScramMechanism::Sha512,
        _ => return Err(FORM.to_owned()),
    };
    let fields = rest.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(FORM)?;
    let (mut name, mut password, mut salted, mut salt, mut iterations) = (None, None, None, None, None);
    for field in fields.split(',') {
        let (key, value) = field.split_once('=').ok_or(FORM)?;
        let value = value.trim_matches('"');
        let place = match key.trim() {
            "name" => &mut name,
            "password" => &mut password,
            "saltedpassword" => &mut salted,
            "salt" => &mut salt,
            "iterations" => &mut iterations,
            other => return Err(format!("unknown field '{other}'; {FORM}")),
        };
        if place.replace(value).is_some() {
            return Err(format!("'{}' is there twice", key.trim()));
        }
    }
    let name = name.filter(|name| !name.is_empty()).ok_or("no name is given")?.to_owned();
    let base64 = |text: &str| STANDARD.decode(text).map_err(|_| "a salt is written in base64".to_owned());
    let salt = salt.map(base64).transpose()?;
    let secret = match (password, salted, salt) {
        (Some(password), None, salt) => Secret::Password { password: password.to_owned(), salt },
        (None, Some(salted), Some(salt)) => Secret::Salted { salted_password: base64(salted)?, salt },
        (None, Some(_), None) => return Err("a salted password needs its salt".to_owned()),
        (Some(_), Some(_), _) => return Err("a password and a salted password exclude each other".to_owned()),
        (None, None, _) => return Err("no password is given".to_owned()),
    };
    let iterations = iterations.map_or(Ok(SCRAM_ITERATIONS_MIN), str::parse).unwrap_or_default();
    if !(SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX).contains(&iterations) {
        return Err(format!("iterations are {SCRAM_ITERATIONS_MIN} to {SCRAM_ITERATIONS_MAX}"));
    }
    let iterations = NonZeroU32::new(iterations.unsigned_abs()).unwrap_or(NonZeroU32::MIN);
    Ok(FirstUser { name, mechanism, iterations, secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_written_as_for_kafkas_storage_tool() {
        let user = parse("SCRAM-SHA-256=[name=alice,iterations=8192,password=a;b=c]").unwrap();
        assert_eq!((user.name.as_str(), user.iterations.get()), ("alice", 8192));
        assert!(user.secret == Secret::Password { password: "a;b=c".to_owned(), salt: None });
        let user = parse(r#"SCRAM-SHA-512=[name=bob,salt="c2FsdA==",saltedpassword="c2VjcmV0"]"#).unwrap();
        assert!(
            user.secret == Secret::Salted { salted_password: b"secret".to_vec(), salt: b"salt".to_vec() }
        );
        assert_eq!((user.mechanism, user.iterations.get()), (ScramMechanism::Sha512, 4096));
    }

    #[test]
    fn what_is_no_user_is_refused_with_the_reason() {
        for (entry, why) in [
            ("alice", "allowed is"),
            ("SCRAM-SHA-1=[name=a,password=b]", "allowed is"),
            ("SCRAM-SHA-256=[password=b]", "no name"),
            ("SCRAM-SHA-256=[name=a]", "no password"),
            ("SCRAM-SHA-256=[name=a,password=b,password=c]", "twice"),
            ("SCRAM-SHA-256=[name=a,saltedpassword=Yg==]", "needs its salt"),
            ("SCRAM-SHA-256=[name=a,password=b,iterations=1]", "4096 to 16384"),
            ("SCRAM-SHA-256=[name=a,password=b,iterations=x]", "4096 to 16384"),
            ("SCRAM-SHA-256=[name=a,password=b,age=7]", "unknown field 'age'"),
        ] {
            let refused = parse(entry).unwrap_err();
            assert!(refused.contains(why), "{entry}: {refused}");
        }
    }
}
