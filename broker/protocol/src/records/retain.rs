//! A batch without some of its records, as compaction leaves it.
//!
//! What stays keeps its bytes: records are told apart without being read, and copied as they stand. Only where the batch
//! gets a delete horizon (KIP-534), which takes the place of the base timestamp, are the timestamps' deltas written anew.

use bytes::Bytes;
use strata_types::{Offset, TimestampMs};

use super::patch::seal;
use super::{BatchError, BatchHeader, BuildError, Compression, HEADER_BYTES, TimestampType, varint};

/// A record as it stands in its batch.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    pub offset: Offset,
    pub key: Option<&'a [u8]>,
    /// False for a tombstone.
    pub has_value: bool,
    timestamp: TimestampMs,
    /// With its length in front.
    whole: &'a [u8],
    attributes: u8,
    /// Everything behind the timestamp's delta.
    rest: &'a [u8],
}

/// The records of an uncompressed section, without reading more of them than their keys.
pub fn raw_records<'a>(section: &'a [u8], header: &BatchHeader) -> RawRecords<'a> {
    let append_time = match header.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(header.max_timestamp),
    };
    RawRecords {
        section,
        index: 0,
        count: header.records_count,
        base_offset: header.base_offset,
        base_timestamp: header.base_timestamp,
        append_time,
    }
}

/// Iterator over a section's records. After an error it ends. Content behind the last record is an error too.
#[derive(Debug, Clone)]
pub struct RawRecords<'a> {
    section: &'a [u8],
    index: i32,
    count: i32,
    base_offset: Offset,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            if self.section.is_empty() {
                return None;
            }
            self.section = &[];
            return Some(Err(BatchError::Count { announced: self.count, found: "more" }));
        }
        let next = self.read();
        if next.is_err() {
            (self.section, self.count) = (&[], 0);
        }
        self.index += 1;
        Some(next)
    }
}

impl std::iter::FusedIterator for RawRecords<'_> {}

impl<'a> RawRecords<'a> {
    fn read(&mut self) -> Result<RawRecord<'a>, BatchError> {
        if self.section.is_empty() {
            return Err(BatchError::Count { announced: self.count, found: "fewer" });
        }
        let fault = |reason| BatchError::Record { index: self.index, reason };
        let start = self.section;
        let mut rest = start;
        let length = varint::take_i32(&mut rest).and_then(|length| usize::try_from(length).ok());
        let body = length.and_then(|length| rest.split_at_checked(length));
        let Some((body, behind)) = body else { return Err(fault("its length is more than there is")) };
        let whole = &start[..start.len() - behind.len()];
        let record = self.parse(whole, body).ok_or_else(|| fault("a field is cut"))?;
        self.section = behind;
        Ok(record)
    }

    fn parse(&self, whole: &'a [u8], body: &'a [u8]) -> Option<RawRecord<'a>> {
        let (&attributes, mut from) = body.split_first()?;
        let timestamp_delta = varint::take_i64(&mut from)?;
        let rest = from;
        let offset_delta = varint::take_i32(&mut from)?;
        let key = nullable(&mut from)?;
        let has_value = nullable(&mut from)?.is_some();
        Some(RawRecord {
            offset: Offset(self.base_offset.0.checked_add(offset_delta.into())?),
            key,
            has_value,
            timestamp: self.append_time.unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta)),
            whole,
            attributes,
            rest,
        })
    }
}

/// Puts the batch together again from the records that stay, each at its own offset.
#[derive(Debug)]
pub struct Retained {
    header: BatchHeader,
    /// The base timestamp is another, so that the deltas are too.
    rebased: bool,
    section: Vec<u8>,
    records_count: i32,
    max_timestamp: TimestampMs,
}

impl Retained {
    /// Begins with no record. `delete_horizon_ms` is given to a batch that has none yet.
    pub fn new(header: &BatchHeader, delete_horizon_ms: Option<TimestampMs>) -> Self {
        let mut header = *header;
        let horizon = delete_horizon_ms.filter(|_| !header.attributes.has_delete_horizon());
        if let Some(horizon) = horizon {
            header.attributes = header.attributes.with_delete_horizon(true);
            header.base_timestamp = horizon;
        }
        Self { header, rebased: horizon.is_some(), section: Vec::new(), records_count: 0, max_timestamp: -1 }
    }

    /// Keeps a record of the batch. Call it in the records' order.
    pub fn push(&mut self, record: &RawRecord<'_>) {
        self.records_count += 1;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        if !self.rebased {
            self.section.extend_from_slice(record.whole);
            return;
        }
        let delta = record.timestamp.wrapping_sub(self.header.base_timestamp);
        let body = 1 + varint::len_i64(delta) + record.rest.len();
        // A record that is close to 2 GiB does not get here: batches are bounded well below.
        varint::put_i32(&mut self.section, i32::try_from(body).unwrap_or(i32::MAX));
        self.section.push(record.attributes);
        varint::put_i64(&mut self.section, delta);
        self.section.extend_from_slice(record.rest);
    }

