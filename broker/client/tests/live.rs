//! The client against a real cluster, of Apache Kafka or our own. Run it with
//! `STRATA_TEST_BOOTSTRAP=host:port cargo test -p strata-client --test live -- --ignored`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use strata_client::{
    Assignor, AutoOffsetReset, Client, ClientError, ClientOptions, ConfigResource, Consumer, ConsumerEvent,
    ConsumerOptions, NewTopic, OffsetSpec, Producer, ProducerOptions, ProducerRecord, SeekTo,
};
use strata_protocol::records::{Compression, Header};
use strata_types::{ErrorCode, Offset, TopicName, TopicPartition};

async fn connect() -> Client {
    let bootstrap = std::env::var("STRATA_TEST_BOOTSTRAP").expect("STRATA_TEST_BOOTSTRAP=host:port");
    Client::connect(&bootstrap, ClientOptions::default()).await.expect("a cluster")
}

/// A topic with a name of its own.
async fn topic(client: &Client, partitions: i32) -> TopicName {
    let name = TopicName::new(&format!("live-{}", uuid::Uuid::new_v4())).unwrap();
    client.admin().create_topic(NewTopic::new(name.clone(), partitions)).await.expect("a topic");
    name
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn topics_are_created_grown_configured_and_deleted() {
    let client = connect().await;
    let admin = client.admin();
    let name = topic(&client, 2).await;
    let again = admin.create_topic(NewTopic::new(name.clone(), 1)).await.unwrap_err();
    assert!(again.is(ErrorCode::TopicAlreadyExists), "{again}");
    assert_eq!(client.partitions(&name).await.unwrap(), [0, 1]);

    admin.create_partitions(&name, 3).await.unwrap();
    let mut grown = admin.describe_topic(&name).await.unwrap();
    while grown.partitions.len() < 3 {
        grown = admin.describe_topic(&name).await.unwrap();
    }
    assert!(admin.list_topics().await.unwrap().iter().any(|topic| topic.name == name));

    let resource = ConfigResource::Topic(name.clone());
    admin.alter_configs(&resource, &[("retention.ms", Some("12345"))]).await.unwrap();
    let configs = admin.describe_configs(&resource).await.unwrap();
    let retention = configs.iter().find(|config| config.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.is_default), (Some("12345"), false));
    admin.alter_configs(&resource, &[("retention.ms", None)]).await.unwrap();
    let wrong = admin.alter_configs(&resource, &[("retention.ms", Some("soon"))]).await.unwrap_err();
    assert!(wrong.is(ErrorCode::InvalidConfig), "{wrong}");

    admin.delete_topic(&name).await.unwrap();
    let gone = admin.delete_topic(&name).await.unwrap_err();
    assert!(gone.is(ErrorCode::UnknownTopicOrPartition), "{gone}");
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn the_cluster_is_described_and_an_empty_log_starts_and_ends_at_zero() {
    let client = connect().await;
    let cluster = client.admin().describe_cluster().await.unwrap();
    assert!(!cluster.brokers.is_empty());
    let partition = TopicPartition::new(topic(&client, 1).await, 0);
    for spec in [OffsetSpec::Earliest, OffsetSpec::Latest] {
        let found = client.list_offsets(&[(partition.clone(), spec)], false).await.unwrap();
        assert_eq!(found[&partition].offset, Offset(0));
    }
    let none = client.list_offsets(&[(partition.clone(), OffsetSpec::Timestamp(0))], false).await.unwrap();
    assert_eq!(none[&partition].offset, Offset(-1));
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn offsets_of_a_group_without_members_are_set_read_and_deleted() {
    let client = connect().await;
    let admin = client.admin();
    let partition = TopicPartition::new(topic(&client, 1).await, 0);
    let group = format!("live-{}", uuid::Uuid::new_v4());
    admin.alter_group_offsets(&group, &[(partition.clone(), Offset(7))].into()).await.unwrap();
    assert_eq!(admin.group_offsets(&group).await.unwrap()[&partition], Offset(7));
    assert!(admin.list_groups().await.unwrap().iter().any(|listed| listed.group_id == group));
    assert_eq!(admin.describe_group(&group).await.unwrap().state, "Empty");
    admin.delete_group_offsets(&group, &partition.topic, &[0]).await.unwrap();
    assert!(admin.group_offsets(&group).await.unwrap().is_empty());
}

async fn produce(
    client: &Client,
    topic: &TopicName,
    numbers: std::ops::Range<i32>,
    options: ProducerOptions,
) {
    let producer = Producer::new(client, options).unwrap();
    let mut deliveries = Vec::new();
    for number in numbers {
        let mut record = ProducerRecord::new(
            topic.clone(),
            Some(number.to_string().into()),
            Some(format!("value {number}").into()),
        );
        record.timestamp = Some(i64::from(number) + 1);
        record.headers = vec![
            Header { key: "h".into(), value: None },
            Header { key: "h".into(), value: Some(Bytes::new()) },
        ];
        deliveries.push(producer.send(record).await.unwrap());
    }
    producer.close().await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

fn from_start() -> ConsumerOptions {
    ConsumerOptions { auto_offset_reset: AutoOffsetReset::Earliest, ..ConsumerOptions::default() }
}

/// Reads until `count` records are there.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<strata_client::ConsumerRecord> {
    let mut records = Vec::new();
    while records.len() < count {
        let polled = consumer.poll(Duration::from_secs(30)).await.unwrap();
        assert!(!polled.is_empty(), "only {} of {count} records came", records.len());
        records.extend(polled);
    }
    records
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn what_is_produced_is_consumed_whatever_the_compression() {
    let client = connect().await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for compression in codecs {
        let partition = TopicPartition::new(topic(&client, 1).await, 0);
        let options = ProducerOptions { compression, batch_bytes_max: 4096, ..ProducerOptions::default() };
        produce(&client, &partition.topic, 0..2000, options).await;
        let mut consumer = Consumer::new(&client, from_start()).unwrap();
        consumer.assign(std::slice::from_ref(&partition)).unwrap();
        for (number, record) in read(&mut consumer, 2000).await.into_iter().enumerate() {
            assert_eq!(record.offset, Offset(number as i64));
            assert_eq!(record.timestamp, number as i64 + 1);
            assert_eq!(record.key, Some(Bytes::from(number.to_string())));
            assert_eq!(record.value, Some(Bytes::from(format!("value {number}"))));
            assert_eq!(record.headers.len(), 2);
        }
        consumer.seek(&partition, SeekTo::Timestamp(1501)).unwrap();
        assert_eq!(read(&mut consumer, 1).await[0].offset, Offset(1500));
        consumer.seek(&partition, SeekTo::Latest).unwrap();
        assert!(consumer.poll(Duration::from_millis(300)).await.unwrap().is_empty());
        assert_eq!(consumer.position(&partition), Some(Offset(2000)));
        consumer.seek(&partition, SeekTo::Offset(Offset(99_999))).unwrap();
        assert_eq!(read(&mut consumer, 1).await[0].offset, Offset(0), "out of range: from the start");
        consumer.close().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_group_goes_on_where_it_has_committed() {
    let client = connect().await;
    let name = topic(&client, 3).await;
    produce(&client, &name, 0..300, ProducerOptions::default()).await;
    let group = format!("live-{}", uuid::Uuid::new_v4());
    let options = ConsumerOptions { group_id: Some(group), poll_records_max: 50, ..from_start() };
    let mut seen = BTreeSet::new();
    for _ in 0..6 {
        let mut consumer = Consumer::new(&client, options.clone()).unwrap();
        consumer.subscribe(std::slice::from_ref(&name)).unwrap();
        for record in consumer.poll(Duration::from_secs(30)).await.unwrap() {
            assert!(seen.insert((record.partition, record.offset)), "read twice");
        }
        consumer.close().await.unwrap();
    }
    let mut consumer = Consumer::new(&client, options).unwrap();
    consumer.subscribe(std::slice::from_ref(&name)).unwrap();
    while seen.len() < 300 {
        for record in consumer.poll(Duration::from_secs(30)).await.unwrap() {
            assert!(seen.insert((record.partition, record.offset)), "read twice");
        }
    }
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn members_share_partitions_and_take_over_from_each_other() {
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let client = connect().await;
        let name = topic(&client, 4).await;
        let options = ConsumerOptions {
            group_id: Some(format!("live-{}", uuid::Uuid::new_v4())),
            assignors: vec![assignor],
            heartbeat_interval_ms: 100,
            session_timeout_ms: 10_000,
            ..from_start()
        };
        let mut members = Vec::new();
        for _ in 0..2 {
            let mut member = Consumer::new(&client, options.clone()).unwrap();
            member.subscribe(std::slice::from_ref(&name)).unwrap();
            members.push(member);
        }
        let (mut second, mut first) = (members.pop().unwrap(), members.pop().unwrap());
        while first.assignment().len() != 4 {
            first.next_event(Duration::from_millis(100)).await.unwrap();
        }
        while first.assignment().len() != 2 || second.assignment().len() != 2 {
            let (one, two) = tokio::join!(
                first.next_event(Duration::from_millis(100)),
                second.next_event(Duration::from_millis(100))
            );
            if let Some(ConsumerEvent::Revoked(revoked)) = one.unwrap() {
                let all = assignor == Assignor::Range;
                assert_eq!(revoked.len(), if all { 4 } else { 2 }, "{assignor:?}");
            }
            two.unwrap();
        }
        assert!(first.assignment().iter().all(|partition| !second.assignment().contains(partition)));
        first.close().await.unwrap();
        while second.assignment().len() != 4 {
            second.next_event(Duration::from_millis(100)).await.unwrap();
        }
        second.close().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_topic_that_does_not_exist_is_an_error() {
    let client = connect().await;
    let nowhere = TopicPartition::new(TopicName::new("live-nowhere").unwrap(), 0);
    let producer = Producer::new(&client, ProducerOptions::default()).unwrap();
    let error = producer.send(ProducerRecord::new(nowhere.topic.clone(), None, None)).await.unwrap_err();
    assert!(matches!(error, ClientError::UnknownTopic(_)), "{error}");
    let mut consumer = Consumer::new(&client, from_start()).unwrap();
    consumer.assign(&[nowhere]).unwrap();
    let error = consumer.poll(Duration::from_secs(30)).await.unwrap_err();
    assert!(!error.is_retriable(), "{error}");
}
