//! A collector of traces, as small as it can be: it takes what OTLP over HTTP brings, and keeps it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// From a span's end to its arrival, on a busy machine.
pub const SPANS_MAX: Duration = Duration::from_secs(30);
const BODY_BYTES_MAX: usize = 16 << 20;

/// What has come so far.
#[derive(Debug, Clone, Default)]
pub struct Received {
    pub spans: Vec<Span>,
    /// Heads of requests, in small letters.
    pub requests: Vec<String>,
    /// `service.name` of each resource.
    pub services: Vec<String>,
    connections: usize,
}

type Shared = Arc<(Mutex<Received>, Condvar)>;

pub struct Collector {
    address: SocketAddr,
    shared: Shared,
}

impl Collector {
    pub fn start() -> anyhow::Result<Self> {
        Self::listen(true)
    }

    /// One that takes connections, and says nothing on them.
    pub fn start_silent() -> anyhow::Result<Self> {
        Self::listen(false)
    }

    fn listen(answers: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, shared) = (listener.local_addr()?, Shared::default());
        let taking = shared.clone();
        thread::spawn(move || {
            // Kept open, so that who waits for an answer goes on waiting.
            let mut silent = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                change(&taking, |received| received.connections += 1);
                if answers {
                    let taking = taking.clone();
                    // Ends with its connection.
                    thread::spawn(move || serve(stream, &taking));
                } else {
                    silent.push(stream);
                }
            }
        });
        Ok(Self { address, shared })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn received(&self) -> Received {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn connections(&self) -> usize {
        self.received().connections
    }

    /// Waits until what has come is enough.
    pub fn until(&self, is_enough: impl Fn(&Received) -> bool) -> anyhow::Result<Received> {
        let deadline = Instant::now() + SPANS_MAX;
        let mut received = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !is_enough(&received) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("only these spans have come: {:?}", names(&received));
            }
            let waited = self.shared.1.wait_timeout(received, left);
            received = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(received.clone())
    }
}

/// An attribute's value as text.
pub fn attribute(span: &Span, name: &str) -> Option<String> {
    text(&span.attributes, name)
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref().and_then(|AnyValue { value }| value.as_ref())? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn names(received: &Received) -> Vec<&str> {
    received.spans.iter().map(|span| span.name.as_str()).collect()
}

fn change(shared: &Shared, change: impl FnOnce(&mut Received)) {
    change(&mut shared.0.lock().unwrap_or_else(PoisonError::into_inner));
    shared.1.notify_all();
}

/// Takes requests until the connection ends.
fn serve(stream: TcpStream, shared: &Shared) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("a length")?.trim().parse()?;
        if length > BODY_BYTES_MAX {
            bail!("{length} bytes of spans");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let request = ExportTraceServiceRequest::decode(body.as_slice())?;
        // Answered after it is kept: who saw the answer finds it.
        change(shared, |received| keep(received, head, request));
        (&stream).write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
        )?;
    }
}

fn keep(received: &mut Received, head: String, request: ExportTraceServiceRequest) {
    received.requests.push(head);
    for group in request.resource_spans {
        let resource = group.resource.unwrap_or_default();
        received.services.extend(text(&resource.attributes, "service.name"));
        received.spans.extend(group.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
}
