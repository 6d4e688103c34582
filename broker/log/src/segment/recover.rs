//! A segment that may be damaged becomes a whole one.

use std::path::Path;

use strata_types::Offset;

use super::index::{Index, OffsetEntry, TimeEntry};
use super::{MaxTimestamp, Scan, Segment, file_path, read_batch};
use crate::{FileCache, StorageError, disk};

/// What [`Segment::rebuild`] saw.
#[derive(Default)]
struct Walk {
    checked_bytes: u64,
    /// Where the last batch starts.
    last: Option<u64>,
}

/// What of a segment needs no check.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Believed {
    /// The page cache is whole, so what the index reaches is not looked at, and behind it batches are not read. A process
    /// that dies leaves its last write short at worst: nothing of it is wrong.
    Indexed,
    /// The batches that end below this offset were on stable storage; the indexes may not have been.
    Below(Offset),
}

/// What recovery made of a segment.
pub(crate) struct Recovered {
    pub(crate) segment: Segment,
    /// Looked at: batches checked by CRC, or behind the last index entry.
    pub(crate) scanned_bytes: u64,
    pub(crate) cut_bytes: u64,
}

impl Segment {
    /// Opens a segment that may be damaged: what `believed` does not cover is checked, batch by batch, and everything
    /// from the first damage on is cut off. The indexes are made again along the way.
    pub(crate) fn recover(
        folder: &Path,
        base: Offset,
        files: &FileCache,
        believed: Believed,
        index_interval_bytes: usize,
    ) -> Result<Recovered, StorageError> {
        let loaded = Self::load_files(folder, base, files)?;
        let mut segment = match loaded {
            Some(segment) => segment,
            None => Self::without_indexes(folder, base, files)?,
        };
        let on_disk = segment.bytes;
        let from = match believed {
            Believed::Indexed => segment.last_indexed(on_disk)?,
            Believed::Below(_) => segment.forget_indexes()?,
        };
        let checked_from = match believed {
            Believed::Indexed => Offset(i64::MAX),
            Believed::Below(offset) => offset,
        };
        let walk = segment.rebuild(from, on_disk, checked_from, index_interval_bytes)?;
        if matches!(believed, Believed::Indexed) && !segment.is_whole(walk.last, on_disk)? {
            // No death of the process does this.
            tracing::warn!(path = %segment.path.display(), "the last batch is damaged: all of the segment is checked");
            drop(segment);
            let nothing = Believed::Below(Offset::ZERO);
            return Self::recover(folder, base, files, nothing, index_interval_bytes);
        }
        let scanned_bytes = match believed {
            Believed::Indexed => segment.bytes - from,
            Believed::Below(_) => walk.checked_bytes,
        };
        let cut_bytes = on_disk - segment.bytes;
        if cut_bytes > 0 {
            disk::set_len(&*segment.open()?, &segment.path, segment.bytes)?;
        }
        segment.transactions.truncate(segment.end)?;
        segment.first_timestamp = segment.read_first_timestamp()?;
        Ok(Recovered { segment, scanned_bytes, cut_bytes })
    }

    fn without_indexes(folder: &Path, base: Offset, files: &FileCache) -> Result<Self, StorageError> {
        Index::<OffsetEntry>::create(files, file_path(folder, base, "index"))?;
        Index::<TimeEntry>::create(files, file_path(folder, base, "timeindex"))?;
        let path = file_path(folder, base, "log");
        Self::load_files(folder, base, files)?
            .ok_or_else(|| StorageError::corrupt(&path, "its indexes cannot be made"))
    }

    fn forget_indexes(&mut self) -> Result<u64, StorageError> {
        self.offsets.truncate_where(|_| false)?;
        self.times.truncate_where(|_| false)?;
        Ok(0)
    }

    /// Where the last indexed batch starts, if it is really one. Its own entries are made again.
    fn last_indexed(&mut self, on_disk: u64) -> Result<u64, StorageError> {
        self.offsets.truncate_where(|entry| (entry.position as u64) < on_disk)?;
        let Some(last) = self.offsets.last() else { return self.forget_indexes() };
        let position = last.position as u64;
        let first = self.scan(position, on_disk)?.next();
        let fits = matches!(first, Some(Ok(batch))
            if batch.header.last_offset() == self.base + i64::from(last.relative_offset));
        if !fits {
            return self.forget_indexes();
        }
        self.offsets.truncate_where(|entry| entry.relative_offset < last.relative_offset)?;
        self.times.truncate_where(|entry| entry.relative_offset < last.relative_offset)?;
        Ok(position)
    }

    /// Takes the batches from `from` on into account, as far as they are whole and follow each other; those that reach
    /// to `checked_from` are checked by their CRC.
    fn rebuild(
        &mut self,
        from: u64,
        on_disk: u64,
        checked_from: Offset,
        index_interval_bytes: usize,
    ) -> Result<Walk, StorageError> {
        if let Some(entry) = self.times.last() {
            let offset = self.base + i64::from(entry.relative_offset);
            self.max_timestamp = Some(MaxTimestamp { timestamp: entry.timestamp, offset });
        }
        // The batch at `from` had an entry, so that it gets one again.
        self.bytes_since_entry = if from > 0 { index_interval_bytes + 1 } else { 0 };
        self.bytes = from;
        let file = self.open()?;
        let path = self.path.clone();
        let mut walk = Walk::default();
        for located in Scan::new(file.clone(), &path, from, on_disk) {
            let located = match located {
                Ok(located) => located,
                Err(StorageError::Corrupt { .. }) => break,
                Err(error) => return Err(error),
            };
            let last_offset = located.header.last_offset();
            if located.header.base_offset < self.end || !self.fits(last_offset) {
                break;
            }
            if last_offset >= checked_from {
                let batch = read_batch(&file, &path, located.position, on_disk)?;
                if batch.is_none_or(|batch| !batch.is_crc_valid()) {
                    break;
                }
                walk.checked_bytes += located.header.batch_bytes as u64;
            }
            self.reserve()?;
            self.appended(&located, index_interval_bytes);
            walk.last = Some(located.position);
        }
        Ok(walk)
    }

    /// Whether the batch at this position, if there is one, is what it was when it was written.
    fn is_whole(&self, at: Option<u64>, on_disk: u64) -> Result<bool, StorageError> {
        let Some(at) = at else { return Ok(true) };
        match read_batch(&*self.open()?, &self.path, at, on_disk) {
            Ok(batch) => Ok(batch.is_some_and(|batch| batch.is_crc_valid())),
            Err(StorageError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
