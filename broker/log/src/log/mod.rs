//! One partition's log.
//!
//! ```text
//!  start          local start                    last stable   high watermark   durable      end
//!    │   archived      │   segments …  sealed │ active   │           │              │           │
//!    └── remote log ───┴──────────────────────┴──────────┴───────────┴──────────────┴───────────┘
//! ```
//!
//! Appending takes the writer's lock for its whole length, and the shared lock only to publish what is written, so
//! that reads never wait for the disk. Everything that changes the log takes the locks in this order: writer, shared.

mod append;
mod compact;
mod flush;
mod maintain;
mod read;
mod recover;
mod swap;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use strata_types::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};

pub use self::append::Appended;
pub(crate) use self::flush::Flush;
pub(crate) use self::maintain::Checkpoint;
pub use self::maintain::RetentionOutcome;
pub use self::read::{Read, TimestampAndOffset};
use crate::dirs::Folder;
use crate::epochs::EpochCache;
use crate::producers::Producers;
use crate::segment::{SEGMENT_BYTES_MAX, Segment};
use crate::transactions::Transactions;
use crate::{AbortedTxn, FileCache, LogConfig, ProducerInfo, StorageError};

/// How far the log on disk can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It was closed properly: nothing is scanned.
    Clean,
    /// The process died, the kernel did not: what was written is there. Only the tail is scanned.
    PageCache,
    /// Nothing above the recovery point is certain.
    RecoveryPoint,
}

/// What is known of a log before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    pub trust: Trust,
    /// Everything below was on stable storage.
    pub recovery_point: Offset,
    pub log_start_offset: Option<Offset>,
    pub high_watermark: Offset,
    /// Up to where the log was compacted.
    pub cleaned_until: Option<Offset>,
    pub settled: Option<Settled>,
}

/// Up to where the log's own files say what its batches would: of the records below `end`, producers are in the last snapshot
/// (in none: there were none), and leader epochs in their file. A log is known by the epoch of its last record: if that is
/// another, it was cut since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub end: Offset,
    pub epoch: LeaderEpoch,
}

impl Default for Recovery {
    /// Nothing is known.
    fn default() -> Self {
        Self {
            trust: Trust::RecoveryPoint,
            recovery_point: Offset::ZERO,
            log_start_offset: None,
            high_watermark: Offset::ZERO,
            cleaned_until: None,
            settled: None,
        }
    }
}

/// What a log is opened with.
pub struct LogOptions {
    /// The partition's own folder, which is made with the first record if it is not there.
    pub dir: PathBuf,
    pub partition: TopicPartition,
    pub topic_id: TopicId,
    pub config: Arc<LogConfig>,
    pub files: FileCache,
    pub recovery: Recovery,
    pub(crate) folder: Arc<Folder>,
    /// Whether the partition's folder is made at once.
    pub(crate) folder_at_once: bool,
    pub now: TimestampMs,
}

/// What opening had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    pub segments: usize,
    pub segments_scanned: usize,
    pub bytes_scanned: u64,
    /// What a crash had left half-written.
    pub bytes_cut: u64,
}

impl RecoveryReport {
    pub(crate) fn add(&mut self, other: &Self) {
        self.segments += other.segments;
        self.segments_scanned += other.segments_scanned;
        self.bytes_scanned += other.bytes_scanned;
        self.bytes_cut += other.bytes_cut;
    }
}

/// A segment as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    pub base_offset: Offset,
    /// The offset after the last batch.
    pub end_offset: Offset,
    pub bytes: u64,
    pub max_timestamp: Option<TimestampMs>,
    /// Whether nothing is appended to it any more.
    pub sealed: bool,
}

/// One partition's log. Shared as `Arc<Log>`; every method may be called from any thread, and may block on the disk.
pub struct Log {
    partition: TopicPartition,
    topic_id: TopicId,
    dir: RwLock<PathBuf>,
    files: FileCache,
    config: RwLock<Arc<LogConfig>>,
    report: RecoveryReport,
    writer: Mutex<Writer>,
    shared: RwLock<Shared>,
    offline: OnceLock<Arc<StorageError>>,
    folder: Arc<Folder>,
    deleted: AtomicBool,
    /// Files that nobody needs any more, and when they may go (`file.delete.delay.ms`).
    doomed: Mutex<Vec<(TimestampMs, PathBuf)>>,
    pub(crate) flush_requested: AtomicBool,
}

