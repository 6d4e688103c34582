//! Who asks too much is told to wait, and is not read from meanwhile; who connects too often is not let in.

use std::time::{Duration, Instant};

use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
};
use strata_types::ErrorCode;
use tokio::time::timeout;

use crate::operations::set_quota;
use crate::share::{self, Member, acquired};
use crate::support::{Broker, Connection, batch, create_topic, fetch, produce};

/// Rates are measured over one second at least, so that a test need not wait for long.
const SHORT_WINDOW: &[&str] = &["quota.window.num=2"];
const EVERYBODY: &[(&str, Option<&str>)] = &[("user", None)];

async fn answers_within(connection: &mut Connection, time: Duration) -> bool {
    let ask = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    connection.send(12, &ask).await;
    timeout(time, connection.receive::<MetadataRequest>(12)).await.is_ok()
}

#[tokio::test]
async fn a_producer_over_its_quota_rests_and_nobody_else_does() {
    let broker = Broker::with(SHORT_WINDOW).await;
    let (mut producer, mut other) = (broker.connect().await, broker.connect().await);
    producer.create_topic("t", 1, &[]).await;
    let quota = set_quota(&mut other, &[("client-id", Some("test"))], "producer_byte_rate", Some(10_000.0));
    assert_eq!(quota.await, 0);
    let small = producer.call(9, &produce("t", 0, -1, batch(&["x"]))).await;
    assert_eq!(small.throttle_time_ms, 0);
    let large = batch(&[&"x".repeat(15_000)]);
    let response = producer.call(9, &produce("t", 0, -1, large)).await;
    let answered = Instant::now();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "what came is in the log");
    let throttle = response.throttle_time_ms;
    assert!((300..=1000).contains(&throttle), "{throttle}");
    assert!(answers_within(&mut other, Duration::from_millis(250)).await);
    let ask = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    producer.call(12, &ask).await;
    let rested = answered.elapsed().as_millis() as i32;
    assert!(rested + 50 >= throttle, "answered after {rested} ms of {throttle}");
}

