//! `Str`: a UTF-8 string that shares the buffer it came in.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

use crate::DecodeError;

/// A string over [`Bytes`]: a clone costs a reference count, and a string from a frame is a slice of the frame.
///
/// As it keeps the whole frame alive, take a [`Str::detached`] copy of what outlives a request by long.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Str(Bytes); // UTF-8, checked by every constructor

impl Str {
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    pub fn from_utf8(bytes: Bytes) -> Result<Self, DecodeError> {
        match std::str::from_utf8(&bytes) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(DecodeError::NotUtf8),
        }
    }

    pub fn as_str(&self) -> &str {
        // SAFETY: each constructor starts from a `str` or checks, and `Bytes` does not change.
        #[allow(unsafe_code)]
        unsafe {
            std::str::from_utf8_unchecked(&self.0)
        }
    }

    /// The string's own bytes, sharing its buffer.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// A copy in a buffer of its own, which does not keep the frame alive.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<&String> for Str {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<Str> for String {
    fn from(text: Str) -> Self {
        text.as_str().to_owned()
    }
}

impl From<Str> for Bytes {
    fn from(text: Str) -> Self {
        text.0
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self
    }
}

// As `str` hashes, which `Borrow` asks for.
impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Str {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Str> for str {
    fn eq(&self, other: &Str) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Str> for &str {
    fn eq(&self, other: &Str) -> bool {
        *self == other.as_str()
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_map_is_searched_by_str() {
        let map = HashMap::from([(Str::from("grüße"), 1)]);
        assert_eq!(map.get("grüße"), Some(&1));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(Str::from_utf8(Bytes::from_static(b"\xff")), Err(DecodeError::NotUtf8));
    }

    #[test]
    fn a_slice_shares_its_frame_and_a_detached_copy_does_not() {
        let frame = Bytes::from("hello world".to_owned());
        let shared = Str::from_utf8(frame.slice(6..)).unwrap();
        assert_eq!(shared.as_ptr(), frame[6..].as_ptr());
        assert_ne!(shared.detached().as_ptr(), frame[6..].as_ptr());
        assert_eq!(shared.detached(), "world");
    }
}
