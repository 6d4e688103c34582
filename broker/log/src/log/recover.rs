//! Opening: what is on disk becomes a log again.
//!
//! | trust | sealed segments | active segment |
//! |---|---|---|
//! | clean | as they are | as it is |
//! | page cache | as they are | walked over from the last index entry on, its last batch checked |
//! | recovery point | checked above it | checked above it, indexes made again |
//!
//! An index that is missing or does not fit its log is made again. The first damage ends the log: what is behind it is
//! cut off.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};
use strata_protocol::records::Origin;
use strata_types::{Offset, TimestampMs, TopicId};

use super::{Log, LogOptions, Recovery, RecoveryReport, Settled, Shared, Trust, Writer, swap};
use crate::epochs::EpochCache;
use crate::producers::{self, Change, Producers, TxnCheck, Verdict, path_of};
use crate::segment::{Believed, CLEANED, DELETED, Segment};
use crate::transactions::Transactions;
use crate::{LogConfig, StorageError, checkpoint, disk};

/// Where leader epochs are kept.
const EPOCHS: &str = "leader-epoch-checkpoint";

/// Names of files that were about to be removed or are not finished.
const LEFTOVERS: [&str; 3] = [DELETED, CLEANED, ".tmp"];

pub(super) fn open(options: LogOptions) -> Result<Log, StorageError> {
    let names = match disk::list_if_there(&options.dir)? {
        Some(names) => names,
        None if !options.folder_at_once && start(&options.recovery, None) == Offset::ZERO => {
            return Ok(begin(options));
        }
        None => {
            disk::create_folder(&options.dir)?;
            Vec::new()
        }
    };
    check_topic_id(&options.dir, options.topic_id)?;
    open_found(options, names)
}

/// A log that has never had a record, and so nothing on disk.
fn begin(options: LogOptions) -> Log {
    let segment = Segment::unmade(&options.dir, Offset::ZERO, &options.files, options.now);
    let epochs = EpochCache::empty(options.dir.join(EPOCHS));
    let shared = Shared::new(VecDeque::from([segment]), epochs, &options.recovery);
    log(options, RecoveryReport::default(), Producers::default(), shared)
}

pub(super) fn open_found(options: LogOptions, mut names: Vec<String>) -> Result<Log, StorageError> {
    let LogOptions { dir, config, files, recovery, now, .. } = &options;
    if swap::finish(dir, &names)? {
        names = disk::list(dir)?;
    }
    let bases = sweep(dir, &names)?;
    let mut report = RecoveryReport { segments: bases.len(), ..RecoveryReport::default() };
    let mut segments = load_segments(dir, &bases, files, recovery, config.index_interval_bytes, &mut report)?;
    let epochs = match names.iter().any(|name| name == EPOCHS) {
        true => EpochCache::load(dir.join(EPOCHS))?,
        false => EpochCache::empty(dir.join(EPOCHS)),
    };
    if segments.is_empty() {
        let segment = match start(recovery, epochs.start_of_first()) {
            Offset::ZERO => Segment::unmade(dir, Offset::ZERO, files, *now),
            // Nothing else says where the log goes on.
            start => Segment::create(dir, start, files, *now)?,
        };
        segments.push_back(segment);
    }
    let mut shared = Shared::new(segments, epochs, recovery);
    (shared.has_folder, shared.folder_changed, shared.folder_is_new) = (true, true, report.segments == 0);
    let end = shared.end();
    shared.epochs.truncate_end(end)?;
    let settled = recovery.settled.filter(|settled| shared.holds(settled)).map(|settled| settled.end);
    let (epochs_from, settled) = match recovery.trust {
        Trust::Clean => (end, None),
        Trust::PageCache => (settled.unwrap_or(shared.active().base().min(recovery.recovery_point)), settled),
        // A snapshot may not have come to stable storage.
        Trust::RecoveryPoint => (recovery.recovery_point, None),
    };
    let snapshots = producers::list_in(&names);
    let producers = rebuild_producers(dir, &mut shared, &snapshots, epochs_from, settled)?;
    let high_watermark = shared.high_watermark;
    shared.transactions.committed(high_watermark);
    Ok(log(options, report, producers, shared))
}

/// Where a log without segments begins.
fn start(recovery: &Recovery, first_epoch: Option<Offset>) -> Offset {
    recovery.log_start_offset.or(first_epoch).unwrap_or(Offset::ZERO)
}