#[tokio::test]
async fn an_unacknowledged_producer_rests_too() {
    let broker = Broker::with(SHORT_WINDOW).await;
    let mut producer = broker.connect().await;
    producer.create_topic("t", 1, &[]).await;
    assert_eq!(set_quota(&mut producer, EVERYBODY, "producer_byte_rate", Some(10_000.0)).await, 0);
    producer.send(9, &produce("t", 0, 0, batch(&[&"x".repeat(18_000)]))).await;
    assert!(!answers_within(&mut producer, Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_consumer_over_its_quota_gets_nothing_yet() {
    let broker = Broker::with(SHORT_WINDOW).await;
    let mut consumer = broker.connect().await;
    consumer.create_topic("t", 1, &[]).await;
    consumer.produce("t", 0, batch(&[&"x".repeat(5_000)])).await;
    assert_eq!(set_quota(&mut consumer, EVERYBODY, "consumer_byte_rate", Some(4_000.0)).await, 0);
    let response = consumer.call(12, &fetch("t", 0, 0, 0)).await;
    assert!(response.throttle_time_ms > 0 && response.responses.is_empty(), "{response:?}");
    assert_eq!(set_quota(&mut consumer, EVERYBODY, "consumer_byte_rate", None).await, 0);
    let response = consumer.call(12, &fetch("t", 0, 0, 0)).await;
    assert_eq!((response.throttle_time_ms, response.responses.len()), (0, 1));
}

#[tokio::test]
async fn processor_time_is_charged_to_every_kind_of_request() {
    let broker = Broker::with(SHORT_WINDOW).await;
    let (mut admin, mut connection) = (broker.connect().await, broker.connect().await);
    let quota = set_quota(&mut admin, EVERYBODY, "request_percentage", Some(0.000_01));
    assert_eq!(quota.await, 0);
    let ask = MetadataRequest { topics: None, ..Default::default() };
    let throttle = connection.call(12, &ask).await.throttle_time_ms;
    assert!((1..=1000).contains(&throttle), "no longer than a sample: {throttle}");
}

#[tokio::test]
async fn a_fetch_over_the_quota_of_processor_time_gets_nothing_yet() {
    let broker = Broker::with(SHORT_WINDOW).await;
    let (mut admin, mut consumer) = (broker.connect().await, broker.connect().await);
    admin.create_topic("t", 1, &[]).await;
    admin.produce("t", 0, batch(&["x"])).await;
    assert_eq!(set_quota(&mut admin, EVERYBODY, "request_percentage", Some(0.000_01)).await, 0);
    let response = consumer.call(12, &fetch("t", 0, 0, 0)).await;
    assert!(response.throttle_time_ms > 0 && response.responses.is_empty(), "{response:?}");
    // The administrator is over its quota as well, and waits for its turn.
    assert_eq!(set_quota(&mut admin, EVERYBODY, "request_percentage", None).await, 0);
    let response = consumer.call(12, &fetch("t", 0, 0, 0)).await;
    assert_eq!((response.throttle_time_ms, response.responses.len()), (0, 1));
}

#[tokio::test]
async fn a_share_member_over_its_quota_rests_with_what_it_has_acquired() {
    let broker = Broker::with(SHORT_WINDOW).await;
    let (topic_id, mut connection) = share::topic(&broker, &[]).await;
    connection.produce("t", 0, batch(&[&"x".repeat(5_000)])).await;
    assert_eq!(set_quota(&mut connection, EVERYBODY, "consumer_byte_rate", Some(4_000.0)).await, 0);
    let mut member = Member::new(&broker, topic_id).await;
    let response = member.fetch(0, &[]).await;
    let (answered, throttle) = (Instant::now(), response.throttle_time_ms);
    assert!(throttle > 0, "{response:?}");
    assert_eq!(acquired(&response), [(0, 0, 1)], "it would count as a delivery that never came");
    let ask = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    member.connection.call(12, &ask).await;
    let rested = answered.elapsed().as_millis() as i32;
    assert!(rested + 50 >= throttle, "answered after {rested} ms of {throttle}");
}

#[tokio::test]
async fn partitions_beyond_the_quota_are_refused_or_paid_for_later() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    assert_eq!(set_quota(&mut connection, EVERYBODY, "controller_mutation_rate", Some(1.0)).await, 0);
    // A full bucket holds eleven, and may be overdrawn once.
    let first = connection.call(7, &create_topic("a", 12, &[])).await;
    assert_eq!((first.topics[0].error_code, first.throttle_time_ms), (0, 0));
    let mut other = broker.connect().await;
    let refused = other.call(7, &create_topic("b", 1, &[])).await;
    assert_eq!(refused.topics[0].error_code, ErrorCode::ThrottlingQuotaExceeded.code());
    assert!((1..=1000).contains(&refused.throttle_time_ms), "{}", refused.throttle_time_ms);
    assert_eq!(broker.connect().await.topic_names().await, ["a"]);
    let mut old = broker.connect().await;
    let request: CreateTopicsRequest = create_topic("c", 1, &[]);
    let paid_later = old.call(5, &request).await;
    assert_eq!(paid_later.topics[0].error_code, 0);
    assert!(paid_later.throttle_time_ms > 0);
    let delete = DeleteTopicsRequest { topic_names: vec!["a".into()], ..Default::default() };
    let refused = broker.connect().await.call(5, &delete).await;
    assert_eq!(refused.responses[0].error_code, ErrorCode::ThrottlingQuotaExceeded.code());
}

async fn set_for_all_brokers(connection: &mut Connection, name: &str, value: &str) {
    let config = AlterableConfig { name: name.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource { resource_type: 4, configs: vec![config], ..Default::default() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(connection.call(1, &request).await.responses[0].error_code, 0, "{name}");
}

#[tokio::test]
async fn an_address_has_as_many_connections_as_it_is_allowed_now() {
    let broker = Broker::start().await;
    let mut first = broker.connect().await;
    set_for_all_brokers(&mut first, "max.connections.per.ip", "2").await;
    let mut second = broker.connect().await;
    assert!(answers_within(&mut second, Duration::from_secs(5)).await);
    assert!(broker.connect().await.is_closed().await);
    set_for_all_brokers(&mut first, "max.connections.per.ip.overrides", "127.0.0.1:3").await;
    assert!(answers_within(&mut broker.connect().await, Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_full_house_lets_new_connections_wait_outside() {
    let broker = Broker::with(&["listener.name.plaintext.max.connections=1"]).await;
    let mut first = broker.connect().await;
    assert!(answers_within(&mut first, Duration::from_secs(5)).await);
    let mut waiting = broker.connect().await;
    assert!(!answers_within(&mut waiting, Duration::from_millis(300)).await);
    drop(first);
    waiting.receive::<MetadataRequest>(12).await;
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_let_go_of_after_a_while() {
    let broker = Broker::with(SHORT_WINDOW).await;
    let mut first = broker.connect().await;
    let quota = set_quota(&mut first, &[("ip", Some("127.0.0.1"))], "connection_creation_rate", Some(2.0));
    assert_eq!(quota.await, 0);
    let mut refused = 0;
    for _ in 0..6 {
        let mut connection = broker.connect().await;
        refused += i32::from(!answers_within(&mut connection, Duration::from_millis(100)).await);
    }
    assert!((1..=4).contains(&refused), "{refused} of 6 were refused");
    assert!(answers_within(&mut first, Duration::from_secs(5)).await, "who is in stays in");
}
