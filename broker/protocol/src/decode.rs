//! Reading Kafka's primitive types out of a shared buffer.

use bytes::{Buf, Bytes};
use uuid::Uuid;

use crate::{DecodeError, RawTaggedField, Records, Str};

type Result<T> = std::result::Result<T, DecodeError>;

/// The longest string Kafka allows, in bytes: old strings have a 16-bit length, compact ones keep the limit.
pub(crate) const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// The most memory that decoding may take for arrays, for each byte of the frame. Honest messages stay below 8; an
/// array of elements that are all empty would reach 40 and more, and is refused.
const MEMORY_BYTES_PER_BYTE_MAX: usize = 16;

/// What decoding may take in any case, so that small frames need no care.
const MEMORY_BYTES_FREE: usize = 64 * 1024;

/// Reads a frame from front to back. Strings and byte fields are slices of it: nothing is copied. The memory that a
/// frame can make us take for arrays is bounded by its own size.
#[derive(Clone, Debug)]
pub struct Decoder {
    rest: Bytes,
    /// How many bytes may still be allocated.
    memory_bytes_left: usize,
}

impl Decoder {
    pub fn new(bytes: Bytes) -> Self {
        let memory_bytes_left = bytes.len().saturating_mul(MEMORY_BYTES_PER_BYTE_MAX) + MEMORY_BYTES_FREE;
        Self { rest: bytes, memory_bytes_left }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// What is left, without reading it.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }

    /// Checks that everything has been read.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes { left: self.rest.len() }) }
    }

    /// The next `count` bytes, as a slice of the frame.
    pub fn take(&mut self, count: usize) -> Result<Bytes> {
        self.need(count)?;
        Ok(self.rest.split_to(count))
    }

