//! TLS: whom the client trusts, and the certificate that it shows. Stores are PEM, in files or in the settings.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Lookup;
use crate::error::{ClientError, Result};

/// What connections are secured with.
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn new(get: &Lookup<'_>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots(get)?);
        let broken = |error: &dyn std::fmt::Display| ClientError::Options(format!("TLS: {error}"));
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
        let verifier = verifier.map_err(|error| broken(&error))?;
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(&error))?;
        // As in Kafka, an empty algorithm leaves the host's name unchecked, and nothing else.
        let any_name = has_value(get, "ssl.endpoint.identification.algorithm", "none");
        let builder = match any_name {
            true => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName { verifier, provider }))
            }
            false => builder.with_webpki_verifier(verifier),
        };
        let config = match key_store(get)? {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain, key).map_err(|error| broken(&error))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config) })
    }

    /// Establishes TLS with `host`.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Stream> {
        let name =
            ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(self.config.clone()).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

fn has_value(get: &Lookup<'_>, key: &str, value: &str) -> bool {
    get(key).is_some_and(|found| found.eq_ignore_ascii_case(value))
}

fn roots(get: &Lookup<'_>) -> Result<RootCertStore> {
    const LOCATION: &str = "ssl.truststore.location";
    let mut roots = RootCertStore::empty();
    let found = match (get("ssl.truststore.certificates"), get(LOCATION)) {
        (Some(text), _) => certificates(text.as_bytes(), "ssl.truststore.certificates")?,
        (None, Some(path)) => certificates(&read(get, "ssl.truststore.type", LOCATION, path)?, LOCATION)?,
        (None, None) => rustls_native_certs::load_native_certs().certs,
    };
    for certificate in found {
        roots.add(certificate).map_err(|error| ClientError::Options(format!("{LOCATION}: {error}")))?;
    }
    Ok(roots)
}

type KeyAndChain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn key_store(get: &Lookup<'_>) -> Result<Option<KeyAndChain>> {
    const LOCATION: &str = "ssl.keystore.location";
    let (chain, key) = match (get("ssl.keystore.certificate.chain"), get("ssl.keystore.key"), get(LOCATION)) {
        (Some(chain), Some(key), _) => (chain.as_bytes().to_vec(), key.as_bytes().to_vec()),
        (_, _, Some(path)) => {
            let pem = read(get, "ssl.keystore.type", LOCATION, path)?;
            (pem.clone(), pem)
        }
        _ => return Ok(None),
    };
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| ClientError::Options(format!("{LOCATION}: no private key can be read: {error}")))?;
    Ok(Some((certificates(&chain, LOCATION)?, key)))
}

fn read(get: &Lookup<'_>, kind: &str, key: &str, path: &str) -> Result<Vec<u8>> {
    if !has_value(get, kind, "PEM") {
        return Err(ClientError::Options(format!("{kind}: this client reads PEM stores only")));
    }
    std::fs::read(path).map_err(|error| ClientError::Options(format!("{key}={path}: {error}")))
}

fn certificates(pem: &[u8], key: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(ClientError::Options(format!("{key}: there is no certificate in it"))),
        Err(error) => Err(ClientError::Options(format!("{key}: it is no PEM: {error}"))),
    }
}

/// Checks everything of a certificate but the name that it is for.
#[derive(Debug)]
struct AnyName {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        match self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection's bytes, plain or over TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
