//! One connection, down to its bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use strata_protocol::frame::{decode_response, encode_request, take_frame};
use strata_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use strata_protocol::{Request, Str};

/// How long the broker may take to answer or to close.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const FRAME_BYTES_MAX: usize = 16 << 20;
const READ_BYTES: usize = 64 << 10;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A frame, without its length.
    Frame(Bytes),
    /// The connection is closed.
    Closed,
}

#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    received: BytesMut,
    correlation_id: i32,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream, received: BytesMut::new(), correlation_id: 0 })
    }

    /// Sends bytes as they are. That the broker has closed in the meantime is no error: [`Self::answer`] will tell.
    pub fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self.stream.write_all(bytes) {
            Err(error) if !is_closed(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Tells the broker that nothing more will come, but still listens.
    pub fn send_end(&mut self) -> anyhow::Result<()> {
        match self.stream.shutdown(Shutdown::Write) {
            Err(error) if !is_closed(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Waits for the next frame or the end. Neither in time is an error.
    pub fn answer(&mut self) -> anyhow::Result<Answer> {
        loop {
            if let Some(frame) = take_frame(&mut self.received, FRAME_BYTES_MAX)? {
                return Ok(Answer::Frame(frame));
            }
            let mut buffer = [0; READ_BYTES];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(Answer::Closed),
                Ok(bytes) => self.received.extend_from_slice(&buffer[..bytes]),
                Err(error) if is_closed(&error) => return Ok(Answer::Closed),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    bail!("neither an answer nor the end in {ANSWER_MAX:?}")
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks, and waits for the answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        self.correlation_id += 1;
        let sent = self.correlation_id;
        self.send(&encode_request(sent, &Str::from_static("e2e"), version, request)?.to_bytes())?;
        let Answer::Frame(frame) = self.answer()? else {
            bail!("closed, instead of an answer to {}", R::KEY.name())
        };
        let (correlation_id, response) = decode_response::<R>(frame, version)?;
        ensure!(correlation_id == sent, "the answer to {correlation_id} instead of {sent}");
        Ok(response)
    }

    /// The smallest question there is.
    pub fn api_versions(&mut self) -> anyhow::Result<ApiVersionsResponse> {
        let response = self.call(0, &ApiVersionsRequest::default()).context("ApiVersions")?;
        ensure!(response.error_code == 0, "ApiVersions answers error {}", response.error_code);
        Ok(response)
    }
}

/// A request frame with any body: length, header without a client id, body. `flexible` is the second version of the header.
pub fn frame(key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes()); // correlation id
    frame.extend((-1_i16).to_be_bytes()); // client id
    if flexible {
        frame.push(0); // tagged fields
    }
    frame.extend(body);
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
    )
}
