//! A segment: the batches from one offset on, in one file, with its indexes.

mod index;
mod names;
mod recover;
mod scan;
mod transactions;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_protocol::records::{Batch, BatchHeader};
use strata_types::{Offset, TimestampMs};

use self::index::{Index, OffsetEntry, TimeEntry};
use self::names::named;
pub(crate) use self::names::{CLEANED, DELETED, SWAP, file_path, with_suffix};
pub(crate) use self::recover::Believed;
pub(crate) use self::scan::{Located, Scan};
pub use self::transactions::AbortedTxn;
use self::transactions::TxnIndex;
use crate::files::{FileId, OpenFile};
use crate::{FileCache, StorageError, disk};

/// Positions within a segment are 31 bits in its index.
pub(crate) const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// A segment that has grown to this size gets room ahead of its end: by then it is one that is written to, not one of
/// thousands that hold little.
const ROOM_FROM_BYTES: u64 = 2 << 20;

/// How much room it gets at a time.
const ROOM_BYTES: u64 = 4 << 20;

/// The largest timestamp of a segment, and the last offset of the batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaxTimestamp {
    pub(crate) timestamp: TimestampMs,
    pub(crate) offset: Offset,
}

pub(crate) struct Segment {
    base: Offset,
    path: PathBuf,
    files: FileCache,
    file: FileId,
    /// Whether the files are there: of a log that never had a record, they are not.
    made: bool,
    bytes: u64,
    /// Up to here room was asked for, ahead of what is written.
    room: u64,
    /// The offset after the last batch; `base` while empty.
    end: Offset,
    offsets: Index<OffsetEntry>,
    times: Index<TimeEntry>,
    transactions: TxnIndex,
    max_timestamp: Option<MaxTimestamp>,
    /// The first batch's largest timestamp: the segment's age counts from there.
    first_timestamp: Option<TimestampMs>,
    created_ms: TimestampMs,
    bytes_since_entry: usize,
}

impl Segment {
    /// An empty segment without files, until [`Segment::make`].
    pub(crate) fn unmade(folder: &Path, base: Offset, files: &FileCache, now: TimestampMs) -> Self {
        Self::unmade_named(folder, base, files, now, "")
    }

    /// A new, empty segment.
    pub(crate) fn create(
        folder: &Path,
        base: Offset,
        files: &FileCache,
        now: TimestampMs,
    ) -> Result<Self, StorageError> {
        let mut segment = Self::unmade(folder, base, files, now);
        segment.make(now)?;
        Ok(segment)
    }

    /// A new, empty segment that is to replace others: its files have names of their own until it does.
    pub(crate) fn create_cleaned(
        folder: &Path,
        base: Offset,
        files: &FileCache,
        now: TimestampMs,
    ) -> Result<Self, StorageError> {
        disk::remove(&named(folder, base, "txnindex", CLEANED))?;
        let mut segment = Self::unmade_named(folder, base, files, now, CLEANED);
        segment.make(now)?;
        Ok(segment)
    }

    fn unmade_named(folder: &Path, base: Offset, files: &FileCache, now: TimestampMs, suffix: &str) -> Self {
        Self {
            base,
            path: named(folder, base, "log", suffix),
            files: files.clone(),
            file: files.register(),
            made: false,
            bytes: 0,
            room: 0,
            end: base,
            offsets: Index::unmade(files, named(folder, base, "index", suffix)),
            times: Index::unmade(files, named(folder, base, "timeindex", suffix)),
            transactions: TxnIndex::empty(named(folder, base, "txnindex", suffix)),
            max_timestamp: None,
            first_timestamp: None,
            created_ms: now,
            bytes_since_entry: 0,
        }
    }

    /// Makes the files, which nothing is in. What an earlier try left of them is emptied.
    pub(crate) fn make(&mut self, now: TimestampMs) -> Result<(), StorageError> {
        self.offsets.make()?;
        self.times.make()?;
        // The log comes last: it is what recovery goes by.
        self.files.create(self.file, &self.path)?;
        (self.made, self.created_ms) = (true, now);
        Ok(())
    }

    /// Whether the files are there.
    pub(crate) fn is_made(&self) -> bool {
        self.made
    }

