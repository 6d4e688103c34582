//! Flushing: what was appended becomes durable.
//!
//! After a failed flush nobody knows what of a file is on disk (the kernel drops its dirty pages), so the log goes
//! offline; recovery decides at the next start.

use std::sync::atomic::Ordering;

use strata_types::Offset;

use super::{Log, Shared};
use crate::files::OpenFile;
use crate::{StorageError, disk};

/// What a flush will have made durable. What is appended after its start is the next one's.
pub(crate) struct Flush {
    end: Offset,
    /// Where the active segment began: all before it is sealed.
    active_base: Offset,
    truncations: u64,
    folder_changed: bool,
    folder_is_new: bool,
}

impl Log {
    /// Puts everything appended so far on stable storage. Tells up to where the log is durable now.
    pub fn flush(&self) -> Result<Offset, StorageError> {
        let Some(flush) = self.begin_flush()? else { return Ok(self.durable_offset()) };
        if self.shared.read().is_flushed(&flush) {
            return Ok(flush.end);
        }
        let opened = self.shared.read().unflushed(true);
        let synced =
            opened.and_then(|files| self.sync(&files, &flush).inspect_err(|error| self.go_offline(error)));
        match synced {
            Ok(()) => Ok(self.end_flush(&flush)),
            // Its folder was taken away under the flush; that is no failure of the disk.
            Err(_) if self.deleted.load(Ordering::Acquire) => Ok(self.durable_offset()),
            Err(error) => Err(error),
        }
    }

    fn sync(&self, files: &[OpenFile], flush: &Flush) -> Result<(), StorageError> {
        files.iter().try_for_each(OpenFile::sync)?;
        if flush.folder_changed { self.sync_folder(flush.folder_is_new) } else { Ok(()) }
    }

    /// The first half of a flush, after which the files are to be synced. `None` if the log was deleted.
    pub(crate) fn begin_flush(&self) -> Result<Option<Flush>, StorageError> {
        self.flush_requested.store(false, Ordering::Release);
        if self.deleted.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.check_online()?;
        let shared = self.shared.read();
        Ok(Some(Flush {
            end: shared.end(),
            active_base: shared.active().base(),
            truncations: shared.truncations,
            folder_changed: shared.folder_changed,
            folder_is_new: shared.folder_is_new,
        }))
    }

    /// The second half: the files are on stable storage. Tells up to where the log is durable now.
    pub(crate) fn end_flush(&self, flush: &Flush) -> Offset {
        let mut shared = self.shared.write();
        if shared.truncations == flush.truncations {
            shared.durable = shared.durable.max(flush.end);
            shared.flushed_base = shared.flushed_base.max(flush.active_base);
            shared.is_cut = false;
            if shared.durable == shared.end() {
                shared.unflushed_since = None;
            }
            shared.folder_is_new &= !flush.folder_is_new;
            // A segment that was begun meanwhile is not known to the folder yet.
            shared.folder_changed &= shared.active().base() != flush.active_base;
        }
        shared.durable
    }

    /// Puts segments on stable storage that nothing is appended to any more. Under `strata.durability=os` nothing else
    /// does, and without it recovery after a power loss would have to check all of the log.
    pub(super) fn flush_sealed(&self) -> Result<(), StorageError> {
        let (files, sealed_end, truncations, is_new) = {
            let shared = self.shared.read();
            (shared.unflushed(false)?, shared.active().base(), shared.truncations, shared.folder_is_new)
        };
        if files.is_empty() {
            return Ok(());
        }
        let synced = files.iter().try_for_each(OpenFile::sync).and_then(|()| self.sync_folder(is_new));
        synced.inspect_err(|error| self.go_offline(error))?;
        let mut shared = self.shared.write();
        if shared.truncations == truncations {
            shared.durable = shared.durable.max(sealed_end);
            shared.flushed_base = shared.flushed_base.max(sealed_end);
            shared.folder_is_new &= !is_new;
        }
        Ok(())
    }

    /// The whole file system was flushed, and nothing appended since the log was opened.
    pub(crate) fn synced_by_file_system(&self) {
        let mut shared = self.shared.write();
        shared.durable = shared.end();
        shared.flushed_base = shared.active().base();
        (shared.folder_changed, shared.folder_is_new, shared.is_cut) = (false, false, false);
    }

    fn sync_folder(&self, is_new: bool) -> Result<(), StorageError> {
        let dir = self.dir();
        if is_new {
            let topic_id = dir.join("partition.metadata");
            disk::sync(&disk::open_existing(&topic_id)?, &topic_id)?;
        }
        disk::sync_folder(&dir)?;
        match dir.parent() {
            Some(parent) if is_new => disk::sync_folder(parent),
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// Whether there is nothing to do.
    fn is_flushed(&self, flush: &Flush) -> bool {
        let new = flush.folder_changed || flush.folder_is_new || self.is_cut;
        !new && self.durable == flush.end && self.flushed_base == flush.active_base
    }

    /// The files that may have content which is not on stable storage, without the active segment's unless it is asked
    /// for.
    fn unflushed(&self, with_active: bool) -> Result<Vec<OpenFile>, StorageError> {
        let active = self.active().base();
        let mut files = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.base() >= self.flushed_base) {
            let sealed = segment.base() != active;
            if sealed || with_active {
                files.extend(segment.files_to_sync(sealed)?);
            }
        }
        Ok(files)
    }
}
