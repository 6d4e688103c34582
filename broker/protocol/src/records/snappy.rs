//! Snappy in the two forms that Kafka clients send.
//!
//! ```text
//! xerial:  82 53 4e 41 50 50 59 00 │ version i32 │ compatible i32 │ (length i32 │ raw snappy)*
//! raw:     raw snappy
//! ```

use std::io::{self, BufRead, Read};

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_VERSION: i32 = 1;
const XERIAL_HEADER_BYTES: usize = 16;
const BLOCK_BYTES: usize = 32 << 10;

/// The most that one byte of snappy can become: a copy element of three bytes makes 64. A block that announces
/// more lies, and is refused before anything is allocated for it.
const EXPANSION_MAX: usize = 22;

pub(super) fn compress(section: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES + section.len() / 2);
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in section.chunks(BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block).map_err(io::Error::other)?;
        out.extend_from_slice(&(compressed.len() as i32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

pub(super) fn reader(section: &[u8]) -> io::Result<Box<dyn BufRead + '_>> {
    if section.starts_with(&XERIAL_MAGIC) {
        let blocks = section.get(XERIAL_HEADER_BYTES..).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Box::new(Xerial { blocks, block: Vec::new(), at: 0 }))
    } else {
        Ok(Box::new(io::Cursor::new(decompress_block(section)?)))
    }
}

/// Blocks, decompressed one at a time.
struct Xerial<'a> {
    blocks: &'a [u8],
    block: Vec<u8>,
    at: usize,
}

impl BufRead for Xerial<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.block.len() && !self.blocks.is_empty() {
            let (length, rest) = self.blocks.split_first_chunk::<4>().ok_or(io::ErrorKind::UnexpectedEof)?;
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(io::Error::other)?;
            let (block, rest) = rest.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
            self.block = decompress_block(block)?;
            self.at = 0;
            self.blocks = rest;
        }
        Ok(&self.block[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Xerial<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?.read(out)?;
        self.consume(bytes);
        Ok(bytes)
    }
}

fn decompress_block(block: &[u8]) -> io::Result<Vec<u8>> {
    let announced = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    if announced > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(io::Error::other("a snappy block announces more than it can hold"));
    }
    snap::raw::Decoder::new().decompress_vec(block).map_err(io::Error::other)
}
