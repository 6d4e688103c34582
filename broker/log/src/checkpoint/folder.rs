//! A data folder's checkpoints: where the recovery of each of its logs may start.
//!
//! | file | each log's | whose format |
//! |---|---|---|
//! | `recovery-point-offset-checkpoint` | durable end | Kafka's |
//! | `log-start-offset-checkpoint` | start, where the files do not tell | Kafka's |
//! | `replication-offset-checkpoint` | high watermark | Kafka's |
//! | `cleaner-offset-checkpoint` | end of what is compacted | Kafka's |
//! | `.strata_settled` | topic id, and what is settled below which offset | ours |
//!
//! Kafka's name topics only. Ours tells a log from that of an earlier topic of the same name, whose offsets the others may
//! still hold after a crash.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use strata_types::{Offset, TopicId, TopicPartition};

use super::{SettledLog, offsets, read_offsets, read_settled, settled};
use crate::log::{Recovery, Trust};
use crate::{StorageError, disk};

const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
const CLEANED: &str = "cleaner-offset-checkpoint";
const SETTLED: &str = ".strata_settled";

/// What the last process wrote.
pub(crate) struct Known {
    points: BTreeMap<TopicPartition, Offset>,
    starts: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    cleaned: BTreeMap<TopicPartition, Offset>,
    settled: BTreeMap<TopicPartition, SettledLog>,
}

impl Known {
    /// A file that cannot be read is not used: recovery looks at more then, that is all.
    pub(crate) fn read(dir: &Path) -> Self {
        let offsets = |name| believed(read_offsets(&dir.join(name)));
        Self {
            points: offsets(RECOVERY_POINTS),
            starts: offsets(LOG_STARTS),
            high_watermarks: offsets(HIGH_WATERMARKS),
            cleaned: offsets(CLEANED),
            settled: believed(read_settled(&dir.join(SETTLED))),
        }
    }

    /// What of it is about this log.
    pub(crate) fn of(&self, partition: &TopicPartition, topic_id: TopicId, trust: Trust) -> Recovery {
        let settled = self.settled.get(partition);
        if settled.is_some_and(|settled| settled.topic_id != topic_id) {
            return Recovery { trust, ..Recovery::default() };
        }
        Recovery {
            trust,
            recovery_point: self.points.get(partition).copied().unwrap_or(Offset::ZERO),
            log_start_offset: self.starts.get(partition).copied(),
            high_watermark: self.high_watermarks.get(partition).copied().unwrap_or(Offset::ZERO),
            cleaned_until: self.cleaned.get(partition).copied(),
            settled: settled.and_then(|settled| settled.settled),
        }
    }
}

fn believed<T: Default>(read: Result<T, StorageError>) -> T {
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, "a checkpoint is not used");
        T::default()
    })
}

/// What is to be written, log by log.
#[derive(Default)]
pub(crate) struct Points<'a> {
    pub(crate) recovery_points: BTreeMap<&'a TopicPartition, Offset>,
    pub(crate) starts: BTreeMap<&'a TopicPartition, Offset>,
    pub(crate) high_watermarks: BTreeMap<&'a TopicPartition, Offset>,
    pub(crate) settled: BTreeMap<&'a TopicPartition, SettledLog>,
}

/// Writes a folder's checkpoints, those that are not as they were.
pub(crate) struct Writer {
    dir: PathBuf,
    written: HashMap<&'static str, String>,
}

impl Writer {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), written: HashMap::new() }
    }

    pub(crate) fn write(&mut self, points: &Points<'_>) -> Result<(), StorageError> {
        self.put(RECOVERY_POINTS, offsets(&points.recovery_points))?;
        self.put(LOG_STARTS, offsets(&points.starts))?;
        self.put(HIGH_WATERMARKS, offsets(&points.high_watermarks))?;
        // Last, since it says that the others are about these topics.
        self.put(SETTLED, settled(&points.settled))
    }

    pub(crate) fn write_cleaned(
        &mut self,
        cleaned: &BTreeMap<&TopicPartition, Offset>,
    ) -> Result<(), StorageError> {
        self.put(CLEANED, offsets(cleaned))
    }

    fn put(&mut self, name: &'static str, content: String) -> Result<(), StorageError> {
        if self.written.get(name) == Some(&content) {
            return Ok(());
        }
        disk::replace(&self.dir.join(name), content.as_bytes(), true)?;
        self.written.insert(name, content);
        Ok(())
    }
}
