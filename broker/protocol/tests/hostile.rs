//! Bytes that lie: every length, count and tag that is not what it says gets a typed error, and the memory that a frame
//! can make us take is bounded by the frame's own size.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use memory::most_held;
use proptest::prelude::*;
use strata_protocol::messages::{MetadataRequest, RequestHeader, SaslHandshakeRequest, ShareFetchRequest};
use strata_protocol::{
    DecodeError, Decoder, Message, decode_request_header, for_each_message, frame, messages,
};

/// Shared with the fuzz targets, which hold the decoders to the same promise.
#[path = "../../../tests/fuzz/src/memory.rs"]
mod memory;

/// What decoding a frame of this size may take: `Decoder`'s own promise.
fn memory_bytes_max(frame_bytes: usize) -> usize {
    16 * frame_bytes + 64 * 1024
}

fn decode_all(bytes: &Bytes, version: i16) {
    macro_rules! each {
        ($($message:ident)+) => {{ $( let _ = messages::$message::decode(&mut Decoder::new(bytes.clone()), version); )+ }};
    }
    for_each_message!(each);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_or_err_within_bounded_memory(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..4], 0..300),
        version in 0i16..19,
    ) {
        let bytes = Bytes::from(bytes);
        let ((), held) = most_held(|| decode_all(&bytes, version));
        prop_assert!(held <= memory_bytes_max(bytes.len()), "{held} bytes for a frame of {}", bytes.len());
    }
}

#[test]
fn every_byte_of_a_request_may_be_wrong() {
    let request = ShareFetchRequest {
        group_id: Some("group".into()),
        member_id: Some("member".into()),
        topics: vec![messages::share_fetch_request::FetchTopic::default(); 3],
        ..Default::default()
    };
    let good = request.to_bytes(1).unwrap();
    for at in 0..good.len() {
        for wrong in [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff] {
            let mut bytes = good.to_vec();
            bytes[at] = wrong;
            let _ = ShareFetchRequest::from_bytes(bytes.into(), 1);
        }
        assert!(ShareFetchRequest::from_bytes(good.slice(..at), 1).is_err(), "cut at {at}");
    }
}

#[test]
fn a_frame_of_empty_elements_is_refused_before_it_is_multiplied() {
    // Two million topics without a name, two bytes each.
    let count = 2_000_000;
    let mut bytes = vec![0u8; 4 + 2 * count];
    bytes[..4].copy_from_slice(&(count as u32).to_be_bytes());
    let bytes = Bytes::from(bytes);
    let ((), held) = most_held(|| {
        let refused = MetadataRequest::from_bytes(bytes.clone(), 0);
        assert!(matches!(refused, Err(DecodeError::TooMuchMemory { .. })), "{refused:?}");
    });
    assert!(held < 4096, "{held} bytes");
}

fn metadata(count: [u8; 4]) -> Result<MetadataRequest, DecodeError> {
    MetadataRequest::from_bytes(Bytes::copy_from_slice(&count), 0)
}

#[test]
fn array_count_of_minus_one_is_null_and_refused_where_null_may_not_be() {
    assert_eq!(metadata([0xff; 4]), Err(DecodeError::UnexpectedNull));
    let nullable = MetadataRequest::from_bytes(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]), 1);
    assert_eq!(nullable.map(|request| request.topics), Ok(None));
}

#[test]
fn array_count_of_minus_two_is_refused() {
    assert_eq!(metadata([0xff, 0xff, 0xff, 0xfe]), Err(DecodeError::NegativeLength(-2)));
}

#[test]
fn array_count_of_two_billion_is_refused_without_allocating() {
    let ((), held) = most_held(|| {
        let refused = metadata([0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(refused, Err(DecodeError::ArrayTooLong { count: i32::MAX as usize, remaining: 0 }));
    });
    assert!(held < 4096, "{held} bytes");
}

#[test]
fn compact_array_count_of_four_billion_is_refused() {
    let frame = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]);
    let refused = MetadataRequest::from_bytes(frame, 12);
    assert_eq!(refused, Err(DecodeError::ArrayTooLong { count: u32::MAX as usize - 1, remaining: 3 }));
}

fn string(length: [u8; 2]) -> Result<SaslHandshakeRequest, DecodeError> {
    SaslHandshakeRequest::from_bytes(Bytes::copy_from_slice(&length), 0)
}

#[test]
fn string_length_of_minus_one_is_null_and_refused_where_null_may_not_be() {
    assert_eq!(string([0xff, 0xff]), Err(DecodeError::UnexpectedNull));
}

#[test]
fn string_length_of_minus_two_is_refused() {
    assert_eq!(string([0xff, 0xfe]), Err(DecodeError::NegativeLength(-2)));
}

#[test]
fn string_longer_than_the_frame_is_refused() {
    assert_eq!(string([0x7f, 0xff]), Err(DecodeError::Truncated { needed: 32767, remaining: 0 }));
}

#[test]
fn compact_string_over_kafkas_limit_is_refused() {
    let mut d = Decoder::new(Bytes::from_static(&[0xff, 0xff, 0x7f]));
    assert_eq!(d.string(true), Err(DecodeError::StringTooLong((1 << 21) - 2)));
}

#[test]
fn string_that_is_not_utf8_is_refused() {
    let mut d = Decoder::new(Bytes::from_static(&[0, 2, 0xc3, 0x28]));
    assert_eq!(d.string(false), Err(DecodeError::NotUtf8));
}

