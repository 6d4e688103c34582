//! Kafka's checkpoint files: a version, the number of entries, an entry a line.

use std::collections::BTreeMap;
use std::path::Path;

use strata_types::{LeaderEpoch, Offset, TopicId, TopicName, TopicPartition};

use crate::{StorageError, disk};

/// Far above a broker with a million partitions; beyond it is damage.
const CHECKPOINT_BYTES_MAX: u64 = 512 << 20;

/// The first line of `partition.metadata`, and of the checkpoints.
const VERSION: &str = "0";

/// Offsets of partitions, as `recovery-point-offset-checkpoint` and its like hold them. A file that is not there is
/// empty.
pub(crate) fn read_offsets(path: &Path) -> Result<BTreeMap<TopicPartition, Offset>, StorageError> {
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let topic = TopicName::new(words.next()?).ok()?;
        let partition = words.next()?.parse().ok()?;
        Some((TopicPartition::new(topic, partition), Offset(words.next()?.parse().ok()?)))
    };
    Ok(read(path, parse)?.into_iter().collect())
}

pub(crate) fn write_offsets<'a>(
    path: &Path,
    offsets: impl ExactSizeIterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<(), StorageError> {
    let lines = offsets.map(|(at, offset)| format!("{} {} {offset}\n", at.topic, at.partition));
    write(path, lines, true)
}

/// A partition's `leader-epoch-checkpoint`: where each epoch begins.
pub(crate) fn read_epochs(path: &Path) -> Result<Vec<(LeaderEpoch, Offset)>, StorageError> {
    read(path, |line| {
        let (epoch, start) = line.split_once(' ')?;
        Some((LeaderEpoch(epoch.parse().ok()?), Offset(start.parse().ok()?)))
    })
}

pub(crate) fn write_epochs(
    path: &Path,
    epochs: &[(LeaderEpoch, Offset)],
    durable: bool,
) -> Result<(), StorageError> {
    write(path, epochs.iter().map(|(epoch, start)| format!("{epoch} {start}\n")), durable)
}

/// The topic id in `partition.metadata`; `None` if there is no such file.
pub(crate) fn read_topic_id(path: &Path) -> Result<Option<TopicId>, StorageError> {
    let Some(content) = disk::read_small(path, 4096)? else { return Ok(None) };
    let id = std::str::from_utf8(&content).ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("topic_id:"))?;
        line.trim().parse().ok()
    });
    id.map(Some).ok_or_else(|| StorageError::corrupt(path, "it names no topic id"))
}

/// Not on stable storage yet: a log's first flush sees to that.
pub(crate) fn write_topic_id(path: &Path, id: TopicId) -> Result<(), StorageError> {
    disk::replace(path, format!("version: {VERSION}\ntopic_id: {id}").as_bytes(), false)
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, StorageError> {
    let Some(content) = disk::read_small(path, CHECKPOINT_BYTES_MAX)? else { return Ok(Vec::new()) };
    let text = std::str::from_utf8(&content).map_err(|_| StorageError::corrupt(path, "it is not text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) {
        return Err(StorageError::corrupt(path, "its version is not 0"));
    }
    let announced: Option<usize> = lines.next().and_then(|count| count.parse().ok());
    let entries: Option<Vec<T>> = lines.map(parse).collect();
    match entries {
        Some(entries) if Some(entries.len()) == announced => Ok(entries),
        _ => Err(StorageError::corrupt(path, "its entries are not what its second line announces")),
    }
}

fn write(
    path: &Path,
    lines: impl ExactSizeIterator<Item = String>,
    durable: bool,
) -> Result<(), StorageError> {
    let mut content = format!("{VERSION}\n{}\n", lines.len());
    lines.for_each(|line| content.push_str(&line));
    disk::replace(path, content.as_bytes(), durable)
}
