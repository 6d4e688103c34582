use bytes::Bytes;
use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::patch::seal;
use super::{
    Attributes, BatchHeader, BuildError, Compression, HEADER_BYTES, Header, LOG_OVERHEAD_BYTES, MAGIC,
    Record, TimestampType, varint,
};

/// What all records of a batch share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuilderOptions {
    pub base_offset: Offset,
    pub compression: Compression,
    /// Under [`TimestampType::LogAppendTime`] the largest timestamp pushed becomes the time of all records.
    pub timestamp_type: TimestampType,
    pub leader_epoch: LeaderEpoch,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub transactional: bool,
    pub control: bool,
}

impl Default for BuilderOptions {
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            compression: Compression::None,
            timestamp_type: TimestampType::CreateTime,
            leader_epoch: LeaderEpoch::UNKNOWN,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            transactional: false,
            control: false,
        }
    }
}

/// Builds one batch, record by record.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BuilderOptions,
    section: Vec<u8>,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    last_offset: Option<i64>,
    records_count: i32,
}

impl BatchBuilder {
    pub fn new(options: BuilderOptions) -> Self {
        Self {
            options,
            section: Vec::new(),
            base_timestamp: None,
            max_timestamp: -1,
            last_offset: None,
            records_count: 0,
        }
    }

    /// Adds a record at its own offset, which must be above the last one's; gaps are fine.
    pub fn push(&mut self, record: &Record) -> Result<(), BuildError> {
        let Record { offset, timestamp, key, value, headers } = record;
        self.append(*offset, *timestamp, key.as_deref(), value.as_deref(), headers)
    }

    /// Adds a record at the next offset, and tells that.
    pub fn push_next(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<Offset, BuildError> {
        let offset = self.last_offset.map_or(self.options.base_offset.0, |last| last + 1);
        self.append(offset, timestamp, key, value, headers)?;
        Ok(Offset(offset))
    }

    /// Adds a record from its parts; the offset as in [`BatchBuilder::push`].
    pub fn append(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), BuildError> {
        let offset_delta = self.offset_delta(offset)?;
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let body =
            body_bytes(timestamp_delta, offset_delta, key, value, headers).ok_or(BuildError::TooLarge)?;
        let total = self.section.len() + varint::len_i32(body) + body as usize;
        if total > i32::MAX as usize - HEADER_BYTES {
            return Err(BuildError::TooLarge);
        }
        self.section.reserve(total - self.section.len());
        varint::put_i32(&mut self.section, body);
        self.section.push(0);
        varint::put_i64(&mut self.section, timestamp_delta);
        varint::put_i32(&mut self.section, offset_delta);
        put_nullable(&mut self.section, key);
        put_nullable(&mut self.section, value);
        varint::put_i32(&mut self.section, headers.len() as i32);
        for header in headers {
            put_nullable(&mut self.section, Some(header.key.as_bytes()));
            put_nullable(&mut self.section, header.value.as_deref());
        }
        self.base_timestamp = Some(base_timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset = Some(offset);
        self.records_count += 1;
        Ok(())
    }

    pub fn records_count(&self) -> i32 {
        self.records_count
    }

    pub fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// The batch's size before compression.
    pub fn bytes_len(&self) -> usize {
        HEADER_BYTES + self.section.len()
    }

    /// At most how much a record of this size adds to [`BatchBuilder::bytes_len`].
    pub fn size_of(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        body_bytes(i64::MIN, i32::MIN, key, value, headers)
            .map_or(usize::MAX, |body| varint::len_i32(body) + body as usize)
    }

    /// The batch, which ends with the last record pushed.
    pub fn build(self) -> Result<Bytes, BuildError> {
        let last = self.last_offset.ok_or(BuildError::Empty)?;
        self.finish(last)
    }

    /// The batch that ends at `last`, though its last records are gone. It may even be empty: compaction keeps an
    /// empty batch to remember a producer's last sequence.
    pub fn build_with_last_offset(self, last: Offset) -> Result<Bytes, BuildError> {
        if let Some(pushed) = self.last_offset.filter(|pushed| *pushed > last.0) {
            return Err(BuildError::OffsetNotRising { last: pushed, offset: last.0 });
        }
        self.finish(last.0)
    }

    fn finish(self, last: i64) -> Result<Bytes, BuildError> {
        let options = self.options;
        let last_offset_delta = i32::try_from(last - options.base_offset.0)
            .map_err(|_| BuildError::OffsetTooFar { base: options.base_offset, offset: last })?;
        let section = match options.compression {
            Compression::None => self.section,
            codec => codec.compress(&self.section)?.into(),
        };
        let batch_bytes = HEADER_BYTES + section.len();
        if batch_bytes - LOG_OVERHEAD_BYTES > i32::MAX as usize - LOG_OVERHEAD_BYTES {
            return Err(BuildError::TooLarge);
        }
        let header = BatchHeader {
            base_offset: options.base_offset,
            batch_bytes,
            leader_epoch: options.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::new(
                options.compression,
                options.timestamp_type,
                options.transactional,
                options.control,
            ),
            last_offset_delta,
            base_timestamp: self.base_timestamp.unwrap_or(-1),
            max_timestamp: self.max_timestamp,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            records_count: self.records_count,
        };
        let mut batch = Vec::with_capacity(batch_bytes);
        batch.extend_from_slice(&seal(header, &section));
        batch.extend_from_slice(&section);
        Ok(batch.into())
    }

    fn offset_delta(&self, offset: i64) -> Result<i32, BuildError> {
        let base = self.options.base_offset;
        let last = self.last_offset.unwrap_or(base.0 - 1);
        if offset <= last {
            return Err(BuildError::OffsetNotRising { last, offset });
        }
        i32::try_from(offset - base.0).map_err(|_| BuildError::OffsetTooFar { base, offset })
    }
}

/// The size of a record behind its length; `None` if that does not fit in 31 bits.
fn body_bytes(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> Option<i32> {
    let mut bytes = 1 + varint::len_i64(timestamp_delta) + varint::len_i32(offset_delta);
    bytes += nullable_bytes(key)? + nullable_bytes(value)?;
    bytes += varint::len_i32(i32::try_from(headers.len()).ok()?);
    for header in headers {
        bytes += nullable_bytes(Some(header.key.as_bytes()))? + nullable_bytes(header.value.as_deref())?;
    }
    i32::try_from(bytes).ok()
}

fn nullable_bytes(field: Option<&[u8]>) -> Option<usize> {
    match field {
        None => Some(varint::len_i32(-1)),
        Some(bytes) => Some(varint::len_i32(i32::try_from(bytes.len()).ok()?) + bytes.len()),
    }
}

fn put_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => varint::put_i32(out, -1),
        Some(bytes) => {
            varint::put_i32(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}