/// What only appending needs.
struct Writer {
    producers: Producers,
    closed: bool,
}

/// What reading needs too. There is always at least one segment; the last one is active.
struct Shared {
    segments: VecDeque<Segment>,
    start: Offset,
    durable: Offset,
    high_watermark: Offset,
    epochs: EpochCache,
    transactions: Transactions,
    /// Segments from this base on may have content that is not on stable storage.
    flushed_base: Offset,
    /// Whether files were made or removed that the folder on stable storage does not know.
    folder_changed: bool,
    /// Whether the folder itself may not be known on stable storage.
    folder_is_new: bool,
    /// Whether there is a folder.
    has_folder: bool,
    /// When the first record was appended that is not on stable storage.
    unflushed_since: Option<TimestampMs>,
    /// Whether the log was cut, which stable storage does not know of yet.
    is_cut: bool,
    /// Counts truncations, so that a flush that was overtaken by one claims nothing.
    truncations: u64,
    /// Up to where the log was compacted.
    cleaned_until: Option<Offset>,
}

impl Log {
    /// Opens a partition's folder and recovers what is in it, or begins an empty log. An empty log that starts at offset 0 is
    /// nothing on disk: it has no files, and no folder unless one is asked for.
    pub fn open(options: LogOptions) -> Result<Arc<Self>, StorageError> {
        recover::open(options).map(Arc::new)
    }

    /// Opens a partition's folder that holds these names, and whose topic id is known to be the right one.
    pub(crate) fn open_found(options: LogOptions, names: Vec<String>) -> Result<Arc<Self>, StorageError> {
        recover::open_found(options, names).map(Arc::new)
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The partition's folder. It is renamed when the log is deleted.
    pub fn dir(&self) -> PathBuf {
        self.dir.read().clone()
    }

    pub fn config(&self) -> Arc<LogConfig> {
        self.config.read().clone()
    }

    /// Gives the log another configuration, which holds from the next call on.
    pub fn set_config(&self, config: Arc<LogConfig>) {
        *self.config.write() = config;
    }

    /// What opening had to do.
    pub fn recovery_report(&self) -> RecoveryReport {
        self.report
    }

    /// The first offset that can be read, here or in the remote log.
    pub fn start_offset(&self) -> Offset {
        self.shared.read().start
    }

    /// The first offset that can be read here.
    pub fn local_start_offset(&self) -> Offset {
        self.shared.read().local_start()
    }

    /// The start, where the files do not tell it.
    pub(crate) fn start_to_remember(&self) -> Option<Offset> {
        let shared = self.shared.read();
        (shared.start != shared.segments[0].base()).then_some(shared.start)
    }

    /// The next record's offset.
    pub fn end_offset(&self) -> Offset {
        self.shared.read().end()
    }

    /// Everything below is on stable storage.
    pub fn durable_offset(&self) -> Offset {
        self.shared.read().durable
    }

    /// Whether something has not been on stable storage for as long as the topic allows (`flush.ms`).
    pub fn is_flush_overdue(&self, now: TimestampMs) -> bool {
        let flush_ms = self.config().flush_ms;
        let shared = self.shared.read();
        let since = shared.unflushed_since.filter(|_| shared.durable < shared.end());
        since.is_some_and(|since| now.saturating_sub(since) >= flush_ms)
    }

    pub fn high_watermark(&self) -> Offset {
        self.shared.read().high_watermark
    }

    /// Moves the high watermark, never back, and never out of the log. Tells where it is now.
    pub fn set_high_watermark(&self, high_watermark: Offset) -> Offset {
        let mut shared = self.shared.write();
        let moved = high_watermark.min(shared.end()).max(shared.high_watermark);
        if moved != shared.high_watermark {
            shared.high_watermark = moved;
            shared.transactions.committed(moved);
        }
        moved
    }

    /// Up to where every transaction is decided and committed: what read_committed consumers and the archive may see.
    pub fn last_stable_offset(&self) -> Offset {
        let shared = self.shared.read();
        let unstable = shared.transactions.first_unstable();
        unstable.map_or(shared.high_watermark, |first| first.min(shared.high_watermark))
    }

    /// The aborted transactions that reach into `[from, to)`.
    pub fn aborted_transactions(&self, from: Offset, to: Offset) -> Vec<AbortedTxn> {
        let shared = self.shared.read();
        // A marker may stand in a later segment than the records it undoes.
        let segments = shared.segments.iter().filter(|segment| segment.end() > from);
        segments
            .flat_map(|segment| segment.aborted_transactions())
            .filter(|txn| txn.last_offset >= from && txn.first_offset < to)
            .copied()
            .collect()
    }

    /// The latest leader epoch in which something was written.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.shared.read().epochs.latest()
    }

