//! Records in, records out: Produce, Fetch, ListOffsets and OffsetForLeaderEpoch.

use strata_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use strata_protocol::messages::describe_producers_request::TopicRequest;
use strata_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use strata_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use strata_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use strata_protocol::messages::{
    DeleteRecordsRequest, DescribeLogDirsRequest, DescribeProducersRequest, FetchRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};
use strata_protocol::records::{BuilderOptions, Compression};
use strata_protocol::{Records, Str};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};
use uuid::Uuid;

use crate::support::{Broker, Connection, batch, batch_with, fetch, only_partition, produce, values};

fn pairs(found: &[(i64, &str)]) -> Vec<(i64, String)> {
    found.iter().map(|(offset, value)| (*offset, value.to_string())).collect()
}

#[tokio::test]
async fn records_come_back_with_their_offsets() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 2, &[]).await;
    for (values, base) in [(&["a", "b"][..], 0), (&["c"], 2)] {
        let answer = connection.produce("t", 1, batch(values)).await;
        assert_eq!((answer.error_code, answer.base_offset, answer.log_append_time_ms), (0, base, -1));
    }
    let data = connection.fetch("t", 1, 0).await;
    assert_eq!(values(&data), pairs(&[(0, "a"), (1, "b"), (2, "c")]));
    assert_eq!((data.high_watermark, data.last_stable_offset, data.log_start_offset), (3, 3, 0));
    assert_eq!(values(&connection.fetch("t", 0, 0).await), []);
}

#[tokio::test]
async fn every_supported_version_produces_and_fetches() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let id = connection.create_topic("t", 1, &[]).await;
    for version in 3..=13 {
        let mut request = produce("t", 0, -1, batch(&["x"]));
        request.topic_data[0].topic_id = id;
        let answer = connection.call(version, &request).await;
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, i64::from(version) - 3),
            "Produce v{version}"
        );
    }
    for version in 4..=18 {
        let mut request = fetch("t", 0, 0, 0);
        request.topics[0].topic_id = id;
        let data = only_partition(connection.call(version, &request).await);
        assert_eq!((data.error_code, values(&data).len()), (0, 11), "Fetch v{version}");
    }
}

#[tokio::test]
async fn unknown_partitions_are_errors_of_their_own() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    for (topic, partition) in [("nope", 0), ("t", 1), ("t", -1)] {
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        assert_eq!(connection.produce(topic, partition, batch(&["x"])).await.error_code, unknown);
        assert_eq!(connection.fetch(topic, partition, 0).await.error_code, unknown);
    }
    let mut request = fetch("t", 0, 0, 0);
    request.topics[0].topic_id = Uuid::from_u128(5);
    let data = only_partition(connection.call(13, &request).await);
    assert_eq!(data.error_code, ErrorCode::UnknownTopicId.code());
}

#[tokio::test]
async fn unacknowledged_records_arrive_without_an_answer() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.send(9, &produce("t", 0, 0, batch(&["a"]))).await;
    // The next answer is the one to the fetch.
    let data = only_partition(connection.call(12, &fetch("t", 0, 0, 5_000)).await);
    assert_eq!(values(&data), pairs(&[(0, "a")]));
}

#[tokio::test]
async fn an_unacknowledged_failure_closes_the_connection() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.send(9, &produce("nope", 0, 0, batch(&["a"]))).await;
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn acks_that_kafka_does_not_know_are_refused() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let answer = connection.call(9, &produce("t", 0, 2, batch(&["a"]))).await;
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, ErrorCode::InvalidRequiredAcks.code());
    assert_eq!(values(&connection.fetch("t", 0, 0).await), []);
}

