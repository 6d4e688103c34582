//! One connection to one broker: requests are pipelined, answers come in the order of the requests.
//!
//! ```text
//! call --frame--> writer task --------> socket ---> broker
//!                    | notes who waits     |
//!                 [pending]                |
//!                    | first in line       v
//! call <--answer-- reader task <------- socket
//! ```
//!
//! A caller that goes away leaves its place in line: the answer is read and dropped. A request that is not answered in
//! time closes the connection, for nothing behind it can be answered either.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use strata_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use strata_protocol::{ApiKey, Encoded, Message, Request, Str, frame};
use strata_types::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::error::{ClientError, Result};
use crate::options::ClientOptions;
use crate::rope::Rope;
use crate::security::{self, Stream};

/// How much the reader asks the socket for at once.
const READ_BYTES: usize = 64 * 1024;

/// A connection that has been opened and knows what its broker speaks. Clones share it.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    line: Arc<Line>,
    client_id: Str,
    request_timeout: Duration,
    in_flight: Arc<Semaphore>,
    in_flight_max: u32,
    next_correlation_id: AtomicI32,
    outgoing: mpsc::Sender<Outgoing>,
    /// The versions that the broker offers.
    versions: OnceLock<HashMap<i16, (i16, i16)>>,
    /// When the session nears its end (KIP-368): a new connection should be opened instead.
    stale_at: OnceLock<Instant>,
}

/// A request on its way to the writer.
struct Outgoing {
    frame: Encoded,
    waiting: Waiting,
}