#[test]
fn lying_lengths_of_bytes_are_refused() {
    let bytes = |frame: &'static [u8]| Decoder::new(Bytes::from_static(frame)).bytes(false);
    assert_eq!(bytes(&[0xff, 0xff, 0xff, 0xff]), Err(DecodeError::UnexpectedNull));
    assert_eq!(bytes(&[0xff, 0xff, 0xff, 0xfe]), Err(DecodeError::NegativeLength(-2)));
    let needed = i32::MAX as usize;
    assert_eq!(bytes(&[0x7f, 0xff, 0xff, 0xff, 0]), Err(DecodeError::Truncated { needed, remaining: 1 }));
}

fn tagged(frame: &'static [u8]) -> Result<usize, DecodeError> {
    Decoder::new(Bytes::from_static(frame)).unknown_tagged_fields().map(|fields| fields.len())
}

#[test]
fn tagged_field_counts_and_sizes_that_lie_are_refused() {
    assert_eq!(tagged(&[2, 5, 1, 0xaa, 6, 0]), Ok(2));
    assert_eq!(
        tagged(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
        Err(DecodeError::Truncated { needed: 1, remaining: 0 })
    );
    let needed = (1 << 28) - 1;
    assert_eq!(tagged(&[1, 5, 0xff, 0xff, 0xff, 0x7f]), Err(DecodeError::Truncated { needed, remaining: 0 }));
}

#[test]
fn a_tag_that_is_there_twice_is_refused() {
    assert_eq!(tagged(&[2, 5, 0, 5, 0]), Err(DecodeError::UnorderedTag { tag: 5, previous: 5 }));
    assert_eq!(tagged(&[2, 5, 0, 4, 0]), Err(DecodeError::UnorderedTag { tag: 4, previous: 5 }));
}

#[test]
fn a_tagged_field_longer_than_its_value_is_refused() {
    // The response header's tags are unknown to us; FetchRequest knows tag 0, the cluster id.
    let mut request = messages::FetchRequest::default().to_bytes(12).unwrap().to_vec();
    assert_eq!(request.pop(), Some(0), "no tagged fields");
    request.extend([1, 0, 3, 1, 9, 9]);
    let refused = messages::FetchRequest::from_bytes(request.into(), 12);
    assert_eq!(refused, Err(DecodeError::TaggedFieldSize { tag: 0, left: 2 }));
}

#[test]
fn varints_that_do_not_end_are_refused() {
    let decoder = || Decoder::new(Bytes::from_static(&[0xff; 11]));
    assert_eq!(decoder().uvarint(), Err(DecodeError::VarintTooLong));
    assert_eq!(decoder().varint(), Err(DecodeError::VarintTooLong));
    assert_eq!(decoder().varlong(), Err(DecodeError::VarintTooLong));
    let over_32_bits = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x1f]);
    assert_eq!(Decoder::new(over_32_bits).uvarint(), Err(DecodeError::VarintTooLong));
    let over_64_bits = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]);
    assert_eq!(Decoder::new(over_64_bits).varlong(), Err(DecodeError::VarintTooLong));
}

#[test]
fn unknown_tagged_fields_are_passed_on() {
    let frame = Bytes::from_static(&[0, 18, 0, 3, 0, 0, 0, 7, 0, 1, b'c', 1, 9, 2, 1, 2]);
    let header = decode_request_header(&mut Decoder::new(frame.clone())).unwrap();
    assert_eq!(header.unknown_tagged_fields[0].tag, 9);
    assert_eq!(header.to_bytes(2).unwrap(), frame);
}

#[test]
fn an_unknown_key_has_no_header_and_an_unknown_version_has() {
    let header = |key: i16, version: i16| {
        let header =
            RequestHeader { request_api_key: key, request_api_version: version, ..Default::default() };
        decode_request_header(&mut Decoder::new(header.to_bytes(2).unwrap())).map(|h| h.request_api_version)
    };
    assert_eq!(header(4, 1), Err(DecodeError::UnknownApiKey(4)));
    assert_eq!(header(999, 1), Err(DecodeError::UnknownApiKey(999)));
    assert_eq!(header(18, 99), Ok(99));
}

#[test]
fn frame_lengths_that_lie_are_refused() {
    let take = |bytes: &[u8]| frame::take_frame(&mut bytes.into(), 100);
    let refused = |length| Err(frame::FrameError::Length { length, frame_bytes_max: 100 });
    assert_eq!(take(&[0xff, 0xff, 0xff, 0xff]), refused(-1));
    assert_eq!(take(&[0x7f, 0xff, 0xff, 0xff]), refused(i32::MAX));
    assert_eq!(take(&[0, 0, 0, 101]), refused(101));
    assert_eq!(take(&[0, 0, 0, 100, 1]), Ok(None));
    assert_eq!(take(&[0, 0]), Ok(None));
    assert_eq!(take(&[0, 0, 0, 1, 7, 8]), Ok(Some(Bytes::from_static(&[7]))));
}

#[test]
fn decoding_does_not_panic_on_a_cut_frame() {
    let whole = messages::FetchResponse::default().to_bytes(12).unwrap();
    for at in 0..whole.len() {
        let cut = whole.slice(..at);
        let outcome = catch_unwind(AssertUnwindSafe(|| messages::FetchResponse::from_bytes(cut, 12)));
        assert!(matches!(outcome, Ok(Err(_))), "cut at {at}");
    }
}
