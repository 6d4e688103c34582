//! Frames: a length, a header, a message.
//!
//! ```text
//! | length: i32 | request header: key, version, correlation id, client id | request  |
//! | length: i32 | response header: correlation id                         | response |
//! ```

use bytes::{Buf, Bytes, BytesMut};

use crate::messages::{RequestHeader, ResponseHeader};
use crate::{ApiKey, DecodeError, Decoder, EncodeError, Encoded, Encoder, Message, Request, Str};

/// Reads a request's header, whose version follows from the key and version that it opens with.
///
/// # Errors
/// [`DecodeError::UnknownApiKey`] when we do not know the key, and so not the header either. A version that we do not
/// know is not an error here: ApiVersions is answered all the same.
pub fn decode_request_header(d: &mut Decoder) -> Result<RequestHeader, DecodeError> {
    let mut peek = d.clone();
    let (key, version) = (peek.i16()?, peek.i16()?);
    let key = ApiKey::from_i16(key).ok_or(DecodeError::UnknownApiKey(key))?;
    RequestHeader::decode(d, key.request_header_version(version))
}

/// Reads a response's header, and then the response.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let mut d = Decoder::new(frame);
    let header = ResponseHeader::decode(&mut d, R::KEY.response_header_version(version))?;
    let response = R::Response::decode(&mut d, version)?;
    d.finish()?;
    Ok((header.correlation_id, response))
}

/// A whole request frame, its length included.
pub fn encode_request<R: Request>(
    correlation_id: i32,
    client_id: &Str,
    version: i16,
    request: &R,
) -> Result<Encoded, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY as i16,
        request_api_version: version,
        correlation_id,
        client_id: Some(client_id.clone()),
        ..Default::default()
    };
    let mut body = Encoder::new();
    header.encode(&mut body, R::KEY.request_header_version(version))?;
    request.encode(&mut body, version)?;
    framed(body)
}

/// A whole response frame, its length included.
pub fn encode_response<M: Message>(
    correlation_id: i32,
    key: ApiKey,
    version: i16,
    response: &M,
) -> Result<Encoded, EncodeError> {
    let header = ResponseHeader { correlation_id, ..Default::default() };
    let mut body = Encoder::new();
    header.encode(&mut body, key.response_header_version(version))?;
    response.encode(&mut body, version)?;
    framed(body)
}

fn framed(body: Encoder) -> Result<Encoded, EncodeError> {
    let limit = i32::MAX as usize;
    let length = i32::try_from(body.len()).map_err(|_| EncodeError::TooLong {
        field: "frame",
        length: body.len(),
        limit,
    })?;
    let mut frame = Encoder::new();
    frame.i32(length);
    frame.append(body);
    Ok(frame.finish())
}

/// Takes one whole frame, without its length, from the front of what has been received so far; `None` when more must
/// come. Refuses a length that is negative or over `frame_bytes_max` before anything of that size is kept.
pub fn take_frame(received: &mut BytesMut, frame_bytes_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = received.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let bytes = usize::try_from(length).map_err(|_| FrameError::Length { length, frame_bytes_max })?;
    if bytes > frame_bytes_max {
        return Err(FrameError::Length { length, frame_bytes_max });
    }
    if received.len() - 4 < bytes {
        return Ok(None);
    }
    received.advance(4);
    Ok(Some(received.split_to(bytes).freeze()))
}

/// Why a peer's stream cannot be cut into frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {length} bytes; it must be from 0 to {frame_bytes_max}")]
    Length { length: i32, frame_bytes_max: usize },
}
