//! The TLS handshake of a new connection, and whom the certificate that it showed belongs to.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, Error as TlsProtocolError, ServerConnection};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::transport::Transport;
use crate::broker::Broker;
use crate::config::SecurityProtocol;
use crate::security::{Principal, TlsListener};

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error(
        "what came on a TLS listener is not TLS; does the client's security.protocol say SSL or SASL_SSL?"
    )]
    NotTls,
    #[error("the TLS handshake took longer than {0:?}")]
    TooLong(Duration),
    #[error("the client does not trust this broker's certificate: {0:?}")]
    NotTrusted(AlertDescription),
    #[error("the client's certificate is not accepted: {0}")]
    Certificate(String),
    #[error("the TLS handshake failed: {0}")]
    Failed(io::Error),
    #[error("the connection ended within the TLS handshake")]
    Cut,
}

impl HandshakeError {
    /// What the log counts it under.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::NotTls => "not TLS",
            Self::TooLong(_) => "handshake time",
            Self::NotTrusted(_) => "not trusted",
            Self::Certificate(_) => "client certificate",
            Self::Failed(_) => "handshake",
            Self::Cut => "cut",
        }
    }
}

/// Establishes TLS, within `handshake_max`.
pub(super) async fn accept(
    broker: &Broker,
    tls: &TlsListener,
    protocol: SecurityProtocol,
    stream: TcpStream,
    handshake_max: Duration,
) -> Result<(Transport, Principal), HandshakeError> {
    let acceptor = TlsAcceptor::from(tls.current(&broker.image()));
    let accepted = tokio::time::timeout(handshake_max, acceptor.accept(stream)).await;
    let accepted = accepted.map_err(|_| HandshakeError::TooLong(handshake_max))?;
    let (stream, session) = accepted.map_err(told_apart)?.into_inner();
    // With SASL, only SASL says who it is.
    let principal = match protocol.is_sasl() {
        true => Principal::anonymous(),
        false => principal(tls, &session)?,
    };
    Ok((Transport::tls(stream, session), principal))
}

fn principal(tls: &TlsListener, session: &ServerConnection) -> Result<Principal, HandshakeError> {
    match session.peer_certificates().and_then(|chain| chain.first()) {
        None => Ok(Principal::anonymous()),
        Some(certificate) => tls.principal(certificate).map_err(HandshakeError::Certificate),
    }
}

fn told_apart(error: io::Error) -> HandshakeError {
    if error.kind() == io::ErrorKind::UnexpectedEof || error.kind() == io::ErrorKind::ConnectionReset {
        return HandshakeError::Cut;
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsProtocolError>());
    match inner {
        Some(TlsProtocolError::InvalidMessage(_)) => HandshakeError::NotTls,
        Some(TlsProtocolError::AlertReceived(alert)) => HandshakeError::NotTrusted(*alert),
        Some(TlsProtocolError::NoCertificatesPresented) => {
            HandshakeError::Certificate("it showed none".to_owned())
        }
        Some(TlsProtocolError::InvalidCertificate(why)) => HandshakeError::Certificate(format!("{why:?}")),
        _ => HandshakeError::Failed(error),
    }
}
