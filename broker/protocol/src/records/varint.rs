//! Kafka's variable-length integers: zig-zag, seven bits a byte, low bits first.

use std::io::{self, BufRead};

const VARINT_BYTES_MAX: u32 = 5;
const VARLONG_BYTES_MAX: u32 = 10;

/// Appends a 32-bit number.
pub(super) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_u64(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

/// Appends a 64-bit number.
pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// How many bytes [`put_i32`] writes.
pub(super) fn len_i32(value: i32) -> usize {
    len_u64(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

/// How many bytes [`put_i64`] writes.
pub(super) fn len_i64(value: i64) -> usize {
    len_u64(((value << 1) ^ (value >> 63)) as u64)
}

/// Takes a 32-bit number from the front of a slice.
#[inline]
pub(super) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let raw = take_u64(bytes, VARINT_BYTES_MAX)? as u32;
    Some(((raw >> 1) as i32) ^ -((raw & 1) as i32))
}

/// Takes a 64-bit number from the front of a slice.
#[inline]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let raw = take_u64(bytes, VARLONG_BYTES_MAX)?;
    Some(((raw >> 1) as i64) ^ -((raw & 1) as i64))
}

/// Reads a 32-bit number from a stream; `None` if it is too long. Also says how many bytes it took.
pub(super) fn read_i32(from: &mut impl BufRead) -> io::Result<Option<(i32, usize)>> {
    Ok(read_u64(from, VARINT_BYTES_MAX)?.map(|(raw, bytes)| {
        let raw = raw as u32;
        (((raw >> 1) as i32) ^ -((raw & 1) as i32), bytes)
    }))
}

/// Reads a 64-bit number from a stream; `None` if it is too long. Also says how many bytes it took.
pub(super) fn read_i64(from: &mut impl BufRead) -> io::Result<Option<(i64, usize)>> {
    Ok(read_u64(from, VARLONG_BYTES_MAX)?
        .map(|(raw, bytes)| (((raw >> 1) as i64) ^ -((raw & 1) as i64), bytes)))
}

fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const fn len_u64(value: u64) -> usize {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[inline]
fn take_u64(bytes: &mut &[u8], bytes_max: u32) -> Option<u64> {
    // Most numbers of a record are lengths and deltas of one byte or two.
    match **bytes {
        [byte @ ..0x80, ref rest @ ..] => {
            *bytes = rest;
            Some(byte.into())
        }
        [low, high @ ..0x80, ref rest @ ..] => {
            *bytes = rest;
            Some(u64::from(low & 0x7f) | u64::from(high) << 7)
        }
        _ => take_long_u64(bytes, bytes_max),
    }
}

#[cold]
fn take_long_u64(bytes: &mut &[u8], bytes_max: u32) -> Option<u64> {
    let mut value = 0;
    for place in 0..bytes_max {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn read_u64(from: &mut impl BufRead, bytes_max: u32) -> io::Result<Option<(u64, usize)>> {
    let mut value = 0;
    for place in 0..bytes_max {
        let Some(&byte) = from.fill_buf()?.first() else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        from.consume(1);
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(Some((value, place as usize + 1)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn numbers_come_back(long: i64, short: i32) {
            let mut bytes = Vec::new();
            put_i64(&mut bytes, long);
            prop_assert_eq!(bytes.len(), len_i64(long));
            put_i32(&mut bytes, short);
            prop_assert_eq!(bytes.len(), len_i64(long) + len_i32(short));
            let mut slice = bytes.as_slice();
            prop_assert_eq!(take_i64(&mut slice), Some(long));
            prop_assert_eq!(take_i32(&mut slice), Some(short));
            prop_assert!(slice.is_empty());
            let mut stream = bytes.as_slice();
            prop_assert_eq!(read_i64(&mut stream).unwrap().unwrap().0, long);
            prop_assert_eq!(read_i32(&mut stream).unwrap().unwrap().0, short);
        }
    }

    #[test]
    fn an_endless_number_is_refused() {
        assert_eq!(take_i64(&mut [0xff; 11].as_slice()), None);
        assert_eq!(take_i32(&mut [0x80; 6].as_slice()), None);
        assert_eq!(read_i32(&mut [0x80; 6].as_slice()).unwrap(), None);
    }
}
