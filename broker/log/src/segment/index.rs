//! Sparse indexes of a segment: every few kilobytes of log, one entry.
//!
//! ```text
//! .index      relative offset i32 │ position i32            the batch that ends with this offset starts there
//! .timeindex  timestamp i64       │ relative offset i32     up to this offset, no record is later than this
//! ```
//!
//! New entries are kept in memory and written in blocks; what a crash loses of them, recovery makes again from the
//! log. Look-ups search the file, so that an index costs no memory.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use crate::files::{FileId, OpenFile};
use crate::{FileCache, StorageError, disk};

/// How many entries wait in memory at most.
const PENDING_ENTRIES_MAX: usize = 256;

/// How many entries the last step of a search reads at once.
const SEARCH_ENTRIES: usize = 64;

/// An entry of fixed size.
pub(super) trait Entry: Copy {
    const BYTES: usize;
    fn encode(self, out: &mut Vec<u8>);
    fn decode(bytes: &[u8]) -> Self;
}

/// The batch whose last record has this offset starts at this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub(super) relative_offset: i32,
    pub(super) position: i32,
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;
    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }
    fn decode(bytes: &[u8]) -> Self {
        Self { relative_offset: i32_at(bytes, 0), position: i32_at(bytes, 4) }
    }
}

/// The largest timestamp up to the batch whose last record has this offset, which is the one that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub(super) timestamp: i64,
    pub(super) relative_offset: i32,
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;
    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }
    fn decode(bytes: &[u8]) -> Self {
        let high = i64::from(i32_at(bytes, 0)) << 32;
        Self { timestamp: high | i64::from(i32_at(bytes, 4) as u32), relative_offset: i32_at(bytes, 8) }
    }
}

/// One index file and its tail in memory.
pub(super) struct Index<E> {
    path: PathBuf,
    files: FileCache,
    file: FileId,
    written: usize,
    pending: Vec<E>,
    last: Option<E>,
}

impl<E: Entry> Index<E> {
    /// An empty index without a file.
    pub(super) fn unmade(files: &FileCache, path: PathBuf) -> Self {
        let file = files.register();
        Self { path, files: files.clone(), file, written: 0, pending: Vec::new(), last: None }
    }

    /// A new, empty index.
    pub(super) fn create(files: &FileCache, path: PathBuf) -> Result<Self, StorageError> {
        let index = Self::unmade(files, path);
        index.make()?;
        Ok(index)
    }

    /// Makes the file, which nothing is in.
    pub(super) fn make(&self) -> Result<(), StorageError> {
        // The first entry comes some kilobytes later, or never: until then the file need not be open.
        disk::create(&self.path).map(drop)
    }