    /// The last epoch at or below `epoch` and where it ends; `None` if the epoch is above all that is known.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let shared = self.shared.read();
        shared.epochs.end_offset(epoch, shared.end())
    }

    /// The epoch in which the record at `offset` was written.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.shared.read().epochs.at(offset)
    }

    /// This broker leads from here on, in this epoch.
    pub fn assign_epoch(&self, epoch: LeaderEpoch, start: Offset) -> Result<(), StorageError> {
        self.check_online()?;
        self.shared.write().epochs.begin(epoch, start);
        Ok(())
    }

    /// The size of the segments' log files.
    pub fn bytes(&self) -> u64 {
        self.shared.read().segments.iter().map(Segment::bytes).sum()
    }

    pub fn segments(&self) -> Vec<SegmentInfo> {
        let shared = self.shared.read();
        let active = shared.active().base();
        let info = |segment: &Segment| SegmentInfo {
            base_offset: segment.base(),
            end_offset: segment.end(),
            bytes: segment.bytes(),
            max_timestamp: segment.max_timestamp().map(|max| max.timestamp),
            sealed: segment.base() != active,
        };
        shared.segments.iter().map(info).collect()
    }

    /// The idempotent producers that the log remembers.
    pub fn active_producers(&self) -> Vec<ProducerInfo> {
        self.writer.lock().producers.infos()
    }

    /// Why nothing can be written any more, if so.
    pub fn offline(&self) -> Option<Arc<StorageError>> {
        self.offline.get().or(self.folder.failed()).cloned()
    }

    /// Whether there is a folder, which a log without records may not have.
    pub(crate) fn has_folder(&self) -> bool {
        self.shared.read().has_folder
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    fn check_online(&self) -> Result<(), StorageError> {
        self.offline().map_or(Ok(()), |error| Err(StorageError::Offline(error)))
    }

    /// The disk has failed in a way that leaves what is on it uncertain: no more writes, here and in the whole folder.
    /// Nothing of a deleted log is uncertain: its files are moved and removed while others still work on them.
    fn go_offline(&self, error: &StorageError) {
        if self.deleted.load(Ordering::Acquire) {
            return;
        }
        if self.offline.set(Arc::new(error.clone())).is_ok() {
            tracing::error!(partition = %self.partition, %error, "the log goes offline");
        }
        self.folder.fail(error);
    }

    pub(crate) fn moved_to(&self, dir: &Path) {
        *self.dir.write() = dir.to_path_buf();
    }
}

impl Shared {
    fn active(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    fn active_mut(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    fn end(&self) -> Offset {
        self.active().end()
    }

    fn local_start(&self) -> Offset {
        self.segments[0].base().max(self.start)
    }

    /// The segment that holds `offset`, if any does: the last that starts at it or below.
    fn segment_at(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base() <= offset).saturating_sub(1)
    }
}

/// How large a segment may be.
fn segment_bytes_max(config: &LogConfig) -> u64 {
    (config.segment_bytes as u64).min(SEGMENT_BYTES_MAX)
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({})", self.partition)
    }
}
