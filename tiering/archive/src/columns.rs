use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
    StringBuilder, StructBuilder, TimestampMillisecondBuilder,
};
use strata_protocol::records::{BatchHeader, Record, TimestampType};
use strata_types::PartitionId;

use crate::schema::{header_element, header_fields, schema};

/// Records as Arrow columns, row by row: the archive's raw columns, also where the records never saw Parquet (a
/// query's hot part).
pub struct ColumnsBuilder {
    partition: Int32Builder,
    offset: Int64Builder,
    timestamp: TimestampMillisecondBuilder,
    timestamp_type: Int8Builder,
    key: BinaryBuilder,
    value: BinaryBuilder,
    headers: ListBuilder<StructBuilder>,
    leader_epoch: Int32Builder,
    producer_id: Int64Builder,
    producer_epoch: Int16Builder,
    sequence: Int32Builder,
    batch: Int64Builder,
    rows: usize,
    raw_bytes: usize,
}

impl Default for ColumnsBuilder {
    fn default() -> Self {
        let header = StructBuilder::new(
            header_fields(),
            vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())],
        );
        Self {
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            timestamp: TimestampMillisecondBuilder::new().with_timezone("UTC"),
            timestamp_type: Int8Builder::new(),
            key: BinaryBuilder::new(),
            value: BinaryBuilder::new(),
            headers: ListBuilder::new(header).with_field(header_element()),
            leader_epoch: Int32Builder::new(),
            producer_id: Int64Builder::new(),
            producer_epoch: Int16Builder::new(),
            sequence: Int32Builder::new(),
            batch: Int64Builder::new(),
            rows: 0,
            raw_bytes: 0,
        }
    }
}

impl ColumnsBuilder {
    /// One more row: a record, the batch that it came in, and its partition.
    ///
    /// Offsets into the bytes of a column are 32 bits: the caller ends the batch long before 2 GiB.
    pub fn push(&mut self, partition: PartitionId, header: &BatchHeader, record: &Record) {
        self.partition.append_value(partition);
        self.offset.append_value(record.offset);
        self.timestamp.append_value(record.timestamp);
        self.timestamp_type.append_value(match header.timestamp_type() {
            TimestampType::CreateTime => 0,
            TimestampType::LogAppendTime => 1,
        });
        self.key.append_option(record.key.as_deref());
        self.value.append_option(record.value.as_deref());
        self.leader_epoch.append_value(header.leader_epoch.0);
        self.producer_id.append_value(header.producer_id.0);
        self.producer_epoch.append_value(header.producer_epoch.0);
        self.sequence.append_value(sequence_of(header, record.offset));
        self.batch.append_value(header.base_offset.0);
        self.raw_bytes += record.key.as_ref().map_or(0, |key| key.len());
        self.raw_bytes += record.value.as_ref().map_or(0, |value| value.len());
        self.push_headers(record);
        self.rows += 1;
    }

    fn push_headers(&mut self, record: &Record) {
        let headers = self.headers.values();
        for header in &record.headers {
            // Field builders are there, and of these types: `default` made them.
            if let Some(key) = headers.field_builder::<StringBuilder>(0) {
                key.append_value(&*header.key);
            }
            if let Some(value) = headers.field_builder::<BinaryBuilder>(1) {
                value.append_option(header.value.as_deref());
            }
            headers.append(true);
            self.raw_bytes += header.key.len() + header.value.as_ref().map_or(0, |value| value.len());
        }
        self.headers.append(true);
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of keys, values and headers so far.
    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// The rows so far, in [`schema`]'s columns; the builder is empty again.
    pub fn finish(&mut self) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.timestamp.finish()),
            Arc::new(self.timestamp_type.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
            Arc::new(self.headers.finish()),
            Arc::new(self.leader_epoch.finish()),
            Arc::new(self.producer_id.finish()),
            Arc::new(self.producer_epoch.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.batch.finish()),
        ];
        self.rows = 0;
        self.raw_bytes = 0;
        RecordBatch::try_new(schema(), columns)
            .expect("the builders are the schema's, and all have a value per row")
    }
}

/// A record's own sequence number: the batch's first plus the offset's distance, around the end of `i32` to 0.
fn sequence_of(header: &BatchHeader, offset: i64) -> i32 {
    if header.base_sequence < 0 {
        return header.base_sequence;
    }
    let delta = offset.wrapping_sub(header.base_offset.0);
    let sequences = i64::from(i32::MAX) + 1;
    ((i64::from(header.base_sequence) + delta).rem_euclid(sequences)) as i32
}

/// The batch's first sequence, from one of its records'.
pub(crate) fn base_sequence_of(sequence: i32, offset: i64, base_offset: i64) -> i32 {
    if sequence < 0 {
        return sequence;
    }
    let delta = offset.wrapping_sub(base_offset);
    let sequences = i64::from(i32::MAX) + 1;
    (i64::from(sequence).wrapping_sub(delta).rem_euclid(sequences)) as i32
}