    pub fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// The batch, compressed as it was. Without any record it is a header that remembers offsets, producer and
    /// sequence.
    pub fn build(self) -> Result<Bytes, BuildError> {
        let mut header = BatchHeader { records_count: self.records_count, ..self.header };
        let section: Bytes = if self.records_count == 0 {
            let attributes = header.attributes.with_compression(Compression::None);
            header.attributes = attributes.with_delete_horizon(false);
            header.base_timestamp = -1;
            Bytes::new()
        } else {
            if header.timestamp_type() == TimestampType::CreateTime {
                header.max_timestamp = self.max_timestamp;
            }
            match header.compression() {
                Compression::None => self.section.into(),
                codec => codec.compress(&self.section)?,
            }
        };
        header.batch_bytes = HEADER_BYTES + section.len();
        if header.batch_bytes > i32::MAX as usize {
            return Err(BuildError::TooLarge);
        }
        Ok([seal(header, &section).as_slice(), &section].concat().into())
    }
}

/// A length, −1 for null, and that many bytes.
fn nullable<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take_i32(from)?;
    if length == -1 {
        return Some(None);
    }
    let (field, rest) = from.split_at_checked(usize::try_from(length).ok()?)?;
    *from = rest;
    Some(Some(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Batch, BatchBuilder, BuilderOptions, DecompressLimit, Header, Record};
    use strata_types::{ProducerEpoch, ProducerId};

    fn batch(options: BuilderOptions) -> Batch {
        let mut builder = BatchBuilder::new(options);
        for n in 0..6_i64 {
            let record = Record {
                offset: options.base_offset.0 + n,
                timestamp: 1_000 + n * 10,
                key: (n != 4).then(|| Bytes::from(format!("key {n}"))),
                value: (n % 2 == 0).then(|| Bytes::from(vec![n as u8; 200])),
                headers: vec![Header { key: "h".into(), value: None }; n as usize],
            };
            builder.push(&record).unwrap();
        }
        Batch::try_from_bytes(builder.build().unwrap()).unwrap()
    }

    fn options(compression: Compression, timestamp_type: TimestampType) -> BuilderOptions {
        BuilderOptions {
            base_offset: Offset(100),
            compression,
            timestamp_type,
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(1),
            base_sequence: 40,
            ..BuilderOptions::default()
        }
    }

    fn all(batch: &Batch) -> Vec<Record> {
        batch.records(DecompressLimit::default()).unwrap().map(Result::unwrap).collect()
    }

    fn keep(batch: &Batch, horizon: Option<i64>, stays: impl Fn(&RawRecord<'_>) -> bool) -> Batch {
        let section = batch.record_section(DecompressLimit::default()).unwrap();
        let mut retained = Retained::new(batch.header(), horizon);
        for record in raw_records(&section, batch.header()) {
            let record = record.unwrap();
            if stays(&record) {
                retained.push(&record);
            }
        }
        let kept = Batch::try_from_bytes(retained.build().unwrap()).unwrap();
        kept.check_crc().unwrap();
        kept
    }

    #[test]
    fn what_stays_is_what_it_was_whatever_the_codec_and_the_horizon() {
        for codec in [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Zstd] {
            for kind in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
                for horizon in [None, Some(5_000_000)] {
                    let batch = batch(options(codec, kind));
                    let kept = keep(&batch, horizon, |record| record.offset.0 % 3 != 0);
                    let expected: Vec<_> = all(&batch).into_iter().filter(|r| r.offset % 3 != 0).collect();
                    assert_eq!(all(&kept), expected);
                    let (was, is) = (batch.header(), kept.header());
                    assert_eq!(
                        (is.base_offset, is.last_offset_delta),
                        (was.base_offset, was.last_offset_delta)
                    );
                    assert_eq!((is.base_sequence, is.producer_id), (was.base_sequence, was.producer_id));
                    assert_eq!((is.compression(), is.timestamp_type()), (codec, kind));
                    assert_eq!(is.delete_horizon_ms(), horizon);
                    // The first horizon stands, whatever is asked for later.
                    let again = keep(&kept, Some(1), |_| true);
                    assert_eq!(again.header().delete_horizon_ms(), horizon.or(Some(1)));
                    assert_eq!(all(&again), expected);
                }
            }
        }
    }

    #[test]
    fn a_batch_without_records_remembers_its_producer_and_offsets() {
        let batch = batch(options(Compression::Zstd, TimestampType::CreateTime));
        let empty = keep(&batch, Some(9), |_| false);
        assert_eq!(all(&empty), []);
        let (was, is) = (batch.header(), empty.header());
        assert_eq!(is.batch_bytes, HEADER_BYTES);
        assert_eq!((is.last_offset(), is.last_sequence()), (was.last_offset(), was.last_sequence()));
        assert_eq!((is.max_timestamp, is.delete_horizon_ms()), (was.max_timestamp, None));
        assert_eq!(is.compression(), Compression::None);
    }

    #[test]
    fn keys_and_tombstones_are_told_apart() {
        let batch = batch(options(Compression::None, TimestampType::CreateTime));
        let section = batch.record_section(DecompressLimit::default()).unwrap();
        for (raw, record) in raw_records(&section, batch.header()).zip(all(&batch)) {
            let raw = raw.unwrap();
            assert_eq!((raw.offset.0, raw.key), (record.offset, record.key.as_deref()));
            assert_eq!(raw.has_value, record.value.is_some());
        }
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let batch = batch(options(Compression::None, TimestampType::CreateTime));
        let section = batch.record_section(DecompressLimit::default()).unwrap();
        for cut in 0..section.len() {
            assert!(raw_records(&section[..cut], batch.header()).any(|record| record.is_err()), "{cut}");
        }
    }
}
