//! Moves what is old or big enough from the log to the archive.
//!
//! ```text
//!  log [archived, committed) ─► Parquet ─► PUT data/…-<attempt> ─► create manifest/…/<start> ─► index topic ─► broker
//!                                          orphan if we stop here   this decides               readers see it
//! ```
//!
//! Every step may fail, half-happen or be done twice. Before the manifest is created an attempt is an orphan at worst;
//! after that it is archived, and whoever comes next finds it there and makes up the index.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use strata_archive::{AbortedTransactions, ArchiveFile, ArchiveWriter};
use strata_log::{ArchiveHost, ArchivePartition, Log};
use strata_types::{LeaderEpoch, Offset, TRACE_TARGET, TimestampMs};
use tracing::{Instrument, info_span};
use uuid::Uuid;

use crate::error::StoreError;
use crate::index::{IndexEntry, PartitionKey, TIER_INDEX_TOPIC};
use crate::manifest::{self, Committed};
use crate::names;
use crate::tier::Tier;

/// What one pass did.
#[derive(Debug, Default)]
pub struct PassReport {
    /// Objects that were archived, by us or by another attempt.
    pub objects: usize,
    /// What failed: a partition, or the tier index itself.
    pub failures: Vec<(String, StoreError)>,
    /// Partitions that failed before, and are not tried again yet.
    pub paused: usize,
    /// When the next partition is due by its age, if nothing else happens.
    pub next_due: Option<TimestampMs>,
}

impl PassReport {
    pub(crate) fn failed(error: StoreError) -> Self {
        Self { failures: vec![(TIER_INDEX_TOPIC.to_owned(), error)], ..Self::default() }
    }

    /// Whether nothing failed, and nothing waits because it did.
    pub(crate) fn is_clear(&self) -> bool {
        self.failures.is_empty() && self.paused == 0
    }
}

/// What the archiver remembers of each partition. Lost with the process, and no harm done.
#[derive(Default)]
pub(crate) struct ArchiverState {
    partitions: Mutex<HashMap<PartitionKey, PartitionState>>,
}

#[derive(Default)]
struct PartitionState {
    /// Since when there is something to archive from this offset on.
    pending: Option<(Offset, TimestampMs)>,
    /// The manifest was compared with the index under this leadership.
    reconciled: Option<LeaderEpoch>,
    failures: u32,
    not_before: TimestampMs,
}

enum Step {
    Archived,
    Rest(Rest),
}

/// Nothing to do before a time, if it is known.
#[derive(Default)]
struct Rest {
    until: Option<TimestampMs>,
    /// Because the last attempt failed.
    paused: bool,
}

impl Tier {
    /// Archives what is due, partition by partition, a few at a time. One partition's failure does not hold up the
    /// others; it is tried again after a growing pause.
    pub async fn run_once(&self, host: &dyn ArchiveHost, now: TimestampMs) -> PassReport {
        let partitions = host.partitions();
        self.archiver.forget_all_but(&partitions);
        let work = partitions.into_iter().map(|partition| async move {
            let outcome = self.archive_partition(host, &partition, now).await;
            (partition.id.partition.clone(), outcome)
        });
        let mut report = PassReport::default();
        let mut outcomes = stream::iter(work).buffer_unordered(self.options.uploads_max.max(1));
        while let Some((partition, (objects, outcome))) = outcomes.next().await {
            report.objects += objects;
            match outcome {
                Ok(rest) => {
                    report.next_due = [report.next_due, rest.until].into_iter().flatten().min();
                    report.paused += usize::from(rest.paused);
                }
                Err(error) => report.failures.push((partition.to_string(), error)),
            }
        }
        report
    }

    async fn archive_partition(
        &self,
        host: &dyn ArchiveHost,
        partition: &ArchivePartition,
        now: TimestampMs,
    ) -> (usize, Result<Rest, StoreError>) {
        let mut objects = 0;
        loop {
            match self.step(host, partition, now).await {
                Ok(Step::Archived) => objects += 1,
                Ok(Step::Rest(rest)) => return (objects, Ok(rest)),
                Err(error) => {
                    self.archiver.failed(key_of(partition), now, self.options.pause_ms_max);
                    return (objects, Err(error));
                }
            }
        }
    }

    async fn step(
        &self,
        host: &dyn ArchiveHost,
        partition: &ArchivePartition,
        now: TimestampMs,
    ) -> Result<Step, StoreError> {
        let key = key_of(partition);
        let from = self.archive_start(partition);
        if let Some(rest) = self.archiver.rest(partition, from, now, self.options.object_bytes_max) {
            return Ok(Step::Rest(rest));
        }
        if !self.archiver.is_reconciled(key, partition.leader_epoch) {
            self.reconcile(host, partition).await?;
            self.archiver.reconciled(key, partition.leader_epoch);
            // The manifest may have known of more than the index.
            return Box::pin(self.step(host, partition, now)).await;
        }
        if !host.leads(&partition.id, partition.leader_epoch) {
            return Ok(Step::Rest(Rest::default()));
        }
        let span = info_span!(
            target: TRACE_TARGET,
            "archive",
            messaging.system = "kafka",
            messaging.destination.name = partition.id.partition.topic.as_str(),
            messaging.destination.partition.id = partition.id.partition.partition,
            from = from.0,
        );
        self.archive_range(host, partition, from, now).instrument(span).await?;
        self.archiver.succeeded(key);
        Ok(Step::Archived)
    }

