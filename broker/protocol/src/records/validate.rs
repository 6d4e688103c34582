//! What a broker checks on a batch before it becomes part of the log (Kafka's `LogValidator`).

use bytes::Bytes;
use strata_types::{ErrorCode, TimestampMs};

use super::walk::{Shape, walk};
use super::{Batch, BatchError, Compression, DecompressLimit, TimestampType, batches};

/// How many records of a refused batch are named; a producer learns nothing from the ten-thousandth.
pub const RECORD_ERRORS_MAX: usize = 100;

/// Who appends: what is allowed differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A produce request. May not write control records, and leaves offsets to the broker.
    Client,
    /// A coordinator of this broker, which writes transaction markers too.
    Coordinator,
    /// The partition's leader has validated it: only damage is looked for.
    Replica,
}

/// The topic's rules for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidateOptions {
    pub origin: Origin,
    pub now: TimestampMs,
    /// `max.message.bytes`
    pub batch_bytes_max: usize,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// A compacted topic cannot hold records without a key.
    pub keys_required: bool,
    pub decompress: DecompressLimit,
}

/// What validation learned of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validated {
    /// The largest timestamp of the records, whatever the header says.
    pub max_timestamp: TimestampMs,
}

/// Why a batch is refused, in the terms of a produce response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidBatch {
    pub error: ErrorCode,
    pub message: String,
    /// The records at fault, if single ones are; at most [`RECORD_ERRORS_MAX`].
    pub record_errors: Vec<RecordError>,
}

/// A record that made a batch invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// The record's place in its batch, from 0.
    pub batch_index: i32,
    pub message: String,
}

impl InvalidBatch {
    /// A refusal of the batch as a whole.
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into(), record_errors: Vec::new() }
    }
}

impl From<BatchError> for InvalidBatch {
    fn from(error: BatchError) -> Self {
        Self::new(error.error_code(), error.to_string())
    }
}

/// The one batch that a partition of a produce request must hold (KIP-98; zstd needs Produce v7, KIP-110).
pub fn single_batch(records: Bytes, allow_zstd: bool) -> Result<Batch, InvalidBatch> {
    let invalid = |message| Err(InvalidBatch::new(ErrorCode::InvalidRecord, message));
    let mut found = batches(records);
    let batch = match found.next() {
        Some(Ok(batch)) => batch,
        Some(Err(BatchError::UnsupportedMagic(0 | 1))) => {
            return invalid("produce requests may only contain record batches with magic version 2");
        }
        None | Some(Err(BatchError::Truncated { .. })) => {
            return invalid("produce requests must contain one record batch per partition");
        }
        Some(Err(error)) => return Err(error.into()),
    };
    if found.next().is_some() {
        return invalid("produce requests may only contain one record batch per partition");
    }
    if !allow_zstd && batch.header().compression() == Compression::Zstd {
        let message = "produce requests before version 7 may not use zstd";
        return Err(InvalidBatch::new(ErrorCode::UnsupportedCompressionType, message));
    }
    Ok(batch)
}

