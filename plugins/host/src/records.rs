//! Sections: the uncompressed record part of a v2 batch, as plugins get and give it.
//!
//! ```text
//!   length | attributes | timestamp delta | offset delta | key length, key | value length, value | header count, headers
//!   varint | i8         | varint          | varint       | varint (-1: null)                     | varint
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// One record; its parts are slices of the section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    /// Milliseconds since 1970, UTC.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// UTF-8, checked.
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// Where a section stops being one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {index} is malformed: {what}")]
pub struct Malformed {
    pub index: usize,
    pub what: &'static str,
}

/// The records of a section. After an error nothing follows.
pub fn records(section: Bytes, base_offset: i64, base_timestamp: i64) -> Records {
    Records { rest: section, base_offset, base_timestamp, index: 0 }
}

/// How many records a section holds. Walks all of it without making records.
pub fn count(section: &[u8]) -> Result<u32, Malformed> {
    let mut rest = Cursor(section);
    let mut index = 0;
    while !rest.0.is_empty() {
        check(&mut rest).map_err(|what| Malformed { index, what })?;
        index += 1;
    }
    u32::try_from(index).map_err(|_| Malformed { index, what: "too many records" })
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct Records {
    rest: Bytes,
    base_offset: i64,
    base_timestamp: i64,
    index: usize,
}

impl Iterator for Records {
    type Item = Result<Record, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let index = self.index;
        self.index += 1;
        Some(self.decode().map_err(|what| {
            self.rest = Bytes::new();
            Malformed { index, what }
        }))
    }
}

impl Records {
    fn decode(&mut self) -> Result<Record, &'static str> {
        let section = self.rest.clone();
        let mut cursor = Cursor(&section);
        let fields = fields(&mut cursor)?;
        let slice = |part: &[u8]| section.slice_ref(part);
        let mut headers = Vec::with_capacity(fields.header_count.min(16));
        let mut rest = Cursor(fields.headers);
        for _ in 0..fields.header_count {
            let (key, value) = header(&mut rest)?;
            headers.push(Header { key: slice(key), value: value.map(slice) });
        }
        ended(rest)?;
        self.rest = slice(cursor.0);
        Ok(Record {
            offset: self.base_offset.wrapping_add(fields.offset_delta),
            timestamp: self.base_timestamp.wrapping_add(fields.timestamp_delta),
            key: fields.key.map(slice),
            value: fields.value.map(slice),
            headers,
        })
    }
}

/// Writes a section.
#[derive(Debug)]
pub struct SectionWriter {
    bytes: BytesMut,
    base_offset: i64,
    base_timestamp: i64,
    count: u32,
}

impl SectionWriter {
    pub fn new(base_offset: i64, base_timestamp: i64) -> Self {
        SectionWriter { bytes: BytesMut::new(), base_offset, base_timestamp, count: 0 }
    }

    pub fn push<'a>(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>), IntoIter: ExactSizeIterator>,
    ) {
        let mut body =
            BytesMut::with_capacity(32 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
        body.put_u8(0);
        put_varint(&mut body, timestamp.wrapping_sub(self.base_timestamp));
        put_varint(&mut body, offset.wrapping_sub(self.base_offset));
        put_slice(&mut body, key);
        put_slice(&mut body, value);
        let headers = headers.into_iter();
        put_varint(&mut body, headers.len() as i64);
        for (key, value) in headers {
            put_slice(&mut body, Some(key));
            put_slice(&mut body, value);
        }
        put_varint(&mut self.bytes, body.len() as i64);
        self.bytes.extend_from_slice(&body);
        self.count += 1;
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}

struct Fields<'a> {
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    header_count: usize,
    headers: &'a [u8],
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn varint(&mut self) -> Result<i64, &'static str> {
        let mut raw = 0u64;
        for (index, byte) in self.0.iter().take(10).enumerate() {
            raw |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err("a number does not end")
    }

    fn take(&mut self, bytes: i64) -> Result<&'a [u8], &'static str> {
        let bytes = usize::try_from(bytes).map_err(|_| "a length is negative")?;
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("a length is longer than what is there")?;
        self.0 = rest;
        Ok(taken)
    }

    fn slice(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        match self.varint()? {
            -1 => Ok(None),
            bytes => self.take(bytes).map(Some),
        }
    }
}

fn fields<'a>(cursor: &mut Cursor<'a>) -> Result<Fields<'a>, &'static str> {
    let length = cursor.varint()?;
    let mut body = Cursor(cursor.take(length)?);
    body.take(1)?;
    let timestamp_delta = body.varint()?;
    let offset_delta = body.varint()?;
    let key = body.slice()?;
    let value = body.slice()?;
    let header_count = usize::try_from(body.varint()?).map_err(|_| "a header count is negative")?;
    Ok(Fields { timestamp_delta, offset_delta, key, value, header_count, headers: body.0 })
}

fn header<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), &'static str> {
    let key = cursor.slice()?.ok_or("a header has no key")?;
    std::str::from_utf8(key).map_err(|_| "a header's key is not UTF-8")?;
    Ok((key, cursor.slice()?))
}

fn check(cursor: &mut Cursor<'_>) -> Result<(), &'static str> {
    let fields = fields(cursor)?;
    let mut rest = Cursor(fields.headers);
    for _ in 0..fields.header_count {
        header(&mut rest)?;
    }
    ended(rest)
}

fn ended(rest: Cursor<'_>) -> Result<(), &'static str> {
    if rest.0.is_empty() { Ok(()) } else { Err("it is longer than its fields") }
}

fn put_varint(into: &mut BytesMut, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        into.put_u8(raw as u8 | 0x80);
        raw >>= 7;
    }
    into.put_u8(raw as u8);
}

fn put_slice(into: &mut BytesMut, slice: Option<&[u8]>) {
    match slice {
        None => put_varint(into, -1),
        Some(slice) => {
            put_varint(into, slice.len() as i64);
            into.extend_from_slice(slice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_records() -> Bytes {
        let mut writer = SectionWriter::new(10, 1_000);
        writer.push(10, 1_001, Some(b"k"), Some(b"v"), [(&b"h"[..], None), (&b"h"[..], Some(&b"x"[..]))]);
        writer.push(12, 999, None, None, []);
        assert_eq!(writer.count(), 2);
        writer.finish()
    }

    #[test]
    fn what_is_written_is_read() {
        let read: Vec<_> = records(two_records(), 10, 1_000).map(Result::unwrap).collect();
        assert_eq!(
            (read[0].offset, read[0].timestamp, read[1].offset, read[1].timestamp),
            (10, 1_001, 12, 999)
        );
        assert_eq!((read[0].key.as_deref(), read[0].value.as_deref()), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!(read[0].headers.len(), 2);
        assert_eq!((&read[1].key, &read[1].value, read[1].headers.len()), (&None, &None, 0));
        assert_eq!(count(&two_records()), Ok(2));
    }

    #[test]
    fn a_cut_or_damaged_section_is_an_error_not_a_panic() {
        let section = two_records();
        for cut in 1..section.len() {
            let whole = records(section.slice(..cut), 0, 0).all(|record| record.is_ok());
            assert_eq!(count(&section[..cut]).is_ok(), whole, "cut at {cut}");
        }
        for place in 0..section.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = section.to_vec();
                damaged[place] = value;
                let whole = records(damaged.clone().into(), 0, 0).all(|record| record.is_ok());
                assert_eq!(count(&damaged).is_ok(), whole, "byte {place} is {value}");
            }
        }
    }
}
