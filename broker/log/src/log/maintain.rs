//! Truncation, retention, checkpoints and the end.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use strata_types::{Offset, TimestampMs};

use super::{Log, Settled, Shared, Writer, recover};
use crate::producers::{self, path_of};
use crate::segment::Segment;
use crate::{LogConfig, ReadError, StorageError, disk};

/// What retention took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetentionOutcome {
    pub segments_removed: usize,
    pub bytes_removed: u64,
}

/// Where recovery may start, as of one moment.
pub(crate) struct Checkpoint {
    pub(crate) recovery_point: Offset,
    pub(crate) settled: Option<Settled>,
}

impl Log {
    /// Cuts off everything from `offset` on, to follow a leader whose history is another. A batch that holds the
    /// offset goes as a whole. Tells whether anything was cut.
    pub fn truncate_to(&self, offset: Offset) -> Result<bool, StorageError> {
        self.check_online()?;
        let mut writer = self.writer.lock();
        let mut shared = self.shared.write();
        if offset >= shared.end() {
            return Ok(false);
        }
        if offset < shared.segments[0].base() {
            drop(shared);
            self.restart_at(&mut writer, offset)?;
            return Ok(true);
        }
        while shared.segments.len() > 1 && shared.active().base() >= offset {
            if let Some(segment) = shared.segments.pop_back() {
                shared.folder_changed = true;
                segment.remove()?;
            }
        }
        shared.active_mut().truncate(offset)?;
        (shared.truncations, shared.is_cut) = (shared.truncations + 1, true);
        let end = shared.end();
        shared.epochs.truncate_end(end)?;
        shared.durable = shared.durable.min(end);
        shared.high_watermark = shared.high_watermark.min(end);
        shared.start = shared.start.min(end);
        shared.cleaned_until = shared.cleaned_until.map(|until| until.min(end));
        let base = shared.active().base();
        shared.flushed_base = shared.flushed_base.min(base);
        for snapshot in producers::list(&self.dir())?.into_iter().filter(|at| *at > end) {
            disk::remove(&path_of(&self.dir(), snapshot))?;
        }
        let snapshots = producers::list(&self.dir())?;
        writer.producers = recover::rebuild_producers(&self.dir(), &mut shared, &snapshots, end, None)?;
        Ok(true)
    }

    /// Throws the whole log away and begins anew at `offset`: a follower whose log ends below its leader's start.
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<(), StorageError> {
        self.check_online()?;
        self.restart_at(&mut self.writer.lock(), offset)
    }

    fn restart_at(&self, writer: &mut Writer, offset: Offset) -> Result<(), StorageError> {
        let mut shared = self.shared.write();
        let dir = self.dir();
        self.make_folder(&mut shared)?;
        // Should the disk fail half-way, the old segments stay, for an offline log.
        let replaced = shared.segments.iter().try_for_each(Segment::remove);
        let replaced = replaced.and_then(|()| Segment::create(&dir, offset, &self.files, 0));
        shared.segments = VecDeque::from([replaced.inspect_err(|error| self.go_offline(error))?]);
        for snapshot in producers::list(&dir)? {
            disk::remove(&path_of(&dir, snapshot))?;
        }
        shared.truncations += 1;
        shared.epochs.truncate_end(Offset::ZERO)?;
        (shared.start, shared.durable, shared.high_watermark) = (offset, offset, offset);
        (shared.flushed_base, shared.folder_changed) = (offset, true);
        shared.cleaned_until = None;
        writer.producers = producers::Producers::default();
        shared.transactions = crate::transactions::Transactions::default();
        Ok(())
    }

    /// Moves the log's start, as DeleteRecords and the remote log's retention ask. Not above the high watermark, and
    /// never back. Segments that are wholly below go with the next [`Log::enforce_retention`].
    pub fn advance_start_offset(&self, start: Offset) -> Result<bool, ReadError> {
        self.check_online()?;
        let mut shared = self.shared.write();
        if start > shared.high_watermark {
            let (first, end) = (shared.start, shared.high_watermark);
            return Err(ReadError::OffsetOutOfRange { asked: start, start: first, end });
        }
        if start <= shared.start {
            return Ok(false);
        }
        shared.start = start;
        shared.epochs.truncate_start(start)?;
        Ok(true)
    }

    /// Removes the oldest segments that the topic's retention does not keep.
    ///
    /// A topic that is archived keeps what `local.retention.*` says, and everything that is not archived yet
    /// (`archived_until`); its start stays, for the rest is read from the remote log. Otherwise `retention.*` hold, and
    /// the start moves along. Nothing at the high watermark or above is ever removed.
    pub fn enforce_retention(
        &self,
        now: TimestampMs,
        archived_until: Option<Offset>,
    ) -> Result<RetentionOutcome, StorageError> {
        self.check_online()?;
        let config = self.config();
        let mut writer = self.writer.lock();
        let (remove, all) = self.expired(&config, now, archived_until);
        if remove == 0 {
            return Ok(RetentionOutcome::default());
        }
        if all {
            self.roll_locked(&mut writer, now)?;
        }
        let mut removed: Vec<_> = {
            let mut shared = self.shared.write();
            let first_kept = shared.segments[remove].base();
            if config.remote_storage_enable {
                // The start is found again from the first epoch's, once the first segment is gone.
                shared.epochs.sync()?;
            } else if shared.start < first_kept {
                shared.start = first_kept;
                shared.epochs.truncate_start(first_kept)?;
            }
            shared.folder_changed = true;
            shared.segments.drain(..remove).collect()
        };
        let mut outcome = RetentionOutcome::default();
        let dir = self.dir();
        for segment in &mut removed {
            self.doom(segment.retire(&dir)?, now)?;
            outcome.segments_removed += 1;
            outcome.bytes_removed += segment.bytes();
        }
        let first_kept = self.shared.read().segments[0].base();
        for snapshot in producers::list(&self.dir())?.into_iter().filter(|at| *at < first_kept) {
            disk::remove(&path_of(&self.dir(), snapshot))?;
        }
        Ok(outcome)
    }

