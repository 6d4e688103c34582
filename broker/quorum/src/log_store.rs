//! Raft's log: entries in memory since the last snapshot, batches on disk, written by a thread of their own.
//!
//! ```text
//!   openraft ──▶ LogStore ──▶ Shared (entries, read by readers)
//!                   │ jobs, in order
//!                   ▼
//!                disk thread ──▶ Segments, quorum-state ──▶ callback: durable
//! ```
//!
//! The thread does one job after the other, so that an entry is never durable before an older one or before the vote under
//! which it was written. After a failed write it does nothing more: what the disk holds is then not known, and Raft stops.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, StorageIOError};
use strata_metadata::Image;
use strata_types::{NodeId, Offset, TimestampMs};
use tokio::sync::{mpsc, oneshot, watch};

use crate::OpenError;
use crate::batch::{decode, encode, offsets_of};
use crate::raft::{Entry, LogId, StorageError, TypeConfig, Vote};
use crate::segments::Segments;
use crate::state;

/// Jobs that may wait for the disk; Raft itself waits for most of them.
const JOBS_MAX: usize = 64;

/// The log as Raft writes it. Cloned for its readers.
#[derive(Clone)]
pub(crate) struct LogStore {
    node_id: NodeId,
    shared: Arc<Mutex<Shared>>,
    jobs: mpsc::Sender<Job>,
    images: watch::Receiver<Arc<Image>>,
}

/// The size of the log.
pub(crate) struct LogSize(Arc<Mutex<Shared>>);

impl LogSize {
    /// The bytes of the batches behind the last snapshot.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.0).bytes
    }
}

struct Shared {
    /// The entries that are not purged, in order of their indexes.
    entries: VecDeque<Stored>,
    purged: Option<LogId>,
    /// Where the next batch goes.
    next_offset: Offset,
    /// The size of the batches of `entries`.
    bytes: u64,
    vote: Option<Vote>,
}

struct Stored {
    entry: Entry,
    base_offset: Offset,
    bytes: u64,
}

enum Job {
    Append { base_offset: Offset, batch: Bytes, done: Option<LogFlushed<TypeConfig>> },
    Truncate { from: Offset, done: oneshot::Sender<io::Result<()>> },
    RemoveBefore { offset: Offset, done: oneshot::Sender<io::Result<()>> },
    Vote { vote: Vote, done: oneshot::Sender<io::Result<()>> },
}

/// Where a snapshot stands: the entries up to it need not be in the log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    pub(crate) last: Option<LogId>,
    pub(crate) next_offset: Offset,
}

impl LogStore {
    /// Recovers the log behind a snapshot, and starts the thread that writes it. The thread ends when the last clone of the
    /// store is dropped.
    pub(crate) fn open(
        dir: &Path,
        node_id: NodeId,
        start: Start,
        images: watch::Receiver<Arc<Image>>,
    ) -> Result<(Self, JoinHandle<()>), OpenError> {
        let vote = state::read_vote(dir)?;
        let (segments, batches) = Segments::open(dir)?;
        let mut shared = Shared {
            entries: VecDeque::new(),
            purged: start.last,
            next_offset: start.next_offset,
            bytes: 0,
            vote,
        };
        for batch in &batches {
            let damaged =
                |what: String| OpenError::corrupt(dir, format!("batch {}: {what}", batch.base_offset()));
            let entry = decode(batch).map_err(|error| damaged(error.to_string()))?;
            shared.recover(entry, batch.base_offset(), batch.bytes().len()).map_err(damaged)?;
        }
        let voted = vote.map_or(0, |vote| vote.leader_id.term);
        if shared.last().is_some_and(|last| last.leader_id.term > voted) {
            // Going on in an epoch that has been would give two entries one name.
            return Err(OpenError::corrupt(dir, "quorum-state is missing, or older than the log"));
        }
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let disk = Disk { dir: dir.to_owned(), segments, failed: None };
        let thread = std::thread::Builder::new()
            .name("metadata-log".to_owned())
            .spawn(move || disk.run(queue))
            .map_err(OpenError::io(dir))?;
        Ok((Self { node_id, shared: Arc::new(Mutex::new(shared)), jobs, images }, thread))
    }

    /// Tells the log's size without keeping its thread alive.
    pub(crate) fn size(&self) -> LogSize {
        LogSize(Arc::clone(&self.shared))
    }

    /// The last entry's id, be it in the log or purged.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.shared().last()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    async fn run(&self, job: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Job) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        self.jobs.send(job(done)).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

impl Shared {
    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|stored| stored.entry.log_id).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    fn push(&mut self, entry: Entry, bytes: usize) {
        let base_offset = self.next_offset;
        self.next_offset = base_offset + offsets_of(&entry.payload);
        self.bytes += bytes as u64;
        self.entries.push_back(Stored { entry, base_offset, bytes: bytes as u64 });
    }

    /// Takes an entry that was found on disk. What a snapshot covers is left out.
    fn recover(&mut self, entry: Entry, base_offset: Offset, bytes: usize) -> Result<(), String> {
        let index = entry.log_id.index;
        if self.purged.is_some_and(|purged| index <= purged.index) {
            return Ok(());
        }
        if index != self.next_index() || base_offset != self.next_offset {
            return Err(format!(
                "entry {index} at offset {base_offset} does not follow; entry {} at offset {} would",
                self.next_index(),
                self.next_offset
            ));
        }
        self.push(entry, bytes);
        Ok(())
    }

