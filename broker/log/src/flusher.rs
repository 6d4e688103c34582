//! Group commit: at most one flush in flight for a data folder, and everything that asks meanwhile shares the next.
//!
//! A round of few logs syncs file after file. From [`SYNC_TOGETHER_LOGS_MIN`] on, the file system is synced once for
//! all: each `fdatasync` waits for a commit of the file system's journal, and one commit serves every file (measured on
//! ext4, 4 KiB a file: 4 files 9 ms against 3 ms, 16 files 33 ms against 2 ms, 64 files 157 ms against 2 ms).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use strata_types::Offset;

use crate::log::Flush;
use crate::{Histogram, Log, StorageError, Times, disk};

/// Who wants to know what became durable. Called on the flusher's thread: be quick, and do not flush.
pub trait LogListener: Send + Sync {
    /// Everything below `until` is on stable storage now.
    fn durable(&self, log: &Arc<Log>, until: Offset);
    /// The flush failed, and the log is offline.
    fn failed(&self, log: &Arc<Log>, error: &StorageError);
    /// The data folder is offline, with all its logs. Called on whatever thread found out, which may hold a log's locks.
    fn folder_failed(&self, dir: &Path, error: &StorageError);
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
    /// How long each round took.
    times: Histogram,
}

#[derive(Default)]
struct Queue {
    /// Each log at most once.
    waiting: Vec<Arc<Log>>,
    /// How many rounds are over.
    rounds: u64,
    closing: bool,
}

/// From how many logs in a round on the file system is synced as a whole.
pub const SYNC_TOGETHER_LOGS_MIN: usize = 3;

impl Flusher {
    /// Starts the thread, for the logs in this data folder.
    pub fn start(dir: &Path, listener: Option<Arc<dyn LogListener>>) -> Result<Self, StorageError> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("log-flusher".to_string()).spawn({
            let (shared, dir) = (shared.clone(), dir.to_path_buf());
            move || run(&shared, &dir, listener.as_deref())
        });
        let thread = thread.map_err(StorageError::io("start the flusher of", dir))?;
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

    /// How long each round so far has taken.
    pub fn times(&self) -> Times {
        self.shared.times.times()
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

fn run(shared: &Shared, dir: &Path, listener: Option<&dyn LogListener>) {
    loop {
        let round = {
            let mut queue = shared.queue.lock();
            while queue.waiting.is_empty() && !queue.closing {
                shared.requested.wait(&mut queue);
            }
            std::mem::take(&mut queue.waiting)
        };
        let began = Instant::now();
        let flushed = if round.len() < SYNC_TOGETHER_LOGS_MIN {
            round.iter().map(|log| log.flush()).collect()
        } else {
            flush_together(&round, dir)
        };
        shared.times.observe(began.elapsed());
        for (log, flushed) in round.iter().zip(flushed) {
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

/// One sync of the file system for all logs. Should it fail, each log finds out for itself whether it is concerned.
fn flush_together(logs: &[Arc<Log>], dir: &Path) -> Vec<Result<Offset, StorageError>> {
    let begun: Vec<_> = logs.iter().map(|log| log.begin_flush()).collect();
    let synced = disk::sync_file_system(dir);
    let end = |(log, begun): (&Arc<Log>, Result<Option<Flush>, StorageError>)| match (begun?, &synced) {
        (None, _) => Ok(log.durable_offset()),
        (Some(flush), Ok(())) => Ok(log.end_flush(&flush)),
        (Some(_), Err(_)) => log.flush(),
    };
    logs.iter().zip(begun).map(end).collect()
}