    /// The index as it stands on disk; `None` if it is not there or cannot be one.
    pub(super) fn load(files: &FileCache, path: PathBuf) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = disk::size(&path)? else { return Ok(None) };
        let bytes = bytes as usize;
        if !bytes.is_multiple_of(E::BYTES) {
            return Ok(None);
        }
        let file = files.register();
        let written = bytes / E::BYTES;
        let mut index = Self { path, files: files.clone(), file, written, pending: Vec::new(), last: None };
        if written > 0 {
            index.last = index.read(written - 1, 1)?.first().copied();
        }
        Ok(Some(index))
    }

    pub(super) fn last(&self) -> Option<E> {
        self.last
    }

    pub(super) fn bytes(&self) -> usize {
        (self.written + self.pending.len()) * E::BYTES
    }

    /// How many entries wait in memory.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether what waits in memory should be written before more is added.
    pub(super) fn is_due(&self) -> bool {
        self.pending.len() >= PENDING_ENTRIES_MAX
    }

    pub(super) fn push(&mut self, entry: E) {
        self.pending.push(entry);
        self.last = Some(entry);
    }

    /// The last entry of those at the start for which `holds` is true.
    pub(super) fn last_where(&self, holds: impl Fn(&E) -> bool) -> Result<Option<E>, StorageError> {
        match self.last {
            None => return Ok(None),
            // Most look-ups are near the end of the log.
            Some(last) if holds(&last) => return Ok(Some(last)),
            Some(_) => {}
        }
        let pending = self.pending.partition_point(&holds);
        if pending > 0 {
            return Ok(Some(self.pending[pending - 1]));
        }
        let at = self.count_where(&holds)?;
        Ok(if at == 0 { None } else { self.read(at - 1, 1)?.first().copied() })
    }

    /// Keeps the entries at the start for which `holds` is true.
    pub(super) fn truncate_where(&mut self, holds: impl Fn(&E) -> bool) -> Result<(), StorageError> {
        if self.last.is_none_or(|last| holds(&last)) {
            return Ok(());
        }
        self.write_pending()?;
        self.written = self.count_where(&holds)?;
        disk::set_len(&*self.open()?, &self.path, (self.written * E::BYTES) as u64)?;
        self.last = match self.written {
            0 => None,
            written => self.read(written - 1, 1)?.first().copied(),
        };
        Ok(())
    }

    /// Writes what waits in memory.
    pub(super) fn write_pending(&mut self) -> Result<(), StorageError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.pending.len() * E::BYTES);
        self.pending.iter().for_each(|entry| entry.encode(&mut bytes));
        let position = (self.written * E::BYTES) as u64;
        disk::write_at(&*self.open()?, &self.path, &mut [IoSlice::new(&bytes)], position)?;
        self.written += self.pending.len();
        self.pending = Vec::new();
        Ok(())
    }

    pub(super) fn open_file(&self) -> Result<OpenFile, StorageError> {
        Ok(OpenFile { file: self.open()?, path: self.path.clone() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn rename(&mut self, to: PathBuf) -> Result<(), StorageError> {
        disk::rename(&self.path, &to)?;
        self.path = to;
        Ok(())
    }

    pub(super) fn remove(&self) -> Result<(), StorageError> {
        self.files.forget(self.file);
        disk::remove(&self.path)
    }

    /// How many of the entries on disk, from the start, `holds` is true for.
    fn count_where(&self, holds: &impl Fn(&E) -> bool) -> Result<usize, StorageError> {
        let (mut low, mut high) = (0, self.written);
        while high - low > SEARCH_ENTRIES {
            let middle = low + (high - low) / 2;
            if self.read(middle, 1)?.first().is_some_and(holds) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low + self.read(low, high - low)?.partition_point(holds))
    }

    fn read(&self, from: usize, entries: usize) -> Result<Vec<E>, StorageError> {
        let mut bytes = [0; SEARCH_ENTRIES * 12];
        let buffer = &mut bytes[..entries * E::BYTES];
        let read = disk::read_at(&*self.open()?, &self.path, buffer, (from * E::BYTES) as u64)?;
        if read < buffer.len() {
            return Err(StorageError::corrupt(&self.path, "it is shorter than it was"));
        }
        Ok(buffer.chunks_exact(E::BYTES).map(E::decode).collect())
    }

    fn open(&self) -> Result<std::sync::Arc<std::fs::File>, StorageError> {
        self.files.get(self.file, || self.path.clone())
    }
}

impl<E> Drop for Index<E> {
    fn drop(&mut self) {
        self.files.forget(self.file);
    }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(dir: &tempfile::TempDir, entries: i32) -> Index<OffsetEntry> {
        let files = FileCache::new(4);
        let mut index = Index::create(&files, dir.path().join("0.index")).unwrap();
        for n in 0..entries {
            if index.is_due() {
                index.write_pending().unwrap();
            }
            index.push(OffsetEntry { relative_offset: n * 10, position: n * 100 });
        }
        index
    }

    #[test]
    fn the_entry_at_or_below_is_found_on_disk_and_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let index = filled(&dir, 1000);
        for target in [0, 5, 10, 77, 2559, 2560, 5000, 9989, 9990, 12_000] {
            let found = index.last_where(|entry| entry.relative_offset <= target).unwrap().unwrap();
            assert_eq!(found.relative_offset, (target / 10).min(999) * 10, "{target}");
        }
        assert_eq!(index.last_where(|entry| entry.relative_offset < 0).unwrap(), None);
    }

    #[test]
    fn what_is_cut_off_stays_away_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = filled(&dir, 600);
        index.truncate_where(|entry| entry.relative_offset < 1234).unwrap();
        assert_eq!(index.last().unwrap().relative_offset, 1230);
        index.push(OffsetEntry { relative_offset: 1235, position: 1 });
        index.write_pending().unwrap();
        let again =
            Index::<OffsetEntry>::load(&FileCache::new(1), dir.path().join("0.index")).unwrap().unwrap();
        assert_eq!(again.last().unwrap().relative_offset, 1235);
        assert_eq!(again.bytes(), 125 * 8);
    }

    #[test]
    fn a_file_that_is_no_index_is_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.index");
        assert!(Index::<OffsetEntry>::load(&FileCache::new(1), path.clone()).unwrap().is_none());
        std::fs::write(&path, b"12345").unwrap();
        assert!(Index::<OffsetEntry>::load(&FileCache::new(1), path).unwrap().is_none());
    }
}
