use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, ListArray, RecordBatch, StringArray, StructArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType,
};
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use strata_protocol::Str;
use strata_protocol::records::{BatchBuilder, BuilderOptions, Compression, Header, TimestampType};
use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::columns::base_sequence_of;
use crate::error::ArchiveError;
use crate::footer::Footer;
use crate::layout::RowGroup;
use crate::schema::column;

/// How batches are rebuilt.
#[derive(Debug, Clone)]
pub struct RebuildOptions {
    /// A larger batch is compressed (lz4): it was surely compressed once, and clients have limits of their own
    /// (librdkafka's `receive.message.max.bytes`) that its bare bytes could break.
    pub uncompressed_batch_bytes_max: usize,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self { uncompressed_batch_bytes_max: 1 << 20 }
    }
}

/// One v2 batch, made of archived rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuiltBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub max_timestamp: TimestampMs,
    pub bytes: Bytes,
}

/// Rebuilds a row group's batches from its bytes (`group.bytes` of them, from `group.file_offset`).
///
/// The batches are not marked transactional: all that is archived is committed, and a consumer that reads committed
/// records must not drop one because another transaction of its producer was aborted elsewhere, its abort marker not
/// being here. So a fetch that is answered with them carries no aborted transactions.
pub fn rebuild(
    footer: &Footer,
    group: &RowGroup,
    bytes: Bytes,
    options: &RebuildOptions,
) -> Result<Vec<RebuiltBatch>, ArchiveError> {
    if bytes.len() as u64 != group.bytes {
        let (found, expected) = (bytes.len(), group.bytes);
        return Err(ArchiveError::corrupt(format!("{found} bytes of a row group of {expected}")));
    }
    if crc32c::crc32c(&bytes) != group.crc32c {
        let (index, at) = (group.index, group.file_offset);
        return Err(ArchiveError::corrupt(format!("row group {index} at byte {at} fails its checksum")));
    }
    Rows::parse(&decode(footer, group, bytes)?)?.rebuild(options)
}

/// A control batch over `[from, last]`, offsets of which nothing is left: clients pass over it silently, and go on
/// after `last`. (A commit marker without a producer; Kafka itself leaves such gaps as empty batches, which some
/// clients take for a message that is too large.)
pub fn gap_batch(from: Offset, last: Offset, leader_epoch: LeaderEpoch) -> Result<Bytes, ArchiveError> {
    /// Version 0, type 1: commit.
    const COMMIT: &[u8] = &[0, 0, 0, 1];
    /// Version 0, coordinator epoch 0.
    const VALUE: &[u8] = &[0, 0, 0, 0, 0, 0];
    let last = last.min(from + i64::from(i32::MAX));
    let failed = |source| ArchiveError::Build { offset: from, source };
    let mut builder = BatchBuilder::new(BuilderOptions {
        base_offset: from,
        leader_epoch,
        control: true,
        transactional: true,
        ..BuilderOptions::default()
    });
    builder.append(last.0, -1, Some(COMMIT), Some(VALUE), &[]).map_err(failed)?;
    builder.build().map_err(failed)
}

/// All rows of a group in one piece, so that no batch is cut: a row group is bounded.
fn decode(footer: &Footer, group: &RowGroup, bytes: Bytes) -> Result<RecordBatch, ArchiveError> {
    let unreadable = |e| ArchiveError::corrupt(format!("row group {}: {e}", group.index));
    let groups = footer.parquet.metadata().row_groups();
    let rows = groups.get(group.index).map(|found| found.num_rows() as u64);
    if rows != Some(group.rows) {
        return Err(ArchiveError::corrupt(format!("row group {} is not the one in the footer", group.index)));
    }
    let mut decoder = ParquetPushDecoderBuilder::new_with_metadata(footer.parquet.clone())
        .with_row_groups(vec![group.index])
        .with_batch_size(group.rows as usize)
        .build()
        .map_err(unreadable)?;
    let range = group.file_offset..group.file_offset + group.bytes;
    decoder.push_range(range, bytes).map_err(unreadable)?;
    let mut batches = Vec::new();
    loop {
        match decoder.try_decode().map_err(unreadable)? {
            DecodeResult::Data(batch) => batches.push(batch),
            DecodeResult::Finished => {
                return concat_batches(footer.parquet.schema(), &batches)
                    .map_err(|e| ArchiveError::corrupt(format!("row group {}: {e}", group.index)));
            }
            DecodeResult::NeedsData(ranges) => {
                let why = format!("row group {} has data outside of its bytes: {ranges:?}", group.index);
                return Err(ArchiveError::corrupt(why));
            }
        }
    }
}

/// A row group's columns, each of the type that it should have.
struct Rows<'a> {
    offset: &'a [i64],
    timestamp: &'a [i64],
    timestamp_type: &'a [i8],
    key: &'a BinaryArray,
    value: &'a BinaryArray,
    headers: &'a ListArray,
    header_keys: &'a StringArray,
    header_values: &'a BinaryArray,
    leader_epoch: &'a [i32],
    producer_id: &'a [i64],
    producer_epoch: &'a [i16],
    sequence: &'a [i32],
    batch: &'a [i64],
}

