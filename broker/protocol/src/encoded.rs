//! What encoding yields: a rope of buffers and file ranges, ready to be sent piece by piece.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Bytes of a file that the kernel can send without our reading them.
#[derive(Clone)]
pub struct FileRange {
    pub file: Arc<File>,
    /// Where the range starts, in bytes from the file's start.
    pub position: u64,
    pub bytes: usize,
}

impl FileRange {
    /// Reads the range into memory.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut buffer = BytesMut::zeroed(self.bytes);
        self.file.read_exact_at(&mut buffer, self.position)?;
        Ok(buffer.freeze())
    }
}

/// The same bytes of the same open file.
impl PartialEq for FileRange {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.position == other.position && self.bytes == other.bytes
    }
}

impl fmt::Debug for FileRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileRange({} bytes at {})", self.bytes, self.position)
    }
}

/// A message's `records` field: record batches, in memory or still in a file. Decoding always gives `Bytes`.
#[derive(Clone, PartialEq)]
pub enum Records {
    Bytes(Bytes),
    FileRange(FileRange),
}

impl Records {
    /// The size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::FileRange(range) => range.bytes,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches in memory; reads the file if they are not.
    pub fn to_bytes(&self) -> io::Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::FileRange(range) => range.read(),
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// The size only: batches are too long to read.
impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Records({} bytes)", bytes.len()),
            Self::FileRange(range) => range.fmt(f),
        }
    }
}

/// One piece of what is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    Bytes(Bytes),
    File(FileRange),
}

impl Chunk {
    /// The size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(range) => range.bytes,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An encoded message: its chunks in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    pub chunks: Vec<Chunk>,
    pub(crate) bytes: usize,
}

impl Encoded {
    /// The size of all chunks in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Everything in one buffer; file ranges are read.
    ///
    /// # Errors
    /// When a file range cannot be read.
    pub fn try_to_bytes(&self) -> io::Result<Bytes> {
        if let [Chunk::Bytes(only)] = self.chunks.as_slice() {
            return Ok(only.clone());
        }
        let mut all = BytesMut::with_capacity(self.bytes);
        for chunk in &self.chunks {
            match chunk {
                Chunk::Bytes(bytes) => all.extend_from_slice(bytes),
                Chunk::File(range) => all.extend_from_slice(&range.read()?),
            }
        }
        Ok(all.freeze())
    }

    /// Everything in one buffer, for tests and for messages that hold no file range.
    ///
    /// # Panics
    /// When a file range cannot be read: where there may be one, use [`Encoded::try_to_bytes`].
    pub fn to_bytes(&self) -> Bytes {
        match self.try_to_bytes() {
            Ok(bytes) => bytes,
            Err(error) => panic!("a file range could not be read: {error}"),
        }
    }
}