fn log(options: LogOptions, report: RecoveryReport, producers: Producers, shared: Shared) -> Log {
    Log {
        partition: options.partition,
        topic_id: options.topic_id,
        dir: RwLock::new(options.dir),
        files: options.files,
        config: RwLock::new(options.config),
        report,
        writer: Mutex::new(Writer { producers, closed: false }),
        shared: RwLock::new(shared),
        offline: OnceLock::new(),
        folder: options.folder,
        deleted: AtomicBool::new(false),
        doomed: Mutex::default(),
        flush_requested: AtomicBool::new(false),
    }
}

impl Shared {
    /// What is known of a log before its batches are looked at.
    fn new(segments: VecDeque<Segment>, epochs: EpochCache, recovery: &Recovery) -> Self {
        let (first, end) = (segments[0].base(), segments[segments.len() - 1].end());
        // Below the local log, the first epoch tells where the archived part begins.
        let start = recovery.log_start_offset.or(epochs.start_of_first()).unwrap_or(first);
        let start = start.min(end).max(Offset::ZERO);
        Self {
            flushed_base: first,
            segments,
            start,
            durable: match recovery.trust {
                Trust::Clean => end,
                Trust::PageCache | Trust::RecoveryPoint => recovery.recovery_point.min(end),
            },
            high_watermark: recovery.high_watermark.clamp(start, end),
            epochs,
            transactions: Transactions::default(),
            has_folder: false,
            folder_changed: false,
            folder_is_new: false,
            unflushed_since: None,
            is_cut: false,
            truncations: 0,
            cleaned_until: recovery.cleaned_until,
        }
    }

    /// Whether the log is the one that this was said of.
    fn holds(&self, settled: &Settled) -> bool {
        settled.end <= self.end() && self.epochs.at(settled.end + -1) == Some(settled.epoch)
    }
}

impl Log {
    /// Makes the partition's folder if there is none.
    pub(super) fn make_folder(&self, shared: &mut Shared) -> Result<(), StorageError> {
        if shared.has_folder {
            return Ok(());
        }
        let dir = self.dir();
        disk::create_folder(&dir)?;
        check_topic_id(&dir, self.topic_id)?;
        (shared.has_folder, shared.folder_changed, shared.folder_is_new) = (true, true, true);
        Ok(())
    }

    /// Makes what a first record needs: the folder, the active segment's files.
    pub(super) fn make_files(
        &self,
        shared: &mut Shared,
        config: &LogConfig,
        now: TimestampMs,
    ) -> Result<(), StorageError> {
        if shared.active().is_made() {
            return Ok(());
        }
        self.make_folder(shared)?;
        shared.active_mut().make(now)?;
        if config.preallocate {
            shared.active().preallocate(super::segment_bytes_max(config))?;
        }
        Ok(())
    }
}

/// The producers as of the log's end: the latest snapshot, and what came after it. Leader epochs are found again from
/// `epochs_from` on. All that is below `settled` is in the `snapshots`, or there was nothing.
pub(super) fn rebuild_producers(
    dir: &Path,
    shared: &mut Shared,
    snapshots: &[Offset],
    epochs_from: Offset,
    settled: Option<Offset>,
) -> Result<Producers, StorageError> {
    let (local_start, end) = (shared.segments[0].base(), shared.end());
    let mut producers = Producers::default();
    let mut from = local_start;
    for snapshot in snapshots.iter().copied().rev() {
        let path = path_of(dir, snapshot);
        if snapshot > end {
            disk::remove(&path)?;
        } else if snapshot >= local_start {
            if let Some(read) = Producers::read_snapshot(&path)? {
                (producers, from) = (read, snapshot);
                break;
            }
            disk::remove(&path)?;
        }
    }
    let from = settled.map_or(from, |settled| from.max(settled));
    shared.transactions = Transactions::new(producers.open_transactions());
    let scan_from = from.min(epochs_from).max(local_start);
    let mut writer = Writer { producers, closed: false };
    for at in shared.segment_at(scan_from)..shared.segments.len() {
        replay(shared, &mut writer, at, scan_from, from)?;
    }
    Ok(writer.producers)
}

