//! Traces to a collector, by OTLP over HTTP. Off, unless OpenTelemetry's own environment variables name a collector.
//!
//! ```text
//! span ends ─▶ Gate (so many may wait, the others are dropped) ─▶ the SDK's batch thread ─▶ Counted ─▶ reqwest ─▶ collector
//! ```
//!
//! A collector that is slow or away costs spans, which are counted; no request ever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context as SpanContext, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanExporter as Exporter,
    SpanProcessor,
};
use strata_server::SPAN_COUNTS;
use strata_types::TRACE_TARGET;
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;

use crate::logging::BoxedLayer;

/// Spans that may wait for the collector (`OTEL_BSP_MAX_QUEUE_SIZE`).
const QUEUE_SPANS_MAX: usize = 2_048;
/// How long one export may take, its attempts taken together (`OTEL_EXPORTER_OTLP_TIMEOUT`).
const EXPORT_MS_MAX: u64 = 10_000;
/// How long the process stays for the sake of spans that wait when it ends.
const FLUSH_MAX: Duration = Duration::from_secs(3);
/// A collector's answer says next to nothing.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// The exporter of this process' spans.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// `None` where no variable asks for traces; an error where one asks for what there is not.
    pub fn from_env(runtime: &Handle) -> anyhow::Result<Option<Self>> {
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if !is_wanted(&given)? {
            return Ok(None);
        }
        let timeout_ms = number(&given, &["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
        let timeout = Duration::from_millis(timeout_ms.unwrap_or(EXPORT_MS_MAX));
        let queue_max = number(&given, &["OTEL_BSP_MAX_QUEUE_SIZE"]);
        let queue_max = queue_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(QUEUE_SPANS_MAX).max(1);
        let certificate = given("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
            .or_else(|| given("OTEL_EXPORTER_OTLP_CERTIFICATE"));
        let client = Client { client: http(certificate, timeout)?, runtime: runtime.clone() };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
        let state = Arc::new(State::default());
        let config = BatchConfigBuilder::default().with_max_queue_size(queue_max).build();
        let exporter = Counted { exporter, state: state.clone() };
        let inner = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(&given))
            .with_span_processor(Gate { inner, state, queue_max })
            .build();
        Ok(Some(Self { provider }))
    }

    /// What takes in spans as they begin and end.
    pub fn layer(&self) -> BoxedLayer {
        let wanted = FilterFn::new(|metadata| metadata.is_span() && metadata.target() == TRACE_TARGET);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("strata"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_context_activation(false)
            .with_filter(wanted.with_max_level_hint(LevelFilter::INFO))
            .boxed()
    }

    /// Sends what waits, in the time that there is for it.
    pub fn shutdown(self) {
        if let Err(why) = self.provider.shutdown_with_timeout(FLUSH_MAX) {
            tracing::warn!("spans that waited for the collector are lost: {why}");
        }
    }
}

/// Whether the variables ask for traces.
fn is_wanted(given: &impl Fn(&str) -> Option<String>) -> anyhow::Result<bool> {
    let endpoint = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    let is_disabled = given("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let is_wanted = match given("OTEL_TRACES_EXPORTER").as_deref() {
        Some("none") => false,
        Some("otlp") => true,
        None => endpoint.iter().any(|name| given(name).is_some()),
        Some(other) => bail!("OTEL_TRACES_EXPORTER={other} is not supported, only otlp and none"),
    };
    if is_disabled || !is_wanted {
        return Ok(false);
    }
    let protocol = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    match protocol.iter().find_map(|name| given(name)).as_deref() {
        None | Some("http/protobuf") => Ok(true),
        Some(other) => bail!("OTEL_EXPORTER_OTLP_PROTOCOL={other} is not supported, only http/protobuf"),
    }
}

fn number(given: &impl Fn(&str) -> Option<String>, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| given(name)?.parse().ok())
}

fn resource(given: &impl Fn(&str) -> Option<String>) -> Resource {
    let resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let is_named = given("OTEL_SERVICE_NAME").is_some()
        || given("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|attributes| attributes.contains("service.name="));
    if is_named { resource.build() } else { resource.with_service_name("strata").build() }
}

fn http(certificate: Option<String>, timeout: Duration) -> anyhow::Result<reqwest::Client> {
    let mut http = reqwest::Client::builder().timeout(timeout);
    if let Some(path) = certificate {
        let pem = std::fs::read(&path).with_context(|| path.clone())?;
        for authority in reqwest::Certificate::from_pem_bundle(&pem).with_context(|| path.clone())? {
            http = http.add_root_certificate(authority);
        }
    }
    Ok(http.build()?)
}

/// What the two ends of the queue know of each other.
#[derive(Debug, Default)]
struct State {
    /// Spans that have ended and that the exporter has not been given yet.
    queued: AtomicUsize,
    is_failing: AtomicBool,
    has_overflown: AtomicBool,
}

/// Lets spans into the SDK's queue while there is room in it, and counts the others.
#[derive(Debug)]
struct Gate {
    inner: BatchSpanProcessor,
    state: Arc<State>,
    queue_max: usize,
}

impl SpanProcessor for Gate {
    fn on_start(&self, span: &mut Span, context: &SpanContext) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.state.queued.fetch_add(1, Ordering::AcqRel) < self.queue_max {
            return self.inner.on_end(span);
        }
        self.state.queued.fetch_sub(1, Ordering::AcqRel);
        SPAN_COUNTS.dropped.fetch_add(1, Ordering::Relaxed);
        if !self.state.has_overflown.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "more spans than the collector takes: some are dropped, from now on without a word (OTEL_TRACES_SAMPLER, OTEL_BSP_MAX_QUEUE_SIZE)"
            );
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Exports, counts, and says once when it begins to fail.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    state: Arc<State>,
}

impl<E: Exporter> Exporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.state.queued.fetch_sub(count, Ordering::AcqRel);
        let result = self.exporter.export(batch).await;
        let counter = if result.is_ok() { &SPAN_COUNTS.exported } else { &SPAN_COUNTS.dropped };
        counter.fetch_add(count as u64, Ordering::Relaxed);
        let was_failing = self.state.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(why) if !was_failing => tracing::warn!("the collector of traces does not take spans: {why}"),
            Ok(()) if was_failing => tracing::info!("the collector of traces takes spans again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The HTTP client. Its work is done by the process' runtime, as the SDK's batch thread has none.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        self.runtime.spawn(send(self.client.clone(), request)).await?
    }
}

async fn send(client: reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request).await?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        std::mem::swap(headers, answer.headers_mut());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
            return Err(opentelemetry_http::ResponseBodyTooLarge::new().into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(response.body(body.into())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(variables: &[(&str, &str)]) -> anyhow::Result<bool> {
        is_wanted(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_endpoint_switches_traces_on() -> anyhow::Result<()> {
        assert!(!wanted(&[])?);
        assert!(wanted(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")])?);
        assert!(wanted(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4318/v1/traces")])?);
        assert!(wanted(&[("OTEL_TRACES_EXPORTER", "otlp")])?);
        Ok(())
    }

    #[test]
    fn traces_can_be_switched_off_where_an_endpoint_is_set() -> anyhow::Result<()> {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        assert!(!wanted(&[endpoint, ("OTEL_SDK_DISABLED", "true")])?);
        assert!(!wanted(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")])?);
        Ok(())
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        assert!(wanted(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).is_err());
        assert!(wanted(&[("OTEL_TRACES_EXPORTER", "zipkin")]).is_err());
    }
}