    /// How many segments at the front may go, and whether those are all.
    fn expired(&self, config: &LogConfig, now: TimestampMs, archived_until: Option<Offset>) -> (usize, bool) {
        let shared = self.shared.read();
        let archive = config.remote_storage_enable;
        let (keep_ms, keep_bytes) = match (archive, config.cleanup_policy.delete) {
            (true, _) => (config.local_ms(), config.local_bytes()),
            (false, true) => (config.retention_ms, config.retention_bytes),
            (false, false) => (None, None),
        };
        let limit = match archive {
            true => archived_until.unwrap_or(Offset::ZERO).min(shared.high_watermark),
            false => shared.high_watermark,
        };
        let total: u64 = shared.segments.iter().map(Segment::bytes).sum();
        let mut over = keep_bytes.map_or(0, |keep| total.saturating_sub(keep));
        let mut count = 0;
        for (at, segment) in shared.segments.iter().enumerate() {
            let next = shared.segments.get(at + 1).map(Segment::base);
            // Compaction may have left a sealed segment empty; an active one that is, stays.
            if next.is_none() && segment.bytes() == 0 {
                break;
            }
            let end = next.unwrap_or(segment.end());
            if end > limit && end > shared.start {
                break;
            }
            let newest = segment.max_timestamp().map(|max| max.timestamp);
            let newest = newest.or_else(|| disk::modified_ms(segment.path()));
            let old = keep_ms.zip(newest).is_some_and(|(keep, newest)| now.saturating_sub(newest) > keep);
            let too_much = over >= segment.bytes() && over > 0;
            if end > shared.start && !old && !too_much {
                break;
            }
            over = over.saturating_sub(segment.bytes());
            count += 1;
        }
        (count, count == shared.segments.len())
    }

    /// Forgets producers that were idle for `producer_idle_ms_max`, and removes files whose time is over. Cheap; call it
    /// every few seconds.
    pub fn housekeep(&self, now: TimestampMs, producer_idle_ms_max: i64) {
        self.writer.lock().producers.expire(now, producer_idle_ms_max);
        self.remove_doomed(now);
    }

    /// Writes down what recovery starts from, and tells where that is; `None` if there is nothing to recover.
    pub(crate) fn checkpoint(&self) -> Result<Option<Checkpoint>, StorageError> {
        let mut writer = self.writer.lock();
        if self.deleted.load(Ordering::Acquire) || !self.shared.read().active().is_made() {
            return Ok(None);
        }
        if !writer.closed {
            self.flush_sealed()?;
            {
                let mut shared = self.shared.write();
                shared.epochs.sync()?;
                shared.active_mut().write_indexes_if_many()?;
            }
            if writer.producers.changed {
                self.write_snapshot(&mut writer)?;
            }
            let shared = self.shared.read();
            let unflushed = shared.segments.iter().filter(|segment| segment.base() >= shared.flushed_base);
            unflushed.into_iter().try_for_each(Segment::sync_transactions)?;
        }
        Ok(Some(self.shared.read().checkpoint()))
    }

    /// Writes a snapshot of the producers at the log's end, and drops those that no segment begins with.
    fn write_snapshot(&self, writer: &mut Writer) -> Result<(), StorageError> {
        let dir = self.dir();
        let (end, bases): (_, Vec<_>) = {
            let shared = self.shared.read();
            (shared.end(), shared.segments.iter().map(Segment::base).collect())
        };
        writer.producers.write_snapshot(&path_of(&dir, end))?;
        for snapshot in producers::list(&dir)? {
            if snapshot != end && bases.binary_search(&snapshot).is_err() {
                disk::remove(&path_of(&dir, snapshot))?;
            }
        }
        Ok(())
    }

    /// Flushes and completes everything; nothing can be appended any more.
    pub fn close(&self) -> Result<(), StorageError> {
        let mut writer = self.writer.lock();
        if writer.closed || self.offline().is_some() {
            writer.closed = true;
            return Ok(());
        }
        self.flush()?;
        if self.shared.read().active().is_made() {
            {
                let mut shared = self.shared.write();
                shared.active_mut().seal()?;
                if shared.active().has_room() {
                    shared.active().give_back()?;
                }
            }
            self.write_snapshot(&mut writer)?;
            self.shared.write().epochs.sync()?;
            let shared = self.shared.read();
            shared.segments.iter().try_for_each(Segment::sync_transactions)?;
        }
        writer.closed = true;
        Ok(())
    }

    /// The log is deleted: nothing can be appended any more, and nothing more is written on its account.
    pub(crate) fn abandon(&self) {
        self.deleted.store(true, Ordering::Release);
        self.writer.lock().closed = true;
    }
}

impl Shared {
    fn checkpoint(&self) -> Checkpoint {
        let end = self.end();
        let epoch = self.epochs.at(end + -1);
        Checkpoint { recovery_point: self.durable, settled: epoch.map(|epoch| Settled { end, epoch }) }
    }
}
