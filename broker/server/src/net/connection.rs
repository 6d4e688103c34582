//! One connection: requests in, answers out in the order of the requests.
//!
//! Every request is polled once, in order, as soon as it is read: what it does up to its first wait (an append, a place in
//! a coordinator's queue) happens in the order of arrival. What it then waits for (a flush, new records, a rebalance) does
//! not hold up the requests behind it, only their answers. Kafka reads no further request before it has answered the
//! one before; a client cannot tell the difference, except that pipelined produce requests share a flush.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use strata_protocol::{Chunk, Encoded};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::frame::{FrameError, FrameReader};
use super::transport::Transport;
use crate::broker::Broker;
use crate::dispatch::{self, Answer, Peer, Refusal};

/// Answers that are ready and not yet sent may take this much memory before no further request is read.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// A peer that takes nothing of what it asked for is cut off after `connections.max.idle.ms`, looked at this often at most.
const IDLE_CHECK_MIN: Duration = Duration::from_millis(100);

/// A number that no other connection has.
pub(crate) fn next_number() -> u64 {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    CONNECTIONS.fetch_add(1, Ordering::Relaxed)
}

/// Why a connection was closed by us.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{what}")]
    Refused { cause: &'static str, what: String },
    #[error("an answer could not be sent: {0}")]
    Write(io::Error),
    #[error("the client did not authenticate within {0:?}")]
    Unauthenticated(Duration),
}

impl Closed {
    /// What the log counts it under.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Frame(FrameError::Ended | FrameError::Cut) => "cut",
            Self::Frame(FrameError::Foreign(what)) => what,
            Self::Frame(FrameError::Length { .. }) => "length",
            Self::Frame(FrameError::Io(_)) => "read",
            Self::Refused { cause, .. } => cause,
            Self::Write(_) => "write",
            Self::Unauthenticated(_) => "authentication time",
        }
    }
}

/// Serves a connection until the peer ends it (`Ok`), breaks a rule, or is idle for too long. After `stop`, what is in
/// flight is answered and no further request is read.
pub(super) async fn run(
    broker: Arc<Broker>,
    stream: Transport,
    peer: Peer,
    stop: &CancellationToken,
) -> Result<(), Closed> {
    let settings = &broker.config.settings;
    let (in_flight_max, idle_max) = (settings.requests_in_flight_max, settings.connections_max_idle);
    let reader = FrameReader::new(settings.request_bytes_max);
    let (queue, queued) = mpsc::channel(in_flight_max);
    let state = State::new();
    let reading = read(&broker, reader, &stream, &peer, &state, queue, stop);
    let writing = write(&stream, &state, queued);
    let reading = async {
        match reading.await {
            // Whoever has gone does not wait for an answer.
            Err(Closed::Frame(FrameError::Ended)) => Err(None),
            Err(error) => Err(Some(error)),
            Ok(()) => Ok(()),
        }
    };
    let served = async { tokio::try_join!(reading, async { writing.await.map_err(Some) }).map(|_| ()) };
    let result = tokio::select! {
        result = served => match result {
            Ok(()) | Err(None) => Ok(()),
            Err(Some(error)) => Err(error),
        },
        () = state.idle(idle_max) => Ok(()),
        error = unauthenticated(&peer, broker.config.security.authentication_max) => Err(error),
    };
    broker.share.disconnected(peer.connection);
    result
}

/// Resolves when the peer has not authenticated in time.
async fn unauthenticated(peer: &Peer, authentication_max: Duration) -> Closed {
    match tokio::time::timeout(authentication_max, peer.session.authenticated()).await {
        Ok(()) => std::future::pending().await,
        Err(_) => Closed::Unauthenticated(authentication_max),
    }
}

/// Reads and starts requests. Ends without an error after `stop`, or when an answer was refused and so the writer ended.
async fn read(
    broker: &Arc<Broker>,
    mut reader: FrameReader,
    stream: &Transport,
    peer: &Peer,
    state: &State,
    queue: mpsc::Sender<InFlight>,
    stop: &CancellationToken,
) -> Result<(), Closed> {
    loop {
        while state.unsent_bytes.load(Ordering::Relaxed) >= UNSENT_BYTES_MAX {
            state.sent.notified().await;
        }
        reader.limit(peer.session.unauthenticated_frame_bytes_max());
        let next = async {
            // Who is over a quota is not read from (KIP-219).
            rest(peer).await;
            let Ok(place) = queue.reserve().await else { return Ok(None) };
            let frame = reader.next(stream, || state.touch()).await?;
            // An earlier request may have gone over it meanwhile.
            rest(peer).await;
            Ok(Some((place, frame)))
        };
        let next: Result<_, FrameError> = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            next = next => next,
        };
        let Some((place, frame)) = next? else { return Ok(()) };
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        place.send(start(broker, peer, state, frame).await);
    }
}

