//! Request frames: a length of four bytes, then that many.
//!
//! A peer may announce what it likes; memory follows what it sends. The buffer grows by what has arrived (doubling, so
//! that the copies stay cheap), and a connection that has once sent a large frame has earned a buffer of that size at
//! once. A connection at rest holds no buffer.

use std::io;

use super::transport::Transport;
use bytes::{Bytes, BytesMut};

/// What a connection may make us set aside before it has sent anything.
const FIRST_READ_BYTES: usize = 4 * 1024;
/// A frame is expected to be as long as the one before it, if that was not longer than this: it then takes one read
/// instead of two.
const LIKE_LAST_BYTES_MAX: usize = 96 * 1024;
/// The least by which the buffer of a large frame grows.
const GROWTH_BYTES_MIN: usize = 64 * 1024;
/// The most that earlier frames can earn.
const EARNED_BYTES_MAX: usize = 16 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;
/// Key, version and correlation id: nothing shorter is a request.
const REQUEST_BYTES_MIN: usize = 8;

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The peer ended the connection between two frames, as it may.
    #[error("the connection ended")]
    Ended,
    #[error("the connection ended within a request")]
    Cut,
    #[error("what came is {0}, not a Kafka request")]
    Foreign(&'static str),
    #[error("a request of {bytes} bytes was announced; allowed are {bytes_min} to {bytes_max}")]
    Length { bytes: i32, bytes_min: usize, bytes_max: usize },
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// Cuts a stream into frames.
pub(crate) struct FrameReader {
    buffer: BytesMut,
    frame_bytes_max: usize,
    earned_bytes: usize,
    /// The last frame's length.
    last_bytes: usize,
    /// Less than `frame_bytes_max`, until the peer has authenticated; what comes may then be shorter than a request.
    unauthenticated_bytes_max: Option<usize>,
}

impl FrameReader {
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            frame_bytes_max,
            earned_bytes: 0,
            last_bytes: 0,
            unauthenticated_bytes_max: None,
        }
    }

    /// The next frame, without its length. `arrived` is told of every read.
    pub(super) async fn next(&mut self, stream: &Transport, arrived: impl Fn()) -> Result<Bytes, FrameError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            stream.ready().await?;
            self.make_room()?;
            match stream.try_read(&mut self.buffer) {
                Ok(0) if self.buffer.is_empty() => return Err(FrameError::Ended),
                Ok(0) => return Err(FrameError::Cut),
                Ok(_) => arrived(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.release(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What frames may be from the next one on.
    pub(super) fn limit(&mut self, unauthenticated_bytes_max: Option<usize>) {
        self.unauthenticated_bytes_max = unauthenticated_bytes_max;
    }

    fn take(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(length) = self.length()? else { return Ok(None) };
        if self.buffer.len() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(LENGTH_BYTES + length);
        self.release();
        self.earned_bytes = self.earned_bytes.max(length.min(EARNED_BYTES_MAX));
        self.last_bytes = length;
        let _ = frame.split_to(LENGTH_BYTES);
        Ok(Some(frame.freeze()))
    }

    /// The announced length, once its four bytes are there.
    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let bytes = i32::from_be_bytes(*prefix);
        let length = usize::try_from(bytes).ok();
        let (bytes_min, bytes_max) = match self.unauthenticated_bytes_max {
            Some(bytes_max) => (1, bytes_max.min(self.frame_bytes_max)),
            None => (REQUEST_BYTES_MIN, self.frame_bytes_max),
        };
        match length.filter(|length| (bytes_min..=bytes_max).contains(length)) {
            Some(length) => Ok(Some(length)),
            None => Err(foreign(prefix)
                .map_or(FrameError::Length { bytes, bytes_min, bytes_max }, FrameError::Foreign)),
        }
    }

    fn make_room(&mut self) -> Result<(), FrameError> {
        let missing = match self.length()? {
            None if self.last_bytes <= LIKE_LAST_BYTES_MAX => {
                (LENGTH_BYTES + self.last_bytes).max(FIRST_READ_BYTES)
            }
            None => FIRST_READ_BYTES,
            Some(length) => {
                let missing = LENGTH_BYTES + length - self.buffer.len();
                missing.min(self.earned_bytes.max(self.buffer.len()).max(GROWTH_BYTES_MIN))
            }
        };
        // Spare room from a frame before it is used up first.
        if self.buffer.capacity() == self.buffer.len() || self.buffer.is_empty() {
            self.buffer.reserve(missing);
        }
        Ok(())
    }

    fn release(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

/// What other protocols' first bytes are, so that the log names the cause.
fn foreign(prefix: &[u8; LENGTH_BYTES]) -> Option<&'static str> {
    match prefix {
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"PATC" | b"CONN" | b"PRI " => {
            Some("HTTP")
        }
        // A handshake record of TLS 1.x.
        [0x16, 0x03, _, _] => Some("TLS"),
        b"SSH-" => Some("SSH"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(connect, listener.accept());
        (near.unwrap(), Transport::Plain(far.unwrap().0))
    }

    async fn error_after(bytes: &[u8]) -> FrameError {
        let (mut near, far) = pair().await;
        near.write_all(bytes).await.unwrap();
        near.shutdown().await.unwrap();
        FrameReader::new(100).next(&far, || {}).await.unwrap_err()
    }

    #[tokio::test]
    async fn frames_come_out_as_they_went_in() {
        let (mut near, far) = pair().await;
        let large = vec![7u8; 1_000_000];
        let send = async {
            near.write_all(&[0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]).await.unwrap();
            near.write_all(&[0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]).await.unwrap();
            near.write_all(&(large.len() as u32).to_be_bytes()).await.unwrap();
            near.write_all(&large).await.unwrap();
        };
        let receive = async {
            let mut reader = FrameReader::new(1_000_000);
            assert_eq!(reader.next(&far, || {}).await.unwrap(), [1, 2, 3, 4, 5, 6, 7, 8][..]);
            assert_eq!(reader.next(&far, || {}).await.unwrap(), [9; 9][..]);
            assert_eq!(reader.next(&far, || {}).await.unwrap(), large[..]);
            assert_eq!(reader.buffer.capacity(), 0, "a connection at rest holds no buffer");
        };
        tokio::join!(send, receive);
    }

    #[tokio::test]
    async fn a_frame_like_the_last_one_takes_one_read() {
        let (mut near, far) = pair().await;
        let frame = [&[0, 0, 0x40, 0][..], &[7; 0x4000]].concat();
        let mut reader = FrameReader::new(1_000_000);
        for reads_max in [2, 1] {
            near.write_all(&frame).await.unwrap();
            // All of it is there before the first read.
            while peeked(&far).await < frame.len() {
                tokio::task::yield_now().await;
            }
            let reads = std::cell::Cell::new(0);
            assert_eq!(reader.next(&far, || reads.set(reads.get() + 1)).await.unwrap(), frame[4..]);
            assert_eq!(reads.get(), reads_max);
        }
    }

    async fn peeked(far: &Transport) -> usize {
        let Transport::Plain(stream) = far else { unreachable!("the pair is plain") };
        stream.peek(&mut vec![0; 0x8000]).await.unwrap()
    }

    #[tokio::test]
    async fn an_announced_length_is_not_allocated() {
        let (mut near, far) = pair().await;
        near.write_all(&i32::MAX.to_be_bytes()).await.unwrap();
        near.write_all(&[0; 10]).await.unwrap();
        near.shutdown().await.unwrap();
        let mut reader = FrameReader::new(i32::MAX as usize);
        assert!(matches!(reader.next(&far, || {}).await, Err(FrameError::Cut)));
        assert!(reader.buffer.capacity() <= 2 * GROWTH_BYTES_MIN, "{}", reader.buffer.capacity());
    }

    #[tokio::test]
    async fn impossible_lengths_are_refused() {
        for bytes in [-1, 0, 1, 7, 101, i32::MAX, i32::MIN] {
            let error = error_after(&i32::to_be_bytes(bytes)).await;
            assert!(matches!(error, FrameError::Length { bytes: b, .. } if b == bytes), "{error}");
        }
    }

    #[tokio::test]
    async fn foreign_protocols_are_named() {
        for (bytes, name) in [(&b"GET / HTTP/1.1\r\n"[..], "HTTP"), (&[0x16, 3, 1, 2, 0, 1], "TLS")] {
            let error = error_after(bytes).await.to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[tokio::test]
    async fn a_cut_frame_is_told_from_an_end() {
        assert!(matches!(error_after(&[]).await, FrameError::Ended));
        assert!(matches!(error_after(&[0, 0]).await, FrameError::Cut));
        assert!(matches!(error_after(&[0, 0, 0, 9, 1]).await, FrameError::Cut));
    }
}
