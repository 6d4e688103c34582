//! Why a message could not be read or written.

/// The bytes are not the message that they claim to be. The peer is at fault: close the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the frame ends early: {needed} more bytes are announced, {remaining} are there")]
    Truncated { needed: usize, remaining: usize },
    #[error("a length of {0}")]
    NegativeLength(i64),
    #[error("an array of {count} elements cannot fit into {remaining} bytes")]
    ArrayTooLong { count: usize, remaining: usize },
    #[error("an array takes {bytes} bytes of memory, and a frame of this size is granted {left} more")]
    TooMuchMemory { bytes: usize, left: usize },
    #[error("a string of {0} bytes, over the limit of 32767")]
    StringTooLong(usize),
    #[error("a string is not UTF-8")]
    NotUtf8,
    #[error("a variable-length integer does not end in time")]
    VarintTooLong,
    #[error("null where a value must be")]
    UnexpectedNull,
    #[error("tag {tag} comes after tag {previous}: tags must ascend")]
    UnorderedTag { tag: u32, previous: u32 },
    #[error("tagged field {tag} leaves {left} of its bytes unread")]
    TaggedFieldSize { tag: u32, left: usize },
    #[error("{left} bytes follow the message")]
    TrailingBytes { left: usize },
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("unknown API key {0}")]
    UnknownApiKey(i16),
}

/// The message cannot be said in that version. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("{field} has a value that version {version} cannot carry")]
    NotInVersion { field: &'static str, version: i16 },
    #[error("{field} may not be null in this version")]
    UnexpectedNull { field: &'static str },
    #[error("{field} is {length} long, over the limit of {limit}")]
    TooLong { field: &'static str, length: usize, limit: usize },
    #[error("tagged fields in a version that has none")]
    TaggedFieldsInOldVersion,
    #[error("tag {0} is there twice")]
    DuplicateTag(u32),
}
