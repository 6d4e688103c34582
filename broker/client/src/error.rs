//! Why something that was asked of a cluster did not happen.

use strata_protocol::{ApiKey, DecodeError, EncodeError};
use strata_types::{ErrorCode, NodeId, TopicName, TopicPartition};

/// Cheap to clone, as one lost connection fails every request that was on it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The cluster's own answer.
    #[error("{code}{}", .message.as_deref().map(|m| format!(": {m}")).unwrap_or_default())]
    Broker { code: ErrorCode, message: Option<String> },
    #[error("cannot connect to {address}: {reason}")]
    Connect { address: String, reason: String },
    /// Whether the requests on the connection were carried out is not known.
    #[error("the connection to {address} was lost: {reason}")]
    Disconnected { address: String, reason: String },
    #[error("{what} did not end within {ms} ms{}", .last.as_deref().map(|e| format!("; the last try: {e}")).unwrap_or_default())]
    Timeout { what: &'static str, ms: u64, last: Option<Box<ClientError>> },
    #[error("{address} has no version of {key} that we speak")]
    UnsupportedVersion { address: String, key: ApiKey },
    #[error("the cluster has no broker {0}")]
    UnknownNode(NodeId),
    #[error("topic {0} does not exist")]
    UnknownTopic(TopicName),
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: TopicName, partition: i32 },
    #[error("an answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("a request cannot be written: {0}")]
    Encode(#[from] EncodeError),
    #[error("an answer lacks {0}")]
    Incomplete(&'static str),
    #[error("a record cannot be sent: {0}")]
    InvalidRecord(String),
    #[error("a batch of {partition} cannot be read: {reason}")]
    CorruptBatch { partition: TopicPartition, reason: String },
    #[error("{partition} has no committed offset, or one out of range, and auto_offset_reset is none")]
    NoOffset { partition: TopicPartition },
    #[error("invalid option: {0}")]
    Options(String),
    #[error("closed")]
    Closed,
}

impl ClientError {
    /// The error for a code in an answer.
    pub fn broker(code: i16, message: Option<&str>) -> Self {
        let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
        Self::Broker { code, message: message.filter(|m| !m.is_empty()).map(str::to_owned) }
    }

    /// `Ok` for code 0.
    pub fn check(code: i16) -> Result<()> {
        Self::check_with(code, None)
    }

    /// `Ok` for code 0; otherwise the error, with the broker's own words.
    pub fn check_with(code: i16, message: Option<&str>) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(Self::broker(code, message)) }
    }

    /// The cluster's error code, if this is its answer.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether it is this answer of the cluster.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code() == Some(code)
    }

    /// Whether the same request may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Broker { code, .. } => code.is_retriable(),
            Self::Timeout { last, .. } => last.is_none(),
            Self::UnknownNode(_) => true,
            _ => self.is_connection_fault(),
        }
    }

    /// Whether the way to the broker is at fault, and not the broker's answer.
    pub fn is_connection_fault(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Disconnected { .. } | Self::Timeout { last: None, .. })
    }
}

/// What everything here returns.
pub type Result<T> = std::result::Result<T, ClientError>;