    /// Where the archive of a partition goes on.
    fn archive_start(&self, partition: &ArchivePartition) -> Offset {
        let start = partition.log.start_offset();
        self.index.archived_until(key_of(partition)).unwrap_or(start).max(start)
    }

    async fn archive_range(
        &self,
        host: &dyn ArchiveHost,
        partition: &ArchivePartition,
        from: Offset,
        now: TimestampMs,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        let from = from.max(partition.log.local_start_offset());
        let building = self.build(partition, from);
        let built = building.instrument(info_span!(target: TRACE_TARGET, "build")).await?;
        let uploading = self.upload(partition, built, now);
        let entry = uploading.instrument(info_span!(target: TRACE_TARGET, "upload")).await?;
        // An orphan is swept by its age. Who took that long must not make it the winner now.
        let overdue = started.elapsed() > Duration::from_millis(self.options.orphan_age_ms_min / 2);
        if overdue || !host.leads(&partition.id, partition.leader_epoch) {
            self.store.delete(&entry.object).await?;
            return Err(StoreError::log("the upload took too long, or leadership moved on: given up"));
        }
        let committing = manifest::commit(&self.store, &entry);
        let entry = match committing.instrument(info_span!(target: TRACE_TARGET, "commit")).await? {
            Committed::Ours => entry,
            Committed::Theirs(theirs) => {
                self.store.delete(&entry.object).await?;
                *theirs
            }
        };
        let range = entry.range.start_offset..entry.range.end_offset;
        self.index_log.append(host, &[entry]).await?;
        tracing::debug!(partition = %partition.id.partition, ?range, "archived");
        self.report_archived(host, partition);
        Ok(())
    }

    /// Reads the log and writes Parquet, on a thread for such work.
    async fn build(&self, partition: &ArchivePartition, from: Offset) -> Result<Built, StoreError> {
        let (options, partition) = (self.options.clone(), partition.clone());
        let build = move || {
            let topic = &partition.id.partition.topic;
            let mut writer = ArchiveWriter::new(topic, partition.id.topic_id, options.writer.clone())
                .map_err(StoreError::log)?;
            writer.start_partition(partition.id.partition.partition, from).map_err(StoreError::log)?;
            let log_bytes = fill(&mut writer, &partition.log, partition.committed_until, &options)?;
            Ok(Built { file: writer.finish().map_err(StoreError::log)?, log_bytes })
        };
        tokio::task::spawn_blocking(build).await.map_err(StoreError::log)?
    }

    /// Uploads one attempt under a name of its own, and makes sure that all of it is there.
    async fn upload(
        &self,
        partition: &ArchivePartition,
        built: Built,
        now: TimestampMs,
    ) -> Result<IndexEntry, StoreError> {
        let Built { file, log_bytes } = built;
        let [range] = <[_; 1]>::try_from(file.ranges).map_err(|_| StoreError::log("one range a file"))?;
        let (topic, topic_id) = (partition.id.partition.topic.clone(), partition.id.topic_id);
        let offsets = (range.start_offset, range.end_offset);
        let object = names::data_object(&topic, topic_id, range.partition, offsets, Uuid::new_v4());
        let object_bytes = file.bytes.len() as u64;
        self.store.put(&object, file.bytes).await?;
        let found = self.store.head(&object).await?.size;
        if found != object_bytes {
            let why = format!("{found} of {object_bytes} bytes are there after the upload");
            return Err(StoreError::corrupt(object, why));
        }
        Ok(IndexEntry {
            topic,
            topic_id,
            object,
            object_bytes,
            footer_bytes: file.footer_bytes,
            log_bytes,
            archived_at: now,
            range,
        })
    }

    /// Makes up what an interrupted attempt left: manifest entries that the index does not have are added to it, and
    /// those of ranges that retention took are deleted.
    async fn reconcile(
        &self,
        host: &dyn ArchiveHost,
        partition: &ArchivePartition,
    ) -> Result<(), StoreError> {
        let key = key_of(partition);
        self.index_log.catch_up(host).await?;
        let start = partition.log.start_offset();
        let unknown = manifest::read_partition(&self.store, key).await?.into_iter();
        let unknown = unknown.filter(|entry| self.index.get(entry.key()).is_none());
        let (leftover, missing): (Vec<_>, Vec<_>) =
            unknown.partition(|entry| entry.range.end_offset <= start);
        if !missing.is_empty() {
            tracing::info!(partition = %partition.id.partition, entries = missing.len(), "tier index made up from the manifest");
            self.index_log.append(host, &missing).await?;
        }
        for entry in leftover {
            self.delete_objects(&entry).await?;
        }
        self.report_archived(host, partition);
        Ok(())
    }