/// Waits until the peer may go on. A request that is being worked on may still prolong it.
async fn rest(peer: &Peer) {
    while let Some(until) = peer.throttle.until(std::time::Instant::now()) {
        tokio::time::sleep_until(until.into()).await;
    }
}

/// Starts a request and polls it once.
async fn start(broker: &Arc<Broker>, peer: &Peer, state: &State, frame: Bytes) -> InFlight {
    let mut answer = match dispatch::start(broker, peer, frame) {
        Ok(answer) => answer,
        Err(refusal) => return InFlight::Done(Err(refusal)),
    };
    match futures::poll!(&mut answer) {
        std::task::Poll::Ready(answer) => {
            state.unsent_bytes.fetch_add(memory_bytes(&answer), Ordering::Relaxed);
            InFlight::Done(answer)
        }
        std::task::Poll::Pending => InFlight::Waiting(answer),
    }
}

/// Awaits and writes answers in order, until the reader is done or an answer says to close.
async fn write(
    stream: &Transport,
    state: &State,
    mut queued: mpsc::Receiver<InFlight>,
) -> Result<(), Closed> {
    while let Some(next) = queued.recv().await {
        let (answer, counted) = match next {
            InFlight::Done(answer) => (answer, true),
            InFlight::Waiting(answer) => (answer.await, false),
        };
        let bytes = memory_bytes(&answer);
        match answer {
            Ok(answer) => {
                state.writing.store(true, Ordering::Relaxed);
                state.touch();
                stream.write(answer, || state.touch()).await.map_err(Closed::Write)?;
                state.writing.store(false, Ordering::Relaxed);
            }
            Err(Refusal::Silent) => {}
            Err(Refusal::Close { cause, what }) => return Err(Closed::Refused { cause, what }),
            Err(Refusal::Last { answer, cause, what }) => {
                stream.write(answer, || state.touch()).await.map_err(Closed::Write)?;
                return Err(Closed::Refused { cause, what });
            }
        }
        if counted {
            state.unsent_bytes.fetch_sub(bytes, Ordering::Relaxed);
            state.sent.notify_one();
        }
        state.in_flight.fetch_sub(1, Ordering::Relaxed);
        state.touch();
    }
    Ok(())
}

/// A request that was started.
enum InFlight {
    Done(Answer),
    Waiting(BoxFuture<'static, Answer>),
}

/// What an answer holds in memory; file ranges cost nothing.
fn memory_bytes(answer: &Answer) -> usize {
    let chunks = answer.as_ref().map_or(&[][..], |Encoded { chunks, .. }| chunks);
    chunks.iter().map(|chunk| if let Chunk::Bytes(bytes) = chunk { bytes.len() } else { 0 }).sum()
}

/// What reader, writer and idle timer share. They are parts of one task, so the order of the atomics does not matter.
struct State {
    last_activity: Mutex<Instant>,
    in_flight: AtomicUsize,
    writing: AtomicBool,
    unsent_bytes: AtomicUsize,
    sent: Notify,
}

impl State {
    fn new() -> Self {
        Self {
            last_activity: Mutex::new(Instant::now()),
            in_flight: AtomicUsize::new(0),
            writing: AtomicBool::new(false),
            unsent_bytes: AtomicUsize::new(0),
            sent: Notify::new(),
        }
    }

    fn touch(&self) {
        *self.last_activity.lock() = Instant::now();
    }

    /// Resolves once nothing has moved for `idle_max`. A request that waits (for records, for a rebalance) keeps the
    /// connection alive; one whose answer the peer does not take does not.
    async fn idle(&self, idle_max: Duration) {
        let idle_max = idle_max.max(IDLE_CHECK_MIN);
        loop {
            let last = *self.last_activity.lock();
            let Some(deadline) = last.checked_add(idle_max) else { return std::future::pending().await };
            if Instant::now() >= deadline {
                let waits =
                    self.in_flight.load(Ordering::Relaxed) > 0 && !self.writing.load(Ordering::Relaxed);
                if !waits {
                    return;
                }
                self.touch();
                continue;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}
