//! Answers on their way out: bytes by vectored writes, records straight from the file by `sendfile`.

use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use strata_protocol::{Chunk, Encoded, FileRange};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The most that one `sendfile` is asked for, so that one fast reader does not hold a thread for long.
const SENDFILE_BYTES_MAX: usize = 1024 * 1024;
/// The most pieces that one write is given; more go with the next one.
const SLICES_MAX: usize = 64;

/// Writes one framed answer. `sent` is told of every write that moved something.
pub(crate) async fn write(stream: &TcpStream, answer: Encoded, sent: impl Fn()) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(answer.chunks.len());
    for chunk in answer.chunks {
        match chunk {
            Chunk::Bytes(chunk) => bytes.push(chunk),
            Chunk::File(range) => {
                write_bytes(stream, &mut bytes, true, &sent).await?;
                send_file(stream, &range, &sent).await?;
            }
        }
    }
    write_bytes(stream, &mut bytes, false, &sent).await
}

/// Writes and empties `chunks`. `more`: records follow, so the kernel should not send a small packet for the head alone.
async fn write_bytes(
    stream: &TcpStream,
    chunks: &mut Vec<Bytes>,
    more: bool,
    sent: &impl Fn(),
) -> io::Result<()> {
    let mut next = 0;
    loop {
        next += chunks[next..].iter().take_while(|chunk| chunk.is_empty()).count();
        let rest = &mut chunks[next..];
        let Some(first) = rest.first() else { break };
        stream.writable().await?;
        let result = if more && rest.len() == 1 {
            stream.try_io(Interest::WRITABLE, || {
                Ok(send(stream, first, SendFlags::MORE | SendFlags::NOSIGNAL)?)
            })
        } else {
            let slices: Vec<IoSlice<'_>> =
                rest.iter().take(SLICES_MAX).map(|chunk| IoSlice::new(chunk)).collect();
            stream.try_write_vectored(&slices)
        };
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                advance(rest, written);
                sent();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    chunks.clear();
    Ok(())
}

fn advance(chunks: &mut [Bytes], mut written: usize) {
    for chunk in chunks {
        let part = written.min(chunk.len());
        chunk.advance(part);
        written -= part;
        if written == 0 {
            break;
        }
    }
}

async fn send_file(stream: &TcpStream, range: &FileRange, sent: &impl Fn()) -> io::Result<()> {
    let mut position = range.position;
    let end = range.position + range.bytes as u64;
    while position < end {
        stream.writable().await?;
        let count = SENDFILE_BYTES_MAX.min((end - position) as usize);
        let result = stream
            .try_io(Interest::WRITABLE, || Ok(sendfile(stream, &range.file, Some(&mut position), count)?));
        match result {
            // The answer's head has promised these bytes: there is no way on but to close the connection.
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a segment is shorter than its index said",
                ));
            }
            Ok(_) => sent(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
