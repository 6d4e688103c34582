//! Kafka's messages and record batches: sans-IO.
//!
//! ```text
//! schemas/*.txt --build.rs--> messages::*        one struct for every request, response, header and record
//!                                 |
//!     Bytes --> Decoder --> Message --> Encoder --> Encoded (a rope of buffers and file ranges)
//! ```
//!
//! Decoding shares the frame's buffer: a string or a batch is a slice of it, never a copy. Encoding keeps large buffers
//! and file ranges as they are, so that a response can be handed to the kernel piece by piece.
//!
//! No length from the wire is believed before that many bytes are known to be there.

mod api_key;
mod decode;
mod encode;
mod encoded;
mod error;
pub mod frame;
mod message;
pub mod records;
mod str;

pub use api_key::ApiKey;
pub use decode::Decoder;
pub use encode::{Encoder, TaggedFields};
pub use encoded::{Chunk, Encoded, FileRange, Records};
pub use error::{DecodeError, EncodeError};
pub use frame::decode_request_header;
pub use message::{Message, RawTaggedField, Request, Response, TypedRecord};
pub use str::Str;

/// Every message that Kafka speaks, generated from `schemas/`. A message's own structs are in the module of its name:
/// `messages::ProduceRequest` and `messages::produce_request::TopicProduceData`.
///
/// Fields have Kafka's defaults. Beware that a nullable field without a default of its own starts as *empty*, not as
/// null, as in Kafka: say `error_message: None` where null is meant.
#[allow(clippy::all, unused_variables, unused_qualifications, unreachable_pub, unused_imports)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

/// What each generated module uses.
mod generated_prelude {
    pub(crate) use bytes::Bytes;
    pub(crate) use uuid::Uuid;

    pub(crate) use crate::{
        ApiKey, DecodeError, Decoder, EncodeError, Encoder, Message, RawTaggedField, Records, Request,
        Response, Str, TaggedFields, TypedRecord,
    };
}
