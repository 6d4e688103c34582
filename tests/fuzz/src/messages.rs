//! One target for every message of the schemas: requests, responses, headers, the coordinators' and the metadata's records.
//!
//! The first byte of the input chooses among the message's versions, the rest is the message.

use bytes::Bytes;
use strata_protocol::{Decoder, Message, for_each_message, messages};

use crate::Target;
use crate::memory::most_held;

/// `Decoder`'s own promise: what decoding a frame of this size may hold.
pub(crate) fn memory_bytes_max(frame_bytes: usize) -> usize {
    16 * frame_bytes + 64 * 1024
}

pub(crate) fn targets() -> Vec<Target> {
    macro_rules! each {
        ($($message:ident)+) => {
            vec![$(Target { name: messages::$message::NAME, run: check::<messages::$message> }),+]
        };
    }
    for_each_message!(each)
}

/// Decodes within bounded memory; what decodes can be encoded, and then decodes to what encodes the same.
fn check<M: Message>(input: &[u8]) {
    let Some((&choice, body)) = input.split_first() else { return };
    let (first, last) = (*M::VERSIONS.start(), *M::VERSIONS.end());
    let version = first + i16::from(choice) % (last - first + 1).max(1);
    let body = Bytes::copy_from_slice(body);
    let (decoded, held) = most_held(|| M::decode(&mut Decoder::new(body.clone()), version));
    assert!(held <= memory_bytes_max(body.len()), "{held} bytes for a message of {}", body.len());
    let Ok(decoded) = decoded else { return };
    let encoded = decoded.to_bytes(version).expect("what was decoded can be encoded");
    let again = M::from_bytes(encoded.clone(), version).expect("what was encoded can be decoded");
    let twice = again.to_bytes(version).expect("what was decoded can be encoded");
    assert_eq!(twice, encoded, "{decoded:?} became {again:?}");
}
