use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strata_protocol::records::{BatchError, InvalidBatch};
use strata_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId};

/// What the disk, or what is on it, refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: Arc<io::Error> },
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("{} is in use by another process", path.display())]
    Locked { path: PathBuf },
    #[error("{} belongs to topic {found}, not to {expected}", path.display())]
    TopicIdMismatch { path: PathBuf, found: TopicId, expected: TopicId },
    #[error("the log is offline since: {0}")]
    Offline(Arc<StorageError>),
    #[error("the log is closed")]
    Closed,
}

impl StorageError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }

    pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), reason: reason.into() }
    }

    /// Whether the disk itself has failed. A full one has not: what is on it is whole, and room may come.
    pub(crate) fn is_disk_failure(&self) -> bool {
        matches!(self, Self::Io { .. }) && !self.is_disk_full()
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }

    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::TopicIdMismatch { .. } => ErrorCode::InconsistentTopicId,
            _ => ErrorCode::KafkaStorageError,
        }
    }
}

/// Why batches were not appended. The log is as it was before.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The batch breaks a rule of the topic or of the format; the parts are those of a produce response.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("producer {producer_id} at epoch {epoch} sent the sequence {found} where {expected} is next")]
    OutOfOrderSequence { producer_id: ProducerId, epoch: ProducerEpoch, expected: i32, found: i32 },
    #[error("producer {producer_id} has the epoch {current}, which fences {found}")]
    InvalidProducerEpoch { producer_id: ProducerId, current: ProducerEpoch, found: ProducerEpoch },
    #[error("producer {producer_id} at epoch {epoch} has no transaction that this partition is part of")]
    NotInTransaction { producer_id: ProducerId, epoch: ProducerEpoch },
    #[error("a transaction marker of coordinator epoch {found} is older than {current}")]
    CoordinatorFenced { current: i32, found: i32 },
    #[error("a batch at offset {found} does not continue the log, which ends at {expected}")]
    OutOfOrderOffsets { expected: Offset, found: Offset },
    #[error("a batch of leader epoch {found} is older than the log's {current}")]
    FencedLeaderEpoch { current: LeaderEpoch, found: LeaderEpoch },
    #[error("{bytes} bytes of records are more than a segment of {segment_bytes} takes")]
    BatchTooLarge { bytes: usize, segment_bytes: usize },
    #[error("no records were given")]
    Empty,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// What Kafka answers.
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::Invalid(invalid) => invalid.error,
            Self::Batch(error) => error.error_code(),
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::NotInTransaction { .. } => ErrorCode::InvalidTxnState,
            Self::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            Self::OutOfOrderOffsets { .. } => ErrorCode::UnknownServerError,
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::BatchTooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::Empty => ErrorCode::InvalidRecord,
            Self::Storage(error) => error.error_code(),
        }
    }
}

/// Why nothing was read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("offset {asked} is outside of the log, which has {start} up to {end}")]
    OffsetOutOfRange { asked: Offset, start: Offset, end: Offset },
    /// The offset exists, but no longer here: ask the remote log.
    #[error("offset {asked} is below the local log, which starts at {local_start}")]
    BelowLocalStart { asked: Offset, log_start: Offset, local_start: Offset },
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ReadError {
    /// What Kafka answers.
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::BelowLocalStart { .. } => ErrorCode::OffsetMovedToTieredStorage,
            Self::Batch(error) => error.error_code(),
            Self::Storage(error) => error.error_code(),
        }
    }
}
