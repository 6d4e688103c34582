//! Traces: a span for each request, and spans below it for where its time goes.
//!
//! ```text
//! Produce ─┬ append          Fetch ─┬ await records      JoinGroup ─ coordinator    CreateTopics ─ metadata
//!          └ await commit           └ remote read
//! ```
//!
//! The binary decides whether somebody collects them. Where nobody does, a span is a look at an atomic. What is in records
//! (`traceparent` headers among it) is its clients' own and is not looked at.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use strata_protocol::ApiKey;
use strata_types::ErrorCode;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::dispatch::Context;

/// A span of where time goes: `span!("append", partitions = 3)`.
macro_rules! span {
    ($name:literal $(, $($fields:tt)*)?) => {
        tracing::info_span!(target: strata_types::TRACE_TARGET, $name $(, $($fields)*)?)
    };
}
pub(crate) use span;

/// What became of spans that were to be sent to a collector.
#[derive(Debug)]
pub struct SpanCounts {
    pub exported: AtomicU64,
    /// The queue was full, or the collector did not take them.
    pub dropped: AtomicU64,
}

/// The process' spans. Whoever exports them counts here, `/metrics` reads it.
pub static SPAN_COUNTS: SpanCounts = SpanCounts { exported: AtomicU64::new(0), dropped: AtomicU64::new(0) };

/// The span of a request. Attributes follow OpenTelemetry's conventions for messaging where there are any.
pub(crate) fn request(key: ApiKey, cx: &Context, correlation_id: i32) -> Span {
    let span = span!(
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        messaging.system = "kafka",
        messaging.operation.name = Empty,
        messaging.client.id = Empty,
        server.address = Empty,
        server.port = Empty,
        client.address = Empty,
        client.port = Empty,
        "error.type" = Empty,
        kafka.api_key = key as i16,
        kafka.api_version = cx.version,
        kafka.correlation_id = correlation_id,
        kafka.request_bytes = cx.request_bytes,
        kafka.error_code = Empty,
        kafka.listener = Empty,
    );
    if !span.is_disabled() {
        let name = key.to_string();
        span.record("otel.name", name.as_str());
        span.record("messaging.operation.name", name.as_str());
        span.record("messaging.client.id", cx.client_id.as_deref());
        span.record("kafka.listener", &*cx.peer.listener);
        span.record("client.address", cx.peer.address.ip().to_string());
        span.record("client.port", cx.peer.address.port());
        let mut endpoints = cx.broker.advertised.iter();
        if let Some(endpoint) = endpoints.find(|endpoint| *endpoint.name == *cx.peer.listener) {
            span.record("server.address", endpoint.host.as_str());
            span.record("server.port", endpoint.port);
        }
    }
    span
}

/// Tells a request's span how it ended: with the response's first error code, or without a response.
pub(crate) fn answered<'a>(span: &Span, first_error: impl FnOnce() -> Result<Option<i16>, &'a str>) {
    if span.is_disabled() {
        return;
    }
    match first_error() {
        Ok(None) => {}
        Ok(Some(code)) => {
            span.record("kafka.error_code", code);
            let name = ErrorCode::from_code(code).map(|code| code.to_string());
            span.record("error.type", name.unwrap_or_else(|| code.to_string()));
            span.record("otel.status_code", "ERROR");
        }
        Err(cause) => {
            span.record("error.type", cause);
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// Runs within a span; where nobody collects it, as it is.
pub(crate) fn within<T: Send + 'static>(span: Span, work: BoxFuture<'static, T>) -> BoxFuture<'static, T> {
    if span.is_disabled() { work } else { Box::pin(work.instrument(span)) }
}

/// Exported and dropped spans up to now.
pub(crate) fn counts() -> (u64, u64) {
    let SpanCounts { exported, dropped } = &SPAN_COUNTS;
    (exported.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed))
}
