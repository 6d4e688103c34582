//! What a connection must withstand: frames that are none, requests that are not ours, peers that do not play along.

use bytes::{BufMut, Bytes, BytesMut};
use strata_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest};
use strata_protocol::{Message, Str};
use strata_types::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Broker, Connection, batch, fetch, produce};

fn ask_versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: Str::from_static("test"),
        client_software_version: Str::from_static("1.0"),
        ..Default::default()
    }
}

/// Whether another client is served as if nothing had happened.
async fn assert_alive(broker: &Broker) {
    let response = broker.connect().await.call(3, &ask_versions()).await;
    assert_eq!(response.error_code, 0);
}

/// A request's frame, header version 1 without a client id.
fn raw(key: i16, version: i16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(10 + body.len() as i32);
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(-1);
    frame.put_slice(body);
    frame.freeze()
}

async fn closes_after(broker: &Broker, bytes: &[u8]) {
    let mut connection = broker.connect().await;
    connection.write(bytes).await;
    assert!(connection.is_closed().await, "{bytes:02x?}");
    assert_alive(broker).await;
}

#[tokio::test]
async fn impossible_frame_lengths_close_the_connection() {
    let broker = Broker::start().await;
    for length in [-1, 0, 1, i32::MAX, i32::MIN, 104_857_601] {
        closes_after(&broker, &length.to_be_bytes()).await;
    }
}

#[tokio::test]
async fn other_protocols_on_the_plain_port_close_the_connection() {
    let broker = Broker::start().await;
    closes_after(&broker, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    closes_after(&broker, &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]).await;
    closes_after(&broker, &[0x5a; 64]).await;
}

#[tokio::test]
async fn announced_and_never_sent_lengths_hold_nobody_up() {
    let broker = Broker::start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut connection = broker.connect().await;
        connection.write(&100_000_000_i32.to_be_bytes()).await;
        silent.push(connection);
    }
    assert_alive(&broker).await;
}

#[tokio::test]
async fn unknown_keys_and_versions_close_the_connection() {
    let broker = Broker::start().await;
    closes_after(&broker, &raw(999, 0, &[])).await;
    closes_after(&broker, &raw(-1, 0, &[])).await;
    // Known to the protocol, and not served here: Vote.
    closes_after(&broker, &raw(52, 0, &[0; 8])).await;
    closes_after(&broker, &raw(3, 99, &[0; 8])).await;
    closes_after(&broker, &raw(0, 2, &[0; 8])).await;
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_is_answered_in_version_zero() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.write(&raw(18, 99, &[0])).await;
    let frame = connection.receive_frame().await.unwrap();
    assert_eq!(frame[..4], 7_i32.to_be_bytes());
    let response = ApiVersionsResponse::from_bytes(frame.slice(4..), 0).unwrap();
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    assert_eq!((response.api_keys[0].api_key, response.api_keys.len()), (18, 1));
    // And the client may ask again.
    assert_eq!(connection.call(4, &ask_versions()).await.error_code, 0);
}

#[tokio::test]
async fn produce_is_advertised_from_zero() {
    let broker = Broker::start().await;
    let response = broker.connect().await.call(0, &ApiVersionsRequest::default()).await;
    let produce = response.api_keys.iter().find(|api| api.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
}

#[tokio::test]
async fn malformed_requests_close_the_connection() {
    let broker = Broker::start().await;
    for count in [-2, i32::MAX, 1000] {
        // Metadata v1: an array of that many topics, of which nothing follows.
        closes_after(&broker, &raw(3, 1, &count.to_be_bytes())).await;
    }
    // A client id that is longer than the frame.
    closes_after(&broker, &[0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 7, 0x7f, 0xff]).await;
    // A flexible request whose count is a varint of eleven bytes.
    let mut endless = vec![0];
    endless.extend_from_slice(&[0xff; 11]);
    closes_after(&broker, &raw(3, 9, &endless)).await;
}

#[tokio::test]
async fn bytes_behind_a_request_are_let_be() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    // librdkafka does that.
    connection.write(&raw(3, 1, &[0, 0, 0, 0, 9])).await;
    assert!(connection.receive_frame().await.is_some());
}