/// Checks a batch: size, CRC, header and, unless the leader has done so, every record. Compressed content is walked
/// as a stream.
pub fn validate(batch: &Batch, options: &ValidateOptions) -> Result<Validated, InvalidBatch> {
    let header = batch.header();
    if options.origin == Origin::Replica {
        batch.check_crc()?;
        return Ok(Validated { max_timestamp: header.max_timestamp });
    }
    check_frame(batch, options)?;
    batch.check_crc()?;
    check_header(batch, options)?;

    let rules = Rules::of(batch, options);
    let mut faults = Faults::default();
    let mut max_timestamp = -1;
    walk(header, &batch.compressed_section(), options.decompress, |record| {
        let timestamp = match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.wrapping_add(record.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        max_timestamp = max_timestamp.max(timestamp);
        if !rules.allow(&record, timestamp) {
            check_record(batch, options, &record, timestamp, &mut faults);
        }
    })?;
    faults.into_result()?;
    Ok(Validated { max_timestamp })
}

fn check_frame(batch: &Batch, options: &ValidateOptions) -> Result<(), InvalidBatch> {
    let header = batch.header();
    if options.origin == Origin::Client && header.base_offset.0 != 0 {
        return Err(InvalidBatch::new(
            ErrorCode::InvalidRecord,
            format!("the base offset of a produced batch should be 0, not {}", header.base_offset),
        ));
    }
    if header.batch_bytes > options.batch_bytes_max {
        return Err(InvalidBatch::new(
            ErrorCode::MessageTooLarge,
            format!(
                "a record batch of {} bytes exceeds the topic's limit of {} (max.message.bytes)",
                header.batch_bytes, options.batch_bytes_max
            ),
        ));
    }
    Ok(())
}

fn check_header(batch: &Batch, options: &ValidateOptions) -> Result<(), InvalidBatch> {
    let header = batch.header();
    let invalid = |message: String| Err(InvalidBatch::new(ErrorCode::InvalidRecord, message));
    if header.records_count == 0 {
        return invalid("a produced batch may not be empty".into());
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.records_count) {
        return invalid(format!(
            "a batch announces {} records and the last offset delta {}",
            header.records_count, header.last_offset_delta
        ));
    }
    if options.origin == Origin::Client && header.is_control() {
        return invalid("clients may not write control records".into());
    }
    if header.has_producer() {
        // Coordinators write without sequences: markers, and what a transaction commits of a group's offsets.
        if header.base_sequence < 0 && options.origin == Origin::Client {
            return invalid(format!(
                "a batch of producer {} has the sequence {}",
                header.producer_id, header.base_sequence
            ));
        }
        if header.producer_epoch.0 < 0 {
            return invalid(format!(
                "a batch of producer {} has the epoch {}",
                header.producer_id, header.producer_epoch
            ));
        }
    } else if header.is_transactional() {
        return invalid("a transactional batch needs a producer id".into());
    }
    Ok(())
}

/// What each record must obey, worked out once for all: the records of a batch are many, and nearly always right.
struct Rules {
    keys_required: bool,
    oldest: TimestampMs,
    newest: TimestampMs,
    /// The batch itself sets a time that only the broker may set.
    is_stamped: bool,
}

impl Rules {
    fn of(batch: &Batch, options: &ValidateOptions) -> Self {
        let (oldest, newest) = match options.timestamp_type {
            TimestampType::CreateTime => allowed_times(options),
            TimestampType::LogAppendTime => (TimestampMs::MIN, TimestampMs::MAX),
        };
        let header = batch.header();
        Self {
            keys_required: options.keys_required && !header.is_control(),
            oldest,
            newest,
            is_stamped: header.timestamp_type() == TimestampType::LogAppendTime,
        }
    }

    /// Whether nothing is wrong with a record. If something may be, [`check_record`] says what.
    #[inline]
    fn allow(&self, record: &Shape, timestamp: TimestampMs) -> bool {
        let timely = (self.oldest..=self.newest).contains(&timestamp) || timestamp == -1;
        let keyed = record.has_key || !self.keys_required;
        record.offset_delta == record.index && keyed && timely && !self.is_stamped
    }
}

fn allowed_times(options: &ValidateOptions) -> (TimestampMs, TimestampMs) {
    let oldest = options.now.saturating_sub(options.timestamp_before_max_ms);
    (oldest, options.now.saturating_add(options.timestamp_after_max_ms))
}

#[cold]
fn check_record(
    batch: &Batch,
    options: &ValidateOptions,
    record: &Shape,
    timestamp: TimestampMs,
    faults: &mut Faults,
) {
    if record.offset_delta != record.index {
        faults.add(record, ErrorCode::InvalidRecord, || {
            format!("its offset delta is {} instead of {}", record.offset_delta, record.index)
        });
    }
    if options.keys_required && !record.has_key && !batch.header().is_control() {
        faults.add(record, ErrorCode::InvalidRecord, || {
            "a compacted topic cannot accept a record without a key".into()
        });
    }
    if options.timestamp_type == TimestampType::CreateTime && timestamp != -1 {
        let (oldest, newest) = allowed_times(options);
        if timestamp < oldest || timestamp > newest {
            faults.add(record, ErrorCode::InvalidTimestamp, || {
                format!("its timestamp {timestamp} is out of range: it should be within [{oldest}, {newest}]")
            });
        }
    } else if batch.header().timestamp_type() == TimestampType::LogAppendTime {
        faults.add(record, ErrorCode::InvalidTimestamp, || {
            "a producer may not set the timestamp type LogAppendTime".into()
        });
    }
}

#[derive(Default)]
struct Faults {
    named: Vec<RecordError>,
    found: usize,
    timestamp: bool,
}

impl Faults {
    fn add(&mut self, record: &Shape, error: ErrorCode, message: impl FnOnce() -> String) {
        self.found += 1;
        self.timestamp |= error == ErrorCode::InvalidTimestamp;
        if self.named.len() < RECORD_ERRORS_MAX {
            self.named.push(RecordError { batch_index: record.index, message: message() });
        }
    }

    fn into_result(self) -> Result<(), InvalidBatch> {
        let Some(first) = self.named.first() else { return Ok(()) };
        let (error, message) = if self.timestamp {
            (
                ErrorCode::InvalidTimestamp,
                "one or more records have been rejected due to invalid timestamp".to_string(),
            )
        } else {
            let RecordError { batch_index, message } = first;
            (
                ErrorCode::InvalidRecord,
                format!("{} record errors; the first, of record {batch_index}: {message}", self.found),
            )
        };
        Err(InvalidBatch { error, message, record_errors: self.named })
    }
}
