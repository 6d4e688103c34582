//! The seam between the log and its archive. The archive implements [`RemoteLog`], the broker [`ArchiveHost`]; the
//! binary joins them, and neither knows more of the other.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use strata_types::{
    ErrorCode, LeaderEpoch, Offset, PartitionId, TimestampMs, TopicId, TopicName, TopicPartition,
};

use crate::{Log, LogConfig, TimestampAndOffset};

/// What an object-safe asynchronous method returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A partition of one incarnation of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemotePartition {
    pub topic_id: TopicId,
    pub partition: TopicPartition,
}

impl fmt::Display for RemotePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.partition, self.topic_id)
    }
}

/// Why the archive did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    #[error("the archive does not hold this offset")]
    NotFound,
    #[error("the archive cannot be reached: {0}")]
    Unavailable(String),
    #[error("the archive is damaged: {0}")]
    Corrupt(String),
    #[error("this broker no longer leads the partition, or is shutting down")]
    Cancelled,
}

impl RemoteError {
    /// What Kafka answers.
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::OffsetOutOfRange,
            Self::Unavailable(_) | Self::Corrupt(_) => ErrorCode::KafkaStorageError,
            Self::Cancelled => ErrorCode::NotLeaderOrFollower,
        }
    }
}

/// Batches from the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRead {
    /// Whole batches, rebuilt. The first one holds the offset that was asked for, or follows it where nothing was
    /// kept of it.
    pub batches: Bytes,
    /// Where to read on. Above the last batch's end where nothing was kept of what follows it.
    pub next_offset: Offset,
}

/// What of a partition is to be kept, local part and archive together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionLimits {
    /// `None`: without limit.
    pub retention_ms: Option<i64>,
    pub retention_bytes: Option<u64>,
    /// Everything below is to go in any case.
    pub log_start_offset: Offset,
    /// The part that is not archived yet: it counts towards the bytes.
    pub local_bytes: u64,
}

/// What the broker asks of the archive.
pub trait RemoteLog: Send + Sync {
    /// Batches from `from` on: at least one, even above `max_bytes`.
    fn fetch<'a>(
        &'a self,
        partition: &'a RemotePartition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<RemoteRead, RemoteError>>;

    /// The first archived record at `from` or above whose timestamp is `timestamp` or later.
    fn offset_for_timestamp<'a>(
        &'a self,
        partition: &'a RemotePartition,
        timestamp: TimestampMs,
        from: Offset,
    ) -> BoxFuture<'a, Result<Option<TimestampAndOffset>, RemoteError>>;

    /// The archived record with the largest timestamp.
    fn max_timestamp<'a>(
        &'a self,
        partition: &'a RemotePartition,
    ) -> BoxFuture<'a, Result<Option<TimestampAndOffset>, RemoteError>>;

    /// The first archived offset. From memory; `None` if nothing is archived.
    fn earliest_offset(&self, partition: &RemotePartition) -> Option<Offset>;

    /// Every committed record below is archived, and found there. From memory.
    fn archived_until(&self, partition: &RemotePartition) -> Option<Offset>;

    /// How much the archive holds of a partition. From memory.
    fn bytes(&self, partition: &RemotePartition) -> u64;

    /// Removes whole objects that are no longer kept. Answers the partition's new start, which the broker then sets
    /// with [`Log::advance_start_offset`].
    fn enforce_retention<'a>(
        &'a self,
        partition: &'a RemotePartition,
        limits: RetentionLimits,
        now: TimestampMs,
    ) -> BoxFuture<'a, Result<Offset, RemoteError>>;

    /// Records below `start` were deleted (DeleteRecords).
    fn start_offset_advanced<'a>(
        &'a self,
        partition: &'a RemotePartition,
        start: Offset,
    ) -> BoxFuture<'a, Result<(), RemoteError>>;

    /// The topic is gone; so must be its objects.
    fn topic_deleted<'a>(
        &'a self,
        topic_id: TopicId,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<(), RemoteError>>;
}

/// A partition that this broker leads and is to archive.
#[derive(Clone)]
pub struct ArchivePartition {
    pub id: RemotePartition,
    pub log: Arc<Log>,
    pub config: Arc<LogConfig>,
    pub leader_epoch: LeaderEpoch,
    /// Everything below is committed, decided (the last stable offset) and durable.
    pub committed_until: Offset,
}

/// A record of the tier index topic. No value is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRecord {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A part of the tier index topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRead {
    pub records: Vec<(Offset, IndexRecord)>,
    /// Where to read on.
    pub next_offset: Offset,
    /// Where the committed part ended when this was read: who has come this far has caught up.
    pub end_offset: Offset,
}

/// What the archive asks of the broker.
pub trait ArchiveHost: Send + Sync {
    /// The partitions led here that have `remote.storage.enable`.
    fn partitions(&self) -> Vec<ArchivePartition>;

    /// Whether this broker still leads the partition in this epoch: asked again before an upload is committed.
    fn leads(&self, partition: &RemotePartition, epoch: LeaderEpoch) -> bool;

    /// Resolves once a committed offset, or the set of partitions, has moved since the last call.
    fn changed(&self) -> BoxFuture<'_, ()>;

    /// How many partitions the tier index topic has.
    fn index_partitions(&self) -> PartitionId;

    /// Appends to the tier index topic. Resolves, with the first record's offset, when the records are committed.
    fn append_index<'a>(
        &'a self,
        index_partition: PartitionId,
        records: Vec<IndexRecord>,
    ) -> BoxFuture<'a, Result<Offset, RemoteError>>;

    /// Reads the tier index topic, committed records only.
    fn read_index<'a>(
        &'a self,
        index_partition: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<IndexRead, RemoteError>>;

    /// [`RemoteLog::archived_until`] moved: local retention may go on.
    fn archived(&self, partition: &RemotePartition, until: Offset);
}
