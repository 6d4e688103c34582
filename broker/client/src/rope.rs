//! A request's chunks as one `Buf`, so that they are written together without being copied together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use strata_protocol::{Chunk, Encoded};

pub(crate) struct Rope {
    chunks: VecDeque<Bytes>,
}

impl Rope {
    /// Reads file ranges into memory, if there are any.
    pub(crate) fn new(encoded: Encoded) -> io::Result<Self> {
        let mut chunks = VecDeque::with_capacity(encoded.chunks.len());
        for chunk in encoded.chunks {
            chunks.push_back(match chunk {
                Chunk::Bytes(bytes) => bytes,
                Chunk::File(range) => range.read()?,
            });
        }
        chunks.retain(|chunk| !chunk.is_empty());
        Ok(Self { chunks })
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.chunks.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.chunks.pop_front();
        }
        assert_eq!(count, 0, "advanced past the end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_crosses_chunks() {
        let chunk = |text: &'static str| Bytes::from_static(text.as_bytes());
        let mut rope = Rope { chunks: [chunk("ab"), chunk("cde"), chunk("f")].into() };
        rope.advance(3);
        assert_eq!((rope.remaining(), rope.chunk()), (3, &b"de"[..]));
        rope.advance(3);
        assert!(!rope.has_remaining());
    }
}