#[tokio::test]
async fn batches_that_are_none_are_refused_and_leave_nothing() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let good = batch(&["a", "b"]);
    let broken = |change: fn(&mut [u8])| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        bytes
    };
    for (name, bytes) in [
        ("wrong crc", broken(|bytes| bytes[70] ^= 1)),
        ("magic 1", broken(|bytes| bytes[16] = 1)),
        ("magic 3", broken(|bytes| bytes[16] = 3)),
        ("length beyond the field", broken(|bytes| bytes[8] = 0x7f)),
        ("negative length", broken(|bytes| bytes[8] = 0xff)),
        ("cut", good[..good.len() - 1].to_vec()),
        ("cut in the header", good[..40].to_vec()),
        ("two batches", [&good[..], &good[..]].concat()),
        ("nothing", Vec::new()),
    ] {
        let answer = connection.produce("t", 0, bytes.into()).await;
        assert_ne!(answer.error_code, 0, "{name}");
        assert_eq!(answer.base_offset, -1, "{name}");
    }
    assert_eq!(values(&connection.fetch("t", 0, 0).await), []);
}

#[tokio::test]
async fn clients_write_no_control_batches_and_no_transactional_ones_without_an_id() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let producer = BuilderOptions {
        producer_id: ProducerId(1),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        ..Default::default()
    };
    for options in
        [BuilderOptions { control: true, ..producer }, BuilderOptions { transactional: true, ..producer }]
    {
        assert_ne!(connection.produce("t", 0, batch_with(&["a"], options, 0)).await.error_code, 0);
    }
}

#[tokio::test]
async fn zstd_needs_version_seven() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let zstd = batch_with(&["a"], BuilderOptions { compression: Compression::Zstd, ..Default::default() }, 0);
    let code = |answer: strata_protocol::messages::ProduceResponse| {
        answer.responses[0].partition_responses[0].error_code
    };
    let old = code(connection.call(6, &produce("t", 0, -1, zstd.clone())).await);
    assert_eq!(old, ErrorCode::UnsupportedCompressionType.code());
    assert_eq!(code(connection.call(7, &produce("t", 0, -1, zstd)).await), 0);
}

#[tokio::test]
async fn internal_topics_are_written_by_the_broker_only() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let key = Str::from_static("g");
    connection
        .call(0, &strata_protocol::messages::FindCoordinatorRequest { key, ..Default::default() })
        .await;
    let answer = connection.produce("__consumer_offsets", 0, batch(&["a"])).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidTopicException.code());
}

#[tokio::test]
async fn a_repeated_idempotent_batch_is_written_once() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let ask = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let first = connection.call(4, &ask).await;
    let second = connection.call(4, &ask).await;
    assert_eq!((first.error_code, first.producer_epoch), (0, 0));
    assert_ne!(first.producer_id, second.producer_id);
    let at = |base_sequence| {
        let options = BuilderOptions {
            producer_id: ProducerId(first.producer_id),
            producer_epoch: ProducerEpoch(0),
            base_sequence,
            ..Default::default()
        };
        batch_with(&["a", "b"], options, 0)
    };
    for _ in 0..2 {
        let answer = connection.produce("t", 0, at(0)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    }
    let gap = connection.produce("t", 0, at(5)).await;
    assert_eq!(gap.error_code, ErrorCode::OutOfOrderSequenceNumber.code());
    assert_eq!(connection.produce("t", 0, at(2)).await.base_offset, 2);
}

#[tokio::test]
async fn a_long_poll_ends_when_records_come() {
    let broker = Broker::start().await;
    let (mut consumer, mut producer) = (broker.connect().await, broker.connect().await);
    producer.create_topic("t", 1, &[]).await;
    consumer.send(12, &fetch("t", 0, 0, 60_000)).await;
    producer.produce("t", 0, batch(&["a"])).await;
    let data = only_partition(consumer.receive::<FetchRequest>(12).await);
    assert_eq!(values(&data), pairs(&[(0, "a")]));
}

#[tokio::test]
async fn a_long_poll_ends_when_its_time_is_up() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let started = std::time::Instant::now();
    assert_eq!(values(&only_partition(connection.call(12, &fetch("t", 0, 0, 100)).await)), []);
    assert!(started.elapsed() >= std::time::Duration::from_millis(100));
}

#[tokio::test]
async fn the_first_batch_comes_whatever_the_limits_say() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    for value in ["a", "b"] {
        connection.produce("t", 0, batch(&[value])).await;
    }
    let mut request = fetch("t", 0, 0, 0);
    (request.max_bytes, request.topics[0].partitions[0].partition_max_bytes) = (1, 1);
    let data = only_partition(connection.call(12, &request).await);
    assert_eq!(values(&data), pairs(&[(0, "a")]));
}

