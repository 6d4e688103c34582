//! What encoding keeps, and what it refuses.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use strata_protocol::messages::{
    FetchRequest, FetchResponse, MetadataRequest, ResponseHeader, SaslHandshakeRequest,
};
use strata_protocol::{Chunk, EncodeError, FileRange, Message, RawTaggedField, Records, Response, frame};

fn fetched(records: Records) -> FetchResponse {
    let partition = PartitionData { records: Some(records), ..Default::default() };
    let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

#[test]
fn a_large_batch_joins_the_rope_without_a_copy() {
    let batch = Bytes::from(vec![7; 1 << 20]);
    let encoded = fetched(batch.clone().into()).to_encoded(12).unwrap();
    let shared = encoded.chunks.iter().any(|chunk| {
        matches!(chunk, Chunk::Bytes(bytes) if bytes.as_ptr() == batch.as_ptr() && bytes.len() == batch.len())
    });
    assert!(shared, "{} chunks", encoded.chunks.len());
    assert_eq!(encoded.len(), encoded.to_bytes().len());
}

#[test]
fn a_file_range_stays_a_file_range_and_reads_as_its_bytes() {
    let mut file = tempfile();
    file.write_all(b"0123456789").unwrap();
    let range = FileRange { file: Arc::new(file), position: 2, bytes: 5 };
    let from_file = fetched(Records::FileRange(range.clone()));
    let key = strata_protocol::ApiKey::Fetch;
    let encoded = frame::encode_response(1, key, 12, &from_file).unwrap();
    assert!(encoded.chunks.contains(&Chunk::File(range)));
    let in_memory = fetched(Bytes::from_static(b"23456").into());
    assert_eq!(encoded.to_bytes(), frame::encode_response(1, key, 12, &in_memory).unwrap().to_bytes());
}

/// A file without a name.
fn tempfile() -> std::fs::File {
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("range-{}", std::process::id()));
    let options = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let file = options.unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn a_value_that_a_version_cannot_carry_is_an_error_unless_ignorable() {
    let request = FetchRequest { replica_id: 3, ..Default::default() };
    let error = EncodeError::NotInVersion { field: "FetchRequest.ReplicaId", version: 15 };
    assert_eq!(request.to_bytes(15), Err(error));
    let request = FetchRequest { session_id: 3, ..Default::default() };
    assert_eq!(request.to_bytes(4), FetchRequest::default().to_bytes(4), "session ids came with version 7");
}

#[test]
fn null_is_refused_where_a_version_has_none() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(request.to_bytes(0), Err(EncodeError::UnexpectedNull { field: "MetadataRequest.Topics" }));
    assert!(request.to_bytes(1).is_ok());
}

#[test]
fn a_string_over_kafkas_limit_is_refused() {
    let request = SaslHandshakeRequest { mechanism: "x".repeat(40_000).into() };
    let error =
        EncodeError::TooLong { field: "SaslHandshakeRequest.Mechanism", length: 40_000, limit: 32_767 };
    assert_eq!(request.to_bytes(0), Err(error));
}

#[test]
fn tagged_fields_are_sorted_and_may_not_repeat() {
    let raw = |tag| RawTaggedField { tag, data: Bytes::new() };
    let header = |tags: &[u32]| ResponseHeader {
        correlation_id: 0,
        unknown_tagged_fields: tags.iter().map(|tag| raw(*tag)).collect(),
    };
    assert_eq!(header(&[9, 2]).to_bytes(1).unwrap()[4..], [2, 2, 0, 9, 0]);
    assert_eq!(header(&[2, 2]).to_bytes(1), Err(EncodeError::DuplicateTag(2)));
    assert_eq!(header(&[2]).to_bytes(0), Err(EncodeError::TaggedFieldsInOldVersion));
}

#[test]
fn a_version_that_kafka_has_left_behind_is_refused() {
    let error = EncodeError::UnsupportedVersion { message: "FetchRequest", version: 3 };
    assert_eq!(FetchRequest::default().to_bytes(3), Err(error));
}

#[test]
fn a_response_tells_its_first_error() {
    let mut response = fetched(Records::Bytes(Bytes::new()));
    assert_eq!(response.first_error(), None);
    response.responses[0].partitions[0].error_code = 3;
    assert_eq!(response.first_error(), Some(3));
    response.error_code = 70;
    assert_eq!(response.first_error(), Some(70), "what is wrong with all of it comes first");
}
