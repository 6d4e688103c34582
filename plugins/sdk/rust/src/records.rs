//! Batches of records: read in place, written in one go.
//!
//! ```text
//!   length | attributes | timestamp delta | offset delta | key length, key | value length, value | header count, headers
//!   varint | i8         | varint          | varint       | varint (-1: null)                     | varint
//! ```

use crate::{Error, varint};

/// One record; its parts are slices of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: i64,
    /// Milliseconds since 1970, UTC.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// A record's headers, decoded as they are iterated. Names may repeat; their order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl Headers<'_> {
    /// No headers.
    pub const NONE: Headers<'static> = Headers { count: 0, bytes: &[] };

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    /// Name and value.
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let name = take_slice(&mut self.bytes)??;
        let value = take_slice(&mut self.bytes)?;
        Some((std::str::from_utf8(name).ok()?, value))
    }
}

/// The records of a batch, one by one. The host hands over well-formed batches; one that is not ends in an error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    base_offset: i64,
    base_timestamp: i64,
    index: usize,
}

impl<'a> Records<'a> {
    pub fn new(section: &'a [u8], base_offset: i64, base_timestamp: i64) -> Self {
        Records { rest: section, base_offset, base_timestamp, index: 0 }
    }

    fn decode(&mut self) -> Option<Record<'a>> {
        let length = usize::try_from(varint::take(&mut self.rest)?).ok()?;
        let (mut body, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        body = body.get(1..)?;
        let timestamp = self.base_timestamp.wrapping_add(varint::take(&mut body)?);
        let offset = self.base_offset.wrapping_add(varint::take(&mut body)?);
        let key = take_slice(&mut body)?;
        let value = take_slice(&mut body)?;
        let count = u32::try_from(varint::take(&mut body)?).ok()?;
        Some(Record { offset, timestamp, key, value, headers: Headers { count, bytes: body } })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let index = self.index;
        self.index += 1;
        Some(self.decode().ok_or_else(|| {
            self.rest = &[];
            Error::stop("the record is malformed").at(index)
        }))
    }
}

/// Writes a batch. Offsets count up from zero, whatever the records' own are.
#[derive(Debug)]
pub struct RecordWriter {
    bytes: Vec<u8>,
    base_timestamp: i64,
    count: u32,
}

impl RecordWriter {
    pub fn new(base_timestamp: i64) -> Self {
        RecordWriter { bytes: Vec::new(), base_timestamp, count: 0 }
    }

    pub fn push(&mut self, record: &Record<'_>) {
        let timestamp_delta = record.timestamp.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.count);
        let length = 1
            + varint::bytes(timestamp_delta)
            + varint::bytes(offset_delta)
            + slice_bytes(record.key)
            + slice_bytes(record.value)
            + varint::bytes(record.headers.count.into())
            + record.headers.bytes.len();
        self.bytes.reserve(length + 5);
        varint::put(&mut self.bytes, length as i64);
        self.bytes.push(0);
        varint::put(&mut self.bytes, timestamp_delta);
        varint::put(&mut self.bytes, offset_delta);
        put_slice(&mut self.bytes, record.key);
        put_slice(&mut self.bytes, record.value);
        varint::put(&mut self.bytes, record.headers.count.into());
        self.bytes.extend_from_slice(record.headers.bytes);
        self.count += 1;
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// The batch as it crosses to the host.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Outer none: malformed; inner none: null.
fn take_slice<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (slice, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(slice))
}

fn slice_bytes(slice: Option<&[u8]>) -> usize {
    slice.map_or(1, |slice| varint::bytes(slice.len() as i64) + slice.len())
}

fn put_slice(into: &mut Vec<u8>, slice: Option<&[u8]>) {
    match slice {
        None => varint::put(into, -1),
        Some(slice) => {
            varint::put(into, slice.len() as i64);
            into.extend_from_slice(slice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key `k`, value `v`, header `h` = null, one after another: two records as Kafka writes them.
    const SECTION: &[u8] = b"\x16\0\x02\0\x02k\x02v\x02\x02h\x01\x0e\0\x04\x02\x01\x01\0\x00";

    #[test]
    fn records_are_read_in_place() {
        let mut records = Records::new(&SECTION[..12], 40, 1000);
        let record = records.next().unwrap().unwrap();
        assert_eq!((record.offset, record.timestamp), (40, 1001));
        assert_eq!((record.key, record.value), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!(record.headers.collect::<Vec<_>>(), [("h", None)]);
        assert!(records.next().is_none());
    }

    #[test]
    fn what_is_written_is_read() {
        let first = Records::new(&SECTION[..12], 0, 1000).next().unwrap().unwrap();
        let second = Record { offset: 7, timestamp: 900, key: None, value: None, headers: Headers::NONE };
        let mut writer = RecordWriter::new(1000);
        writer.push(&first);
        writer.push(&second);
        let bytes = writer.into_bytes();
        let read: Vec<_> = Records::new(&bytes, 0, 1000).map(Result::unwrap).collect();
        assert_eq!(read, [first, Record { offset: 1, ..second }]);
    }

    #[test]
    fn a_cut_batch_ends_in_an_error() {
        for cut in 1..12 {
            let outcome: Result<Vec<_>, _> = Records::new(&SECTION[..cut], 0, 0).collect();
            assert!(outcome.is_err(), "cut at {cut}");
        }
    }
}