#[tokio::test]
async fn half_a_request_and_then_nothing_is_no_harm() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.write(&[0, 0, 0, 50, 0, 3]).await;
    connection.stream.shutdown().await.unwrap();
    assert!(connection.is_closed().await);
    assert_alive(&broker).await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.stream.set_nodelay(true).unwrap();
    for byte in raw(18, 0, &[]) {
        connection.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(connection.receive_frame().await.is_some());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    // A long poll first: what follows is handled meanwhile and answered behind it.
    connection.send(12, &fetch("t", 0, 0, 10_000)).await;
    connection.send(9, &produce("t", 0, -1, batch(&["a"]))).await;
    connection.send(4, &ask_versions()).await;
    let fetched = connection.receive::<strata_protocol::messages::FetchRequest>(12).await;
    assert!(fetched.responses[0].partitions[0].records.as_ref().is_some_and(|records| !records.is_empty()));
    let produced = connection.receive::<strata_protocol::messages::ProduceRequest>(9).await;
    assert_eq!(produced.responses[0].partition_responses[0].base_offset, 0);
    assert_eq!(connection.receive::<ApiVersionsRequest>(4).await.error_code, 0);
}

#[tokio::test]
async fn requests_pipelined_without_reading_answers_wait_in_the_senders_socket() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    for topic in 0..50 {
        connection.create_topic(&format!("topic-{topic}"), 20, &[]).await;
    }
    let everything = MetadataRequest { topics: None, ..Default::default() };
    let request =
        strata_protocol::frame::encode_request(1, &Str::default(), 12, &everything).unwrap().to_bytes();
    // Each answer is some 40 kB. Without a bound the broker would take all of these at once.
    let (mut reader, mut writer) = connection.stream.split();
    let send = async {
        for _ in 0..2_000 {
            writer.write_all(&request).await.unwrap();
        }
    };
    let sent = tokio::time::timeout(std::time::Duration::from_millis(300), send).await;
    assert_alive(&broker).await;
    // And whoever reads after all gets them.
    let mut length = [0; 4];
    reader.read_exact(&mut length).await.unwrap();
    assert!(u32::from_be_bytes(length) > 10_000);
    drop(sent);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let broker = Broker::with(&["connections.max.idle.ms=200"]).await;
    let mut connection = broker.connect().await;
    assert_eq!(connection.call(4, &ask_versions()).await.error_code, 0);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_connection_that_waits_for_an_answer_is_not_idle() {
    let broker = Broker::with(&["connections.max.idle.ms=100"]).await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let response = connection.call(12, &fetch("t", 0, 0, 500)).await;
    assert_eq!(response.error_code, 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_outside() {
    let broker = Broker::with(&["max.connections=2"]).await;
    let (mut first, mut second) = (broker.connect().await, broker.connect().await);
    assert_eq!(first.call(4, &ask_versions()).await.error_code, 0);
    assert_eq!(second.call(4, &ask_versions()).await.error_code, 0);
    let mut third = broker.connect().await;
    third.send(4, &ask_versions()).await;
    let early =
        tokio::time::timeout(std::time::Duration::from_millis(200), third.stream.peek(&mut [0])).await;
    assert!(early.is_err(), "the third connection was served");
    drop(first);
    assert_eq!(third.receive::<ApiVersionsRequest>(4).await.error_code, 0);
}

#[tokio::test]
async fn connections_of_one_address_beyond_its_limit_are_closed() {
    let broker = Broker::with(&["max.connections.per.ip=1"]).await;
    let mut first = broker.connect().await;
    assert_eq!(first.call(4, &ask_versions()).await.error_code, 0);
    assert!(broker.connect().await.is_closed().await);
    assert_eq!(first.call(4, &ask_versions()).await.error_code, 0);
}

#[tokio::test]
async fn many_idle_connections_cost_nobody_anything() {
    let broker = Broker::start().await;
    let mut idle: Vec<Connection> = Vec::new();
    for _ in 0..500 {
        idle.push(broker.connect().await);
    }
    assert_alive(&broker).await;
    assert_eq!(idle[250].call(4, &ask_versions()).await.error_code, 0);
}

#[tokio::test]
async fn software_names_that_are_none_are_refused() {
    let broker = Broker::start().await;
    let request = ApiVersionsRequest { client_software_name: Str::from_static("-"), ..ask_versions() };
    let response = broker.connect().await.call(3, &request).await;
    assert_eq!(response.error_code, ErrorCode::InvalidRequest.code());
}
