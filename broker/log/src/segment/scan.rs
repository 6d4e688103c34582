//! Walks the batch headers of a log file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use strata_protocol::records::{BatchHeader, HEADER_BYTES};

use crate::{StorageError, disk};

/// How much of the file one read takes. Headers of small batches come many at a time; large batches are skipped.
const SCAN_BUFFER_BYTES: usize = 4096;

/// A batch's place in its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Located {
    /// Where the next batch starts.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.batch_bytes as u64
    }
}

/// Iterator over the batches between two positions.
pub(crate) struct Scan<'a> {
    file: Arc<File>,
    path: &'a Path,
    position: u64,
    until: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Scan<'a> {
    /// `from` is the start of a batch, `until` the end of one.
    pub(crate) fn new(file: Arc<File>, path: &'a Path, from: u64, until: u64) -> Self {
        Self { file, path, position: from, until, buffer: Vec::new(), buffer_at: 0 }
    }

    fn read(&mut self) -> Result<Located, StorageError> {
        let position = self.position;
        let skipped = position.saturating_sub(self.buffer_at) as usize;
        if position < self.buffer_at || skipped + HEADER_BYTES > self.buffer.len() {
            self.buffer.resize(SCAN_BUFFER_BYTES.min((self.until - position) as usize), 0);
            self.buffer_at = position;
            let read = disk::read_at(&self.file, self.path, &mut self.buffer, position)?;
            self.buffer.truncate(read);
        }
        let start = (position - self.buffer_at) as usize;
        let corrupt =
            |reason: String| StorageError::corrupt(self.path, format!("{reason}, at byte {position}"));
        let header = BatchHeader::parse(&self.buffer[start..]).map_err(|e| corrupt(e.to_string()))?;
        let located = Located { position, header };
        if located.end() > self.until {
            return Err(corrupt("a batch reaches over the end".to_string()));
        }
        Ok(located)
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Located, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.until {
            return None;
        }
        let next = self.read();
        // After an error there is no known start of a batch.
        self.position = next.as_ref().map_or(self.until, Located::end);
        Some(next)
    }
}
