//! Bytes as people write them.

use bytes::Bytes;

/// Text where the bytes are UTF-8, else `0x…`; null is told apart from empty.
pub fn bytes(value: Option<&Bytes>) -> String {
    match value {
        None => "null".to_owned(),
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) => text.to_owned(),
            Err(_) => hex(value),
        },
    }
}

fn hex(value: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * value.len());
    text.push_str("0x");
    for byte in value {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empty_text_and_bytes_are_told_apart() {
        assert_eq!(bytes(None), "null");
        assert_eq!(bytes(Some(&Bytes::new())), "");
        assert_eq!(bytes(Some(&Bytes::from_static("é".as_bytes()))), "é");
        assert_eq!(bytes(Some(&Bytes::from_static(&[0xff, 0x00]))), "0xff00");
    }
}
