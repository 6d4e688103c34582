//! The cryptography that SASL needs, all of it ring's: the one place that names hash functions.

use std::num::NonZeroU32;

use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use strata_metadata::{ScramCredential, ScramMechanism};
use subtle::ConstantTimeEq;

/// The algorithms of a SCRAM mechanism.
struct Scram {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

fn scram(mechanism: ScramMechanism) -> Scram {
    match mechanism {
        ScramMechanism::Sha256 => {
            Scram { digest: &digest::SHA256, hmac: hmac::HMAC_SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 }
        }
        ScramMechanism::Sha512 => {
            Scram { digest: &digest::SHA512, hmac: hmac::HMAC_SHA512, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512 }
        }
    }
}

/// Stored key and server key of a salted password (RFC 5802).
pub(crate) fn scram_keys(mechanism: ScramMechanism, salted_password: &[u8]) -> (Bytes, Bytes) {
    let scram = scram(mechanism);
    let key = hmac::Key::new(scram.hmac, salted_password);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(scram.digest, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    (Bytes::copy_from_slice(stored_key.as_ref()), Bytes::copy_from_slice(server_key.as_ref()))
}

/// What is kept of a salted password.
pub(super) fn scram_credential(
    mechanism: ScramMechanism,
    salted_password: &[u8],
    salt: Bytes,
    iterations: NonZeroU32,
) -> ScramCredential {
    let (stored_key, server_key) = scram_keys(mechanism, salted_password);
    // At most SCRAM_ITERATIONS_MAX.
    ScramCredential { salt, stored_key, server_key, iterations: iterations.get() as i32 }
}

/// The password, salted and iterated.
pub(super) fn salted_password(
    mechanism: ScramMechanism,
    password: &[u8],
    salt: &[u8],
    iterations: NonZeroU32,
) -> Vec<u8> {
    let scram = scram(mechanism);
    let mut out = vec![0; scram.digest.output_len()];
    pbkdf2::derive(scram.pbkdf2, iterations, salt, password, &mut out);
    out
}

pub(super) fn scram_hmac(mechanism: ScramMechanism, key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(scram(mechanism).hmac, key), message).as_ref().to_vec()
}

pub(super) fn scram_digest(mechanism: ScramMechanism, message: &[u8]) -> Vec<u8> {
    digest::digest(scram(mechanism).digest, message).as_ref().to_vec()
}

pub(super) fn hmac_sha512(key: &[u8], message: &[u8]) -> Vec<u8> {
    scram_hmac(ScramMechanism::Sha512, key, message)
}

/// Whether two secrets are equal, in a time that tells nothing about them, their lengths included.
pub(super) fn secrets_equal(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (digest::digest(&digest::SHA256, a), digest::digest(&digest::SHA256, b));
    a.as_ref().ct_eq(b.as_ref()).into()
}

/// Random bytes that nobody can guess.
///
/// # Panics
/// Where the machine has no random source; nothing could be served safely then.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the machine has a random source");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides are hashed to one length and compared as a whole: neither how long a guess is nor how much of it is right
    /// changes what is computed. A clock could only show that by chance; what is shown is that nothing is cut short.
    #[test]
    fn cve_2021_38153_secrets_are_compared_as_a_whole() {
        assert!(secrets_equal(b"secret", b"secret") && secrets_equal(b"", b""));
        for guess in ["", "s", "secreT", "Secret", "secret ", "secretsecret", "secret\0"] {
            assert!(!secrets_equal(guess.as_bytes(), b"secret"), "{guess:?}");
        }
    }
}
