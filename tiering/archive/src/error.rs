use parquet::errors::ParquetError;
use strata_protocol::records::{BatchError, BuildError};
use strata_types::{Offset, PartitionId};

/// Why records could not be archived, or an archived file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A batch of the log is damaged. It must not reach the archive.
    #[error("the batch at offset {offset} is damaged: {source}")]
    Batch { offset: Offset, source: BatchError },
    /// The caller skipped back, or pushed before it named a partition.
    #[error("partition {partition}: the batch at offset {found} does not follow offset {expected}")]
    NotInOrder { partition: PartitionId, expected: Offset, found: Offset },
    /// [`crate::ArchiveWriter::start_partition`] comes first, and once a partition.
    #[error("no partition was started, or partition {0} was started twice")]
    WrongPartition(PartitionId),
    /// An archived file is not what was written. The object's name is the caller's to add.
    #[error("{why}")]
    Corrupt { why: String },
    /// The file is of a later format than this reader knows.
    #[error("the file has archive format {found}; this version reads up to {}", crate::FORMAT_VERSION)]
    UnknownFormat { found: u32 },
    /// The rows do not make a batch (their offsets lie too far apart, say).
    #[error("the archived rows at offset {offset} do not make a batch: {source}")]
    Build { offset: Offset, source: BuildError },
    /// The Parquet library could not write.
    #[error("writing Parquet: {0}")]
    Write(#[source] ParquetError),
}

impl ArchiveError {
    pub(crate) fn corrupt(why: impl Into<String>) -> Self {
        Self::Corrupt { why: why.into() }
    }

    /// Whether the archived object is at fault, rather than the log or the caller.
    pub fn is_corrupt_object(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::UnknownFormat { .. } | Self::Build { .. })
    }
}
