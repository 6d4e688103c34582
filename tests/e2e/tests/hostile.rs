//! What no client in its right mind sends. "Held" means: the connection is closed or the protocol's error code comes
//! back, memory stays bounded, and a client that behaves is served meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use strata_e2e::{Answer, Broker, BrokerOptions, Wire, frame};
use strata_protocol::Str;
use strata_protocol::frame::{decode_response, encode_request};
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, MetadataRequest,
};
use strata_types::ErrorCode;

/// What a connection may cost beyond four times the bytes that came over it.
const CONNECTION_BYTES_MAX: u64 = 64 << 10;
/// The 99th percentile of a neighbour's ApiVersions round trip, on a machine that has time for it.
const NEIGHBOUR_P99_MAX: Duration = Duration::from_millis(50);
/// `socket.request.max.bytes`, Kafka's default.
const FRAME_BYTES_MAX: i32 = 100 << 20;

const METADATA: i16 = 3;
const JOIN_GROUP: i16 = 11;
const API_VERSIONS: i16 = 18;
const PRODUCE: i16 = 0;

/// Sends the bytes on a connection of their own, and waits for what the broker makes of them.
fn answer_to(broker: &Broker, bytes: &[u8]) -> anyhow::Result<Answer> {
    let mut wire = broker.connect()?;
    wire.send(bytes)?;
    wire.answer()
}

fn assert_closed(broker: &Broker, cases: &[(&str, Vec<u8>)]) -> anyhow::Result<()> {
    for (name, bytes) in cases {
        let answer = answer_to(broker, bytes).with_context(|| (*name).to_owned())?;
        ensure!(answer == Answer::Closed, "{name}: {answer:?}");
    }
    broker.connect()?.api_versions()?;
    Ok(())
}

/// Plays the cases again and again, and holds the broker to the memory that so many connections may cost.
fn assert_memory_bounded(broker: &Broker, cases: &[(&str, Vec<u8>)]) -> anyhow::Result<()> {
    const ROUNDS: u64 = 20;
    let before = broker.usage()?.resident_bytes;
    let mut allowed = 0;
    for _ in 0..ROUNDS {
        assert_closed(broker, cases)?;
        allowed += cases.iter().map(|(_, bytes)| 4 * bytes.len() as u64 + CONNECTION_BYTES_MAX).sum::<u64>();
    }
    let grown = broker.usage()?.resident_bytes.saturating_sub(before);
    ensure!(grown <= allowed, "{grown} bytes more, where {allowed} are allowed");
    Ok(())
}

#[test]
fn frame_lengths_that_lie_close_the_connection() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let length = |length: i32| [&length.to_be_bytes()[..], &[0; 64]].concat();
    let cases = [
        ("-1", length(-1)),
        ("-2^31", length(i32::MIN)),
        ("2^31-1", length(i32::MAX)),
        ("one above the limit", length(FRAME_BYTES_MAX + 1)),
        ("0", length(0)),
        ("1", length(1)),
    ];
    assert_closed(&broker, &cases)
}

#[test]
fn counts_that_lie_close_the_connection_and_cost_no_memory() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let most = i32::MAX.to_be_bytes();
    let varint_most = [0xff, 0xff, 0xff, 0xff, 0x07];
    let produce = [&(-1_i16).to_be_bytes()[..], &1_i16.to_be_bytes(), &100_i32.to_be_bytes()].concat();
    let one_topic =
        [&produce[..], &1_i32.to_be_bytes(), &1_i16.to_be_bytes(), b"t", &1_i32.to_be_bytes(), &[0; 4]]
            .concat();
    let cases = [
        ("2^31-1 topics", frame(METADATA, 1, false, &most)),
        (
            "a topic's name beyond the end",
            frame(METADATA, 1, false, &[&1_i32.to_be_bytes()[..], &[0x7f, 0xff], b"abc"].concat()),
        ),
        (
            "a name of length -2",
            frame(METADATA, 1, false, &[&1_i32.to_be_bytes()[..], &[0xff, 0xfe]].concat()),
        ),
        ("2^31-2 topics, compact", frame(METADATA, 9, true, &varint_most)),
        ("a varint of eleven bytes", frame(METADATA, 9, true, &[0xff; 11])),
        ("2^31-1 tagged fields", frame(METADATA, 9, true, &[&[0, 0, 0, 0][..], &varint_most].concat())),
        (
            "a tagged field beyond the end",
            frame(METADATA, 9, true, &[&[0, 0, 0, 0, 1, 99][..], &varint_most].concat()),
        ),
        ("2^31-1 topics to produce", frame(PRODUCE, 3, false, &[&produce[..], &most].concat())),
        ("-2 topics to produce", frame(PRODUCE, 3, false, &[&produce[..], &(-2_i32).to_be_bytes()].concat())),
        ("2^31-1 bytes of records", frame(PRODUCE, 3, false, &[&one_topic[..], &most].concat())),
        ("a group's name beyond the end", frame(JOIN_GROUP, 5, false, &[0x7f, 0xff])),
        ("nothing after the header", frame(PRODUCE, 3, false, &[])),
        ("half a header", [&4_i32.to_be_bytes()[..], &METADATA.to_be_bytes(), &1_i16.to_be_bytes()].concat()),
    ];
    assert_closed(&broker, &cases)?;
    assert_memory_bounded(&broker, &cases)
}

