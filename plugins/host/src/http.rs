//! HTTP for plugins: one door, with the grant's list on it.
//!
//! ```text
//!   URL ──▶ authority in the grant? ──▶ resolve ──▶ each address covered? ──▶ dial that address ──▶ (TLS) ──▶ HTTP/1.1
//!                   no: not-granted                   no: address-refused
//! ```
//!
//! The address that was checked is the address that is dialled: nothing resolves the name a second time. Redirects are the
//! plugin's to follow, through the same door. Connections are kept for an instance's later requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::Url;

use crate::bindings::source_connector::strata::plugin::http as wit;
use crate::grants::{HttpGrant, Reach};
use crate::limits::HttpLimits;

/// Headers that belong to the connection, not to the request.
const OWN_HEADERS: [&str; 7] =
    ["host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"];

/// Connections that wait for a later request, of one host.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// The door of one instance.
pub(crate) struct Client {
    grant: HttpGrant,
    limits: HttpLimits,
    tls: TlsConnector,
    idle: Mutex<HashMap<Authority, Vec<SendRequest<Full<Bytes>>>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Authority {
    tls: bool,
    host: String,
    port: u16,
}

impl Client {
    pub(crate) fn new(grant: HttpGrant, limits: HttpLimits, tls: TlsConnector) -> Self {
        Client { grant, limits, tls, idle: Mutex::default() }
    }

    /// Answers in the requests' order.
    pub(crate) async fn send_many(
        &self,
        requests: Vec<wit::Request>,
    ) -> Vec<Result<wit::Response, wit::HttpError>> {
        if requests.len() > self.limits.requests_max {
            let why = format!("more than {} requests in one call", self.limits.requests_max);
            return requests.iter().map(|_| Err(wit::HttpError::Invalid(why.clone()))).collect();
        }
        let deadline = Duration::from_millis(self.limits.request_deadline_ms);
        let send = |request| async move {
            let sent = timeout(deadline, self.send(request)).await;
            sent.unwrap_or(Err(wit::HttpError::Timeout))
        };
        stream::iter(requests).map(send).buffered(self.limits.parallel_max.max(1)).collect().await
    }

    async fn send(&self, request: wit::Request) -> Result<wit::Response, wit::HttpError> {
        let url =
            Url::parse(&request.url).map_err(|why| invalid(format!("the URL {}: {why}", request.url)))?;
        let (authority, reach) = self.decide(&url)?;
        let request = to_hyper(request, &url)?;
        let mut connection = match self.take_idle(&authority) {
            Some(connection) => connection,
            None => self.connect(&authority, reach).await?,
        };
        let response = match connection.try_send_request(request).await {
            Ok(response) => response,
            // A kept connection that the other side closed before it saw the request: once more, on a new one.
            Err(mut error) => {
                let Some(request) = error.take_message() else { return Err(unreachable(error.error())) };
                connection = self.connect(&authority, reach).await?;
                connection.send_request(request).await.map_err(unreachable)?
            }
        };
        let response = self.receive(response).await?;
        self.keep_idle(authority, connection);
        Ok(response)
    }

    fn decide(&self, url: &Url) -> Result<(Authority, Reach), wit::HttpError> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            scheme => return Err(invalid(format!("`{scheme}` is not http or https"))),
        };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(invalid("the URL has no host".into()));
        };
        let authority = Authority { tls, host: host.to_string(), port };
        match self.grant.reach(&host, port) {
            Some(reach) => Ok((authority, reach)),
            None => Err(wit::HttpError::NotGranted(format!("{}:{port} is not in the grant", authority.host))),
        }
    }

    async fn connect(
        &self,
        to: &Authority,
        reach: Reach,
    ) -> Result<SendRequest<Full<Bytes>>, wit::HttpError> {
        let stream = dial(to, reach).await?;
        if to.tls {
            let name = to.host.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|why| invalid(why.to_string()))?;
            let stream = self.tls.connect(name, stream).await.map_err(unreachable)?;
            handshake(stream).await
        } else {
            handshake(stream).await
        }
    }

    async fn receive(
        &self,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<wit::Response, wit::HttpError> {
        let (head, body) = response.into_parts();
        let headers = head.headers.iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()));
        let body = Limited::new(body, self.limits.response_bytes_max).collect().await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => wit::HttpError::ResponseTooLarge,
            Err(error) => unreachable(error),
        })?;
        Ok(wit::Response {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body: body.to_bytes().into(),
        })
    }

    fn take_idle(&self, authority: &Authority) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock();
        let connections = idle.get_mut(authority)?;
        std::iter::from_fn(|| connections.pop()).find(|connection| connection.is_ready())
    }

    fn keep_idle(&self, authority: Authority, connection: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock();
        let connections = idle.entry(authority).or_default();
        if connections.len() < IDLE_CONNECTIONS_MAX && !connection.is_closed() {
            connections.push(connection);
        }
    }
}

