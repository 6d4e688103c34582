//! The aborted transactions of a segment (`.txnindex`): what a read_committed consumer must skip.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use strata_types::{Offset, ProducerId};

use crate::{StorageError, disk};

const ENTRY_BYTES: usize = 34;
const ENTRY_VERSION: i16 = 0;

/// A segment cannot hold more markers than this many bytes of entries stand for.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A transaction that was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The abort marker's.
    pub last_offset: Offset,
    /// The partition's last stable offset when the marker was written.
    pub last_stable_offset: Offset,
}

/// The index of one segment. It is small or empty, so it is kept in memory; the file exists if there is an entry.
pub(super) struct TxnIndex {
    path: PathBuf,
    entries: Vec<AbortedTxn>,
}

impl TxnIndex {
    /// An index without an entry, and so without a file.
    pub(super) fn empty(path: PathBuf) -> Self {
        Self { path, entries: Vec::new() }
    }

    pub(super) fn load(path: PathBuf) -> Result<Self, StorageError> {
        let content = disk::read_small(&path, FILE_BYTES_MAX)?.unwrap_or_default();
        // A torn last entry is written again when its marker is recovered.
        let entries = content.chunks_exact(ENTRY_BYTES).map(decode).collect();
        Ok(Self { path, entries })
    }

    pub(super) fn entries(&self) -> &[AbortedTxn] {
        &self.entries
    }

    pub(super) fn push(&mut self, entry: AbortedTxn) -> Result<(), StorageError> {
        if self.entries.last().is_some_and(|last| last.last_offset >= entry.last_offset) {
            return Ok(());
        }
        let file = disk::open(&self.path)?;
        let position = (self.entries.len() * ENTRY_BYTES) as u64;
        disk::write_at(&file, &self.path, &mut [IoSlice::new(&encode(entry))], position)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Drops the entries whose marker is at `offset` or above.
    pub(super) fn truncate(&mut self, offset: Offset) -> Result<(), StorageError> {
        let keep = self.entries.partition_point(|entry| entry.last_offset < offset);
        if keep < self.entries.len() {
            self.entries.truncate(keep);
            disk::set_len(&disk::open(&self.path)?, &self.path, (keep * ENTRY_BYTES) as u64)?;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), StorageError> {
        if self.entries.is_empty() { Ok(()) } else { disk::sync(&disk::open(&self.path)?, &self.path) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn rename(&mut self, to: PathBuf) -> Result<(), StorageError> {
        if !self.entries.is_empty() {
            disk::rename(&self.path, &to)?;
        }
        self.path = to;
        Ok(())
    }

    pub(super) fn remove(&self) -> Result<(), StorageError> {
        disk::remove(&self.path)
    }
}

fn encode(entry: AbortedTxn) -> Vec<u8> {
    let mut bytes = ENTRY_VERSION.to_be_bytes().to_vec();
    for value in [entry.producer_id.0, entry.first_offset.0, entry.last_offset.0, entry.last_stable_offset.0]
    {
        bytes.extend_from_slice(&value.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> AbortedTxn {
    let value = |n: usize| {
        bytes[2 + 8 * n..10 + 8 * n].iter().fold(0_i64, |value, byte| (value << 8) | i64::from(*byte))
    };
    AbortedTxn {
        producer_id: ProducerId(value(0)),
        first_offset: Offset(value(1)),
        last_offset: Offset(value(2)),
        last_stable_offset: Offset(value(3)),
    }
}