#[test]
fn requests_cut_anywhere_are_refused() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let request = MetadataRequest { topics: Some(vec![]), ..Default::default() };
    let whole = encode_request(1, &Str::from_static("cut"), 9, &request)?.to_bytes();
    for length in 0..whole.len() - 4 {
        let cut = [&(length as i32).to_be_bytes()[..], &whole[4..4 + length]].concat();
        let answer = answer_to(&broker, &cut).with_context(|| format!("cut to {length}"))?;
        ensure!(answer == Answer::Closed, "cut to {length}: {answer:?}");
        // And the same bytes under their true length, with the end of the connection after them.
        let mut wire = broker.connect()?;
        wire.send(&whole[..4 + length])?;
        wire.send_end()?;
        ensure!(wire.answer()? == Answer::Closed, "ended after {length}");
    }
    ensure!(matches!(answer_to(&broker, &whole)?, Answer::Frame(_)), "the whole request is answered");
    Ok(())
}

#[test]
fn unknown_keys_and_versions_are_refused_but_api_versions_is_answered() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let cases = [
        ("key 9999", frame(9999, 0, false, &[])),
        ("key -1", frame(-1, 0, false, &[])),
        ("Metadata of version 99", frame(METADATA, 99, true, &[])),
        ("Metadata of version -1", frame(METADATA, -1, false, &[])),
    ];
    assert_closed(&broker, &cases)?;

    let newest = frame(API_VERSIONS, 99, true, &[0x42; 16]);
    let Answer::Frame(answer) = answer_to(&broker, &newest)? else { anyhow::bail!("closed") };
    // The client cannot know version 99's layout, so the answer is of version 0.
    let (_, response) = decode_response::<ApiVersionsRequest>(answer, 0)?;
    assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
    assert!(response.api_keys.iter().any(|range| range.api_key == API_VERSIONS && range.max_version >= 3));
    Ok(())
}

#[test]
fn a_header_of_the_wrong_version_is_refused() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    // Metadata has the second version of the header since its version 9; the body asks for no topics.
    let cases = [
        ("the first version, where the second is due", frame(METADATA, 9, false, &[1, 0, 0])),
        ("the second version, where the first is due", frame(METADATA, 8, true, &[0, 0, 0])),
    ];
    assert_closed(&broker, &cases)
}

/// librdkafka 2.16 sends three bytes too many with Metadata of version 13, and KafkaJS with some of its requests.
#[test]
fn bytes_after_a_request_are_passed_over() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let mut wire = broker.connect()?;
    for _ in 0..2 {
        wire.send(&frame(METADATA, 1, false, &[&(-1_i32).to_be_bytes()[..], &[0; 3]].concat()))?;
        let Answer::Frame(answer) = wire.answer()? else { anyhow::bail!("closed") };
        ensure!(answer[..4] == 7_i32.to_be_bytes(), "{answer:?}");
    }
    Ok(())
}

#[test]
fn other_protocols_on_the_plain_port_are_closed() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    // Noise that begins with a length above the limit, as three in four random ones do.
    let noise: Vec<u8> = (0..512_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x20).collect();
    let cases = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        (
            "TLS",
            [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &[0xa5; 512]].concat(),
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("noise", noise),
    ];
    assert_closed(&broker, &cases)
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let mut wire = broker.connect()?;
    let request = encode_request(5, &Str::from_static("slow"), 0, &ApiVersionsRequest::default())?.to_bytes();
    for _ in 0..3 {
        for byte in &request {
            wire.send(&[*byte])?;
        }
        let Answer::Frame(answer) = wire.answer()? else { anyhow::bail!("closed") };
        let (correlation_id, _): (_, ApiVersionsResponse) = decode_response::<ApiVersionsRequest>(answer, 0)?;
        assert_eq!(correlation_id, 5);
    }
    Ok(())
}

