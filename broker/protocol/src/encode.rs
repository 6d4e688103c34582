//! Writing Kafka's primitive types onto a rope.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::decode::STRING_BYTES_MAX;
use crate::encoded::{Chunk, Encoded, Records};
use crate::{EncodeError, RawTaggedField, Str};

type Result<T> = std::result::Result<T, EncodeError>;

/// From this size on, a buffer joins the rope as it is; below, copying it costs less than one more chunk to send.
const SPLICE_BYTES_MIN: usize = 1024;

/// The longest array or byte field, whose length is a positive 32-bit integer.
const LENGTH_MAX: usize = i32::MAX as usize;

/// Collects a message: small values in a buffer of its own, large buffers and file ranges as they are.
#[derive(Debug, Default)]
pub struct Encoder {
    chunks: Vec<Chunk>,
    /// The bytes in `chunks`.
    spliced: usize,
    tail: BytesMut,
}

impl Encoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes written so far.
    pub fn len(&self) -> usize {
        self.spliced + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn finish(mut self) -> Encoded {
        self.flush();
        Encoded { chunks: self.chunks, bytes: self.spliced }
    }

    fn flush(&mut self) {
        if !self.tail.is_empty() {
            let chunk = self.tail.split().freeze();
            self.push(Chunk::Bytes(chunk));
        }
    }

    fn push(&mut self, chunk: Chunk) {
        self.spliced += chunk.len();
        self.chunks.push(chunk);
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &Bytes) {
        if bytes.len() < SPLICE_BYTES_MIN {
            self.tail.put_slice(bytes);
        } else {
            self.flush();
            self.push(Chunk::Bytes(bytes.clone()));
        }
    }

    /// Bytes as they are, copied.
    pub fn raw_slice(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    /// What another encoder holds.
    pub fn append(&mut self, other: Self) {
        if other.chunks.is_empty() {
            self.tail.put_slice(&other.tail);
            return;
        }
        self.flush();
        for chunk in other.finish().chunks {
            self.push(chunk);
        }
    }

    pub fn bool(&mut self, value: bool) {
        self.tail.put_u8(value.into());
    }

    pub fn i8(&mut self, value: i8) {
        self.tail.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.tail.put_i16(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.tail.put_u16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.tail.put_u32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.tail.put_i64(value);
    }

    pub fn f64(&mut self, value: f64) {
        self.tail.put_f64(value);
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.tail.put_slice(value.as_bytes());
    }

    /// An unsigned integer in 7-bit groups, the lowest first.
    pub fn uvarint(&mut self, value: u32) {
        self.groups(value.into());
    }

    /// A zigzag-coded 32-bit integer.
    pub fn varint(&mut self, value: i32) {
        self.groups(((value << 1) ^ (value >> 31)) as u32 as u64);
    }

    /// A zigzag-coded 64-bit integer.
    pub fn varlong(&mut self, value: i64) {
        self.groups(((value << 1) ^ (value >> 63)) as u64);
    }

    fn groups(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.tail.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    /// A length: compact (plus one, 0 for null) or of four bytes (-1 for null).
    fn length(&mut self, compact: bool, length: Option<usize>, field: &'static str) -> Result<()> {
        let count = length.unwrap_or(0);
        if count > LENGTH_MAX {
            return Err(EncodeError::TooLong { field, length: count, limit: LENGTH_MAX });
        }
        match (compact, length) {
            (true, Some(_)) => self.uvarint(count as u32 + 1),
            (true, None) => self.uvarint(0),
            (false, Some(_)) => self.i32(count as i32),
            (false, None) => self.i32(-1),
        }
        Ok(())
    }

    /// A string; `field` names it in an error.
    pub fn string(&mut self, compact: bool, value: &Str, field: &'static str) -> Result<()> {
        if value.len() > STRING_BYTES_MAX {
            return Err(EncodeError::TooLong { field, length: value.len(), limit: STRING_BYTES_MAX });
        }
        if compact {
            self.uvarint(value.len() as u32 + 1);
        } else {
            self.i16(value.len() as i16);
        }
        self.tail.put_slice(value.as_bytes());
        Ok(())
    }

    pub fn nullable_string(
        &mut self,
        compact: bool,
        may_be_null: bool,
        value: Option<&Str>,
        field: &'static str,
    ) -> Result<()> {
        match value {
            Some(value) => self.string(compact, value, field)?,
            None if !may_be_null => return Err(EncodeError::UnexpectedNull { field }),
            None if compact => self.uvarint(0),
            None => self.i16(-1),
        }
        Ok(())
    }

    pub fn bytes(&mut self, compact: bool, value: &Bytes, field: &'static str) -> Result<()> {
        self.length(compact, Some(value.len()), field)?;
        self.raw(value);
        Ok(())
    }

    pub fn nullable_bytes(
        &mut self,
        compact: bool,
        may_be_null: bool,
        value: Option<&Bytes>,
        field: &'static str,
    ) -> Result<()> {
        match value {
            Some(value) => self.bytes(compact, value, field),
            None => self.null(compact, may_be_null, field),
        }
    }

    pub fn nullable_records(
        &mut self,
        compact: bool,
        may_be_null: bool,
        value: Option<&Records>,
        field: &'static str,
    ) -> Result<()> {
        match value {
            Some(Records::Bytes(bytes)) => self.bytes(compact, bytes, field),
            Some(Records::FileRange(range)) => {
                self.length(compact, Some(range.bytes), field)?;
                self.flush();
                self.push(Chunk::File(range.clone()));
                Ok(())
            }
            None => self.null(compact, may_be_null, field),
        }
    }

    /// A struct or null, told apart by a byte before it.
    pub fn nullable<T>(
        &mut self,
        may_be_null: bool,
        value: Option<&T>,
        field: &'static str,
        write: impl FnOnce(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        match value {
            Some(value) => {
                self.i8(1);
                write(self, value)?;
            }
            None if !may_be_null => return Err(EncodeError::UnexpectedNull { field }),
            None => self.i8(-1),
        }
        Ok(())
    }

    /// The same as the value of a tagged field, where the byte is 0 for null.
    pub fn nullable_in_tag<T>(
        &mut self,
        may_be_null: bool,
        value: Option<&T>,
        field: &'static str,
        write: impl FnOnce(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        match value {
            Some(value) => {
                self.uvarint(1);
                write(self, value)?;
            }
            None if !may_be_null => return Err(EncodeError::UnexpectedNull { field }),
            None => self.uvarint(0),
        }
        Ok(())
    }

    pub fn array<T>(
        &mut self,
        compact: bool,
        elements: &[T],
        field: &'static str,
        mut write: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        self.length(compact, Some(elements.len()), field)?;
        for element in elements {
            write(self, element)?;
        }
        Ok(())
    }

    pub fn nullable_array<T>(
        &mut self,
        compact: bool,
        may_be_null: bool,
        elements: Option<&[T]>,
        field: &'static str,
        write: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        match elements {
            Some(elements) => self.array(compact, elements, field, write),
            None => self.null(compact, may_be_null, field),
        }
    }

    fn null(&mut self, compact: bool, may_be_null: bool, field: &'static str) -> Result<()> {
        if !may_be_null {
            return Err(EncodeError::UnexpectedNull { field });
        }
        self.length(compact, None, field)
    }

    /// The tagged fields at the end of a struct that knows none.
    pub fn unknown_tagged_fields(&mut self, flexible: bool, unknown: &[RawTaggedField]) -> Result<()> {
        TaggedFields::new().finish(self, flexible, unknown)
    }
}

/// The tagged fields at the end of a struct, collected so that their count and sizes can stand before them.
#[derive(Debug, Default)]
pub struct TaggedFields {
    fields: Vec<(u32, Encoder)>,
}

impl TaggedFields {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field; its value is written to what is returned.
    pub fn field(&mut self, tag: u32) -> &mut Encoder {
        self.fields.push((tag, Encoder::new()));
        let last = self.fields.len() - 1;
        &mut self.fields[last].1
    }

    /// Writes the fields in ascending order of their tags, unknown ones among them.
    pub fn finish(mut self, e: &mut Encoder, flexible: bool, unknown: &[RawTaggedField]) -> Result<()> {
        if !flexible {
            let none = self.fields.is_empty() && unknown.is_empty();
            return if none { Ok(()) } else { Err(EncodeError::TaggedFieldsInOldVersion) };
        }
        for raw in unknown {
            self.field(raw.tag).raw(&raw.data);
        }
        self.fields.sort_by_key(|(tag, _)| *tag);
        if let Some(pair) = self.fields.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(EncodeError::DuplicateTag(pair[0].0));
        }
        e.uvarint(self.fields.len() as u32);
        for (tag, value) in self.fields {
            e.uvarint(tag);
            e.uvarint(value.len() as u32);
            e.append(value);
        }
        Ok(())
    }
}
