//! Key stores and trust stores: PEM and PKCS12, in files or in the settings themselves (KIP-651).

use std::path::PathBuf;
use std::sync::Arc;

use p12_keystore::{KeyStore as Pkcs12, KeyStoreEntry, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// A setting of the listener, where it has a value.
pub(super) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A larger file is no store.
const STORE_BYTES_MAX: u64 = 4 * 1024 * 1024;

const OLD_ENCRYPTION: &str =
    "its key is not encrypted by PBES2; openssl pkcs8 -topk8 -v2 aes-256-cbc encrypts it so";

/// A certificate with those that lead to a root, and its key.
pub(super) struct KeyStore {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// The listener's own key. `files` gets the files that were read.
pub(super) fn key_store(get: &Lookup<'_>, files: &mut Vec<PathBuf>) -> Result<KeyStore, TlsError> {
    const LOCATION: &str = "ssl.keystore.location";
    const CHAIN: &str = "ssl.keystore.certificate.chain";
    const KEY: &str = "ssl.keystore.key";
    let key_password = get("ssl.key.password");
    if let (Some(chain), Some(key)) = (get(CHAIN), get(KEY)) {
        return Ok(KeyStore {
            chain: certificates(chain.as_bytes(), CHAIN)?,
            key: private_key(key.as_bytes(), key_password.as_deref(), KEY)?,
        });
    }
    let location =
        get(LOCATION).ok_or_else(|| TlsError::new(LOCATION, "a TLS listener needs a key store"))?;
    let bytes = read(&location, LOCATION, files)?;
    if is_pem(get, "ssl.keystore.type") {
        return Ok(KeyStore {
            chain: certificates(&bytes, LOCATION)?,
            key: private_key(&bytes, key_password.as_deref(), LOCATION)?,
        });
    }
    let store = pkcs12(&bytes, get("ssl.keystore.password").as_deref(), LOCATION)?;
    let (_, chain) = store.private_key_chain().ok_or_else(|| TlsError::new(LOCATION, "it holds no key"))?;
    let key = PrivateKeyDer::try_from(chain.key().as_der().to_vec())
        .map_err(|error| TlsError::new(LOCATION, error))?;
    let chain = chain.certs().iter().map(|cert| CertificateDer::from(cert.as_der().to_vec()));
    Ok(KeyStore { chain: chain.collect(), key })
}

/// The certificates that clients' ones must lead to; `None` where there is no store.
pub(super) fn trust_store(
    get: &Lookup<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<Option<Arc<RootCertStore>>, TlsError> {
    const LOCATION: &str = "ssl.truststore.location";
    const CERTIFICATES: &str = "ssl.truststore.certificates";
    let found = match (get(CERTIFICATES), get(LOCATION)) {
        (Some(text), _) => certificates(text.as_bytes(), CERTIFICATES)?,
        (None, Some(location)) => {
            let bytes = read(&location, LOCATION, files)?;
            match is_pem(get, "ssl.truststore.type") {
                true => certificates(&bytes, LOCATION)?,
                false => {
                    let store = pkcs12(&bytes, get("ssl.truststore.password").as_deref(), LOCATION)?;
                    let trusted = store.entries().filter_map(|(_, entry)| match entry {
                        KeyStoreEntry::Certificate(cert) => {
                            Some(CertificateDer::from(cert.as_der().to_vec()))
                        }
                        _ => None,
                    });
                    trusted.collect()
                }
            }
        }
        (None, None) => return Ok(None),
    };
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots.add(certificate).map_err(|error| TlsError::new(LOCATION, error))?;
    }
    if roots.is_empty() {
        return Err(TlsError::new(LOCATION, "it holds no certificate to trust"));
    }
    Ok(Some(Arc::new(roots)))
}

fn is_pem(get: &Lookup<'_>, key: &str) -> bool {
    get(key).is_some_and(|kind| kind.eq_ignore_ascii_case("PEM"))
}

fn read(location: &str, key: &str, files: &mut Vec<PathBuf>) -> Result<Vec<u8>, TlsError> {
    let path = PathBuf::from(location);
    let whole = std::fs::metadata(&path).and_then(|meta| match meta.len() {
        0..=STORE_BYTES_MAX => std::fs::read(&path),
        _ => Err(std::io::Error::other("it is too large")),
    });
    let bytes = whole.map_err(|error| TlsError::new(key, format!("{location}: {error}")))?;
    files.push(path);
    Ok(bytes)
}

fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsError::new(key, "there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::new(key, format!("it is no PEM: {error}"))),
    }
}

fn private_key(pem: &[u8], password: Option<&str>, key: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(found) => return Ok(found),
        Err(pem::Error::NoItemsFound) => {}
        Err(error) => return Err(TlsError::new(key, format!("it is no PEM: {error}"))),
    }
    // rustls knows plain keys only; an encrypted one is a section of its own.
    let text = std::str::from_utf8(pem).map_err(|_| TlsError::new(key, "it is no PEM"))?;
    let begin = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----");
    let begin = begin.ok_or_else(|| TlsError::new(key, "there is no private key in it"))?;
    let (_, der) = pkcs8::der::SecretDocument::from_pem(section(&text[begin..]))
        .map_err(|error| TlsError::new(key, format!("its key cannot be read: {error}")))?;
    let password = password.ok_or_else(|| TlsError::new(key, "its key needs ssl.key.password"))?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der.as_bytes()).map_err(|error| match error {
        // What Java before 21 writes and reads (PBE-SHA1-3DES).
        pkcs8::Error::ParametersMalformed | pkcs8::Error::Asn1(_) => TlsError::new(key, OLD_ENCRYPTION),
        error => TlsError::new(key, format!("its key cannot be read: {error}")),
    })?;
    let plain = encrypted
        .decrypt(password)
        .map_err(|error| TlsError::new(key, format!("its key cannot be decrypted: {error}")))?;
    PrivateKeyDer::try_from(plain.as_bytes().to_vec()).map_err(|error| TlsError::new(key, error))
}

/// One PEM section, up to and with the line that ends it.
fn section(text: &str) -> &str {
    const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
    text.find(END).map_or(text, |end| &text[..end + END.len()])
}

fn pkcs12(bytes: &[u8], password: Option<&str>, key: &str) -> Result<Pkcs12, TlsError> {
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        let why = "a JKS store cannot be read; keytool -importkeystore … -deststoretype pkcs12 makes a PKCS12 one of it";
        return Err(TlsError::new(key, why));
    }
    Pkcs12::from_pkcs12(bytes, password.unwrap_or_default(), Pkcs12ImportPolicy::Strict)
        .map_err(|error| TlsError::new(key, format!("the PKCS12 store cannot be read: {error}")))
}
