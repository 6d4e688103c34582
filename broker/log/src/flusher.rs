//! Group commit: at most one flush in flight for a data folder, and everything that asks meanwhile shares the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use strata_types::Offset;

use crate::{Log, StorageError};

/// Who wants to know what became durable. Called on the flusher's thread: be quick, and do not flush.
pub trait LogListener: Send + Sync {
    /// Everything below `until` is on stable storage now.
    fn durable(&self, log: &Arc<Log>, until: Offset);
    /// The flush failed, and the log is offline.
    fn failed(&self, log: &Arc<Log>, error: &StorageError);
}

/// The thread that flushes. Ends, after a last round, with [`Flusher::close`] or when it is dropped.
pub struct Flusher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    requested: Condvar,
    completed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Each log at most once.
    waiting: Vec<Arc<Log>>,
    /// How many rounds are over.
    rounds: u64,
    closing: bool,
}

impl Flusher {
    /// Starts the thread.
    pub fn start(listener: Option<Arc<dyn LogListener>>) -> Result<Self, StorageError> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("log-flusher".to_string()).spawn({
            let shared = shared.clone();
            move || run(&shared, listener.as_deref())
        });
        let thread =
            thread.map_err(StorageError::io("start a thread for", std::path::Path::new("flushing")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Asks for everything that was appended to this log so far to be put on stable storage. Returns at once; the
    /// listener is told.
    pub fn request(&self, log: &Arc<Log>) {
        if log.flush_requested.swap(true, Ordering::AcqRel) {
            return;
        }
        self.shared.queue.lock().waiting.push(log.clone());
        self.shared.requested.notify_one();
    }

    /// Waits until the log is durable up to `until`, having asked for it.
    pub fn wait(&self, log: &Arc<Log>, until: Offset) -> Result<(), StorageError> {
        loop {
            let rounds = self.shared.queue.lock().rounds;
            if let Some(error) = log.offline() {
                return Err(StorageError::Offline(error));
            }
            if log.durable_offset() >= until {
                return Ok(());
            }
            self.request(log);
            let mut queue = self.shared.queue.lock();
            if queue.closing {
                return Err(StorageError::Closed);
            }
            if queue.rounds == rounds {
                self.shared.completed.wait(&mut queue);
            }
        }
    }

    /// Flushes what was asked for, and ends the thread.
    pub fn close(&self) {
        self.shared.queue.lock().closing = true;
        self.shared.requested.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the flusher's thread had panicked");
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(shared: &Shared, listener: Option<&dyn LogListener>) {
    loop {
        let round = {
            let mut queue = shared.queue.lock();
            while queue.waiting.is_empty() && !queue.closing {
                shared.requested.wait(&mut queue);
            }
            std::mem::take(&mut queue.waiting)
        };
        for log in &round {
            let flushed = log.flush();
            match (flushed, listener) {
                (Ok(until), Some(listener)) => listener.durable(log, until),
                (Err(error), Some(listener)) => listener.failed(log, &error),
                (_, None) => {}
            }
        }
        let mut queue = shared.queue.lock();
        queue.rounds += 1;
        shared.completed.notify_all();
        if queue.closing && queue.waiting.is_empty() {
            return;
        }
    }
}
