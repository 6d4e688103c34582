//! `/metrics`, `/health` and `/ready`, on a small listener of their own (`strata.metrics.listener`).
//!
//! - `/health`: the process answers. Restart it when it does not.
//! - `/ready`: requests are served: 200; while starting, stopping or without a controller: 503. Send traffic accordingly.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::scrape;
use crate::broker::Broker;

/// Connections that are served at once; further ones wait.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take to say what it wants.
const HEADER_MAX: Duration = Duration::from_secs(5);
/// How long a connection is kept altogether.
const CONNECTION_MAX: Duration = Duration::from_secs(60);
/// What a failed `accept` is given before the next one: no event says when there are descriptors again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const TEXT: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the listener tells of.
#[derive(Default)]
pub(crate) struct Health {
    broker: OnceLock<Weak<Broker>>,
}

impl Health {
    /// Requests are served from here on.
    pub(crate) fn serves(&self, broker: &Arc<Broker>) {
        // Set once, by the start of this broker.
        let _ = self.broker.set(Arc::downgrade(broker));
    }

    fn broker(&self) -> Option<Arc<Broker>> {
        self.broker.get()?.upgrade()
    }

    fn ready(&self) -> Result<(), &'static str> {
        let broker = self.broker().ok_or("starting")?;
        if broker.stopping.is_cancelled() {
            return Err("stopping");
        }
        broker.quorum.leader().map(|_| ()).ok_or("there is no controller")
    }
}

/// The listener, bound and served.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
}

impl Endpoint {
    /// Listens at `host:port`, with or without `http://` before it.
    pub(crate) async fn start(text: &str, health: Arc<Health>) -> io::Result<Self> {
        let at = text.strip_prefix("http://").or_else(|| text.strip_prefix("HTTP://")).unwrap_or(text);
        let listener = TcpListener::bind(at).await?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        let accepting = accept(listener, health, stop.clone());
        let until = stop.clone();
        tokio::spawn(async move { until.run_until_cancelled(accepting).await });
        tracing::info!(%address, "metrics and health are served");
        Ok(Self { address, stop })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, health: Arc<Health>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (health, stop) = (health.clone(), stop.clone());
                tokio::spawn(async move {
                    let served = tokio::time::timeout(CONNECTION_MAX, serve(stream, health));
                    let _ = (stop.run_until_cancelled(served).await, place);
                });
            }
            Err(error) => {
                tracing::warn!("the metrics listener cannot accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, health: Arc<Health>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let health = health.clone();
        async move { Ok::<_, Infallible>(answer(&request, &health).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("a connection to the metrics listener ended: {error}");
    }
}

async fn answer(request: &Request<Incoming>, health: &Health) -> Response<Full<Bytes>> {
    let text = |status, text: String| respond(status, TEXT, text);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".to_owned());
    }
    match request.uri().path() {
        "/health" | "/livez" => text(StatusCode::OK, "live\n".to_owned()),
        "/ready" | "/readyz" => match health.ready() {
            Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        "/metrics" => match health.broker() {
            None => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
            // Off the threads that serve requests: there may be many partitions.
            Some(broker) => match tokio::task::spawn_blocking(move || scrape::text(&broker)).await {
                Ok(Ok(metrics)) => respond(StatusCode::OK, OPENMETRICS, metrics),
                _ => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n".to_owned()),
            },
        },
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /health and /ready\n".to_owned()),
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