    /// Where an entry is in `entries`.
    fn position(&self, index: u64) -> Option<usize> {
        let first = self.entries.front()?.entry.log_id.index;
        usize::try_from(index.checked_sub(first)?).ok()
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let shared = self.shared();
        let from = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => 0,
        };
        let first = shared.entries.front().map_or(0, |stored| stored.entry.log_id.index);
        let skip = shared.position(from.max(first)).unwrap_or(0);
        let entries = shared.entries.iter().skip(skip).map(|stored| &stored.entry);
        Ok(entries.take_while(|entry| range.contains(&entry.log_id.index)).cloned().collect())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let shared = self.shared();
        Ok(LogState { last_purged_log_id: shared.purged, last_log_id: shared.last() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = Vote { leader_id: vote.leader_id, committed: false };
        if self.shared().vote == Some(vote) {
            return Ok(());
        }
        self.run(|done| Job::Vote { vote, done })
            .await
            .map_err(|error| StorageIOError::write_vote(&error))?;
        self.shared().vote = Some(vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.shared().vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut batches = Vec::new();
        {
            let mut shared = self.shared();
            for entry in entries {
                let base_offset = shared.next_offset;
                let batch = encode(&entry, base_offset, self.node_id, now())
                    .map_err(|error| StorageIOError::write_log_entry(entry.log_id, &error))?;
                shared.push(entry, batch.len());
                batches.push((base_offset, batch));
            }
        }
        // The callback goes with the last one: jobs are done in order.
        let mut callback = Some(callback);
        let count = batches.len();
        for (number, (base_offset, batch)) in (1..).zip(batches) {
            let done = callback.take_if(|_| number == count);
            let sent = self.jobs.send(Job::Append { base_offset, batch, done }).await;
            sent.map_err(|_| StorageIOError::write_logs(&stopped()))?;
        }
        if let Some(nothing_to_write) = callback {
            nothing_to_write.log_io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let from = {
            let mut shared = self.shared();
            let Some(position) = shared.position(log_id.index).filter(|&p| p < shared.entries.len()) else {
                return Ok(());
            };
            let from = shared.entries[position].base_offset;
            let gone: u64 = shared.entries.drain(position..).map(|stored| stored.bytes).sum();
            shared.bytes -= gone;
            shared.next_offset = from;
            from
        };
        self.run(|done| Job::Truncate { from, done })
            .await
            .map_err(|error| StorageIOError::write_logs(&error).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        // The image has applied all that a snapshot covers.
        let applied = self.images.borrow().next_offset();
        let (offset, is_behind) = {
            let mut shared = self.shared();
            let is_behind = shared.last() < Some(log_id);
            while shared.entries.front().is_some_and(|first| first.entry.log_id.index <= log_id.index) {
                let bytes = shared.entries.pop_front().map_or(0, |stored| stored.bytes);
                shared.bytes -= bytes;
            }
            shared.purged = shared.purged.max(Some(log_id));
            if is_behind && shared.next_offset < applied {
                shared.next_offset = applied;
            }
            (shared.entries.front().map_or(shared.next_offset, |first| first.base_offset), is_behind)
        };
        let job = |done| match is_behind {
            // A snapshot came from the leader: nothing that is on disk leads up to it.
            true => Job::Truncate { from: Offset::ZERO, done },
            false => Job::RemoveBefore { offset, done },
        };
        self.run(job).await.map_err(|error| StorageIOError::write_logs(&error).into())
    }
}

/// What the thread owns.
struct Disk {
    dir: PathBuf,
    segments: Segments,
    /// What went wrong first.
    failed: Option<(io::ErrorKind, String)>,
}

impl Disk {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            match job {
                Job::Append { base_offset, batch, done } => {
                    let result = self.attempt(|disk| disk.segments.append(base_offset, &batch));
                    if let Some(done) = done {
                        done.log_io_completed(result);
                    }
                }
                // Who asked may be gone; the work is done all the same.
                Job::Truncate { from, done } => {
                    drop(done.send(self.attempt(|disk| disk.segments.truncate(from))))
                }
                Job::RemoveBefore { offset, done } => {
                    drop(done.send(self.attempt(|disk| disk.segments.remove_before(offset))));
                }
                Job::Vote { vote, done } => {
                    drop(done.send(self.attempt(|disk| state::save_vote(&disk.dir, &vote))));
                }
            }
        }
    }

    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if let Some((kind, what)) = &self.failed {
            return Err(io::Error::new(*kind, format!("an earlier write failed: {what}")));
        }
        let result = work(self);
        if let Err(error) = &result {
            self.failed = Some((error.kind(), error.to_string()));
        }
        result
    }
}

/// No code that holds the lock can leave it half changed.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the metadata log's thread has stopped")
}

/// Milliseconds since the epoch; only for people who read the log.
pub(crate) fn now() -> TimestampMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    TimestampMs::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
}