    fn report_archived(&self, host: &dyn ArchiveHost, partition: &ArchivePartition) {
        if let Some(until) = self.index.archived_until(key_of(partition)) {
            host.archived(&partition.id, until);
        }
    }
}

struct Built {
    file: ArchiveFile,
    log_bytes: u64,
}

/// Batches of the log up to `until`, or until the file is large enough. Answers what they took in the log.
fn fill(
    writer: &mut ArchiveWriter,
    log: &Arc<Log>,
    until: Offset,
    options: &crate::tier::TierOptions,
) -> Result<u64, StoreError> {
    let from = writer.next_offset();
    let aborted = log.aborted_transactions(from, until);
    let aborted: AbortedTransactions =
        aborted.iter().map(|txn| (txn.producer_id, txn.first_offset, txn.last_offset)).collect();
    let mut log_bytes = 0;
    while writer.next_offset() < until
        && log_bytes < options.object_bytes_max
        && writer.raw_bytes() < options.object_raw_bytes_max
    {
        let at = writer.next_offset();
        let batches = log.read_batches(at, options.read_bytes_max, until).map_err(StoreError::log)?;
        if batches.is_empty() {
            writer.skip_to(until);
            break;
        }
        log_bytes += batches.len() as u64;
        writer.push(batches, &mut |header| aborted.skips(header)).map_err(StoreError::log)?;
        if writer.next_offset() <= at {
            return Err(StoreError::log(format!("the log gives nothing new at offset {at}")));
        }
    }
    Ok(log_bytes)
}

impl ArchiverState {
    /// `None`: go ahead.
    fn rest(
        &self,
        partition: &ArchivePartition,
        from: Offset,
        now: TimestampMs,
        object_bytes_max: u64,
    ) -> Option<Rest> {
        let mut partitions = self.partitions.lock();
        let state = partitions.entry(key_of(partition)).or_default();
        if partition.committed_until <= from {
            state.pending = None;
            return Some(Rest::default());
        }
        let since = match state.pending {
            Some((offset, since)) if offset == from => since,
            _ => {
                state.pending = Some((from, now));
                now
            }
        };
        if now < state.not_before {
            return Some(Rest { until: Some(state.not_before), paused: true });
        }
        let old_at = since.saturating_add(partition.config.archive_lag_ms);
        let big = partition.config.segment_bytes as u64;
        let is_big = pending_bytes(&partition.log, from) >= big.min(object_bytes_max);
        if now >= old_at || is_big { None } else { Some(Rest { until: Some(old_at), paused: false }) }
    }

    fn is_reconciled(&self, key: PartitionKey, epoch: LeaderEpoch) -> bool {
        self.partitions.lock().get(&key).is_some_and(|state| state.reconciled == Some(epoch))
    }

    fn reconciled(&self, key: PartitionKey, epoch: LeaderEpoch) {
        self.partitions.lock().entry(key).or_default().reconciled = Some(epoch);
    }

    fn succeeded(&self, key: PartitionKey) {
        let mut partitions = self.partitions.lock();
        let state = partitions.entry(key).or_default();
        (state.failures, state.not_before) = (0, 0);
    }

    /// Waits one second, two, four, … up to the limit, and looks into the manifest first: what failed may have happened.
    fn failed(&self, key: PartitionKey, now: TimestampMs, pause_ms_max: u64) {
        let mut partitions = self.partitions.lock();
        let state = partitions.entry(key).or_default();
        let pause_ms = (1_000_u64 << state.failures.min(20)).min(pause_ms_max);
        state.failures = state.failures.saturating_add(1);
        state.not_before = now.saturating_add_unsigned(pause_ms);
        state.reconciled = None;
    }

    fn forget_all_but(&self, led: &[ArchivePartition]) {
        let mut partitions = self.partitions.lock();
        if partitions.len() > led.len() {
            let led: std::collections::HashSet<_> = led.iter().map(key_of).collect();
            partitions.retain(|key, _| led.contains(key));
        }
    }
}

pub(crate) fn key_of(partition: &ArchivePartition) -> PartitionKey {
    PartitionKey { topic_id: partition.id.topic_id, partition: partition.id.partition.partition }
}

/// About how many bytes of the log lie at or after `from`.
fn pending_bytes(log: &Log, from: Offset) -> u64 {
    let share = |segment: &strata_log::SegmentInfo| {
        let offsets = (segment.end_offset - segment.base_offset).max(1) as u128;
        let pending = (segment.end_offset - segment.base_offset.max(from)).max(0) as u128;
        (u128::from(segment.bytes) * pending / offsets) as u64
    };
    log.segments().iter().map(share).sum()
}
