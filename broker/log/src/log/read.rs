//! Reading, and finding offsets by time.

use bytes::Bytes;
use strata_protocol::records::{Batch, DecompressLimit, batches};
use strata_protocol::{FileRange, Records};
use strata_types::{LeaderEpoch, Offset, TimestampMs};

use super::{Log, Shared};
use crate::segment::Segment;
use crate::{ReadError, StorageError};

/// Whole batches of the log.
#[derive(Debug, Clone)]
pub struct Read {
    /// A range of a segment's file, or nothing.
    pub records: Records,
    /// The first batch's base offset, which may be below the offset that was asked for.
    pub from: Offset,
    pub bytes: usize,
}

impl Read {
    fn nothing(from: Offset) -> Self {
        Self { records: Records::Bytes(Bytes::new()), from, bytes: 0 }
    }
}

/// A record's offset and time, as ListOffsets answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampAndOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl Log {
    /// The batches from the one that holds `from` on, as a range of a file: whole ones, at most `max_bytes` of them,
    /// and none that reaches to `until` (the high watermark, or the last stable offset). The first batch is given
    /// even above `max_bytes` if `min_one_batch` says so.
    ///
    /// A read ends with its segment. It is empty where there is nothing (yet) below `until`, or nothing that fits.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        until: Offset,
        min_one_batch: bool,
    ) -> Result<Read, ReadError> {
        let shared = self.shared.read();
        shared.check_range(from)?;
        let until = until.min(shared.end());
        if from >= until {
            return Ok(Read::nothing(from));
        }
        // A segment may end before the next one begins: compaction leaves gaps.
        for segment in shared.segments.range(shared.segment_at(from)..) {
            if let Some(read) = read_segment(segment, from, max_bytes as u64, until, min_one_batch)? {
                return Ok(read);
            }
        }
        Ok(Read::nothing(from))
    }

    /// The same, read into memory and checked: at least one batch, if there is one. For who replays the log.
    pub fn read_batches(&self, from: Offset, max_bytes: usize, until: Offset) -> Result<Bytes, ReadError> {
        let read = self.read(from, max_bytes, until, true)?;
        let bytes = match read.records {
            Records::Bytes(bytes) => bytes,
            Records::FileRange(range) => range.read().map_err(StorageError::io("read", &self.dir()))?,
        };
        for batch in batches(bytes.clone()) {
            batch?.check_crc()?;
        }
        Ok(bytes)
    }

    /// The first record, in the local log, whose timestamp is `timestamp` or later.
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampAndOffset>, ReadError> {
        let mut from = self.local_start_offset();
        // The header's largest timestamp may be that of a record before `from`.
        while let Some(batch) = self.batch_for_timestamp(timestamp, from)? {
            let found = first_record(&batch, |record_timestamp, offset| {
                record_timestamp >= timestamp && offset >= from
            })?;
            if found.is_some() {
                return Ok(found);
            }
            from = batch.next_offset();
        }
        Ok(None)
    }

    /// The record with the largest timestamp; the first of several.
    pub fn max_timestamp(&self) -> Result<Option<TimestampAndOffset>, ReadError> {
        let batch = {
            let shared = self.shared.read();
            let largest = shared.segments.iter().filter_map(|s| Some((s.max_timestamp()?, s)));
            // `max_by_key` takes the last of equals.
            let Some((max, segment)) = largest.rev().max_by_key(|(max, _)| max.timestamp) else {
                return Ok(None);
            };
            match segment.find(max.offset)? {
                Some(at) => segment.read(&at)?,
                None => return Ok(None),
            }
        };
        let max_timestamp = batch.header().max_timestamp;
        first_record(&batch, |timestamp, _| timestamp == max_timestamp)
    }

    fn batch_for_timestamp(&self, timestamp: TimestampMs, from: Offset) -> Result<Option<Batch>, ReadError> {
        let shared = self.shared.read();
        for segment in &shared.segments {
            let late_enough = segment.max_timestamp().is_some_and(|max| max.timestamp >= timestamp);
            if !late_enough || segment.end() <= from {
                continue;
            }
            if let Some(at) = segment.find_timestamp(timestamp, from)? {
                return Ok(Some(segment.read(&at)?));
            }
        }
        Ok(None)
    }
}

impl Shared {
    fn check_range(&self, asked: Offset) -> Result<(), ReadError> {
        let (start, end) = (self.start, self.end());
        if asked < start || asked > end {
            return Err(ReadError::OffsetOutOfRange { asked, start, end });
        }
        let local_start = self.local_start();
        if asked < local_start {
            return Err(ReadError::BelowLocalStart { asked, log_start: start, local_start });
        }
        Ok(())
    }
}

/// What of a segment is to be read; `None` if it ends before `from`.
fn read_segment(
    segment: &Segment,
    from: Offset,
    max_bytes: u64,
    until: Offset,
    min_one_batch: bool,
) -> Result<Option<Read>, StorageError> {
    let Some(first) = segment.find(from)? else { return Ok(None) };
    let nothing = Some(Read::nothing(from));
    if first.header.last_offset() >= until {
        return Ok(nothing);
    }
    let visible_end = match until >= segment.end() {
        true => segment.bytes(),
        false => segment.find(until)?.map_or(segment.bytes(), |batch| batch.position),
    };
    let limit = first.position.saturating_add(max_bytes);
    let end = if visible_end <= limit {
        visible_end
    } else if first.end() > limit {
        if !min_one_batch {
            return Ok(nothing);
        }
        first.end()
    } else {
        segment.boundary_below(first.end(), limit)?.min(visible_end)
    };
    let bytes = (end - first.position) as usize;
    let range = FileRange { file: segment.open()?, position: first.position, bytes };
    Ok(Some(Read { records: Records::FileRange(range), from: first.header.base_offset, bytes }))
}

fn first_record(
    batch: &Batch,
    holds: impl Fn(TimestampMs, Offset) -> bool,
) -> Result<Option<TimestampAndOffset>, ReadError> {
    for record in batch.records(DecompressLimit::default())? {
        let record = record?;
        let offset = Offset(record.offset);
        if holds(record.timestamp, offset) {
            let leader_epoch = batch.header().leader_epoch;
            return Ok(Some(TimestampAndOffset { timestamp: record.timestamp, offset, leader_epoch }));
        }
    }
    Ok(None)
}
