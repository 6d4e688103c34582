use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use strata_archive::WriterOptions;
use strata_log::{
    ArchiveHost, BoxFuture, RemoteError, RemoteLog, RemotePartition, RemoteRead, RetentionLimits,
    TimestampAndOffset,
};
use strata_types::{Offset, TimestampMs, TopicId, TopicName};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::archiver::{ArchiverState, PassReport};
use crate::cold::{ColdOptions, ColdReader, TimestampedOffset};
use crate::error::StoreError;
use crate::index::{PartitionKey, TierIndex};
use crate::index_log::IndexLog;
use crate::objects::Store;

/// Limits of the archiver and of cold reads.
#[derive(Debug, Clone)]
pub struct TierOptions {
    /// An object ends once it holds this much of the log, and a partition with this much to archive is due whatever
    /// its age (or with a segment's worth, if that is less).
    pub object_bytes_max: u64,
    /// Or this much, uncompressed.
    pub object_raw_bytes_max: u64,
    /// Partitions that are archived at a time; each has an object in memory.
    pub uploads_max: usize,
    /// What is read of the log at a time.
    pub read_bytes_max: usize,
    /// Passes start at least so far apart.
    pub pass_interval_ms: u64,
    /// A partition that fails again and again is tried at least so often.
    pub pause_ms_max: u64,
    /// What no manifest entry names is an orphan once it is this old; no upload may take half as long.
    pub orphan_age_ms_min: u64,
    /// Between sweeps for orphans.
    pub sweep_interval_ms: u64,
    pub writer: WriterOptions,
    pub cold: ColdOptions,
}

impl Default for TierOptions {
    fn default() -> Self {
        Self {
            object_bytes_max: 64 << 20,
            object_raw_bytes_max: 256 << 20,
            uploads_max: 2,
            read_bytes_max: 4 << 20,
            pass_interval_ms: 1_000,
            pause_ms_max: 60_000,
            orphan_age_ms_min: 3_600_000,
            sweep_interval_ms: 6 * 3_600_000,
            writer: WriterOptions::default(),
            cold: ColdOptions::default(),
        }
    }
}

/// The cold tier of a broker: the index in memory, the reader that serves fetches below the local log, and the archiver
/// that feeds it.
pub struct Tier {
    pub(crate) store: Store,
    pub(crate) options: TierOptions,
    pub(crate) index: Arc<TierIndex>,
    pub(crate) index_log: IndexLog,
    pub(crate) archiver: ArchiverState,
    cold: Arc<ColdReader>,
    host: RwLock<Option<Arc<dyn ArchiveHost>>>,
}

/// The archiver, running. Dropping it stops it, too, only without waiting.
pub struct TierTask {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl TierTask {
    /// Stops the archiver, wherever it is: an upload that is given up leaves an orphan at most.
    pub async fn shutdown(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

impl Tier {
    pub fn new(store: Store, options: TierOptions) -> Arc<Self> {
        let index = Arc::new(TierIndex::default());
        Arc::new(Self {
            cold: ColdReader::new(store.clone(), index.clone(), options.cold.clone()),
            index_log: IndexLog::new(index.clone()),
            archiver: ArchiverState::default(),
            host: RwLock::default(),
            store,
            options,
            index,
        })
    }

    pub fn index(&self) -> &Arc<TierIndex> {
        &self.index
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Reads the index topic up to its end, so that cold reads can be answered. [`Tier::start`] does it in the
    /// background, again and again until the topic can be read.
    pub async fn load(&self, host: &dyn ArchiveHost) -> Result<(), StoreError> {
        self.index_log.catch_up(host).await
    }

    /// From here on, deletions go through this host. [`Tier::start`] does it, too.
    pub fn attach(&self, host: Arc<dyn ArchiveHost>) {
        *self.host.write() = Some(host);
    }

    /// Starts the archiver: loads the index, sweeps orphans, then archives what is due until it is shut down.
    pub fn start(self: &Arc<Self>, host: Arc<dyn ArchiveHost>) -> TierTask {
        self.attach(host.clone());
        let (stop, mut stopped) = watch::channel(false);
        let tier = self.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                // An error means that the handle was dropped.
                _ = stopped.wait_for(|stop| *stop) => {}
                () = tier.run(&*host) => {}
            }
            // The broker has this tier, and the tier the broker: neither would ever go.
            *tier.host.write() = None;
        });
        TierTask { stop, task }
    }

    /// Archives and sweeps side by side: a sweep lists folder after folder, and nobody should wait for it.
    async fn run(&self, host: &dyn ArchiveHost) {
        tokio::join!(self.keep_archiving(host), self.keep_sweeping(host));
    }

