use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::RowGroupMetaData;
use strata_protocol::records::{self, Batch, BatchHeader, DecompressLimit};
use strata_types::{Offset, PartitionId, TopicId, TopicName};

use crate::columns::ColumnsBuilder;
use crate::error::ArchiveError;
use crate::footer;
use crate::layout::{EpochStart, PartitionRange, RowGroup};
use crate::schema::{schema, writer_properties};

/// No option may raise a row group beyond this: Arrow's offsets into a column are 32 bits.
pub const ROW_GROUP_BYTES_CEILING: usize = 512 << 20;

/// How a file is cut. A row group is what a cold fetch reads at least, and what a query engine works on at once: small
/// for the one, large for the other.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// A row group ends after the batch that reaches this many rows.
    pub row_group_rows_max: usize,
    /// Or this many bytes of keys, values and headers, uncompressed.
    pub row_group_bytes_max: usize,
    /// Rows per page: the grain of the page index.
    pub page_rows_max: usize,
    /// 1 to 22.
    pub zstd_level: i32,
    /// What one batch of the log may decompress to.
    pub decompressed_batch_bytes_max: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            row_group_rows_max: 128 << 10,
            row_group_bytes_max: 16 << 20,
            page_rows_max: 8 << 10,
            zstd_level: 1,
            decompressed_batch_bytes_max: records::DECOMPRESSED_BYTES_MAX,
        }
    }
}

/// A finished file, in memory.
#[derive(Debug, Clone)]
pub struct ArchiveFile {
    pub bytes: Bytes,
    /// The last so many bytes are the footer, as [`crate::Footer::parse`] takes it.
    pub footer_bytes: u64,
    pub ranges: Vec<PartitionRange>,
}

/// Makes one file out of batches. A file holds one topic, and one or several of its partitions one after the other.
///
/// In memory at once: the file so far (compressed), one row group in Arrow's form and encoded, and one batch.
pub struct ArchiveWriter {
    parquet: ArrowWriter<Vec<u8>>,
    options: WriterOptions,
    topic: TopicName,
    topic_id: TopicId,
    ranges: Vec<PartitionRange>,
    columns: ColumnsBuilder,
    group: Option<RowGroup>,
}

impl ArchiveWriter {
    pub fn new(topic: &TopicName, topic_id: TopicId, options: WriterOptions) -> Result<Self, ArchiveError> {
        // Other readers need no Arrow schema beside Parquet's own, and ours checks types as it reads.
        let arrow_options = ArrowWriterOptions::new()
            .with_properties(writer_properties(&options)?)
            .with_schema_root("record".to_owned())
            .with_skip_arrow_metadata(true);
        let parquet = ArrowWriter::try_new_with_options(Vec::new(), schema(), arrow_options)
            .map_err(ArchiveError::Write)?;
        Ok(Self {
            parquet,
            options,
            topic: topic.clone(),
            topic_id,
            ranges: Vec::new(),
            columns: ColumnsBuilder::default(),
            group: None,
        })
    }

    /// What follows is `partition`'s, from `start` on.
    pub fn start_partition(&mut self, partition: PartitionId, start: Offset) -> Result<(), ArchiveError> {
        if self.ranges.iter().any(|range| range.partition == partition) {
            return Err(ArchiveError::WrongPartition(partition));
        }
        self.end_row_group()?;
        self.ranges.push(PartitionRange {
            partition,
            start_offset: start,
            end_offset: start,
            rows: 0,
            raw_bytes: 0,
            max_timestamp: -1,
            max_timestamp_offset: Offset(-1),
            leader_epochs: Vec::new(),
            row_groups: Vec::new(),
        });
        Ok(())
    }

    /// Whole batches, in offset order, each checked against its CRC. Control batches, and those that `skip` names (of
    /// aborted transactions), leave no rows. Where the range starts within the first batch, its records below are
    /// left out.
    pub fn push(
        &mut self,
        batches: Bytes,
        skip: &mut dyn FnMut(&BatchHeader) -> bool,
    ) -> Result<(), ArchiveError> {
        for batch in records::batches(batches) {
            let at = self.next_offset();
            let batch = batch.map_err(|source| ArchiveError::Batch { offset: at, source })?;
            self.push_batch(&batch, skip)?;
        }
        Ok(())
    }

    fn push_batch(
        &mut self,
        batch: &Batch,
        skip: &mut dyn FnMut(&BatchHeader) -> bool,
    ) -> Result<(), ArchiveError> {
        let header = batch.header();
        let damaged = |source| ArchiveError::Batch { offset: header.base_offset, source };
        batch.check_crc().map_err(damaged)?;
        let range = self.ranges.last_mut().ok_or(ArchiveError::WrongPartition(-1))?;
        let expected = range.end_offset;
        let within_first = expected == range.start_offset && header.last_offset() >= expected;
        if header.base_offset < expected && !within_first {
            let found = header.base_offset;
            return Err(ArchiveError::NotInOrder { partition: range.partition, expected, found });
        }
        let start = range.start_offset;
        range.end_offset = header.next_offset();
        if header.is_control() || skip(header) {
            return Ok(());
        }
        let limit = DecompressLimit(self.options.decompressed_batch_bytes_max);
        let rows_before = self.columns.rows();
        for record in batch.records(limit).map_err(damaged)? {
            let record = record.map_err(damaged)?;
            if record.offset >= start.0 {
                self.push_record(header, &record);
            }
        }
        if self.columns.rows() > rows_before {
            self.end_batch(header)?;
        }
        Ok(())
    }

