use bytes::Bytes;

use super::{BatchError, BatchHeader, TimestampType, varint};
use crate::Str;

/// One record, with its absolute offset and timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    pub offset: i64,
    /// Milliseconds since the epoch; −1 is "none".
    pub timestamp: i64,
    pub key: Option<Bytes>,
    /// `None` is a tombstone, which is not the same as an empty value.
    pub value: Option<Bytes>,
    /// In the producer's order; names may repeat.
    pub headers: Vec<Header>,
}

/// A record's header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// What is not UTF-8 in it is replaced, as the Java client does.
    pub key: Str,
    pub value: Option<Bytes>,
}

/// The records of a section that is not (or no longer) compressed.
pub fn records_of(section: Bytes, header: &BatchHeader) -> RecordIter {
    let append_time = match header.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some(header.max_timestamp),
    };
    RecordIter {
        section,
        index: 0,
        count: header.records_count,
        base_offset: header.base_offset.0,
        base_timestamp: header.base_timestamp,
        append_time,
    }
}

/// Iterator over a batch's records. After an error it ends. Content behind the last record is an error too.
#[derive(Debug, Clone)]
pub struct RecordIter {
    section: Bytes,
    index: i32,
    count: i32,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            if self.section.is_empty() {
                return None;
            }
            self.section = Bytes::new();
            return Some(Err(BatchError::Count { announced: self.count, found: "more" }));
        }
        let next = self.read();
        if next.is_err() {
            self.section = Bytes::new();
            self.count = 0;
        }
        self.index += 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A lower bound from the wire must not steer an allocation; the smallest record has seven bytes.
        let most = usize::try_from(self.count - self.index).unwrap_or(0).min(self.section.len() / 7);
        (0, Some(most + 1))
    }
}

impl std::iter::FusedIterator for RecordIter {}

impl RecordIter {
    fn read(&mut self) -> Result<Record, BatchError> {
        if self.section.is_empty() {
            return Err(BatchError::Count { announced: self.count, found: "fewer" });
        }
        let mut rest = self.section.as_ref();
        let length = varint::take_i32(&mut rest).and_then(|length| usize::try_from(length).ok());
        let Some(length) = length.filter(|length| *length <= rest.len()) else {
            return Err(self.fault("its length is more than there is"));
        };
        let start = self.section.len() - rest.len();
        let body = self.section.slice(start..start + length);
        let mut cursor = Cursor { body: &body, rest: &body };
        let record = cursor.record(self).ok_or_else(|| self.fault("a field is cut"))?;
        if !cursor.rest.is_empty() {
            return Err(self.fault("its fields are shorter than its length"));
        }
        self.section = self.section.slice(start + length..);
        Ok(record)
    }

    fn fault(&self, reason: &'static str) -> BatchError {
        BatchError::Record { index: self.index, reason }
    }
}

/// The unread part of one record's body.
struct Cursor<'a> {
    body: &'a Bytes,
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn record(&mut self, batch: &RecordIter) -> Option<Record> {
        let (_attributes, rest) = self.rest.split_first()?;
        self.rest = rest;
        let timestamp_delta = varint::take_i64(&mut self.rest)?;
        let offset_delta = varint::take_i32(&mut self.rest)?;
        let key = self.nullable()?;
        let value = self.nullable()?;
        let headers = varint::take_i32(&mut self.rest)?;
        // Each header has at least two bytes, so the list is bounded by what is there.
        let headers = usize::try_from(headers).ok().filter(|count| *count <= self.rest.len() / 2)?;
        let headers = (0..headers).map(|_| self.header()).collect::<Option<_>>()?;
        Some(Record {
            offset: batch.base_offset.checked_add(offset_delta.into())?,
            timestamp: batch.append_time.unwrap_or(batch.base_timestamp.wrapping_add(timestamp_delta)),
            key,
            value,
            headers,
        })
    }

    fn header(&mut self) -> Option<Header> {
        let key = self.nullable()??;
        let key = Str::from_utf8(key.clone())
            .unwrap_or_else(|_| Str::from(String::from_utf8_lossy(&key).into_owned()));
        Some(Header { key, value: self.nullable()? })
    }

    /// A length, −1 for null, and that many bytes.
    fn nullable(&mut self) -> Option<Option<Bytes>> {
        let length = varint::take_i32(&mut self.rest)?;
        if length == -1 {
            return Some(None);
        }
        let (field, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(Some(self.body.slice_ref(field)))
    }
}
