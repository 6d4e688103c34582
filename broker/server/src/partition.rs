//! A partition that this broker leads: its log, its high watermark, and who waits for it to move.
//!
//! ```text
//! append ─▶ log end ─▶ (flush, one for many appends) ─▶ high watermark ─▶ acks=all answered, long polls wake
//! ```
//!
//! Which records are committed, [`Leader`] decides: those that all in-sync replicas have, on stable storage
//! (`strata.durability=disk`) or at all (`os`). On a single node that is this broker alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use strata_log::{
    AppendError, Appended, Durability, Log, LogConfig, LogManager, RemotePartition, StorageError, TxnCheck,
};
use strata_protocol::records::Origin;
use strata_replica::{
    Acknowledgement, Counts, Leader, LeaderOptions, LeaderStart, NotEnoughReplicas, ReplicaEnds,
};
use strata_types::{ErrorCode, LeaderEpoch, NodeId, Offset, TimestampMs};
use tokio::sync::Notify;

use crate::broker::now;

/// One partition, led here.
pub(crate) struct Partition {
    pub id: RemotePartition,
    pub log: Arc<Log>,
    manager: LogManager,
    node_id: NodeId,
    leader: Mutex<Leader>,
    /// The leader's, to be read without its lock.
    leader_epoch: AtomicI32,
    /// Told of every move of the high watermark, and of the end of this partition.
    advanced: Notify,
    watchers: Mutex<Watchers>,
    gone: AtomicBool,
    /// Told of moves of archived partitions.
    archiver: Arc<Notify>,
    pub stats: PartitionStats,
}

/// What went in and out since the broker took the partition over.
#[derive(Debug, Default)]
pub(crate) struct PartitionStats {
    pub messages_in: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

#[derive(Default)]
struct Watchers {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

impl Partition {
    /// Takes a log over, in the state that the metadata has.
    pub(crate) fn new(
        id: RemotePartition,
        log: Arc<Log>,
        manager: LogManager,
        node_id: NodeId,
        state: &strata_metadata::Partition,
        archiver: Arc<Notify>,
    ) -> Result<Arc<Self>, StorageError> {
        log.assign_epoch(state.leader_epoch, log.end_offset())?;
        let partition = Arc::new(Self {
            leader: Mutex::new(leader(node_id, state, &log)),
            id,
            log,
            manager,
            node_id,
            leader_epoch: AtomicI32::new(state.leader_epoch.0),
            advanced: Notify::new(),
            watchers: Mutex::default(),
            gone: AtomicBool::new(false),
            archiver,
            stats: PartitionStats::default(),
        });
        // A leader knows from the start what is committed; all later moves it tells.
        let committed = partition.leader.lock().high_watermark();
        partition.advance(Some(committed));
        partition.grown();
        Ok(partition)
    }

    /// The leader's epoch.
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// The metadata has changed: another term of ours, which begins where the log ends, or other in-sync replicas.
    pub(crate) fn lead(&self, state: &strata_metadata::Partition) -> Result<(), StorageError> {
        let moved = {
            let mut leading = self.leader.lock();
            if self.leader_epoch.swap(state.leader_epoch.0, Ordering::AcqRel) != state.leader_epoch.0 {
                self.log.assign_epoch(state.leader_epoch, self.log.end_offset())?;
                *leading = leader(self.node_id, state, &self.log);
            }
            leading.isr_decided(&state.isr, state.partition_epoch, now());
            Some(leading.high_watermark())
        };
        self.advance(moved);
        self.grown();
        Ok(())
    }

    /// The topic's settings have changed.
    pub(crate) fn configure(&self, config: Arc<LogConfig>) {
        let options = options(&config);
        self.log.set_config(config);
        let moved = self.leader.lock().set_options(options, now());
        self.advance(moved);
        self.grown();
    }

    /// Whether enough replicas are in sync for `acks=all`.
    pub(crate) fn check_min_isr(&self) -> Result<(), NotEnoughReplicas> {
        self.leader.lock().check_min_isr()
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
        self.append_checked(batches, now, origin, TxnCheck::Off)
    }

    /// The same, where transactions are verified.
    pub(crate) fn append_checked(
        &self,
        batches: Bytes,
        now: TimestampMs,
        origin: Origin,
        txn: TxnCheck,
    ) -> Result<Appended, AppendError> {
        let bytes = batches.len() as u64;
        let appended = self.log.append_checked(batches, self.leader_epoch(), now, origin, txn)?;
        let messages = appended.last_offset.0 - appended.first_offset.0 + 1;
        self.stats.messages_in.fetch_add(messages.max(0) as u64, Ordering::Relaxed);
        self.stats.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        self.grown();
        Ok(appended)
    }

    /// The log may have grown, or more of it may have become durable: what is committed follows, and what is not durable
    /// yet is asked for.
    pub(crate) fn grown(&self) {
        let ends = ends(&self.log);
        let moved = self.leader.lock().local(ends, now());
        self.advance(moved);
        if ends.durable < ends.end {
            let config = self.log.config();
            let many = config.flush_messages < i64::MAX && ends.end - ends.durable >= config.flush_messages;
            if config.durability == Durability::Disk || many {
                self.manager.flusher().request(&self.log);
            }
        }
    }

    /// Has the log flushed where something has waited for `flush.ms`.
    pub(crate) fn flush_overdue(&self, now: TimestampMs) {
        if self.log.is_flush_overdue(now) {
            self.manager.flusher().request(&self.log);
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

    /// The high watermark has moved there: those who wait for it wake.
    fn advance(&self, high_watermark: Option<Offset>) {
        let Some(high_watermark) = high_watermark else { return };
        self.log.set_high_watermark(high_watermark);
        self.wake();
        if self.log.config().remote_storage_enable {
            self.archiver.notify_one();
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
            match self.leader.lock().acknowledgement(end) {
                Acknowledgement::Done => return Ok(()),
                Acknowledgement::NotEnoughReplicas => return Err(ErrorCode::NotEnoughReplicasAfterAppend),
                Acknowledgement::Waiting => {}
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

fn leader(node: NodeId, state: &strata_metadata::Partition, log: &Log) -> Leader {
    let start = LeaderStart {
        node,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        replicas: state.replicas.clone(),
        isr: state.isr.clone(),
        epoch_start: log.end_offset(),
        ends: ends(log),
        high_watermark: log.high_watermark(),
    };
    Leader::new(start, options(&log.config()), now())
}

fn ends(log: &Log) -> ReplicaEnds {
    // In this order: what becomes durable meanwhile is then below the end.
    let durable = log.durable_offset();
    ReplicaEnds { end: log.end_offset(), durable }
}

fn options(config: &LogConfig) -> LeaderOptions {
    LeaderOptions {
        min_insync_replicas: usize::try_from(config.min_insync_replicas).unwrap_or(1),
        counts: match config.durability {
            Durability::Disk => Counts::Durable,
            Durability::Os => Counts::Written,
        },
        // Of no account without followers.
        ..LeaderOptions::default()
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
