use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

use bytes::Bytes;

use super::snappy;
use super::{BatchError, BuildError};

/// What may come out of one batch unless the caller says otherwise. Twice the largest request that a broker takes
/// by default; a real batch is far below, a bomb far above.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// How much the decompressors hold between input and reader.
const STREAM_BUFFER_BYTES: usize = 16 << 10;

/// The level at which gzip and zstd spend CPU as Kafka's defaults do.
const GZIP_LEVEL: u32 = 6;
const GZIP_LEVEL_MAX: u32 = 9;
const ZSTD_LEVEL: i32 = 3;

/// How many bytes may come out of a decompression, whatever goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecompressLimit(pub usize);

impl Default for DecompressLimit {
    fn default() -> Self {
        Self(DECOMPRESSED_BYTES_MAX)
    }
}

/// How a batch's records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    #[default]
    None = 0,
    Gzip = 1,
    /// Blocks in the framing that Java's library writes ("xerial"); raw snappy is read too, as some clients send it.
    Snappy = 2,
    /// The frame format with independent blocks.
    Lz4 = 3,
    Zstd = 4,
}

/// Begins a frame. The older format, which begins otherwise, announces blocks of 8 MiB; no Kafka client writes it.
const LZ4_MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

impl Compression {
    /// All of them, by id.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in a batch's attributes.
    pub const fn id(self) -> u8 {
        self as u8
    }

    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Kafka's name, as configs have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// Compresses a whole section, at the codec's usual level.
    pub fn compress(self, section: &[u8]) -> Result<Bytes, BuildError> {
        self.compress_at(section, None)
    }

    /// Compresses a whole section at a level of the codec's own scale. Snappy has none, and neither has our lz4.
    pub fn compress_at(self, section: &[u8], level: Option<i32>) -> Result<Bytes, BuildError> {
        let compressed = match self {
            Self::None => Ok(section.to_vec()),
            Self::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(GZIP_LEVEL);
                gzip(section, level.min(GZIP_LEVEL_MAX))
            }
            Self::Snappy => snappy::compress(section),
            Self::Lz4 => lz4(section),
            Self::Zstd => zstd::bulk::compress(section, level.unwrap_or(ZSTD_LEVEL)),
        };
        compressed.map(Bytes::from).map_err(|e| BuildError::Compress { codec: self, reason: e.to_string() })
    }

    /// Decompresses a whole section, to at most `limit` bytes. Nothing is copied where nothing is compressed.
    pub fn decompress(self, section: &Bytes, limit: DecompressLimit) -> Result<Bytes, BatchError> {
        if self == Self::None {
            return if section.len() <= limit.0 {
                Ok(section.clone())
            } else {
                Err(BatchError::TooLarge { limit_bytes: limit.0 })
            };
        }
        let mut out = Vec::new();
        self.reader(section, limit)
            .and_then(|mut reader| reader.read_to_end(&mut out))
            .map_err(|error| self.error(error, limit))?;
        Ok(out.into())
    }

    /// The decompressed section as a stream, which fails where more than `limit` bytes come out.
    pub fn reader(self, section: &[u8], limit: DecompressLimit) -> io::Result<DecompressReader<'_>> {
        let inner: Box<dyn BufRead + '_> = match self {
            Self::None => Box::new(section),
            Self::Gzip => Box::new(buffered(flate2::bufread::MultiGzDecoder::new(section))),
            Self::Snappy => snappy::reader(section)?,
            Self::Lz4 if !section.starts_with(&LZ4_MAGIC) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not an LZ4 frame"));
            }
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(section)),
            Self::Zstd => Box::new(buffered(zstd::stream::read::Decoder::with_buffer(section)?)),
        };
        Ok(DecompressReader { inner, left: limit.0 })
    }

    /// What an error of [`Compression::reader`]'s stream means.
    pub(super) fn error(self, error: io::Error, limit: DecompressLimit) -> BatchError {
        if error.get_ref().is_some_and(|inner| inner.is::<LimitReached>()) {
            BatchError::TooLarge { limit_bytes: limit.0 }
        } else {
            BatchError::Decompress { codec: self, reason: error.to_string() }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A decompressing stream with an absolute limit.
pub struct DecompressReader<'a> {
    inner: Box<dyn BufRead + 'a>,
    left: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("more comes out than may")]
struct LimitReached;

impl BufRead for DecompressReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.inner.fill_buf()?;
        if self.left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(LimitReached));
        }
        Ok(&buffer[..buffer.len().min(self.left)])
    }

    fn consume(&mut self, bytes: usize) {
        self.left -= bytes;
        self.inner.consume(bytes);
    }
}

impl Read for DecompressReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(out)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

fn buffered<R: Read>(reader: R) -> BufReader<R> {
    BufReader::with_capacity(STREAM_BUFFER_BYTES, reader)
}

fn gzip(section: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(section)?;
    encoder.finish()
}

fn lz4(section: &[u8]) -> io::Result<Vec<u8>> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    // Kafka's own reader refuses dependent blocks.
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(section)?;
    encoder.finish().map_err(io::Error::other)
}
