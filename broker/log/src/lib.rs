//! Segmented partition logs, on disk exactly as Apache Kafka has them.
//!
//! ```text
//! <data folder>/
//!   recovery-point-offset-checkpoint  log-start-offset-checkpoint  replication-offset-checkpoint
//!   cleaner-offset-checkpoint  .strata_settled
//!   <topic>-<partition>/
//!     00000000000000000000.log        record batches, one behind the other
//!     00000000000000000000.index      offset → position, every few kilobytes
//!     00000000000000000000.timeindex  timestamp → offset
//!     00000000000000000000.txnindex   aborted transactions, if there are any
//!     00000000000000012345.snapshot   idempotent producers as of an offset
//!     leader-epoch-checkpoint  partition.metadata
//! ```
//!
//! A partition's folder is made with its first record.
//!
//! A [`LogManager`] opens a data folder and recovers its [`Log`]s; a [`Flusher`] makes what was appended durable, for
//! all logs together; a [`LogCleaner`] compacts those whose topics ask for it. Reads are ranges of files that the kernel can send by itself. What is older than the local log is
//! asked of a [`RemoteLog`], which the archive implements.
//!
//! Everything here is synchronous and may block on the disk.

mod checkpoint;
mod cleaner;
mod config;
mod dirs;
mod disk;
mod epochs;
mod error;
mod files;
mod flusher;
mod histogram;
mod log;
mod manager;
mod producers;
mod remote;
mod segment;
mod transactions;

#[cfg(test)]
mod tests;

pub use cleaner::{CleanReport, CleanerHost, CleanerOptions, CleanerStats, LogCleaner, UNCLEANABLE_RETRY};
pub use config::{
    CleanupPolicy, CompressionType, ConfigDef, ConfigError, ConfigKind, Durability, LogConfig, Retention,
};
pub use dirs::{LogDirInfo, LogDirs, LogDirsOptions};
pub use error::{AppendError, ReadError, StorageError};
pub use files::{FileCache, OPEN_FILES_MAX};
pub use flusher::{Flusher, LogListener, SYNC_TOGETHER_LOGS_MIN};
pub use histogram::{Histogram, Times};
pub use log::{
    Appended, Log, LogOptions, Read, Recovery, RecoveryReport, RetentionOutcome, SegmentInfo,
    TimestampAndOffset, Trust,
};
pub use manager::{LogManager, LogManagerOptions};
pub use producers::{PRODUCER_ID_EXPIRATION_MS, PRODUCERS_MAX, ProducerInfo, TxnCheck};
pub use remote::{
    ArchiveHost, ArchivePartition, BoxFuture, IndexRead, IndexRecord, RemoteError, RemoteLog,
    RemotePartition, RemoteRead, RetentionLimits,
};
pub use segment::AbortedTxn;
