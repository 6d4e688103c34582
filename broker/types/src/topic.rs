use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// The longest legal topic name; a longer one would not fit a partition's folder name.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// A partition's number within its topic, from 0.
pub type PartitionId = i32;

/// A topic's unique id (KIP-516). A topic that is deleted and created again has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub Uuid);

impl TopicId {
    /// What a client sends that names the topic instead.
    pub const ZERO: Self = Self(Uuid::nil());

    /// Whether this names no topic.
    pub const fn is_zero(self) -> bool {
        self.0.is_nil()
    }
}

/// URL-safe base64, as Kafka prints ids.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Kafka prints ids in URL-safe base64 without padding.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 128 bits are 21 digits of six bits and one of two, which stands in the high bits of its digit.
        let value = self.0.as_u128();
        for digit in 0..21 {
            let bits = (value >> (122 - 6 * digit)) & 0x3f;
            fmt::Write::write_char(f, ALPHABET[bits as usize] as char)?;
        }
        fmt::Write::write_char(f, ALPHABET[((value & 0x3) << 4) as usize] as char)
    }
}

/// The text is not a topic id as Kafka prints it: 22 digits of URL-safe base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a topic id is 22 digits of URL-safe base64")]
pub struct InvalidTopicId;

impl FromStr for TopicId {
    type Err = InvalidTopicId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        if digits.len() != 22 {
            return Err(InvalidTopicId);
        }
        let digit = |c: u8| ALPHABET.iter().position(|&a| a == c).map(|d| d as u128).ok_or(InvalidTopicId);
        let mut value = 0;
        for &c in &digits[..21] {
            value = value << 6 | digit(c)?;
        }
        let last = digit(digits[21])?;
        // The last digit has two bits to give; another spelling of the same id would not be the same name.
        if last & 0xf != 0 {
            return Err(InvalidTopicId);
        }
        Ok(Self(Uuid::from_u128(value << 2 | last >> 4)))
    }
}

/// A legal topic name: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a name cannot be a topic's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    #[error("a topic name may not be empty")]
    Empty,
    #[error("a topic may not be named '.' or '..'")]
    Dots,
    #[error("a topic name has at most {TOPIC_NAME_BYTES_MAX} characters")]
    TooLong,
    #[error("a topic name has only ASCII letters, digits, '.', '_' and '-'")]
    IllegalCharacter,
}

impl TopicName {
    /// The name, if it is a legal one.
    pub fn new(name: &str) -> Result<Self, InvalidTopicName> {
        match name {
            "" => Err(InvalidTopicName::Empty),
            "." | ".." => Err(InvalidTopicName::Dots),
            _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) => {
                Err(InvalidTopicName::IllegalCharacter)
            }
            _ if name.len() > TOPIC_NAME_BYTES_MAX => Err(InvalidTopicName::TooLong),
            _ => Ok(Self(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the broker keeps this topic for itself (`__consumer_offsets` and its like).
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("__")
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopicName;
    fn from_str(name: &str) -> Result<Self, InvalidTopicName> {
        Self::new(name)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One partition of a topic, by name: `orders-3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: PartitionId,
}

impl TopicPartition {
    pub fn new(topic: TopicName, partition: PartitionId) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_data_folder_are_refused() {
        for (name, why) in [
            ("", InvalidTopicName::Empty),
            (".", InvalidTopicName::Dots),
            ("..", InvalidTopicName::Dots),
            ("../x", InvalidTopicName::IllegalCharacter),
            ("a\nb", InvalidTopicName::IllegalCharacter),
            ("é", InvalidTopicName::IllegalCharacter),
        ] {
            assert_eq!(TopicName::new(name), Err(why), "{name:?}");
        }
        assert_eq!(TopicName::new(&"x".repeat(250)), Err(InvalidTopicName::TooLong));
        assert!(TopicName::new(&"x".repeat(249)).is_ok());
    }

    #[test]
    fn a_topic_id_prints_as_kafka_prints_it() {
        // Kafka's own `METADATA_TOPIC_ID`, `Uuid(0, 1)`.
        assert_eq!(TopicId(Uuid::from_u128(1)).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let id = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        assert_eq!(TopicId(id).to_string(), "AQIDBAUGBwgJCgsMDQ4PEA");
    }

    #[test]
    fn a_topic_id_is_read_back_from_its_text_only() {
        for id in [0, 1, u128::MAX, 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10] {
            let id = TopicId(Uuid::from_u128(id));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAR", "AAAAAAAAAA+AAAAAAAAAAQ"] {
            assert_eq!(text.parse::<TopicId>(), Err(InvalidTopicId), "{text:?}");
        }
    }
}
