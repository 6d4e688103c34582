//! Walks a batch's records as a stream, without keeping any of them.

use std::io::{self, BufRead};

use super::{BatchError, BatchHeader, Compression, DecompressLimit, varint};

/// What validation needs to know of a record.
#[derive(Debug, PartialEq)]
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
    if codec != Compression::None {
        let from = codec.reader(section, limit).map_err(|e| codec.error(e, limit))?;
        return walk_stream(header, 0, from, limit, &mut visit);
    }
    let mut rest = section;
    let mut index = 0;
    while index < header.records_count
        && let Some(shape) = take(&mut rest, index)
    {
        visit(shape);
        index += 1;
    }
    walk_stream(header, index, rest, limit, &mut visit)
}

/// The records from the one of index `first` on, from a stream.
pub(super) fn walk_stream(
    header: &BatchHeader,
    first: i32,
    from: impl BufRead,
    limit: DecompressLimit,
    visit: &mut impl FnMut(Shape),
) -> Result<(), BatchError> {
    Walker { from, left: 0 }.all(first, header, visit).map_err(|e| e.into_batch(header.compression(), limit))
}

/// Takes one sound record from the front of a section that is in memory, several times as fast as the [`Walker`] reads
/// it from a stream. What looks odd stays where it is, for the walker to say what is wrong with it.
#[inline]
fn take(section: &mut &[u8], index: i32) -> Option<Shape> {
    let mut rest = *section;
    let length = varint::take_i32(&mut rest)?;
    let (body, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let (_attributes, mut body) = body.split_first()?;
    let timestamp_delta = varint::take_i64(&mut body)?;
    let offset_delta = varint::take_i32(&mut body)?;
    let has_key = take_field(&mut body)?;
    take_field(&mut body)?;
    for _ in 0..u32::try_from(varint::take_i32(&mut body)?).ok()? {
        take_field(&mut body)?.then_some(())?;
        take_field(&mut body)?;
    }
    body.is_empty().then_some(())?;
    *section = rest;
    Some(Shape { index, offset_delta, timestamp_delta, has_key })
}

/// Takes a field; false if it is null.
#[inline]
fn take_field(body: &mut &[u8]) -> Option<bool> {
    match varint::take_i32(body)? {
        -1 => Some(false),
        length => {
            *body = body.get(usize::try_from(length).ok()?..)?;
            Some(true)
        }
    }
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
    /// The records from the `first` on.
    fn all(&mut self, first: i32, header: &BatchHeader, visit: &mut impl FnMut(Shape)) -> Result<(), Fault> {
        let announced = header.records_count;
        for index in first..announced {
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