/// A place in the line of those who wait for an answer.
struct Waiting {
    correlation_id: i32,
    answer: oneshot::Sender<Result<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

/// What the two tasks and the callers share.
struct Line {
    address: String,
    state: Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    pending: VecDeque<Waiting>,
    failed: Option<ClientError>,
    tasks: Vec<AbortHandle>,
}

impl Connection {
    /// Connects to `host:port` and asks what the broker speaks.
    pub async fn open(address: &str, options: &ClientOptions) -> Result<Self> {
        let failed = |reason: String| ClientError::Connect { address: address.to_owned(), reason };
        let limit = Duration::from_millis(options.connect_timeout_ms);
        let stream = timeout(limit, TcpStream::connect(address))
            .await
            .map_err(|_| failed(format!("no answer within {} ms", options.connect_timeout_ms)))?
            .map_err(|e| failed(e.to_string()))?;
        stream.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
        let stream = match &options.security.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                timeout(limit, tls.connect(host, stream))
                    .await
                    .map_err(|_| failed(format!("no TLS within {} ms", options.connect_timeout_ms)))?
                    .map_err(|e| failed(format!("TLS: {e}")))?
            }
        };
        let connection = Self::over(stream, address, options);
        let versions = connection.negotiate().await?;
        connection.inner.versions.get_or_init(|| versions);
        if let Some(credentials) = &options.security.sasl {
            let lasts_ms = security::authenticate(&connection, credentials).await?;
            if let Ok(lasts_ms @ 1..) = u64::try_from(lasts_ms) {
                // Early enough that what is started before still ends in time.
                let stale_at = Instant::now() + Duration::from_millis(lasts_ms / 10 * 8);
                connection.inner.stale_at.get_or_init(|| stale_at);
            }
        }
        Ok(connection)
    }

    fn over(stream: Stream, address: &str, options: &ClientOptions) -> Self {
        let line = Arc::new(Line { address: address.to_owned(), state: Mutex::default() });
        let (outgoing, requests) = mpsc::channel(options.in_flight_max.max(1));
        let (from, to) = tokio::io::split(stream);
        let reader = tokio::spawn(read_answers(from, line.clone(), options.frame_bytes_max));
        let writer = tokio::spawn(write_requests(to, line.clone(), requests));
        line.state.lock().tasks = vec![reader.abort_handle(), writer.abort_handle()];
        let in_flight_max = u32::try_from(options.in_flight_max.max(1)).unwrap_or(u32::MAX);
        Self {
            inner: Arc::new(Inner {
                line,
                client_id: Str::from(&options.client_id),
                request_timeout: options.request_timeout(),
                in_flight: Arc::new(Semaphore::new(in_flight_max as usize)),
                in_flight_max,
                next_correlation_id: AtomicI32::new(0),
                outgoing,
                versions: OnceLock::new(),
                stale_at: OnceLock::new(),
            }),
        }
    }

    /// Finds out which versions the broker offers (KIP-511). A broker that does not know our version of the question
    /// answers in version 0, with the versions it knows.
    async fn negotiate(&self) -> Result<HashMap<i16, (i16, i16)>> {
        let request = ApiVersionsRequest {
            client_software_name: Str::from_static("strata"),
            client_software_version: Str::from_static(env!("CARGO_PKG_VERSION")),
            ..Default::default()
        };
        let mut version = version_max(ApiKey::ApiVersions);
        for _ in 0..2 {
            let answer = self.exchange(version, &request, self.inner.request_timeout).await?.await?;
            let refused = answer.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
            let body = answer.slice(4.min(answer.len())..);
            let answered = if refused { 0 } else { version };
            let response = ApiVersionsResponse::decode(&mut strata_protocol::Decoder::new(body), answered)?;
            let offered: HashMap<_, _> = response
                .api_keys
                .iter()
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect();
            if !refused {
                ClientError::check(response.error_code)?;
                return Ok(offered);
            }
            version =
                offered.get(&(ApiKey::ApiVersions as i16)).map_or(0, |(_, max)| (*max).clamp(0, version));
        }
        Err(self.unsupported(ApiKey::ApiVersions))
    }

    /// Asks and waits for the answer, in the newest version that both sides speak.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response> {
        self.start(request, self.inner.request_timeout).await?.await
    }

    /// Sends a request now, after those that were started before, and returns its answer as a future, which takes no
    /// longer than `limit`.
    ///
    /// # Errors
    /// The future's error is [`ClientError::Timeout`] or [`ClientError::Disconnected`] when it is not known whether the
    /// request was carried out.
    pub async fn start<R: Request>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<impl Future<Output = Result<R::Response>> + Send + use<R>> {
        let version = self.version_of::<R>()?;
        let answer = self.exchange(version, request, limit).await?;
        Ok(async move {
            let (_, response) = frame::decode_response::<R>(answer.await?, version)?;
            Ok(response)
        })
    }

    /// The newest version of a request that both sides speak.
    pub fn version_of<R: Request>(&self) -> Result<i16> {
        let unsupported = || self.unsupported(R::KEY);
        let offered = self.inner.versions.get().and_then(|versions| versions.get(&(R::KEY as i16)));
        let (min, max) = offered.copied().ok_or_else(unsupported)?;
        let version = max.min(version_max(R::KEY)).min(*R::VERSIONS.end());
        if version < min.max(*R::VERSIONS.start()) { Err(unsupported()) } else { Ok(version) }
    }

    fn unsupported(&self, key: ApiKey) -> ClientError {
        ClientError::UnsupportedVersion { address: self.inner.line.address.clone(), key }
    }

    async fn exchange<R: Request>(
        &self,
        version: i16,
        request: &R,
        limit: Duration,
    ) -> Result<impl Future<Output = Result<Bytes>> + Send + use<R>> {
        let inner = &self.inner;
        // The semaphore is never closed, and so this is no error.
        let permit = inner.in_flight.clone().acquire_owned().await.map_err(|_| ClientError::Closed)?;
        let correlation_id = inner.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let frame = frame::encode_request(correlation_id, &inner.client_id, version, request)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { correlation_id, answer, _permit: permit };
        let line = inner.line.clone();
        if inner.outgoing.send(Outgoing { frame, waiting }).await.is_err() {
            return Err(line.error());
        }
        // The connection stays open for as long as someone waits, even if its owner lets it go.
        let keep = self.clone();
        Ok(async move {
            let _keep = keep;
            match timeout(limit, answered).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(line.error()),
                Err(_) => {
                    let ms = limit.as_millis() as u64;
                    line.fail("a request was not answered in time");
                    Err(ClientError::Timeout { what: R::NAME, ms, last: None })
                }
            }
        })
    }

    /// Whether nothing can be sent any more, or should be.
    pub fn is_closed(&self) -> bool {
        self.inner.stale_at.get().is_some_and(|stale_at| Instant::now() >= *stale_at)
            || self.inner.line.state.lock().failed.is_some()
    }

    /// Waits for what has been sent, then closes.
    pub async fn close(&self) {
        let all = self.inner.in_flight.acquire_many(self.inner.in_flight_max);
        let _ = timeout(self.inner.request_timeout, all).await;
        self.inner.line.fail("closed");
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.line.fail("closed");
    }
}

