use strata_types::{ErrorCode, Offset};

use super::{Compression, MAGIC};

/// Why bytes are not a readable record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("a record batch of {expected} bytes is cut after {found}")]
    Truncated { expected: usize, found: usize },
    #[error("a record batch announces an impossible length of {0} bytes")]
    BadLength(i32),
    #[error("a record batch has magic {0}, only {MAGIC} is supported")]
    UnsupportedMagic(i8),
    #[error("a record batch has the CRC {stored:#010x} but its content's is {computed:#010x}")]
    BadCrc { stored: u32, computed: u32 },
    #[error("a record batch names compression {0}, which does not exist")]
    UnknownCompression(u8),
    #[error("a record batch has an impossible {field} of {value}")]
    BadField { field: &'static str, value: i64 },
    #[error("the records do not decompress as {codec}: {reason}")]
    Decompress { codec: Compression, reason: String },
    #[error("the records decompress to more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    #[error("record {index} of a batch is malformed: {reason}")]
    Record { index: i32, reason: &'static str },
    #[error("a record batch announces {announced} records but holds {found}")]
    Count { announced: i32, found: &'static str },
}

impl BatchError {
    /// What Kafka answers a producer that sent such a batch.
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Truncated { .. } | Self::BadLength(_) | Self::BadCrc { .. } => ErrorCode::CorruptMessage,
            // Formats 0 and 1 were known once; what Kafka answers is that they may not be used in a produce
            // request. Anything else in the place of the magic is damage.
            Self::UnsupportedMagic(0 | 1) => ErrorCode::UnsupportedForMessageFormat,
            Self::UnsupportedMagic(_) => ErrorCode::CorruptMessage,
            Self::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
            Self::Decompress { .. } => ErrorCode::CorruptMessage,
            Self::TooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::BadField { .. } | Self::Record { .. } | Self::Count { .. } => ErrorCode::InvalidRecord,
        }
    }
}

/// Why a batch cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("offset {offset} does not follow {last}")]
    OffsetNotRising { last: i64, offset: i64 },
    #[error("offset {offset} is too far from the batch's base offset {base}")]
    OffsetTooFar { base: Offset, offset: i64 },
    #[error("a record batch cannot hold more than 2 GiB")]
    TooLarge,
    #[error("a record batch needs at least one record")]
    Empty,
    #[error("the records do not compress as {codec}: {reason}")]
    Compress { codec: Compression, reason: String },
}
