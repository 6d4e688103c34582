//! What every generated message can do.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{ApiKey, DecodeError, Decoder, EncodeError, Encoded, Encoder};

/// A request, response, header or record.
pub trait Message: Sized + Default + Clone + Debug + PartialEq + Send + Sync + 'static {
    /// Kafka's name: `FetchRequest`.
    const NAME: &'static str;
    /// The versions that can be decoded and encoded.
    const VERSIONS: RangeInclusive<i16>;

    /// Reads the message. Fields that the version lacks have their defaults.
    fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        Self::decode_body(d, version)
    }

    /// Writes the message. A value that the version cannot carry is an error, unless Kafka says to drop it.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        self.encode_body(e, version)
    }

    /// Reads a buffer that holds the message and nothing else.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let message = Self::decode(&mut d, version)?;
        d.finish()?;
        Ok(message)
    }

    /// The message alone, in one buffer.
    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        Ok(self.to_encoded(version)?.to_bytes())
    }

    /// The message alone.
    fn to_encoded(&self, version: i16) -> Result<Encoded, EncodeError> {
        let mut e = Encoder::new();
        self.encode(&mut e, version)?;
        Ok(e.finish())
    }

    /// Reads the fields; the version has been checked.
    #[doc(hidden)]
    fn decode_body(d: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// Writes the fields; the version has been checked.
    #[doc(hidden)]
    fn encode_body(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError>;
}

/// A message that is answered.
pub trait Request: Message {
    const KEY: ApiKey;
    type Response: Response;
}

/// What a request is answered with.
pub trait Response: Message {
    /// Says for how long the client shall send nothing more (KIP-219), in the responses that can.
    fn set_throttle_time_ms(&mut self, _ms: i32) {}

    /// What the response says so far; 0 where it has no room for it.
    fn throttle_time_ms(&self) -> i32 {
        0
    }

    /// The first error code that it has, of all or of a part of what was asked.
    fn first_error(&self) -> Option<i16>;
}

/// A record of a coordinator's log or of the metadata log. Its type number is what tells it from others there: in a
/// coordinator's log it opens the key, in the metadata log it stands in the record's frame.
pub trait TypedRecord: Message {
    const TYPE: i16;
}

/// A tagged field that we do not know, kept so that it can be passed on (KIP-482).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTaggedField {
    pub tag: u32,
    pub data: Bytes,
}
