//! The frame around messages: lengths, request headers, response headers.

use bytes::{Bytes, BytesMut};
use strata_protocol::messages::FetchRequest;
use strata_protocol::{Decoder, decode_request_header, frame};

use crate::Target;
use crate::memory::most_held;
use crate::messages::memory_bytes_max;

/// The largest frame that [`stream`] lets through.
const FRAME_BYTES_MAX: usize = 256;

pub(crate) fn targets() -> Vec<Target> {
    vec![
        Target { name: "frame-stream", run: stream },
        Target { name: "frame-request-header", run: request_header },
        Target { name: "frame-response", run: response },
    ]
}

/// A stream cut into frames: none is over the limit, and all bytes are accounted for.
fn stream(input: &[u8]) {
    let mut received = BytesMut::from(input);
    let mut taken = 0;
    while let Ok(Some(frame)) = frame::take_frame(&mut received, FRAME_BYTES_MAX) {
        assert!(frame.len() <= FRAME_BYTES_MAX);
        taken += 4 + frame.len();
    }
    assert_eq!(taken + received.len(), input.len());
}

fn request_header(input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    let (_, held) = most_held(|| decode_request_header(&mut Decoder::new(input.clone())));
    assert!(held <= memory_bytes_max(input.len()), "{held} bytes for a header of {}", input.len());
}

/// What a client reads: a response's header and body.
fn response(input: &[u8]) {
    let Some((&version, frame)) = input.split_first() else { return };
    let frame = Bytes::copy_from_slice(frame);
    let (_, held) = most_held(|| frame::decode_response::<FetchRequest>(frame.clone(), i16::from(version)));
    assert!(held <= memory_bytes_max(frame.len()), "{held} bytes for a response of {}", frame.len());
}
