//! Reads a segment's batches from its file, many at a time, and checks them.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::records::{Batch, BatchError, BatchHeader, HEADER_BYTES};
use strata_types::Offset;

use crate::{StorageError, disk};

/// A sealed segment's file. It can be read even after the log has replaced it.
pub(crate) struct Source {
    /// Where the next segment begins.
    pub(crate) next: Offset,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    pub(crate) bytes: u64,
    /// Where the first batch of interest starts.
    pub(crate) from: u64,
}

impl Source {
    /// The batches from `from` on, reading `buffer_bytes` at a time; more where a batch is larger.
    pub(crate) fn batches(&self, buffer_bytes: usize) -> SourceBatches<'_> {
        SourceBatches { source: self, position: self.from, buffer: Bytes::new(), buffer_bytes }
    }
}

/// Iterator over a source's batches. After an error it ends.
pub(crate) struct SourceBatches<'a> {
    source: &'a Source,
    /// Where the buffer's first byte stands in the file.
    position: u64,
    buffer: Bytes,
    buffer_bytes: usize,
}

impl Iterator for SourceBatches<'_> {
    type Item = Result<Batch, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.source.bytes {
            return None;
        }
        let next = self.read();
        match &next {
            Ok(batch) => self.position += batch.header().batch_bytes as u64,
            Err(_) => self.position = self.source.bytes,
        }
        Some(next)
    }
}

impl SourceBatches<'_> {
    fn read(&mut self) -> Result<Batch, StorageError> {
        self.fill(HEADER_BYTES)?;
        let header = BatchHeader::parse(&self.buffer).map_err(|error| self.corrupt(&error))?;
        self.fill(header.batch_bytes)?;
        let batch = Batch::try_from_bytes(self.buffer.split_to(header.batch_bytes));
        let batch = batch.map_err(|error| self.corrupt(&error))?;
        batch.check_crc().map_err(|error| self.corrupt(&error))?;
        Ok(batch)
    }

    /// Has at least so many bytes in the buffer. The file's end is the limit of what a header can ask for.
    fn fill(&mut self, bytes: usize) -> Result<(), StorageError> {
        if self.buffer.len() >= bytes {
            return Ok(());
        }
        let left = self.source.bytes - self.position;
        if bytes as u64 > left {
            return Err(self.corrupt(&BatchError::Truncated { expected: bytes, found: left as usize }));
        }
        let mut buffer = vec![0; left.min(self.buffer_bytes.max(bytes) as u64) as usize];
        let read = disk::read_at(&self.source.file, &self.source.path, &mut buffer, self.position)?;
        buffer.truncate(read);
        self.buffer = buffer.into();
        if read < bytes {
            return Err(self.corrupt(&BatchError::Truncated { expected: bytes, found: read }));
        }
        Ok(())
    }

    fn corrupt(&self, error: &BatchError) -> StorageError {
        StorageError::corrupt(&self.source.path, format!("{error}, at byte {}", self.position))
    }
}