    async fn keep_archiving(&self, host: &dyn ArchiveHost) {
        let mut held_up = false;
        loop {
            let started = tokio::time::Instant::now();
            let report = match self.index_log.catch_up(host).await {
                Ok(()) => self.run_once(host, now_ms()).await,
                Err(error) => PassReport::failed(error),
            };
            // Told once, and once more when it is over: an outage lasts many passes.
            if let (false, Some((what, error))) = (held_up, report.failures.first()) {
                tracing::warn!(%error, "archiving {what} is held up; records stay in the log meanwhile");
            } else if held_up && report.is_clear() {
                tracing::info!("archiving goes on");
            }
            held_up = !report.is_clear() && (held_up || !report.failures.is_empty());
            let due = report.next_due.map(|due| u64::try_from(due.saturating_sub(now_ms())).unwrap_or(0));
            let again = (!report.failures.is_empty()).then_some(self.options.pass_interval_ms);
            let wait_ms = [due, again].into_iter().flatten().min().unwrap_or(self.options.sweep_interval_ms);
            tokio::select! {
                () = host.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            }
            tokio::time::sleep_until(started + Duration::from_millis(self.options.pass_interval_ms)).await;
        }
    }

    async fn keep_sweeping(&self, host: &dyn ArchiveHost) {
        let mut every = tokio::time::interval(Duration::from_millis(self.options.sweep_interval_ms.max(1)));
        loop {
            every.tick().await;
            // What cannot be swept now can be the next time.
            if let Err(error) = self.sweep(host, now_ms()).await {
                tracing::debug!(%error, "the sweep for orphans was cut short");
            }
        }
    }

    fn host(&self) -> Result<Arc<dyn ArchiveHost>, RemoteError> {
        self.host.read().clone().ok_or_else(not_started)
    }
}

impl RemoteLog for Tier {
    fn fetch<'a>(
        &'a self,
        partition: &'a RemotePartition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RemoteRead, RemoteError>> {
        Box::pin(async move {
            match self.cold.fetch(key_of(partition), from, max_bytes).await {
                Ok(read) => Ok(RemoteRead { batches: read.batches, next_offset: read.next_offset }),
                Err(StoreError::NotArchived { .. }) if !self.index_log.is_loaded() => Err(not_started()),
                Err(error) => Err(remote(error)),
            }
        })
    }

    fn offset_for_timestamp<'a>(
        &'a self,
        partition: &'a RemotePartition,
        timestamp: TimestampMs,
        from: Offset,
    ) -> BoxFuture<'a, Result<Option<TimestampAndOffset>, RemoteError>> {
        Box::pin(async move {
            let found = self.cold.offset_for_timestamp(key_of(partition), timestamp, from).await;
            Ok(found.map_err(remote)?.map(timestamp_and_offset))
        })
    }

    fn max_timestamp<'a>(
        &'a self,
        partition: &'a RemotePartition,
    ) -> BoxFuture<'a, Result<Option<TimestampAndOffset>, RemoteError>> {
        Box::pin(async move { Ok(self.cold.max_timestamp(key_of(partition)).map(timestamp_and_offset)) })
    }

    fn earliest_offset(&self, partition: &RemotePartition) -> Option<Offset> {
        self.index.earliest_offset(key_of(partition))
    }

    fn archived_until(&self, partition: &RemotePartition) -> Option<Offset> {
        self.index.archived_until(key_of(partition))
    }

    fn bytes(&self, partition: &RemotePartition) -> u64 {
        self.index.log_bytes(key_of(partition))
    }

    fn enforce_retention<'a>(
        &'a self,
        partition: &'a RemotePartition,
        limits: RetentionLimits,
        now: TimestampMs,
    ) -> BoxFuture<'a, Result<Offset, RemoteError>> {
        Box::pin(async move {
            let host = self.host()?;
            self.retain(&*host, key_of(partition), &limits, now).await.map_err(remote)
        })
    }

    fn start_offset_advanced<'a>(
        &'a self,
        partition: &'a RemotePartition,
        start: Offset,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            let host = self.host()?;
            self.remove_below(&*host, key_of(partition), start).await.map_err(remote)
        })
    }

    fn topic_deleted<'a>(
        &'a self,
        topic_id: TopicId,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async move {
            let host = self.host()?;
            self.remove_topic(&*host, topic_id, topic).await.map_err(remote)
        })
    }
}

fn key_of(partition: &RemotePartition) -> PartitionKey {
    PartitionKey { topic_id: partition.topic_id, partition: partition.partition.partition }
}

fn timestamp_and_offset(found: TimestampedOffset) -> TimestampAndOffset {
    TimestampAndOffset { timestamp: found.timestamp, offset: found.offset, leader_epoch: found.leader_epoch }
}

fn not_started() -> RemoteError {
    RemoteError::Unavailable("the tier index is still being read".to_owned())
}

fn remote(error: StoreError) -> RemoteError {
    match error {
        StoreError::NotArchived { .. } => RemoteError::NotFound,
        StoreError::Corrupt { .. } => RemoteError::Corrupt(error.to_string()),
        error => RemoteError::Unavailable(error.to_string()),
    }
}

fn now_ms() -> TimestampMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
}
