//! PLAIN (RFC 4616): `[authorization id] NUL user NUL password`, in one message.

use std::collections::HashMap;

use super::super::{Principal, crypto};
use super::{Authenticated, Outcome};

pub(super) fn check(message: &[u8], users: &HashMap<String, String>) -> Outcome {
    match authenticate(message, users) {
        Ok(user) => {
            let authenticated = Authenticated { principal: Principal::user(user), expires_ms: None };
            Outcome::Done { authenticated, last: Vec::new() }
        }
        Err(why) => Outcome::Failed(why),
    }
}

fn authenticate<'a>(message: &'a [u8], users: &HashMap<String, String>) -> Result<&'a str, String> {
    let text =
        std::str::from_utf8(message).map_err(|_| "Invalid SASL/PLAIN response: not UTF-8".to_owned())?;
    let parts: Vec<&str> = text.splitn(4, '\0').collect();
    let [authorization_id, user, password] = parts[..] else {
        return Err(format!("Invalid SASL/PLAIN response: expected 3 tokens, got {}", parts.len()));
    };
    if user.is_empty() {
        return Err("Authentication failed: username not specified".to_owned());
    }
    if password.is_empty() {
        return Err("Authentication failed: password not specified".to_owned());
    }
    // Of a user that there is not, something is compared all the same: the time tells nothing.
    let (expected, known) = users.get(user).map_or(("", false), |expected| (expected.as_str(), true));
    if !(crypto::secrets_equal(expected.as_bytes(), password.as_bytes()) & known) {
        return Err("Authentication failed: Invalid username or password".to_owned());
    }
    if !authorization_id.is_empty() && authorization_id != user {
        let why =
            "Authentication failed: Client requested an authorization id that is different from username";
        return Err(why.to_owned());
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_a_known_user_is_taken() {
        let users = HashMap::from([("a".to_owned(), "p".to_owned()), ("e".to_owned(), String::new())]);
        for (message, right) in [
            (&b"\0a\0p"[..], true),
            (b"a\0a\0p", true),
            (b"b\0a\0p", false),
            (b"\0a\0q", false),
            (b"\0b\0p", false),
            (b"\0e\0", false),
            (b"\0\0p", false),
            (b"a\0p", false),
            (b"\0a\0p\0x", false),
            (b"", false),
            (b"\0a\0\xff", false),
        ] {
            let done = matches!(check(message, &users), Outcome::Done { .. });
            assert_eq!(done, right, "{message:?}");
        }
    }
}