impl Line {
    fn error(&self) -> ClientError {
        self.state.lock().failed.clone().unwrap_or_else(|| self.lost("closed".into()))
    }

    fn lost(&self, reason: String) -> ClientError {
        ClientError::Disconnected { address: self.address.clone(), reason }
    }

    /// Ends the connection: everybody in line gets the error, and the tasks stop.
    fn fail(&self, reason: impl Into<String>) {
        let (pending, error, tasks) = {
            let mut state = self.state.lock();
            if state.failed.is_some() {
                return;
            }
            let error = self.lost(reason.into());
            state.failed = Some(error.clone());
            (std::mem::take(&mut state.pending), error, std::mem::take(&mut state.tasks))
        };
        for waiting in pending {
            let _ = waiting.answer.send(Err(error.clone()));
        }
        for task in tasks {
            task.abort();
        }
    }

    /// Takes a place in line, unless the connection has ended.
    fn enqueue(&self, waiting: Waiting) -> bool {
        let mut state = self.state.lock();
        if let Some(error) = &state.failed {
            let _ = waiting.answer.send(Err(error.clone()));
            return false;
        }
        state.pending.push_back(waiting);
        true
    }
}

/// The newest version that this client fills in. Later ones name topics by id where we have names, or ask for a certain
/// cluster and node.
fn version_max(key: ApiKey) -> i16 {
    match key {
        ApiKey::Produce | ApiKey::Fetch => 12,
        ApiKey::OffsetCommit | ApiKey::OffsetFetch => 9,
        ApiKey::ApiVersions => 4,
        _ => i16::MAX,
    }
}

async fn write_requests(
    mut socket: WriteHalf<Stream>,
    line: Arc<Line>,
    mut requests: mpsc::Receiver<Outgoing>,
) {
    while let Some(Outgoing { frame, waiting }) = requests.recv().await {
        if !line.enqueue(waiting) {
            return;
        }
        let written = match Rope::new(frame) {
            Ok(mut rope) => match socket.write_all_buf(&mut rope).await {
                // TLS may still hold what was written.
                Ok(()) => socket.flush().await,
                failed => failed,
            },
            Err(unreadable) => Err(unreadable),
        };
        if let Err(error) = written {
            return line.fail(error.to_string());
        }
    }
}

async fn read_answers(mut socket: ReadHalf<Stream>, line: Arc<Line>, frame_bytes_max: usize) {
    let mut received = BytesMut::new();
    loop {
        match frame::take_frame(&mut received, frame_bytes_max) {
            Ok(Some(answer)) => {
                if let Err(reason) = hand_over(&line, answer) {
                    return line.fail(reason);
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return line.fail(error.to_string()),
        }
        received.reserve(READ_BYTES);
        match socket.read_buf(&mut received).await {
            Ok(0) => return line.fail("closed by the broker"),
            Ok(_) => {}
            Err(error) => return line.fail(error.to_string()),
        }
    }
}

/// Gives an answer to the first in line, whose it must be.
fn hand_over(line: &Line, answer: Bytes) -> std::result::Result<(), &'static str> {
    let id = answer.first_chunk::<4>().copied().map(i32::from_be_bytes).ok_or("an answer without an id")?;
    let first = line.state.lock().pending.pop_front().ok_or("an answer that nobody waits for")?;
    if first.correlation_id != id {
        let _ = first.answer.send(Err(line.lost("an answer out of order".into())));
        return Err("an answer out of order");
    }
    let _ = first.answer.send(Ok(answer));
    Ok(())
}
