//! Kafka's producer snapshots, `<20 digits of offset>.snapshot`: the producers as of that offset.
//!
//! ```text
//! version i16 │ CRC-32C of the rest u32 │ count i32 │ (producer id i64 │ epoch i16 │ last sequence i32 │
//!   last offset i64 │ offset delta i32 │ timestamp i64 │ coordinator epoch i32 │ transaction's first offset i64)*
//! ```

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use strata_types::{Offset, ProducerEpoch, ProducerId};

use super::{PRODUCERS_MAX, Producer, Producers, Remembered};
use crate::segment::file_path;
use crate::{StorageError, disk};

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;
const SNAPSHOT_BYTES_MAX: u64 = (HEADER_BYTES + PRODUCERS_MAX * ENTRY_BYTES) as u64;

pub(crate) fn path_of(folder: &Path, offset: Offset) -> PathBuf {
    file_path(folder, offset, "snapshot")
}

/// The offsets at which a folder has snapshots, rising.
pub(crate) fn list(folder: &Path) -> Result<Vec<Offset>, StorageError> {
    Ok(list_in(&disk::list(folder)?))
}

/// The offsets of the snapshots among these names, rising.
pub(crate) fn list_in(names: &[String]) -> Vec<Offset> {
    let offset = |name: &String| name.strip_suffix(".snapshot")?.parse().ok().map(Offset);
    let mut offsets: Vec<_> = names.iter().filter_map(offset).collect();
    offsets.sort_unstable();
    offsets
}

impl Producers {
    pub(crate) fn write_snapshot(&mut self, path: &Path) -> Result<(), StorageError> {
        let mut body = (self.producers.len() as i32).to_be_bytes().to_vec();
        for (id, producer) in &self.producers {
            let last = producer.batches.back();
            body.extend_from_slice(&id.0.to_be_bytes());
            body.extend_from_slice(&producer.epoch.0.to_be_bytes());
            body.extend_from_slice(&last.map_or(-1, |b| b.last_sequence).to_be_bytes());
            body.extend_from_slice(&last.map_or(-1, |b| b.last_offset.0).to_be_bytes());
            body.extend_from_slice(&last.map_or(0, |b| b.offset_delta).to_be_bytes());
            body.extend_from_slice(&producer.last_timestamp.to_be_bytes());
            body.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            body.extend_from_slice(&producer.txn_start.map_or(-1, |o| o.0).to_be_bytes());
        }
        let mut content = VERSION.to_be_bytes().to_vec();
        content.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        content.extend_from_slice(&body);
        disk::replace(path, &content, false)?;
        self.changed = false;
        Ok(())
    }

    /// The producers of a snapshot; `None` if it is not there or damaged, so that an older one is taken.
    pub(crate) fn read_snapshot(path: &Path) -> Result<Option<Self>, StorageError> {
        let Some(content) = disk::read_small(path, SNAPSHOT_BYTES_MAX)? else { return Ok(None) };
        Ok(parse(&content).map(|producers| Self { producers, ..Self::default() }))
    }
}

fn parse(content: &[u8]) -> Option<HashMap<ProducerId, Producer>> {
    let (header, entries) = content.split_at_checked(HEADER_BYTES)?;
    let crc = u32::from_be_bytes(header[2..6].try_into().ok()?);
    let count = usize::try_from(i32::from_be_bytes(header[6..10].try_into().ok()?)).ok()?;
    if header[..2] != VERSION.to_be_bytes()
        || crc != crc32c::crc32c(&content[6..])
        || entries.len() != count.checked_mul(ENTRY_BYTES)?
    {
        return None;
    }
    entries.chunks_exact(ENTRY_BYTES).map(parse_entry).collect()
}

fn parse_entry(mut entry: &[u8]) -> Option<(ProducerId, Producer)> {
    let id = ProducerId(i64::from_be_bytes(take(&mut entry)?));
    let epoch = ProducerEpoch(i16::from_be_bytes(take(&mut entry)?));
    let last_sequence = i32::from_be_bytes(take(&mut entry)?);
    let last_offset = Offset(i64::from_be_bytes(take(&mut entry)?));
    let offset_delta = i32::from_be_bytes(take(&mut entry)?);
    let timestamp = i64::from_be_bytes(take(&mut entry)?);
    let coordinator_epoch = i32::from_be_bytes(take(&mut entry)?);
    let txn_start = i64::from_be_bytes(take(&mut entry)?);
    let mut batches = VecDeque::new();
    if last_offset.0 >= 0 {
        batches.push_back(Remembered { last_sequence, last_offset, offset_delta, timestamp });
    }
    let txn_start = (txn_start >= 0).then_some(Offset(txn_start));
    Some((id, Producer { epoch, batches, coordinator_epoch, last_timestamp: timestamp, txn_start }))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*front)
}