impl<'a> Rows<'a> {
    fn parse(rows: &'a RecordBatch) -> Result<Self, ArchiveError> {
        let headers = array(rows, column::HEADERS)?.as_list_opt().ok_or_else(|| wrong(column::HEADERS))?;
        let entries: &StructArray = headers.values().as_struct_opt().ok_or_else(|| wrong(column::HEADERS))?;
        let entry = |name: &str| {
            entries.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| wrong(column::HEADERS))
        };
        Ok(Self {
            offset: numbers::<Int64Type>(rows, column::OFFSET)?,
            timestamp: numbers::<TimestampMillisecondType>(rows, column::TIMESTAMP)?,
            timestamp_type: numbers::<Int8Type>(rows, column::TIMESTAMP_TYPE)?,
            key: array(rows, column::KEY)?.as_binary_opt().ok_or_else(|| wrong(column::KEY))?,
            value: array(rows, column::VALUE)?.as_binary_opt().ok_or_else(|| wrong(column::VALUE))?,
            headers,
            header_keys: entry("key")?.as_string_opt().ok_or_else(|| wrong(column::HEADERS))?,
            header_values: entry("value")?.as_binary_opt().ok_or_else(|| wrong(column::HEADERS))?,
            leader_epoch: numbers::<Int32Type>(rows, column::LEADER_EPOCH)?,
            producer_id: numbers::<Int64Type>(rows, column::PRODUCER_ID)?,
            producer_epoch: numbers::<Int16Type>(rows, column::PRODUCER_EPOCH)?,
            sequence: numbers::<Int32Type>(rows, column::SEQUENCE)?,
            batch: numbers::<Int64Type>(rows, column::BATCH)?,
        })
    }

    /// Rows of one batch stand together and name the same batch.
    fn rebuild(&self, options: &RebuildOptions) -> Result<Vec<RebuiltBatch>, ArchiveError> {
        let mut batches = Vec::new();
        let mut from = 0;
        while from < self.batch.len() {
            let same = self.batch[from..].iter().take_while(|&&batch| batch == self.batch[from]).count();
            batches.push(self.rebuild_batch(from, from + same, options)?);
            from += same;
        }
        Ok(batches)
    }

    fn rebuild_batch(
        &self,
        from: usize,
        to: usize,
        options: &RebuildOptions,
    ) -> Result<RebuiltBatch, ArchiveError> {
        let base_offset = Offset(self.batch[from]);
        let timestamp_type = match self.timestamp_type[from] {
            0 => TimestampType::CreateTime,
            1 => TimestampType::LogAppendTime,
            other => return Err(ArchiveError::corrupt(format!("timestamp type {other}"))),
        };
        let large = self.raw_bytes(from, to) > options.uncompressed_batch_bytes_max;
        let failed = |source| ArchiveError::Build { offset: base_offset, source };
        let mut builder = BatchBuilder::new(BuilderOptions {
            base_offset,
            compression: if large { Compression::Lz4 } else { Compression::None },
            timestamp_type,
            leader_epoch: LeaderEpoch(self.leader_epoch[from]),
            producer_id: ProducerId(self.producer_id[from]),
            producer_epoch: ProducerEpoch(self.producer_epoch[from]),
            base_sequence: base_sequence_of(self.sequence[from], self.offset[from], base_offset.0),
            transactional: false,
            control: false,
        });
        let mut headers = Vec::new();
        for row in from..to {
            self.read_headers(row, &mut headers);
            let key = (!self.key.is_null(row)).then(|| self.key.value(row));
            let value = (!self.value.is_null(row)).then(|| self.value.value(row));
            builder.append(self.offset[row], self.timestamp[row], key, value, &headers).map_err(failed)?;
        }
        Ok(RebuiltBatch {
            base_offset,
            last_offset: Offset(self.offset[to - 1]),
            max_timestamp: self.timestamp[from..to].iter().copied().max().unwrap_or(-1),
            bytes: builder.build().map_err(failed)?,
        })
    }

    fn read_headers(&self, row: usize, headers: &mut Vec<Header>) {
        headers.clear();
        let offsets = self.headers.value_offsets();
        headers.extend((offsets[row] as usize..offsets[row + 1] as usize).map(|at| {
            Header {
                key: Str::from(self.header_keys.value(at)),
                value: (!self.header_values.is_null(at))
                    .then(|| Bytes::copy_from_slice(self.header_values.value(at))),
            }
        }));
    }

    fn raw_bytes(&self, from: usize, to: usize) -> usize {
        let between = |offsets: &[i32], from: usize, to: usize| (offsets[to] - offsets[from]) as usize;
        let entries = self.headers.value_offsets();
        let (first, last) = (entries[from] as usize, entries[to] as usize);
        between(self.key.value_offsets(), from, to)
            + between(self.value.value_offsets(), from, to)
            + between(self.header_keys.value_offsets(), first, last)
            + between(self.header_values.value_offsets(), first, last)
    }
}

fn array<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArchiveError> {
    rows.column_by_name(name).ok_or_else(|| ArchiveError::corrupt(format!("there is no column {name}")))
}

/// A column of numbers without nulls.
fn numbers<'a, T: ArrowPrimitiveType>(
    rows: &'a RecordBatch,
    name: &str,
) -> Result<&'a [T::Native], ArchiveError> {
    let column = array(rows, name)?.as_primitive_opt::<T>().ok_or_else(|| wrong(name))?;
    if column.null_count() > 0 {
        return Err(ArchiveError::corrupt(format!("column {name} has nulls")));
    }
    Ok(column.values())
}

fn wrong(name: &str) -> ArchiveError {
    ArchiveError::corrupt(format!("column {name} is of another type"))
}
