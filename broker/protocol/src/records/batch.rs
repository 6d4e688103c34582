use bytes::Bytes;

use super::header::batch_bytes;
use super::patch::{CRC_COVERS_FROM, seal};
use super::{
    BatchError, BatchHeader, BuildError, Compression, DecompressLimit, HEADER_BYTES, RecordIter, records_of,
};
use strata_types::Offset;

/// Exactly one v2 batch, framed and with a checked header, over shared bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// The batch that these bytes are. Shorter is [`BatchError::Truncated`], longer is [`BatchError::BadLength`].
    pub fn try_from_bytes(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        if bytes.len() < header.batch_bytes {
            return Err(BatchError::Truncated { expected: header.batch_bytes, found: bytes.len() });
        }
        if bytes.len() > header.batch_bytes {
            return Err(BatchError::BadLength(i32::try_from(bytes.len()).unwrap_or(i32::MAX)));
        }
        Ok(Self { header, bytes })
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    pub fn last_offset(&self) -> Offset {
        self.header.last_offset()
    }

    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// Whether the content is what was once written.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(&self.bytes[CRC_COVERS_FROM..]);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::BadCrc { stored: self.header.crc, computed })
        }
    }

    pub fn is_crc_valid(&self) -> bool {
        self.check_crc().is_ok()
    }

    /// The records, lazily. Decompresses first where it must, to at most `limit` bytes; keys and values are slices
    /// of that buffer or of the batch.
    pub fn records(&self, limit: DecompressLimit) -> Result<RecordIter, BatchError> {
        Ok(records_of(self.record_section(limit)?, &self.header))
    }

    /// The uncompressed records, one after the other, as plugins take them.
    pub fn record_section(&self, limit: DecompressLimit) -> Result<Bytes, BatchError> {
        self.header.compression().decompress(&self.compressed_section(), limit)
    }

    /// The same batch with its records compressed another way (topic configs `compression.type`, `compression.*.level`);
    /// as it is where it has that codec already.
    pub fn recompressed(
        &self,
        to: Compression,
        level: Option<i32>,
        limit: DecompressLimit,
    ) -> Result<Self, RecompressError> {
        if self.header.compression() == to {
            return Ok(self.clone());
        }
        let section = to.compress_at(&self.record_section(limit)?, level)?;
        let batch_bytes = HEADER_BYTES + section.len();
        if batch_bytes > i32::MAX as usize {
            return Err(BuildError::TooLarge.into());
        }
        let attributes = self.header.attributes.with_compression(to);
        let sealed = seal(BatchHeader { batch_bytes, attributes, ..self.header }, &section);
        let bytes = [sealed.as_slice(), &section].concat().into();
        Ok(Self::try_from_bytes(bytes)?)
    }

    /// The records as they stand behind the header.
    pub(super) fn compressed_section(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }
}

/// Why a batch cannot be compressed another way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecompressError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// The batches that stand one behind the other in `bytes`, as slices of it.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// Iterator over batches. After an error it ends: what follows a broken frame has no known start.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        Some(BatchHeader::parse(&rest).and_then(|header| {
            if rest.len() < header.batch_bytes {
                return Err(BatchError::Truncated { expected: header.batch_bytes, found: rest.len() });
            }
            let mut bytes = rest;
            self.rest = bytes.split_off(header.batch_bytes);
            Ok(Batch { header, bytes })
        }))
    }
}

impl std::iter::FusedIterator for Batches {}

/// How many bytes the whole batches at the start of `bytes` take. A fetch response may end in a cut one.
pub fn whole_batches_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(batch) = batch_bytes(&bytes[at..]) {
        if batch > bytes.len() - at {
            break;
        }
        at += batch;
    }
    at
}