    /// A sealed or cleanly closed segment as it stands on disk; its last batch is found through the index. `None` if
    /// an index is missing or does not fit: then the segment is recovered.
    pub(crate) fn load(folder: &Path, base: Offset, files: &FileCache) -> Result<Option<Self>, StorageError> {
        let Some(mut segment) = Self::load_files(folder, base, files)? else { return Ok(None) };
        let from = segment.offsets.last().map_or(0, |entry| entry.position as u64);
        if from >= segment.bytes && segment.bytes > 0 {
            return Ok(None);
        }
        let mut last = None;
        for located in segment.scan(from, segment.bytes)? {
            match located {
                Ok(located) => last = Some(located),
                Err(StorageError::Corrupt { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        if let Some(last) = last {
            segment.end = last.header.next_offset();
        }
        if let Some(entry) = segment.times.last() {
            let offset = segment.base + i64::from(entry.relative_offset);
            if offset >= segment.end {
                return Ok(None);
            }
            segment.max_timestamp = Some(MaxTimestamp { timestamp: entry.timestamp, offset });
        }
        segment.first_timestamp = segment.read_first_timestamp()?;
        Ok(Some(segment))
    }

    fn load_files(folder: &Path, base: Offset, files: &FileCache) -> Result<Option<Self>, StorageError> {
        let path = file_path(folder, base, "log");
        let bytes = disk::size(&path)?.ok_or_else(|| StorageError::corrupt(&path, "it is gone"))?;
        let Some(offsets) = Index::load(files, file_path(folder, base, "index"))? else { return Ok(None) };
        let Some(times) = Index::load(files, file_path(folder, base, "timeindex"))? else { return Ok(None) };
        let transactions = TxnIndex::load(file_path(folder, base, "txnindex"))?;
        Ok(Some(Self {
            base,
            files: files.clone(),
            file: files.register(),
            made: true,
            bytes,
            room: 0,
            end: base,
            offsets,
            times,
            transactions,
            max_timestamp: None,
            first_timestamp: None,
            created_ms: disk::modified_ms(&path).unwrap_or(0),
            bytes_since_entry: 0,
            path,
        }))
    }

    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// The offset after the last batch.
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn max_timestamp(&self) -> Option<MaxTimestamp> {
        self.max_timestamp
    }

    pub(crate) fn first_timestamp(&self) -> Option<TimestampMs> {
        self.first_timestamp
    }

    pub(crate) fn created_ms(&self) -> TimestampMs {
        self.created_ms
    }

    pub(crate) fn open(&self) -> Result<Arc<File>, StorageError> {
        self.files.get(self.file, || self.path.clone())
    }

    /// Whether the offset can stand in this segment's indexes.
    pub(crate) fn fits(&self, offset: Offset) -> bool {
        i32::try_from(offset - self.base).is_ok_and(|relative| relative >= 0)
    }

    /// The sizes of both indexes, in bytes.
    pub(crate) fn index_bytes(&self) -> (usize, usize) {
        (self.offsets.bytes(), self.times.bytes())
    }

    /// Whether an index has reached its limit.
    pub(crate) fn index_is_full(&self, index_bytes_max: usize) -> bool {
        self.offsets.bytes() + OFFSET_ENTRY_BYTES > index_bytes_max
            || self.times.bytes() + TIME_ENTRY_BYTES > index_bytes_max
    }

    /// Does what can fail about taking note of a batch, before it is written.
    pub(crate) fn reserve(&mut self) -> Result<(), StorageError> {
        if self.offsets.is_due() || self.times.is_due() { self.write_indexes() } else { Ok(()) }
    }

    /// Takes note of a batch that stands in the file now.
    pub(crate) fn appended(&mut self, batch: &Located, index_interval_bytes: usize) {
        let header = &batch.header;
        let last_offset = header.last_offset();
        if self.bytes == 0 {
            self.first_timestamp = Some(header.max_timestamp).filter(|timestamp| *timestamp >= 0);
        }
        if header.max_timestamp >= 0
            && self.max_timestamp.is_none_or(|max| header.max_timestamp > max.timestamp)
        {
            self.max_timestamp = Some(MaxTimestamp { timestamp: header.max_timestamp, offset: last_offset });
        }
        if self.bytes_since_entry > index_interval_bytes {
            let relative_offset = (last_offset - self.base) as i32;
            self.offsets.push(OffsetEntry { relative_offset, position: batch.position as i32 });
            self.push_time();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.batch_bytes;
        self.bytes = batch.end();
        self.end = header.next_offset();
    }

    pub(crate) fn aborted(&mut self, transaction: AbortedTxn) -> Result<(), StorageError> {
        self.transactions.push(transaction)
    }

    pub(crate) fn aborted_transactions(&self) -> &[AbortedTxn] {
        self.transactions.entries()
    }

    /// The batches between two positions.
    pub(crate) fn scan(&self, from: u64, until: u64) -> Result<Scan<'_>, StorageError> {
        Ok(Scan::new(self.open()?, &self.path, from, until.min(self.bytes)))
    }

    /// The first batch that ends at `offset` or above.
    pub(crate) fn find(&self, offset: Offset) -> Result<Option<Located>, StorageError> {
        if offset >= self.end {
            return Ok(None);
        }
        let relative = offset - self.base;
        let entry = self.offsets.last_where(|entry| i64::from(entry.relative_offset) <= relative)?;
        for batch in self.scan(entry.map_or(0, |entry| entry.position as u64), self.bytes)? {
            let batch = batch?;
            if batch.header.last_offset() >= offset {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The largest end of a batch that is not above `limit`, knowing that one starts at `from`.
    pub(crate) fn boundary_below(&self, from: u64, limit: u64) -> Result<u64, StorageError> {
        if limit >= self.bytes {
            return Ok(self.bytes);
        }
        let entry = self.offsets.last_where(|entry| entry.position as u64 <= limit)?;
        let mut boundary = entry.map_or(from, |entry| from.max(entry.position as u64));
        for batch in self.scan(boundary, self.bytes)? {
            let end = batch?.end();
            if end > limit {
                break;
            }
            boundary = end;
        }
        Ok(boundary)
    }

    /// The first batch that has a timestamp of `timestamp` or above, and ends at `from` or above.
    pub(crate) fn find_timestamp(
        &self,
        timestamp: TimestampMs,
        from: Offset,
    ) -> Result<Option<Located>, StorageError> {
        let earlier = self.times.last_where(|entry| entry.timestamp < timestamp)?;
        let start = earlier.map_or(self.base, |entry| self.base + i64::from(entry.relative_offset)).max(from);
        let Some(first) = self.find(start)? else { return Ok(None) };
        for batch in self.scan(first.position, self.bytes)? {
            let batch = batch?;
            if batch.header.max_timestamp >= timestamp {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Reads a whole batch and checks it.
    pub(crate) fn read(&self, at: &Located) -> Result<Batch, StorageError> {
        let batch = read_batch(&*self.open()?, &self.path, at.position, self.bytes)?
            .ok_or_else(|| StorageError::corrupt(&self.path, "a batch is cut"))?;
        batch.check_crc().map_err(|error| StorageError::corrupt(&self.path, error.to_string()))?;
        Ok(batch)
    }

    /// Cuts off everything from `offset` on. A batch that holds it goes as a whole.
    pub(crate) fn truncate(&mut self, offset: Offset) -> Result<(), StorageError> {
        let Some(first) = self.find(offset)? else { return Ok(()) };
        let kept_end = first.header.base_offset;
        let relative = kept_end - self.base;
        self.write_indexes()?;
        self.offsets.truncate_where(|entry| i64::from(entry.relative_offset) < relative)?;
        self.times.truncate_where(|entry| i64::from(entry.relative_offset) < relative)?;
        self.transactions.truncate(kept_end)?;
        disk::set_len(&*self.open()?, &self.path, first.position)?;
        self.bytes = first.position;
        self.bytes_since_entry = 0;
        self.find_end_and_max_timestamp()
    }

    /// After a cut: what the last entries and the batches behind them say.
    fn find_end_and_max_timestamp(&mut self) -> Result<(), StorageError> {
        self.end = self.base;
        self.max_timestamp = self.times.last().map(|entry| MaxTimestamp {
            timestamp: entry.timestamp,
            offset: self.base + i64::from(entry.relative_offset),
        });
        let from = self.offsets.last().map_or(0, |entry| entry.position as u64);
        let (mut end, mut max) = (self.end, self.max_timestamp);
        for batch in self.scan(from, self.bytes)? {
            let header = batch?.header;
            end = header.next_offset();
            if header.max_timestamp >= 0 && max.is_none_or(|max| header.max_timestamp > max.timestamp) {
                max = Some(MaxTimestamp { timestamp: header.max_timestamp, offset: header.last_offset() });
            }
        }
        (self.end, self.max_timestamp) = (end, max);
        if self.bytes == 0 {
            self.first_timestamp = None;
        }
        Ok(())
    }

    /// Has the disk keep room for the whole segment. The file's size stays what is written.
    pub(crate) fn preallocate(&self, bytes: u64) -> Result<(), StorageError> {
        disk::preallocate(&*self.open()?, &self.path, 0, bytes)
    }

    /// Has the disk keep room for the next megabytes too, once `until` is beyond what it keeps. Written block by block, a
    /// file system reserves and maps each block by itself; into room that is there it goes with a third less processor
    /// time (ext4). Room that cannot be had is no fault: if the disk is full, the write will say so.
    pub(crate) fn keep_room(&mut self, until: u64, segment_bytes_max: u64) {
        if until <= self.room || self.bytes < ROOM_FROM_BYTES {
            return;
        }
        self.room = (until + ROOM_BYTES).min(segment_bytes_max.max(until));
        let (from, bytes) = (self.bytes, self.room - self.bytes);
        let kept = self.open().and_then(|file| disk::preallocate(&file, &self.path, from, bytes));
        if let Err(error) = kept {
            tracing::debug!(%error, "no room ahead");
        }
    }

    /// Whether [`Segment::keep_room`] has taken more than was used.
    pub(crate) fn has_room(&self) -> bool {
        self.room > self.bytes
    }

    /// Gives back what was preallocated and is not used.
    pub(crate) fn give_back(&self) -> Result<(), StorageError> {
        disk::set_len(&*self.open()?, &self.path, self.bytes)
    }

    /// Completes the indexes, as a segment that is closed has them.
    pub(crate) fn seal(&mut self) -> Result<(), StorageError> {
        self.push_time();
        self.write_indexes()
    }

    /// Writes the indexes' entries if enough wait in memory to be worth it, so that a killed process leaves a tail that is
    /// bounded by time: [`Log::checkpoint`](crate::Log) does it every few seconds.
    pub(crate) fn write_indexes_if_many(&mut self) -> Result<(), StorageError> {
        if self.offsets.pending() >= PENDING_ENTRIES_MANY { self.write_indexes() } else { Ok(()) }
    }

    /// Writes what waits in memory. Times go first: recovery goes on from the last offset entry on disk, and takes the
    /// largest timestamp below it from the other index.
    fn write_indexes(&mut self) -> Result<(), StorageError> {
        self.times.write_pending()?;
        self.offsets.write_pending()
    }

    /// The files that must be on stable storage for the segment to be so. A sealed segment's indexes are believed as
    /// they are when it is next opened; an active one's are made again.
    pub(crate) fn files_to_sync(&self, sealed: bool) -> Result<Vec<OpenFile>, StorageError> {
        if !self.made {
            return Ok(Vec::new());
        }
        let mut files = vec![OpenFile { file: self.open()?, path: self.path.clone() }];
        if sealed {
            files.push(self.offsets.open_file()?);
            files.push(self.times.open_file()?);
        }
        Ok(files)
    }

    /// Puts the index of aborted transactions on stable storage: unlike the others it cannot be made again cheaply.
    pub(crate) fn sync_transactions(&self) -> Result<(), StorageError> {
        self.transactions.sync()
    }

    /// Removes the segment's files. Who still reads one keeps it.
    pub(crate) fn remove(&self) -> Result<(), StorageError> {
        self.files.forget(self.file);
        // The log goes first: without it, the rest is swept up when the folder is next opened.
        disk::remove(&self.path)?;
        self.offsets.remove()?;
        self.times.remove()?;
        self.transactions.remove()
    }

    /// Gives the log's file the age of another.
    pub(crate) fn set_modified_as(&self, other: &File) -> Result<(), StorageError> {
        disk::set_modified_as(&*self.open()?, other, &self.path)
    }

    fn push_time(&mut self) {
        let last = self.times.last().map_or(i64::MIN, |entry| entry.timestamp);
        if let Some(max) = self.max_timestamp.filter(|max| max.timestamp > last) {
            let relative_offset = (max.offset - self.base) as i32;
            self.times.push(TimeEntry { timestamp: max.timestamp, relative_offset });
        }
    }

    fn read_first_timestamp(&self) -> Result<Option<TimestampMs>, StorageError> {
        match self.scan(0, self.bytes)?.next() {
            Some(Ok(first)) => Ok(Some(first.header.max_timestamp).filter(|timestamp| *timestamp >= 0)),
            _ => Ok(None),
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.files.forget(self.file);
    }
}

/// Walking over the log behind so many index entries costs about what it costs to write them.
const PENDING_ENTRIES_MANY: usize = 16;

const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;

/// The whole batch at `position`; `None` if the file ends within it.
fn read_batch(file: &File, path: &Path, position: u64, until: u64) -> Result<Option<Batch>, StorageError> {
    let mut header = [0; BatchHeader::BYTES];
    if disk::read_at(file, path, &mut header, position)? < header.len() {
        return Ok(None);
    }
    let corrupt = |error: strata_protocol::records::BatchError| {
        StorageError::corrupt(path, format!("{error}, at byte {position}"))
    };
    let parsed = BatchHeader::parse(&header).map_err(corrupt)?;
    // The length is only believed as far as the file reaches.
    if parsed.batch_bytes as u64 > until.saturating_sub(position) {
        return Ok(None);
    }
    let mut bytes = vec![0; parsed.batch_bytes];
    if disk::read_at(file, path, &mut bytes, position)? < bytes.len() {
        return Ok(None);
    }
    Batch::try_from_bytes(bytes.into()).map(Some).map_err(corrupt)
}