    fn push_record(&mut self, header: &BatchHeader, record: &records::Record) {
        let index = self.parquet.flushed_row_groups().len();
        let Some(range) = self.ranges.last_mut() else { return };
        self.columns.push(range.partition, header, record);
        let group = self.group.get_or_insert(RowGroup {
            index,
            file_offset: 0,
            bytes: 0,
            crc32c: 0,
            base_offset: header.base_offset,
            last_offset: header.base_offset,
            rows: 0,
            raw_bytes: 0,
            max_timestamp: -1,
            max_timestamp_offset: Offset(-1),
        });
        if group.rows == 0 && group.max_timestamp_offset.0 < 0 || record.timestamp > group.max_timestamp {
            group.max_timestamp = record.timestamp;
            group.max_timestamp_offset = Offset(record.offset);
        }
        group.rows += 1;
    }

    /// A batch's rows are all there: the only place where a row group may end.
    fn end_batch(&mut self, header: &BatchHeader) -> Result<(), ArchiveError> {
        let (Some(range), Some(group)) = (self.ranges.last_mut(), &mut self.group) else { return Ok(()) };
        group.last_offset = header.last_offset();
        let epoch = header.leader_epoch.0;
        if range.leader_epochs.last().is_none_or(|last| last.epoch != epoch) {
            let start_offset = header.base_offset.max(range.start_offset);
            range.leader_epochs.push(EpochStart { epoch, start_offset });
        }
        let bytes_max = self.options.row_group_bytes_max.min(ROW_GROUP_BYTES_CEILING);
        if self.columns.rows() >= self.options.row_group_rows_max || self.columns.raw_bytes() >= bytes_max {
            self.end_row_group()?;
        }
        Ok(())
    }

    fn end_row_group(&mut self) -> Result<(), ArchiveError> {
        let (Some(range), Some(mut group)) = (self.ranges.last_mut(), self.group.take()) else {
            return Ok(());
        };
        group.raw_bytes = self.columns.raw_bytes() as u64;
        let rows = self.columns.finish();
        self.parquet.write(&rows).and_then(|()| self.parquet.flush()).map_err(ArchiveError::Write)?;
        // Out of the library's own buffer, so that the checksum below sees every byte.
        self.parquet.sync().map_err(|e| ArchiveError::Write(e.into()))?;
        let Some(written) = self.parquet.flushed_row_groups().last() else { return Ok(()) };
        (group.file_offset, group.bytes) = file_range(written);
        let from = group.file_offset as usize;
        let bytes = self.parquet.inner().get(from..from + group.bytes as usize);
        group.crc32c = crc32c::crc32c(bytes.unwrap_or_default());
        range.rows += group.rows;
        range.raw_bytes += group.raw_bytes;
        if range.max_timestamp_offset.0 < 0 || group.max_timestamp > range.max_timestamp {
            range.max_timestamp = group.max_timestamp;
            range.max_timestamp_offset = group.max_timestamp_offset;
        }
        range.row_groups.push(group);
        Ok(())
    }

    /// The log has no batches below `offset` any more (compaction took them): the range ends there, or goes on there.
    pub fn skip_to(&mut self, offset: Offset) {
        if let Some(range) = self.ranges.last_mut() {
            range.end_offset = range.end_offset.max(offset);
        }
    }

    /// Bytes of keys, values and headers so far, uncompressed.
    pub fn raw_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.raw_bytes).sum::<u64>() + self.columns.raw_bytes() as u64
    }

    /// The offset after the last batch of the current partition.
    pub fn next_offset(&self) -> Offset {
        self.ranges.last().map_or(Offset::ZERO, |range| range.end_offset)
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<ArchiveFile, ArchiveError> {
        self.end_row_group()?;
        for pair in footer::key_values(&self.topic, self.topic_id, &self.ranges)? {
            self.parquet.append_key_value_metadata(pair);
        }
        let bytes = Bytes::from(self.parquet.into_inner().map_err(ArchiveError::Write)?);
        let footer_bytes = footer::footer_bytes(&bytes)?;
        Ok(ArchiveFile { bytes, footer_bytes, ranges: self.ranges })
    }
}

/// Start and length of a row group's column chunks, which stand together.
fn file_range(group: &RowGroupMetaData) -> (u64, u64) {
    let start = group.columns().iter().map(|column| column.byte_range().0).min().unwrap_or_default();
    let end =
        group.columns().iter().map(|column| column.byte_range()).map(|(start, bytes)| start + bytes).max();
    (start, end.unwrap_or(start) - start)
}
