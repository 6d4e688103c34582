//! Walks a batch's records as a stream, without keeping any of them.

use std::io::{self, BufRead};

use super::{BatchError, BatchHeader, Compression, DecompressLimit, varint};

/// What validation needs to know of a record.
pub(super) struct Shape {
    pub(super) index: i32,
    pub(super) offset_delta: i32,
    pub(super) timestamp_delta: i64,
    pub(super) has_key: bool,
}

/// Calls `visit` for each record, and checks that the section holds exactly the announced records.
pub(super) fn walk(
    header: &BatchHeader,
    section: &[u8],
    limit: DecompressLimit,
    mut visit: impl FnMut(Shape),
) -> Result<(), BatchError> {
    let codec = header.compression();
    if codec == Compression::None {
        return Walker { from: section, left: 0 }
            .all(header, &mut visit)
            .map_err(|e| e.into_batch(codec, limit));
    }
    let from = codec.reader(section, limit).map_err(|e| codec.error(e, limit))?;
    Walker { from, left: 0 }.all(header, &mut visit).map_err(|e| e.into_batch(codec, limit))
}

enum Fault {
    Batch(BatchError),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    fn into_batch(self, codec: Compression, limit: DecompressLimit) -> BatchError {
        match self {
            Self::Batch(error) => error,
            Self::Io(error) => codec.error(error, limit),
        }
    }
}

struct Walker<R> {
    from: R,
    /// Bytes of the current record that are not read yet.
    left: usize,
}

impl<R: BufRead> Walker<R> {
    fn all(&mut self, header: &BatchHeader, visit: &mut impl FnMut(Shape)) -> Result<(), Fault> {
        let announced = header.records_count;
        for index in 0..announced {
            if self.from.fill_buf()?.is_empty() {
                return Err(Fault::Batch(BatchError::Count { announced, found: "fewer" }));
            }
            let shape = self.one(index)?;
            if self.left != 0 {
                return Err(fault(index, "its fields are shorter than its length"));
            }
            visit(shape);
        }
        if self.from.fill_buf()?.is_empty() {
            Ok(())
        } else {
            Err(Fault::Batch(BatchError::Count { announced, found: "more" }))
        }
    }

    fn one(&mut self, index: i32) -> Result<Shape, Fault> {
        let length = varint::read_i32(&mut self.from)?.and_then(|(length, _)| usize::try_from(length).ok());
        self.left = length.ok_or_else(|| fault(index, "its length is impossible"))?;
        self.skip(index, 1)?;
        let timestamp_delta = varint::read_i64(&mut self.from)?;
        let timestamp_delta = self.number(index, timestamp_delta)?;
        let offset_delta = self.i32(index)?;
        let has_key = self.nullable(index)?;
        self.nullable(index)?;
        let headers = self.i32(index)?;
        if headers < 0 {
            return Err(fault(index, "its headers' count is negative"));
        }
        for _ in 0..headers {
            if !self.nullable(index)? {
                return Err(fault(index, "a header has no key"));
            }
            self.nullable(index)?;
        }
        Ok(Shape { index, offset_delta, timestamp_delta, has_key })
    }

    fn i32(&mut self, index: i32) -> Result<i32, Fault> {
        let read = varint::read_i32(&mut self.from)?;
        self.number(index, read)
    }

    fn number<N>(&mut self, index: i32, read: Option<(N, usize)>) -> Result<N, Fault> {
        let (value, bytes) = read.ok_or_else(|| fault(index, "a number is too long"))?;
        self.left = self.left.checked_sub(bytes).ok_or_else(|| fault(index, "its length is too short"))?;
        Ok(value)
    }

    /// Skips a field; false if it is null.
    fn nullable(&mut self, index: i32) -> Result<bool, Fault> {
        match self.i32(index)? {
            -1 => Ok(false),
            length => {
                let length = usize::try_from(length).map_err(|_| fault(index, "a length is negative"))?;
                self.skip(index, length)?;
                Ok(true)
            }
        }
    }

    fn skip(&mut self, index: i32, mut bytes: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| fault(index, "its length is too short"))?;
        while bytes > 0 {
            let there = self.from.fill_buf()?.len().min(bytes);
            if there == 0 {
                return Err(fault(index, "it is cut"));
            }
            self.from.consume(there);
            bytes -= there;
        }
        Ok(())
    }
}

fn fault(index: i32, reason: &'static str) -> Fault {
    Fault::Batch(BatchError::Record { index, reason })
}
