//! Segments are replaced by a cleaned one so that a crash at any point leaves the old ones or the new one.
//!
//! ```text
//! .cleaned, on stable storage ─▶ .swap ─▶ old ones .deleted ─▶ final name
//!   a crash here undoes it     │   a crash from here on finishes it
//! ```
//!
//! The names are Kafka's, and what recovery makes of them too, so that either can open what the other left.

use std::path::Path;

use strata_types::{Offset, TimestampMs};

use super::{Log, Writer, recover};
use crate::segment::{CLEANED, DELETED, SWAP, Scan, Segment, with_suffix};
use crate::{StorageError, disk, files};

impl Log {
    /// Puts a cleaned segment, whose files are on stable storage, in the place of the segments at `bases`. False, and
    /// nothing done, if one of them is gone or the log is closed.
    pub(crate) fn replace_segments(
        &self,
        mut cleaned: Segment,
        bases: &[Offset],
        now: TimestampMs,
    ) -> Result<bool, StorageError> {
        // Held to the end: nothing else may change the set of segments while files have two names.
        let writer = self.writer.lock();
        let Some(first) = self.position_of(&writer, bases) else {
            cleaned.remove()?;
            return Ok(false);
        };
        let dir = self.dir();
        cleaned
            .rename_to_swap(&dir)
            .and_then(|()| disk::sync_folder(&dir))
            .inspect_err(|error| self.go_offline(error))?;
        let replaced = self.switch(cleaned, first, bases.len(), &dir, now);
        replaced.inspect_err(|error| self.go_offline(error))?;
        drop(writer);
        Ok(true)
    }

    /// Where the segments at `bases` stand, if they all do and none is active.
    fn position_of(&self, writer: &Writer, bases: &[Offset]) -> Option<usize> {
        if writer.closed || self.offline().is_some() {
            return None;
        }
        let shared = self.shared.read();
        let first = shared.segments.iter().position(|segment| bases.first() == Some(&segment.base()))?;
        let there =
            shared.segments.range(first..shared.segments.len() - 1).map(Segment::base).take(bases.len());
        there.eq(bases.iter().copied()).then_some(first)
    }

    fn switch(
        &self,
        cleaned: Segment,
        first: usize,
        count: usize,
        dir: &Path,
        now: TimestampMs,
    ) -> Result<(), StorageError> {
        {
            let mut shared = self.shared.write();
            let mut old: Vec<_> = shared.segments.drain(first..first + count).collect();
            shared.segments.insert(first, cleaned);
            old.iter_mut().try_for_each(|segment| self.doom(segment.retire(dir)?, now))?;
        }
        // The old names must be gone before the new one is there: no log may hold both.
        disk::sync_folder(dir)?;
        self.shared.write().segments[first].rename_to_final(dir)?;
        disk::sync_folder(dir)
    }

    /// Has files removed after the topic's delay.
    pub(super) fn doom(&self, paths: Vec<std::path::PathBuf>, now: TimestampMs) -> Result<(), StorageError> {
        let delay = self.config().file_delete_delay_ms;
        if delay == 0 {
            return paths.iter().try_for_each(|path| disk::remove(path));
        }
        let due = now.saturating_add(delay);
        self.doomed.lock().extend(paths.into_iter().map(|path| (due, path)));
        Ok(())
    }

    /// Removes files whose time is over. One that cannot be removed is tried again.
    pub(super) fn remove_doomed(&self, now: TimestampMs) {
        self.doomed.lock().retain(|(due, path)| {
            let removed =
                *due > now || disk::remove(path).inspect_err(|error| tracing::warn!("{error}")).is_ok();
            *due > now || !removed
        });
    }
}

/// Finishes or undoes what a crash has interrupted in a partition's folder, which holds these names. Tells whether others
/// are there now.
pub(super) fn finish(dir: &Path, names: &[String]) -> Result<bool, StorageError> {
    let with = |suffix: &'static str| names.iter().filter(move |name| name.ends_with(suffix));
    let unfinished = with(CLEANED).filter_map(|name| recover::base_of(name)).min();
    let (void, valid): (Vec<_>, Vec<_>) = with(SWAP).partition(|name| {
        recover::base_of(name).is_none_or(|base| unfinished.is_some_and(|from| base >= from))
    });
    let voided = !void.is_empty();
    void.into_iter().try_for_each(|name| disk::remove(&dir.join(name)))?;
    let mut replaced = (Offset(i64::MAX), Offset(i64::MIN));
    for name in valid.iter().filter(|name| name.ends_with(".log.swap")) {
        if let Some(base) = recover::base_of(name) {
            let end = end_of(&dir.join(name), base)?;
            replaced = (replaced.0.min(base), replaced.1.max(end));
        }
    }
    for name in names.iter().filter(|name| is_segment_file(name)) {
        if recover::base_of(name).is_some_and(|base| replaced.0 <= base && base < replaced.1) {
            let path = dir.join(name);
            disk::rename(&path, &with_suffix(&path, DELETED))?;
        }
    }
    if valid.is_empty() {
        return Ok(voided);
    }
    disk::sync_folder(dir)?;
    // The log first, so that a crash in between leaves indexes to be renamed and nothing to be replaced.
    let (logs, indexes): (Vec<_>, Vec<_>) = valid.into_iter().partition(|name| name.ends_with(".log.swap"));
    for name in logs.into_iter().chain(indexes) {
        let to = dir.join(name.trim_end_matches(SWAP));
        disk::rename(&dir.join(name), &to)?;
    }
    disk::sync_folder(dir)?;
    Ok(true)
}

fn is_segment_file(name: &str) -> bool {
    [".log", ".index", ".timeindex", ".txnindex"].iter().any(|extension| name.ends_with(extension))
}

/// The offset after the last batch of a file; `base` if it holds none.
fn end_of(path: &Path, base: Offset) -> Result<Offset, StorageError> {
    let bytes = disk::size(path)?.unwrap_or(0);
    let file = files::open(path)?;
    let mut end = base;
    for located in Scan::new(file, path, 0, bytes) {
        match located {
            Ok(located) => end = located.header.next_offset(),
            // It was on stable storage before it got its name, so this is the disk's damage: loading finds it again.
            Err(StorageError::Corrupt { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(end)
}
