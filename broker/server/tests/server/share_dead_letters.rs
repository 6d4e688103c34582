//! Dead-letter queues of share groups over the wire (KIP-1191). What stands in a letter was taken from Apache Kafka 4.4.0.

use std::time::Duration;

use bytes::Bytes;
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::write_share_group_state_request::{PartitionData, StateBatch, WriteStateData};
use strata_protocol::messages::{IncrementalAlterConfigsRequest, WriteShareGroupStateRequest};
use strata_protocol::records::{BatchBuilder, BuilderOptions, DecompressLimit, Header, Record, batches};
use strata_types::ErrorCode;
use uuid::Uuid;

use crate::metrics::{METRICS, get, value};
use crate::share::{Member, REJECT, RELEASE, acquired, topic};
use crate::share_groups::set;
use crate::support::{Broker, Connection, PATIENCE, batch};

const TOPIC: &str = "errors.deadletterqueue.topic.name";
const COPY: &str = "errors.deadletterqueue.copy.record.enable";
const ALLOWED: (&str, &str) = ("errors.deadletterqueue.group.enable", "true");
const MADE: &str = "errors.deadletterqueue.auto.create.topics.enable=true";

/// The letters in a topic's first partition, once there are so many.
async fn letters(connection: &mut Connection, topic: &str, count: usize) -> Vec<Record> {
    let there = async {
        loop {
            if connection.topic_names().await.iter().any(|name| name == topic) {
                let data = connection.fetch(topic, 0, 0).await;
                let bytes = data.records.map(|records| records.to_bytes().unwrap()).unwrap_or_default();
                let found: Vec<Record> = batches(bytes)
                    .flat_map(|batch| batch.unwrap().records(DecompressLimit::default()).unwrap())
                    .map(Result::unwrap)
                    .collect();
                if found.len() >= count {
                    return found;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.expect("the letters are written")
}

/// A letter's headers as Kafka writes them.
fn headers(offset: i64, deliveries: i16, why: &str) -> Vec<(String, String)> {
    let all = [
        ("topic", "t".to_owned()),
        ("partition", "0".to_owned()),
        ("offset", offset.to_string()),
        ("group", "g".to_owned()),
        ("delivery.count", deliveries.to_string()),
        ("message", why.to_owned()),
    ];
    all.into_iter().map(|(name, value)| (format!("__dlq.errors.{name}"), value)).collect()
}

fn headers_of(record: &Record) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let one = |header: &Header| (header.key.to_string(), header.value.as_ref().map(text).unwrap_or_default());
    record.headers.iter().map(one).collect()
}

/// Records with keys, values and a header of their own.
fn keyed(names: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(BuilderOptions::default());
    let own = [Header { key: "own".into(), value: Some(Bytes::from_static(b"x")) }];
    for name in names {
        let key = format!("key {name}");
        builder.push_next(1_700_000_000_000, Some(key.as_bytes()), Some(name.as_bytes()), &own).unwrap();
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn rejected_records_are_written_to_a_topic_that_is_made_for_them() {
    let broker = Broker::with(&[MADE, METRICS]).await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    set(&mut connection, TOPIC, "dlq.t").await;
    connection.produce("t", 0, keyed(&["a", "b", "c"])).await;
    let mut member = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&member.fetch(0, &[]).await), [(0, 2, 1)]);
    assert_eq!(member.acknowledge(0, 1, REJECT).await, 0);
    let found = letters(&mut connection, "dlq.t", 2).await;
    assert_eq!(found.len(), 2);
    for (offset, letter) in (0..).zip(&found) {
        assert_eq!(headers_of(letter), headers(offset, 1, "Offset rejected by client."));
        assert_eq!((&letter.key, &letter.value), (&None, &None), "unless the group wants them");
        assert!(letter.timestamp > 1_700_000_000_000, "the letter's own time");
    }
    let (_, metrics) = get(&broker, "/metrics").await;
    let count =
        |name: &str| value(&metrics, &format!("kafka_server_sharegroupmetrics_{name}_total{{group=\"g\"}}"));
    assert_eq!(count("deadletterqueuerecordcount"), Some(2.0), "{metrics}");
    assert_eq!(count("deadletterqueuefailedproducerequests"), Some(0.0), "{metrics}");
    // They are done with, and the third is still the member's.
    assert_eq!(acquired(&Member::new(&broker, topic_id).await.fetch(0, &[]).await), []);
}

#[tokio::test]
async fn after_their_last_delivery_records_are_copied_where_the_group_wants_it() {
    let limits = ["group.share.delivery.count.limit=2", "group.share.min.delivery.count.limit=2"];
    let broker = Broker::with(&limits).await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.create_topic("dlq.t", 2, &[ALLOWED]).await;
    set(&mut connection, TOPIC, "dlq.t").await;
    set(&mut connection, COPY, "true").await;
    connection.produce("t", 0, keyed(&["a", "b"])).await;
    let mut member = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&member.fetch(0, &[]).await), [(0, 1, 1)]);
    assert_eq!(member.acknowledge(0, 1, RELEASE).await, 0);
    // Again and for the last time, as few together as the broker gives.
    for _ in 0..2 {
        let got = acquired(&member.fetch(0, &[]).await);
        let Some(&(first, last, 2)) = got.first() else { break };
        assert_eq!(member.acknowledge(first, last, RELEASE).await, 0);
    }
    let found = letters(&mut connection, "dlq.t", 2).await;
    for ((offset, name), letter) in [(0, "a"), (1, "b")].into_iter().zip(&found) {
        let why = "Offset delivery count exceeded the threshold.";
        assert_eq!(headers_of(letter), headers(offset, 2, why), "not the record's own");
        assert_eq!(letter.key.as_deref(), Some(format!("key {name}").as_bytes()));
        assert_eq!(letter.value.as_deref(), Some(name.as_bytes()));
    }
}

#[tokio::test]
async fn a_letter_that_does_not_fit_comes_without_its_record() {
    let broker = Broker::start().await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.create_topic("dlq.t", 1, &[ALLOWED, ("max.message.bytes", "1000")]).await;
    set(&mut connection, TOPIC, "dlq.t").await;
    set(&mut connection, COPY, "true").await;
    connection.produce("t", 0, batch(&["small", &"x".repeat(5_000), "small too"])).await;
    let mut member = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&member.fetch(0, &[]).await), [(0, 2, 1)]);
    assert_eq!(member.acknowledge(0, 2, REJECT).await, 0);
    let found = letters(&mut connection, "dlq.t", 3).await;
    let values: Vec<_> = found.iter().map(|letter| letter.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"small"[..]), None, Some(&b"small too"[..])]);
}

