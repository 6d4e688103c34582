//! A partition that this broker leads: its log, its high watermark, and who waits for it to move.
//!
//! ```text
//! append ─▶ log end ─▶ (flush, one for many appends) ─▶ high watermark ─▶ acks=all answered, long polls wake
//! ```
//!
//! On a single node a record is committed when it is on stable storage (`strata.durability=disk`) or in the log at all
//! (`os`). With followers, it will be what their fetches confirm (`strata_replica`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use strata_log::{AppendError, Appended, Durability, Log, LogManager, RemotePartition, StorageError};
use strata_protocol::records::Origin;
use strata_types::{ErrorCode, LeaderEpoch, Offset, TimestampMs};
use tokio::sync::Notify;

/// One partition, led here.
pub(crate) struct Partition {
    pub id: RemotePartition,
    pub log: Arc<Log>,
    manager: LogManager,
    leader_epoch: AtomicI32,
    /// Told of every move of the high watermark, and of the end of this partition.
    advanced: Notify,
    watchers: Mutex<Watchers>,
    gone: AtomicBool,
    /// Told of moves of archived partitions.
    archiver: Arc<Notify>,
}

#[derive(Default)]
struct Watchers {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Partition {
    /// Takes a log over: what it holds counts as committed as far as the disk has it, or else as far as it goes.
    pub(crate) fn new(
        id: RemotePartition,
        log: Arc<Log>,
        manager: LogManager,
        epoch: LeaderEpoch,
        archiver: Arc<Notify>,
    ) -> Result<Arc<Self>, StorageError> {
        let partition = Arc::new(Self {
            id,
            log,
            manager,
            leader_epoch: AtomicI32::new(epoch.0),
            advanced: Notify::new(),
            watchers: Mutex::default(),
            gone: AtomicBool::new(false),
            archiver,
        });
        partition.log.assign_epoch(epoch, partition.log.end_offset())?;
        partition.after_append();
        Ok(partition)
    }

    /// The leader's epoch.
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// A new term of ours begins where the log ends.
    pub(crate) fn lead(&self, epoch: LeaderEpoch) -> Result<(), StorageError> {
        if self.leader_epoch.swap(epoch.0, Ordering::AcqRel) != epoch.0 {
            self.log.assign_epoch(epoch, self.log.end_offset())?;
        }
        Ok(())
    }

    /// Whether a client that believes in `epoch` is up to date (KIP-320). `-1`: it does not say.
    pub(crate) fn check_epoch(&self, epoch: i32) -> Result<(), ErrorCode> {
        let ours = self.leader_epoch().0;
        match epoch {
            -1 => Ok(()),
            theirs if theirs < ours => Err(ErrorCode::FencedLeaderEpoch),
            theirs if theirs > ours => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Appends whole batches and sees to it that they become committed.
    pub(crate) fn append(
        &self,
        batches: Bytes,
        now: TimestampMs,
        origin: Origin,
    ) -> Result<Appended, AppendError> {
        let appended = self.log.append(batches, self.leader_epoch(), now, origin)?;
        self.after_append();
        Ok(appended)
    }

    fn after_append(&self) {
        match self.log.config().durability {
            Durability::Os => self.advance(self.log.end_offset()),
            Durability::Disk => {
                let durable = self.log.durable_offset();
                self.advance(durable);
                if durable < self.log.end_offset() {
                    self.manager.flusher().request(&self.log);
                }
            }
        }
    }

    /// Below this, every record is committed.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.log.high_watermark()
    }

    /// The end of what a consumer of this isolation level may see: with `committed`, no open transaction's records.
    pub(crate) fn visible_until(&self, committed: bool) -> Offset {
        if committed { self.log.last_stable_offset() } else { self.high_watermark() }
    }

    /// Raises the high watermark and wakes those who wait for it.
    pub(crate) fn advance(&self, until: Offset) {
        let before = self.log.high_watermark();
        if self.log.set_high_watermark(until) > before {
            self.wake();
            if self.log.config().remote_storage_enable {
                self.archiver.notify_one();
            }
        }
    }

    /// The topic is deleted or the log has failed: nobody needs to wait any longer.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the topic is deleted.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Wakes everybody who waits for this partition.
    pub(crate) fn wake(&self) {
        self.advanced.notify_waiters();
        for watcher in std::mem::take(&mut self.watchers.lock().waiting).into_values() {
            watcher.notify_one();
        }
    }

    /// Waits until everything below `end` is committed.
    pub(crate) async fn committed(&self, end: Offset) -> Result<(), ErrorCode> {
        loop {
            // Made before the look, so that no move between look and wait is missed.
            let advanced = self.advanced.notified();
            if self.high_watermark() >= end {
                return Ok(());
            }
            if self.is_gone() {
                return Err(ErrorCode::UnknownTopicOrPartition);
            }
            if self.log.offline().is_some() {
                return Err(ErrorCode::KafkaStorageError);
            }
            advanced.await;
        }
    }

    /// Has `notify` told of the next move of the high watermark, once, while the watch is kept.
    pub(crate) fn watch(self: &Arc<Self>, notify: &Arc<Notify>) -> Watch {
        let mut watchers = self.watchers.lock();
        let key = watchers.next;
        watchers.next += 1;
        watchers.waiting.insert(key, notify.clone());
        Watch { partition: self.clone(), key }
    }
}

/// A place among a partition's watchers, given up when dropped.
pub(crate) struct Watch {
    partition: Arc<Partition>,
    key: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.partition.watchers.lock().waiting.remove(&self.key);
    }
}