/// Takes the batches of one segment, from `scan_from` on, into account; their producers only from `from` on.
fn replay(
    shared: &mut Shared,
    writer: &mut Writer,
    at: usize,
    scan_from: Offset,
    from: Offset,
) -> Result<(), StorageError> {
    let segment = &shared.segments[at];
    let Some(first) = segment.find(scan_from)? else { return Ok(()) };
    let mut changes = Vec::new();
    let mut epochs = Vec::new();
    for located in segment.scan(first.position, segment.bytes())? {
        let located = located?;
        let header = &located.header;
        if epochs.last().is_none_or(|(epoch, _)| *epoch != header.leader_epoch) {
            epochs.push((header.leader_epoch, header.base_offset));
        }
        if !header.has_producer() || header.base_offset < from {
            continue;
        }
        if !header.is_control() {
            changes.push(Change::of_data(header, header.base_offset, header.max_timestamp));
            continue;
        }
        let batch = segment.read(&located)?;
        let verdict = writer.producers.check(
            &batch,
            header.base_offset,
            Origin::Replica,
            header.max_timestamp,
            TxnCheck::Off,
        );
        match verdict {
            Ok(Verdict::New(Some(change))) => changes.push(change),
            Ok(_) => {}
            Err(error) => return Err(StorageError::corrupt(segment.path(), error.to_string())),
        }
    }
    epochs.into_iter().try_for_each(|(epoch, start)| shared.epochs.assign(epoch, start))?;
    changes.iter().try_for_each(|change| shared.apply(writer, change))
}

fn check_topic_id(dir: &Path, topic_id: TopicId) -> Result<(), StorageError> {
    let path = dir.join("partition.metadata");
    match checkpoint::read_topic_id(&path)? {
        Some(found) if found != topic_id => {
            Err(StorageError::TopicIdMismatch { path, found, expected: topic_id })
        }
        Some(_) => Ok(()),
        None => checkpoint::write_topic_id(&path, topic_id),
    }
}

/// The offset that a file's name begins with.
pub(super) fn base_of(name: &str) -> Option<Offset> {
    name.split_once('.').and_then(|(base, _)| base.parse().ok().map(Offset))
}

/// Removes what no log needs, and tells the segments' base offsets, rising.
fn sweep(dir: &Path, names: &[String]) -> Result<Vec<Offset>, StorageError> {
    let mut bases: Vec<_> =
        names.iter().filter(|name| name.ends_with(".log")).filter_map(|name| base_of(name)).collect();
    bases.sort_unstable();
    for name in names {
        let leftover = LEFTOVERS.iter().any(|suffix| name.ends_with(suffix));
        let index = [".index", ".timeindex", ".txnindex"].iter().any(|suffix| name.ends_with(suffix));
        let orphan = index && base_of(name).is_some_and(|base| bases.binary_search(&base).is_err());
        if leftover || orphan {
            disk::remove(&dir.join(name))?;
        }
    }
    Ok(bases)
}

fn load_segments(
    dir: &Path,
    bases: &[Offset],
    files: &crate::FileCache,
    recovery: &Recovery,
    index_interval_bytes: usize,
    report: &mut RecoveryReport,
) -> Result<VecDeque<Segment>, StorageError> {
    let mut segments = VecDeque::with_capacity(bases.len());
    let mut bases = bases.iter().copied().peekable();
    while let Some(base) = bases.next() {
        let next = bases.peek().copied();
        let suspect = match recovery.trust {
            Trust::Clean => None,
            Trust::PageCache => next.is_none().then_some(Believed::Indexed),
            Trust::RecoveryPoint => {
                let above = next.is_none_or(|next| next > recovery.recovery_point);
                above.then_some(Believed::Below(recovery.recovery_point))
            }
        };
        let loaded = match suspect {
            None => Segment::load(dir, base, files)?,
            Some(_) => None,
        };
        if let Some(segment) = loaded {
            segments.push_back(segment);
            continue;
        }
        // An index does not fit a log that should be whole: nothing of it is believed.
        let believed = suspect.unwrap_or(Believed::Below(Offset::ZERO));
        let mut recovered = Segment::recover(dir, base, files, believed, index_interval_bytes)?;
        report.segments_scanned += 1;
        report.bytes_scanned += recovered.scanned_bytes;
        report.bytes_cut += recovered.cut_bytes;
        let damaged = recovered.cut_bytes > 0;
        if next.is_some() && !damaged {
            recovered.segment.seal()?;
        }
        segments.push_back(recovered.segment);
        if damaged && next.is_some() {
            tracing::warn!(dir = %dir.display(), segment = %base, "a segment is damaged: the log ends there");
            for lost in bases.by_ref() {
                let lost =
                    Segment::recover(dir, lost, files, Believed::Indexed, index_interval_bytes)?.segment;
                report.bytes_cut += lost.bytes();
                lost.remove()?;
            }
        }
    }
    Ok(segments)
}