#[tokio::test]
async fn a_queue_that_may_not_be_used_stops_nobody() {
    let broker = Broker::with(&[METRICS]).await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.create_topic("dlq.closed", 1, &[]).await;
    connection.create_topic("open", 1, &[ALLOWED]).await;
    let mut member = Member::new(&broker, topic_id).await;
    // It is not there, it does not allow it, and its name is none for a queue.
    for (offset, queue) in [(0, "dlq.nowhere"), (1, "dlq.closed"), (2, "open")] {
        set(&mut connection, TOPIC, queue).await;
        connection.produce("t", 0, batch(&["x"])).await;
        assert_eq!(acquired(&member.fetch(10_000, &[]).await), [(offset, offset, 1)]);
        assert_eq!(member.acknowledge(offset, offset, REJECT).await, 0);
        let series = "kafka_server_sharegroupmetrics_deadletterqueuefailedproducerequests_total{group=\"g\"}";
        let given_up = async {
            while value(&get(&broker, "/metrics").await.1, series) != Some((offset + 1) as f64) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, given_up).await.expect("it is given up");
    }
    let names = connection.topic_names().await;
    assert!(!names.iter().any(|name| name == "dlq.nowhere"), "{names:?}");
    for queue in ["dlq.closed", "open"] {
        assert_eq!(connection.fetch(queue, 0, 0).await.high_watermark, 0);
    }
    assert_eq!(
        acquired(&Member::new(&broker, topic_id).await.fetch(0, &[]).await),
        [],
        "all of it is done with"
    );
}

/// As if the broker had ended between storing that they are letters and writing them.
#[tokio::test]
async fn letters_that_were_not_written_are_written_when_the_group_is_loaded() {
    let broker = Broker::with(&[MADE]).await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    set(&mut connection, TOPIC, "dlq.t").await;
    connection.produce("t", 0, batch(&["a", "b", "c"])).await;
    store(&mut connection, topic_id, (0, 1, 3)).await;
    let mut member = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&member.fetch(0, &[]).await), [(2, 2, 1)]);
    let found = letters(&mut connection, "dlq.t", 2).await;
    for (offset, letter) in (0..).zip(&found) {
        assert_eq!(headers_of(letter), headers(offset, 1, "Offset rejected by client."));
    }
}

/// Stores that the records of a range are in a state, after one delivery.
async fn store(
    connection: &mut Connection,
    topic_id: Uuid,
    (first_offset, last_offset, state): (i64, i64, i8),
) {
    let batch = StateBatch {
        first_offset,
        last_offset,
        delivery_state: state,
        delivery_count: 1,
        ..Default::default()
    };
    let partition = PartitionData {
        partition: 0,
        state_epoch: 1,
        leader_epoch: 0,
        start_offset: 0,
        state_batches: vec![batch],
        ..Default::default()
    };
    let topic = WriteStateData { topic_id, partitions: vec![partition], ..Default::default() };
    let request =
        WriteShareGroupStateRequest { group_id: "g".into(), topics: vec![topic], ..Default::default() };
    let response = connection.call(1, &request).await;
    assert_eq!(response.results[0].partitions[0].error_code, 0, "{response:?}");
}

#[tokio::test]
async fn groups_settings_are_checked_as_kafka_checks_them() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    for (name, value, is_taken) in [
        (TOPIC, "__consumer_offsets", false),
        (TOPIC, "not there yet", true),
        (TOPIC, "", true),
        (COPY, "maybe", false),
        (COPY, "true", true),
    ] {
        let config = AlterableConfig { name: name.into(), value: Some(value.into()), ..Default::default() };
        let resource = AlterConfigsResource {
            resource_type: 32,
            resource_name: "g".into(),
            configs: vec![config],
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let answer = connection.call(1, &request).await;
        let code = ErrorCode::from_code(answer.responses[0].error_code);
        let expected = if is_taken { ErrorCode::None } else { ErrorCode::InvalidConfig };
        assert_eq!(code, Some(expected), "{name}={value}");
    }
}