    fn need(&self, count: usize) -> Result<()> {
        let remaining = self.rest.len();
        if count > remaining { Err(DecodeError::Truncated { needed: count, remaining }) } else { Ok(()) }
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        let left = self.memory_bytes_left;
        self.memory_bytes_left = left.checked_sub(bytes).ok_or(DecodeError::TooMuchMemory { bytes, left })?;
        Ok(())
    }

    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.i8()? != 0)
    }

    pub fn i8(&mut self) -> Result<i8> {
        self.need(1)?;
        Ok(self.rest.get_i8())
    }

    pub fn i16(&mut self) -> Result<i16> {
        self.need(2)?;
        Ok(self.rest.get_i16())
    }

    pub fn u16(&mut self) -> Result<u16> {
        self.need(2)?;
        Ok(self.rest.get_u16())
    }

    pub fn i32(&mut self) -> Result<i32> {
        self.need(4)?;
        Ok(self.rest.get_i32())
    }

    pub fn u32(&mut self) -> Result<u32> {
        self.need(4)?;
        Ok(self.rest.get_u32())
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.need(8)?;
        Ok(self.rest.get_i64())
    }

    pub fn f64(&mut self) -> Result<f64> {
        self.need(8)?;
        Ok(self.rest.get_f64())
    }

    pub fn uuid(&mut self) -> Result<Uuid> {
        self.need(16)?;
        Ok(Uuid::from_u128(self.rest.get_u128()))
    }

    /// An unsigned 32-bit integer in 7-bit groups, the lowest first; at most 5 bytes.
    pub fn uvarint(&mut self) -> Result<u32> {
        u32::try_from(self.groups(5)?).map_err(|_| DecodeError::VarintTooLong)
    }

    /// A zigzag-coded 32-bit integer; at most 5 bytes.
    pub fn varint(&mut self) -> Result<i32> {
        let value = self.uvarint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// A zigzag-coded 64-bit integer; at most 10 bytes.
    pub fn varlong(&mut self) -> Result<i64> {
        let value = self.groups(10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn groups(&mut self, bytes_max: usize) -> Result<u64> {
        let mut value = 0u64;
        for index in 0..bytes_max {
            self.need(1)?;
            let byte = self.rest.get_u8();
            let group = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if index == 9 && group > 1 {
                return Err(DecodeError::VarintTooLong);
            }
            value |= group << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A length: compact (plus one, 0 for null) or of four bytes (-1 for null).
    fn length(&mut self, compact: bool) -> Result<Option<usize>> {
        if compact {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        signed_length(self.i32()?.into())
    }

    pub fn string(&mut self, compact: bool) -> Result<Str> {
        self.nullable_string(compact, false)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// A string or null; null is an error unless it `may_be_null` in the message's version.
    pub fn nullable_string(&mut self, compact: bool, may_be_null: bool) -> Result<Option<Str>> {
        let length = if compact { self.length(true)? } else { signed_length(self.i16()?.into())? };
        let Some(length) = length else { return null(may_be_null) };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::StringTooLong(length));
        }
        Ok(Some(Str::from_utf8(self.take(length)?)?))
    }

    pub fn bytes(&mut self, compact: bool) -> Result<Bytes> {
        self.nullable_bytes(compact, false)?.ok_or(DecodeError::UnexpectedNull)
    }

    pub fn nullable_bytes(&mut self, compact: bool, may_be_null: bool) -> Result<Option<Bytes>> {
        match self.length(compact)? {
            Some(length) => Ok(Some(self.take(length)?)),
            None => null(may_be_null),
        }
    }

    pub fn nullable_records(&mut self, compact: bool, may_be_null: bool) -> Result<Option<Records>> {
        Ok(self.nullable_bytes(compact, may_be_null)?.map(Records::Bytes))
    }

    /// A struct or null, told apart by a byte before it.
    pub fn nullable<T>(
        &mut self,
        may_be_null: bool,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.i8()? < 0 { null(may_be_null) } else { Ok(Some(read(self)?)) }
    }

    /// The same as the value of a tagged field, where the byte is 0 for null.
    pub fn nullable_in_tag<T>(
        &mut self,
        may_be_null: bool,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.uvarint()? == 0 { null(may_be_null) } else { Ok(Some(read(self)?)) }
    }

    /// An array whose elements take at least `element_bytes_min` bytes each.
    pub fn array<T>(
        &mut self,
        compact: bool,
        element_bytes_min: usize,
        read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_array(false, compact, element_bytes_min, read)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// An array or null. Before anything is allocated, the frame must be long enough to hold that many elements.
    pub fn nullable_array<T>(
        &mut self,
        may_be_null: bool,
        compact: bool,
        element_bytes_min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.length(compact)? else { return null(may_be_null) };
        let remaining = self.rest.len();
        if count > remaining / element_bytes_min.max(1) {
            return Err(DecodeError::ArrayTooLong { count, remaining });
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(Some(elements))
    }

    /// The tagged fields at the end of a struct that knows none.
    pub fn unknown_tagged_fields(&mut self) -> Result<Vec<RawTaggedField>> {
        self.tagged_fields(|_, _| Ok(false))
    }

    /// The tagged fields at the end of a struct. `known` reads the field if it knows the tag; the others are returned.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool>,
    ) -> Result<Vec<RawTaggedField>> {
        let mut unknown = Vec::new();
        let mut previous = None;
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            if let Some(previous) = previous
                && tag <= previous
            {
                return Err(DecodeError::UnorderedTag { tag, previous });
            }
            previous = Some(tag);
            let bytes = self.uvarint()? as usize;
            let data = self.take(bytes)?;
            // The field is read by this decoder, so that it draws on the same memory.
            let after = std::mem::replace(&mut self.rest, data.clone());
            let is_known = known(tag, self)?;
            let left = std::mem::replace(&mut self.rest, after).len();
            if !is_known {
                self.charge(2 * size_of::<RawTaggedField>())?; // twice, as a growing vector may
                unknown.push(RawTaggedField { tag, data });
            } else if left > 0 {
                return Err(DecodeError::TaggedFieldSize { tag, left });
            }
        }
        Ok(unknown)
    }
}

fn signed_length(length: i64) -> Result<Option<usize>> {
    match length {
        -1 => Ok(None),
        _ => usize::try_from(length).map(Some).map_err(|_| DecodeError::NegativeLength(length)),
    }
}

fn null<T>(may_be_null: bool) -> Result<Option<T>> {
    if may_be_null { Ok(None) } else { Err(DecodeError::UnexpectedNull) }
}