#[tokio::test]
async fn offsets_outside_the_log_are_out_of_range() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["a"])).await;
    assert_eq!(connection.fetch("t", 0, 1).await.error_code, 0);
    for offset in [-1, 2, i64::MAX] {
        let data = connection.fetch("t", 0, offset).await;
        assert_eq!(data.error_code, ErrorCode::OffsetOutOfRange.code(), "{offset}");
    }
}

#[tokio::test]
async fn leader_epochs_are_checked() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    for (epoch, code) in [(0, ErrorCode::None), (1, ErrorCode::UnknownLeaderEpoch)] {
        let mut request = fetch("t", 0, 0, 0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        assert_eq!(only_partition(connection.call(12, &request).await).error_code, code.code());
    }
    // A restart is another term.
    let broker = broker.restart().await;
    let mut request = fetch("t", 0, 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = 0;
    let data = only_partition(broker.connect().await.call(12, &request).await);
    assert_eq!(data.error_code, ErrorCode::FencedLeaderEpoch.code());
}

#[tokio::test]
async fn a_session_tells_only_what_is_new() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 2, &[]).await;
    let mut open = fetch("t", 0, 0, 0);
    open.session_epoch = 0;
    open.topics[0].partitions.push(FetchPartition {
        partition: 1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    });
    let full = connection.call(12, &open).await;
    assert_ne!(full.session_id, 0);
    assert_eq!(full.responses[0].partitions.len(), 2);
    let next = |session_epoch| FetchRequest {
        session_id: full.session_id,
        session_epoch,
        max_bytes: 1 << 20,
        ..Default::default()
    };
    assert_eq!(connection.call(12, &next(1)).await.responses, []);
    connection.produce("t", 1, batch(&["a"])).await;
    let news = only_partition(connection.call(12, &next(2)).await);
    assert_eq!((news.partition_index, values(&news)), (1, pairs(&[(0, "a")])));
    let stale = connection.call(12, &next(2)).await;
    assert_eq!(stale.error_code, ErrorCode::InvalidFetchSessionEpoch.code());
}

async fn offset_at(connection: &mut Connection, timestamp: i64) -> (i16, i64, i64) {
    let partitions = vec![ListOffsetsPartition { timestamp, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: Str::from_static("t"), partitions, ..Default::default() }];
    let response =
        connection.call(11, &ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }).await;
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.offset, found.timestamp)
}

#[tokio::test]
async fn offsets_are_found_by_time_and_by_name() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let now = 1_700_000_000_000;
    for age in [30, 10, 20] {
        connection.produce("t", 0, batch_with(&["x"], BuilderOptions::default(), now - age)).await;
    }
    for (asked, offset, timestamp) in [
        (-1, 3, -1),
        (-2, 0, -1),
        (-3, 1, now - 10),
        (-4, 0, -1),
        (-5, -1, -1),
        (-6, -1, -1),
        (0, 0, now - 30),
        (now - 25, 1, now - 10),
        (now - 10, 1, now - 10),
        (now, -1, -1),
    ] {
        assert_eq!(offset_at(&mut connection, asked).await, (0, offset, timestamp), "{asked}");
    }
    assert_eq!(offset_at(&mut connection, -7).await.0, ErrorCode::UnsupportedVersion.code());
}

#[tokio::test]
async fn the_end_of_a_leaders_term_is_known() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["a", "b"])).await;
    let broker = broker.restart().await;
    let mut connection = broker.connect().await;
    connection.produce("t", 0, batch(&["c"])).await;
    let metadata = connection.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    let current = metadata.topics[0].partitions[0].leader_epoch;
    assert!(current > 0);
    let partitions =
        [0, current, 99].map(|leader_epoch| OffsetForLeaderPartition { leader_epoch, ..Default::default() });
    let topic = OffsetForLeaderTopic {
        topic: Str::from_static("t"),
        partitions: partitions.into(),
        ..Default::default()
    };
    let request = OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() };
    let response = connection.call(4, &request).await;
    let found: Vec<_> =
        response.topics[0].partitions.iter().map(|p| (p.error_code, p.leader_epoch, p.end_offset)).collect();
    assert_eq!(found[0], (0, 0, 2));
    assert_eq!(found[1], (0, current, 3));
    assert_eq!(found[2], (0, -1, -1));
}