/// Trust in the machine's own certificates.
pub(crate) fn tls_connector() -> TlsConnector {
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a root certificate of this machine cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Tries the addresses that the grant covers, in the resolver's order.
async fn dial(to: &Authority, reach: Reach) -> Result<TcpStream, wit::HttpError> {
    let addresses: Vec<_> = match reach {
        Reach::Exactly(address) => vec![(address, to.port).into()],
        _ => tokio::net::lookup_host((to.host.as_str(), to.port)).await.map_err(unreachable)?.collect(),
    };
    let mut failed = wit::HttpError::Unreachable(format!("{} has no address", to.host));
    for address in addresses {
        if !reach.covers(address.ip()) {
            failed = wit::HttpError::AddressRefused(format!(
                "{} is {}, which is not granted",
                to.host,
                address.ip()
            ));
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(unreachable)?;
                return Ok(stream);
            }
            Err(why) => failed = unreachable(format!("{address}: {why}")),
        }
    }
    Err(failed)
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, wit::HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    // Ends with the sender, which the instance owns.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a plugin's HTTP connection ended");
        }
    });
    Ok(sender)
}

fn to_hyper(request: wit::Request, url: &Url) -> Result<Request<Full<Bytes>>, wit::HttpError> {
    let method =
        Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("the method is not one".into()))?;
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let target: Uri = target.parse().map_err(|why| invalid(format!("the URL's path: {why}")))?;
    let mut built = Request::new(Full::new(Bytes::from(request.body)));
    *built.method_mut() = method;
    *built.uri_mut() = target;
    let headers = built.headers_mut();
    for (name, value) in request.headers {
        let bad = || invalid(format!("the header `{}`", name.escape_debug()));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        if OWN_HEADERS.contains(&parsed.as_str()) {
            return Err(invalid(format!("the header `{parsed}` is the host's to set")));
        }
        headers.append(parsed, HeaderValue::from_str(&value).map_err(|_| bad())?);
    }
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let authority = HeaderValue::from_str(authority).map_err(|_| invalid("the URL's host".into()))?;
    headers.insert(hyper::header::HOST, authority);
    Ok(built)
}

fn invalid(why: String) -> wit::HttpError {
    wit::HttpError::Invalid(why)
}

fn unreachable(why: impl std::fmt::Display) -> wit::HttpError {
    wit::HttpError::Unreachable(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_resolves_to_an_address_outside_its_grant_is_not_dialled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = Authority { tls: false, host: "localhost".into(), port };
        assert!(dial(&to, Reach::Loopback).await.is_ok());
        let refused = dial(&to, Reach::Public).await;
        assert!(matches!(refused, Err(wit::HttpError::AddressRefused(_))), "{refused:?}");
    }

    #[test]
    fn headers_of_the_connection_are_not_the_plugins_to_set() {
        let url = Url::parse("http://example.com/").unwrap();
        for (name, value) in
            [("Host", "evil"), ("transfer-encoding", "chunked"), ("a b", "c"), ("x", "y\r\nz: 1")]
        {
            let headers = vec![(name.to_owned(), value.to_owned())];
            let request = wit::Request { method: "GET".into(), url: url.to_string(), headers, body: vec![] };
            assert!(to_hyper(request, &url).is_err(), "{name}: {value}");
        }
    }
}
