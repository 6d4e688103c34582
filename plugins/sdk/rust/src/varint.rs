//! Zigzag varints, as Kafka's record batches have them.

/// Reads one number off the front of `bytes`. None: cut off, or longer than ten bytes.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

pub(crate) fn put(into: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        into.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    into.push(raw as u8);
}

/// How many bytes [`put`] writes.
pub(crate) fn bytes(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        for value in [0, 1, -1, 63, 64, -64, -65, 8191, 8192, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut buffer = Vec::new();
            put(&mut buffer, value);
            assert_eq!(buffer.len(), bytes(value), "{value}");
            let mut rest = buffer.as_slice();
            assert_eq!(take(&mut rest), Some(value));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_varint_that_does_not_end_is_none() {
        assert_eq!(take(&mut [0x80u8; 11].as_slice()), None);
        assert_eq!(take(&mut [].as_slice()), None);
    }
}