#[tokio::test]
async fn one_request_may_go_to_many_partitions() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 10, &[]).await;
    let mut request: ProduceRequest = produce("t", 0, -1, batch(&["x"]));
    let mut partitions = Vec::new();
    for index in 0..11 {
        let mut data = request.topic_data[0].partition_data[0].clone();
        (data.index, data.records) = (index, Some(Records::Bytes(batch(&["x"]))));
        partitions.push(data);
    }
    request.topic_data[0].partition_data = partitions;
    let response = connection.call(9, &request).await;
    let codes: Vec<_> =
        response.responses[0].partition_responses.iter().map(|answer| answer.error_code).collect();
    assert_eq!(codes[..10], [0; 10]);
    assert_eq!(codes[10], ErrorCode::UnknownTopicOrPartition.code());
    let mut ask = fetch("t", 0, 0, 0);
    ask.topics = vec![FetchTopic {
        topic: Str::from_static("t"),
        partitions: (0..10)
            .map(|partition| FetchPartition { partition, partition_max_bytes: 1000, ..Default::default() })
            .collect(),
        ..Default::default()
    }];
    let fetched = connection.call(12, &ask).await;
    assert!(fetched.responses[0].partitions.iter().all(|data| values(data).len() == 1));
}

#[tokio::test]
async fn deleted_records_are_below_the_start_of_the_log() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["a", "b", "c"])).await;
    let mut delete = async |offset| {
        let partitions = vec![DeleteRecordsPartition { offset, ..Default::default() }];
        let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions, ..Default::default() }];
        let response = connection.call(2, &DeleteRecordsRequest { topics, ..Default::default() }).await;
        let result = &response.topics[0].partitions[0];
        (result.error_code, result.low_watermark)
    };
    assert_eq!(delete(4).await, (ErrorCode::OffsetOutOfRange.code(), -1));
    assert_eq!(delete(2).await, (0, 2));
    assert_eq!(delete(1).await, (0, 2));
    assert_eq!(connection.fetch("t", 0, 1).await.error_code, ErrorCode::OffsetOutOfRange.code());
    let data = connection.fetch("t", 0, 2).await;
    assert_eq!((data.error_code, data.log_start_offset), (0, 2));
    let broker = broker.restart().await;
    assert_eq!(broker.connect().await.fetch("t", 0, 2).await.log_start_offset, 2);
}

#[tokio::test]
async fn disk_use_and_producers_are_described() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 2, &[]).await;
    let options = BuilderOptions {
        producer_id: ProducerId(77),
        producer_epoch: ProducerEpoch(3),
        base_sequence: 0,
        ..Default::default()
    };
    let sent = batch_with(&["a"], options, 1_700_000_000_000);
    assert_eq!(connection.produce("t", 1, sent.clone()).await.error_code, 0);
    let response = connection.call(4, &DescribeLogDirsRequest { topics: None, ..Default::default() }).await;
    let result = &response.results[0];
    assert_eq!((result.error_code, &*result.log_dir), (0, broker.dir.path().to_str().unwrap()));
    let sizes: Vec<_> = result.topics[0].partitions.iter().map(|p| p.partition_size).collect();
    assert_eq!(sizes, [0, sent.len() as i64]);
    assert!(result.total_bytes >= result.usable_bytes && result.usable_bytes > 0);
    let topics = vec![TopicRequest { name: "t".into(), partition_indexes: vec![1], ..Default::default() }];
    let response = connection.call(0, &DescribeProducersRequest { topics, ..Default::default() }).await;
    let producer = &response.topics[0].partitions[0].active_producers[0];
    assert_eq!((producer.producer_id, producer.producer_epoch, producer.last_sequence), (77, 3, 0));
}
