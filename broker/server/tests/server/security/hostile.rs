//! What reaches a listener before anybody has authenticated.

use strata_protocol::messages::{ApiVersionsRequest, MetadataRequest};
use tokio::io::AsyncWriteExt;

use super::*;

/// A request's header: key, version, correlation id, no client id.
fn header(key: i16, version: i16) -> Vec<u8> {
    [&key.to_be_bytes()[..], &version.to_be_bytes(), &7i32.to_be_bytes(), &(-1i16).to_be_bytes()].concat()
}

async fn is_refused(broker: &Broker, body: &[u8]) -> bool {
    let mut connection = Connection::open(address(broker, 1)).await;
    connection.write(&(body.len() as u32).to_be_bytes()).await;
    // The broker may have closed before all is written.
    let _ = connection.stream.write_all(body).await;
    connection.is_closed().await
}

#[tokio::test]
async fn cve_2022_34917_before_authentication_a_frame_is_bounded() {
    let broker = Broker::with(&SASL).await;
    for announced in [524_289u32, 100_000_000, i32::MAX as u32] {
        let mut connection = Connection::open(address(&broker, 1)).await;
        connection.write(&announced.to_be_bytes()).await;
        assert!(connection.is_closed().await, "{announced}");
    }
    // Who has authenticated may send what the listener takes.
    let mut alice = connect_as(&broker, "alice", "b-secret").await;
    let topics = (0..60_000).map(|i| strata_protocol::messages::metadata_request::MetadataRequestTopic {
        name: Some(format!("missing-{i}").into()),
        ..Default::default()
    });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    assert_eq!(alice.call(9, &request).await.topics.len(), 60_000);
}

#[tokio::test]
async fn cve_2026_111108_array_counts_before_authentication_cost_nothing() {
    let broker = Broker::with(&SASL).await;
    // SaslHandshake's only field is a string; SaslAuthenticate's, bytes that are said to be long.
    let long = [&header(36, 0)[..], &i32::MAX.to_be_bytes()].concat();
    assert!(is_refused(&broker, &long).await);
    let metadata = [&header(3, 1)[..], &i32::MAX.to_be_bytes()].concat();
    assert!(is_refused(&broker, &metadata).await);
    let compact = [&header(36, 2)[..], &[0], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert!(is_refused(&broker, &compact).await);
    connect_as(&broker, "alice", "b-secret").await.topic_names().await;
}

#[tokio::test]
async fn cve_2026_111115_tagged_field_counts_before_authentication_cost_nothing() {
    let broker = Broker::with(&SASL).await;
    // ApiVersions v3, which anybody may send: the header's tagged fields, then the request's.
    let in_header = [&header(18, 3)[..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert!(is_refused(&broker, &in_header).await);
    let in_body = [&header(18, 3)[..], &[0, 2, b'x', 2, b'1', 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert!(is_refused(&broker, &in_body).await);
    let mut polite = Connection::open(address(&broker, 1)).await;
    polite.call(0, &ApiVersionsRequest::default()).await;
}
