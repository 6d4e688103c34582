//! Kafka's checkpoint files: a version, the number of entries, an entry a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use strata_types::{LeaderEpoch, Offset, TopicId, TopicName, TopicPartition};

use crate::log::Settled;
use crate::{StorageError, disk};

mod folder;

pub(crate) use self::folder::{Known, Points, Writer};

/// Far above a broker with a million partitions; beyond it is damage.
const CHECKPOINT_BYTES_MAX: u64 = 512 << 20;

/// The first line of `partition.metadata`, and of the checkpoints.
const VERSION: &str = "0";

/// Offsets of partitions, as `recovery-point-offset-checkpoint` and its like hold them. A file that is not there is
/// empty.
fn read_offsets(path: &Path) -> Result<BTreeMap<TopicPartition, Offset>, StorageError> {
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        Some((partition(&mut words)?, Offset(words.next()?.parse().ok()?)))
    };
    Ok(read(path, parse)?.into_iter().collect())
}

/// The content of such a file.
fn offsets(offsets: &BTreeMap<&TopicPartition, Offset>) -> String {
    let mut content = heading(offsets.len());
    for (at, offset) in offsets {
        // Writing to a string cannot fail.
        let _ = writeln!(content, "{} {} {offset}", at.topic, at.partition);
    }
    content
}

/// What the folder's own file says of a log: whose it is, and how far it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SettledLog {
    pub(crate) topic_id: TopicId,
    pub(crate) settled: Option<Settled>,
}

/// `<topic> <partition> <topic id> <end> <epoch>` a line; both numbers are −1 where nothing is settled.
fn read_settled(path: &Path) -> Result<BTreeMap<TopicPartition, SettledLog>, StorageError> {
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (at, topic_id) = (partition(&mut words)?, words.next()?.parse().ok()?);
        let (end, epoch) = (Offset(words.next()?.parse().ok()?), LeaderEpoch(words.next()?.parse().ok()?));
        let settled = (end.0 >= 0).then_some(Settled { end, epoch });
        Some((at, SettledLog { topic_id, settled }))
    };
    Ok(read(path, parse)?.into_iter().collect())
}

/// The content of such a file.
fn settled(logs: &BTreeMap<&TopicPartition, SettledLog>) -> String {
    let mut content = heading(logs.len());
    for (at, log) in logs {
        let (end, epoch) = log.settled.map_or((-1, -1), |settled| (settled.end.0, settled.epoch.0));
        let _ = writeln!(content, "{} {} {} {end} {epoch}", at.topic, at.partition, log.topic_id);
    }
    content
}

fn partition<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<TopicPartition> {
    let topic = TopicName::new(words.next()?).ok()?;
    Some(TopicPartition::new(topic, words.next()?.parse().ok()?))
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
    let mut content = heading(epochs.len());
    for (epoch, start) in epochs {
        let _ = writeln!(content, "{epoch} {start}");
    }
    disk::replace(path, content.as_bytes(), durable)
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

fn heading(entries: usize) -> String {
    format!("{VERSION}\n{entries}\n")
}