#[test]
fn requests_sent_without_reading_are_answered_in_order() -> anyhow::Result<()> {
    const REQUESTS: i32 = 2_000;
    let broker = Broker::start(BrokerOptions::default())?;
    let mut wire = broker.connect()?;
    let client = Str::from_static("pipeline");
    let mut all = Vec::new();
    for correlation_id in 0..REQUESTS {
        // Two that differ in cost, so that one that overtakes would be seen.
        let request = match correlation_id % 2 {
            0 => encode_request(
                correlation_id,
                &client,
                1,
                &MetadataRequest { topics: None, ..Default::default() },
            )?,
            _ => encode_request(correlation_id, &client, 0, &ApiVersionsRequest::default())?,
        };
        all.extend_from_slice(&request.to_bytes());
    }
    wire.send(&all)?;
    for correlation_id in 0..REQUESTS {
        let Answer::Frame(answer) = wire.answer()? else { anyhow::bail!("closed after {correlation_id}") };
        assert_eq!(answer[..4], correlation_id.to_be_bytes());
    }
    Ok(())
}

#[test]
fn topic_names_that_are_none_are_refused() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let mut wire = broker.connect()?;
    let long = "x".repeat(250);
    for name in ["", ".", "..", "../x", "/etc/passwd", "a b", "a\0b", "a\nb", "ü", long.as_str()] {
        let topic = CreatableTopic {
            name: Str::from(name),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = wire.call(5, &request)?;
        assert_eq!(response.topics[0].error_code, ErrorCode::InvalidTopicException.code(), "{name:?}");
    }
    Ok(())
}

#[test]
fn a_thousand_announced_frames_harm_nobody() -> anyhow::Result<()> {
    const CONNECTIONS: u64 = 1_000;
    let broker = Broker::start(BrokerOptions::default())?;
    let mut neighbour = broker.connect()?;
    let calm = p99(&mut neighbour)?;
    let before = broker.usage()?;

    let announced = FRAME_BYTES_MAX.to_be_bytes();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut wire = broker.connect()?;
        wire.send(&announced)?;
        held.push(wire);
    }
    let meanwhile = p99(&mut neighbour)?;
    // A newcomer gets in, too.
    broker.connect()?.api_versions()?;
    let grown = broker.usage()?.resident_bytes.saturating_sub(before.resident_bytes);

    let allowed = CONNECTIONS * (CONNECTION_BYTES_MAX + 4 * announced.len() as u64);
    ensure!(
        grown <= allowed,
        "{grown} bytes more for {CONNECTIONS} connections, where {allowed} are allowed"
    );
    // A machine that is busy with other things is slow without our doing.
    let bound = NEIGHBOUR_P99_MAX.max(3 * calm);
    ensure!(meanwhile <= bound, "the neighbour's p99 went from {calm:?} to {meanwhile:?}");
    drop(held);
    Ok(())
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    // The allocator keeps what the first ones took, for those that follow.
    let first = churn(&broker)?;
    let second = churn(&broker)?;
    let grown = second.saturating_sub(first);
    ensure!(grown <= 40 * CONNECTION_BYTES_MAX, "from {first} to {second} bytes");
    Ok(())
}

/// Has many connections come and go, and answers the broker's memory once they are gone.
fn churn(broker: &Broker) -> anyhow::Result<u64> {
    const CONNECTIONS: usize = 2_000;
    /// What the broker may open for itself meanwhile: files, the connections of its own runtime.
    const DESCRIPTORS_OF_ITS_OWN: usize = 50;
    const PATIENCE: Duration = Duration::from_secs(20);
    let mut neighbour = broker.connect()?;
    let before = broker.usage()?.descriptors;
    for number in 0..CONNECTIONS {
        let mut wire = broker.connect()?;
        match number % 3 {
            0 => wire.api_versions().map(drop)?,
            // A frame that never ends.
            1 => wire.send(&[0, 0, 1, 0, 0, 3])?,
            _ => {}
        }
    }
    let began = Instant::now();
    while broker.usage()?.descriptors > before + DESCRIPTORS_OF_ITS_OWN {
        ensure!(began.elapsed() < PATIENCE, "{:?}, after {before} descriptors", broker.usage()?);
        neighbour.api_versions()?;
    }
    Ok(broker.usage()?.resident_bytes)
}

/// The 99th percentile of ApiVersions round trips.
fn p99(wire: &mut Wire) -> anyhow::Result<Duration> {
    const CALLS: usize = 500;
    let mut took = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        wire.api_versions()?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(took[CALLS * 99 / 100])
}
