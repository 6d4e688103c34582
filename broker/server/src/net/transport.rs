//! What a connection reads from and writes to: the socket itself, or TLS over it.
//!
//! ```text
//! reader ─▶ ready ─▶ try_read ─┬─ plain: socket
//!                              └─ TLS: socket ─▶ rustls ─▶ plaintext
//! writer ─▶ write ─────────────┬─ plain: vectored writes, sendfile
//!                              └─ TLS: one bounded buffer ─▶ rustls ─▶ socket
//! ```

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use rustls::ServerConnection;
use strata_protocol::{Chunk, Encoded, FileRange};
use tokio::net::TcpStream;

use super::writer;

/// Plaintext that is handed to TLS at once, and the most of a file that is in memory for a connection.
const PLAINTEXT_BYTES_MAX: usize = 64 * 1024;

/// A connection's two directions, which may be used at the same time.
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

/// An established TLS connection.
pub(super) struct Tls {
    stream: TcpStream,
    session: Mutex<ServerConnection>,
}

impl Transport {
    pub(super) fn tls(stream: TcpStream, session: ServerConnection) -> Self {
        Self::Tls(Box::new(Tls { stream, session: Mutex::new(session) }))
    }

    /// Resolves when there may be something to read.
    pub(super) async fn ready(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.readable().await,
            Self::Tls(tls) => tls.ready().await,
        }
    }

    /// Appends what is there, as far as there is room; 0 at the end, `WouldBlock` when nothing is there.
    pub(super) fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read_buf(buffer),
            Self::Tls(tls) => tls.try_read(buffer),
        }
    }

    /// Writes one framed answer. `sent` is told of every write that moved something.
    pub(super) async fn write(&self, answer: Encoded, sent: impl Fn()) -> io::Result<()> {
        match self {
            Self::Plain(stream) => writer::write(stream, answer, sent).await,
            Self::Tls(tls) => tls.write(answer, &sent).await,
        }
    }
}

impl Tls {
    async fn ready(&self) -> io::Result<()> {
        let buffered = self.plaintext_bytes()? > 0;
        if buffered { Ok(()) } else { self.stream.readable().await }
    }

    fn plaintext_bytes(&self) -> io::Result<usize> {
        let state = self.session.lock().process_new_packets().map_err(broken)?;
        Ok(state.plaintext_bytes_to_read())
    }

    fn try_read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut session = self.session.lock();
        loop {
            let state = session.process_new_packets().map_err(broken);
            if session.wants_write() {
                // What TLS itself has to say: an alert, a key update. What does not go out now goes with the next answer.
                let _ = session.write_tls(&mut Socket(&self.stream));
            }
            let state = state?;
            let there = state.plaintext_bytes_to_read();
            if there > 0 {
                let start = buffer.len();
                let room = (buffer.capacity() - start).min(there);
                buffer.resize(start + room, 0);
                let read = session.reader().read(&mut buffer[start..]);
                buffer.truncate(start + read.as_ref().map_or(0, |read| *read));
                return read;
            }
            if state.peer_has_closed() {
                return Ok(0);
            }
            if session.read_tls(&mut Socket(&self.stream))? == 0 {
                return Ok(0);
            }
        }
    }

    async fn write(&self, answer: Encoded, sent: &impl Fn()) -> io::Result<()> {
        for chunk in answer.chunks {
            match chunk {
                Chunk::Bytes(mut bytes) => {
                    while bytes.has_remaining() {
                        let part = bytes.split_to(bytes.len().min(PLAINTEXT_BYTES_MAX));
                        self.write_part(&part, sent).await?;
                    }
                }
                Chunk::File(range) => self.write_file(&range, sent).await?,
            }
        }
        Ok(())
    }

    async fn write_file(&self, range: &FileRange, sent: &impl Fn()) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut buffer = vec![0; PLAINTEXT_BYTES_MAX.min(range.bytes)];
        let mut done = 0;
        while done < range.bytes {
            let part = buffer.len().min(range.bytes - done);
            let part = &mut buffer[..part];
            range.file.read_exact_at(part, range.position + done as u64)?;
            self.write_part(part, sent).await?;
            done += part.len();
        }
        Ok(())
    }

    /// Encrypts and sends a part. rustls takes as much as its own buffer allows, so that nothing piles up.
    async fn write_part(&self, mut part: &[u8], sent: &impl Fn()) -> io::Result<()> {
        loop {
            let (taken, wants_write) = {
                let mut session = self.session.lock();
                let taken = if part.is_empty() { 0 } else { session.writer().write(part)? };
                (taken, session.wants_write())
            };
            part = &part[taken..];
            if !wants_write {
                match part.is_empty() {
                    true => return Ok(()),
                    false => return Err(io::ErrorKind::WriteZero.into()),
                }
            }
            self.stream.writable().await?;
            let written = self.session.lock().write_tls(&mut Socket(&self.stream));
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => sent(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The socket, as rustls uses one: without waiting.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
