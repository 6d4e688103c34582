//! The producer towards brokers that fail: nothing lost, nothing twice, nothing out of order.

mod fake;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fake::{Asked, FakeBroker, Reply, cluster};
use parking_lot::Mutex;
use strata_client::{Acks, Client, ClientError, ClientOptions, Producer, ProducerOptions, ProducerRecord};
use strata_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use strata_protocol::messages::{InitProducerIdResponse, ProduceRequest, ProduceResponse};
use strata_protocol::records::{Batch, DecompressLimit};
use strata_protocol::{ApiKey, Records};
use strata_types::{ErrorCode, Offset, TopicName};
use tokio::time::timeout;

/// What goes wrong with one Produce request.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Error(ErrorCode),
    /// The connection ends before anything is written.
    LostBefore,
    /// It is written, and then the connection ends.
    LostAfter,
    Silence,
}

/// The log of each partition, with a broker's rules for sequences.
#[derive(Default)]
struct Log {
    faults: VecDeque<Fault>,
    values: HashMap<i32, Vec<String>>,
    /// By producer and partition: the next sequence, and where known batches are.
    producers: HashMap<(i64, i32), (i32, HashMap<i32, i64>)>,
    requests: usize,
}

impl Log {
    fn append(&mut self, partition: i32, batch: &Batch) -> Result<i64, ErrorCode> {
        batch.check_crc().expect("a good checksum");
        let header = *batch.header();
        let values = self.values.entry(partition).or_default();
        let base = values.len() as i64;
        if header.has_producer() {
            let producer = self.producers.entry((header.producer_id.0, partition)).or_default();
            if let Some(known) = producer.1.get(&header.base_sequence) {
                return Ok(*known);
            }
            if header.base_sequence != producer.0 {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            producer.0 += header.records_count;
            producer.1.insert(header.base_sequence, base);
        }
        for record in batch.records(DecompressLimit::default()).unwrap() {
            let value = record.unwrap().value.unwrap();
            values.push(String::from_utf8(value.to_vec()).unwrap());
        }
        Ok(base)
    }

    fn produce(&mut self, asked: &Asked) -> Reply {
        self.requests += 1;
        let fault = self.faults.pop_front().unwrap_or(Fault::None);
        let request: ProduceRequest = asked.request();
        let topics = request.topic_data.iter().map(|topic| TopicProduceResponse {
            name: topic.name.clone(),
            partition_responses: topic
                .partition_data
                .iter()
                .map(|data| {
                    let Some(Records::Bytes(bytes)) = &data.records else { panic!("no records") };
                    let batch = Batch::try_from_bytes(bytes.clone()).expect("one batch");
                    let outcome = match fault {
                        Fault::Error(code) => Err(code),
                        Fault::LostBefore | Fault::Silence => Ok(0),
                        Fault::None | Fault::LostAfter => self.append(data.index, &batch),
                    };
                    PartitionProduceResponse {
                        index: data.index,
                        base_offset: outcome.unwrap_or(-1),
                        error_code: outcome.err().map_or(0, ErrorCode::code),
                        ..Default::default()
                    }
                })
                .collect(),
            ..Default::default()
        });
        let response = ProduceResponse { responses: topics.collect(), ..Default::default() };
        match fault {
            Fault::LostBefore | Fault::LostAfter => Reply::Close,
            Fault::Silence => Reply::Silence,
            Fault::None | Fault::Error(_) => asked.answer(&response),
        }
    }
}

struct Fixture {
    log: Arc<Mutex<Log>>,
    client: Client,
    _broker: FakeBroker,
}

async fn fixture(partitions: i32, faults: impl IntoIterator<Item = Fault>) -> Fixture {
    let log = Arc::new(Mutex::new(Log { faults: faults.into_iter().collect(), ..Log::default() }));
    let port = Arc::new(std::sync::OnceLock::new());
    let producers = AtomicI64::new(1000);
    let (of_broker, known_port) = (log.clone(), port.clone());
    let broker = FakeBroker::start(move |asked| match asked.key {
        ApiKey::Metadata => asked.answer(&cluster(*known_port.get().unwrap(), "t", partitions)),
        ApiKey::InitProducerId => asked.answer(&InitProducerIdResponse {
            producer_id: producers.fetch_add(1, Ordering::SeqCst),
            producer_epoch: 0,
            ..Default::default()
        }),
        ApiKey::Produce => of_broker.lock().produce(asked),
        key => panic!("{key} was not expected"),
    })
    .await;
    port.set(broker.address.port()).unwrap();
    let options = ClientOptions {
        request_timeout_ms: 500,
        retry_backoff_ms: 1,
        retry_backoff_max_ms: 10,
        unknown_topic_wait_ms: 50,
        ..Default::default()
    };
    let client = Client::connect(&broker.bootstrap(), options).await.unwrap();
    Fixture { log, client, _broker: broker }
}

/// Batches of a few records each, so that a test has many.
fn small_batches() -> ProducerOptions {
    ProducerOptions { batch_bytes_max: 120, linger_ms: 0, ..ProducerOptions::default() }
}

fn record(value: impl std::fmt::Display) -> ProducerRecord {
    let mut record = ProducerRecord::new(topic(), None, Some(Bytes::from(value.to_string())));
    record.partition = Some(0);
    record
}

fn topic() -> TopicName {
    TopicName::new("t").unwrap()
}

/// Sends numbers, and checks that each is acknowledged where the log has it, once and in order.
async fn send_and_check(fixture: &Fixture, options: ProducerOptions, count: usize) {
    let producer = Producer::new(&fixture.client, options).unwrap();
    let mut deliveries = Vec::new();
    for number in 0..count {
        deliveries.push(producer.send(record(number)).await.unwrap());
    }
    for (number, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.unwrap().offset, Offset(number as i64));
    }
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!(fixture.log.lock().values[&0], expected);
}

#[tokio::test]
async fn records_are_written_in_order_and_acknowledged_with_their_offsets() {
    let fixture = fixture(1, []).await;
    send_and_check(&fixture, small_batches(), 200).await;
    assert!(fixture.log.lock().requests > 10, "{} requests", fixture.log.lock().requests);
}

#[tokio::test]
async fn a_batch_refused_for_now_keeps_its_place() {
    let faults = [
        Fault::Error(ErrorCode::NotLeaderOrFollower),
        Fault::None,
        Fault::Error(ErrorCode::NotEnoughReplicas),
        Fault::None,
        Fault::Error(ErrorCode::UnknownTopicOrPartition),
    ];
    send_and_check(&fixture(1, faults).await, small_batches(), 100).await;
}

#[tokio::test]
async fn a_lost_acknowledgement_does_not_write_twice() {
    let faults =
        [Fault::None, Fault::LostAfter, Fault::LostBefore, Fault::LostAfter, Fault::None, Fault::LostAfter];
    send_and_check(&fixture(1, faults).await, small_batches(), 100).await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_asked_for_again() {
    send_and_check(&fixture(1, [Fault::None, Fault::Silence]).await, small_batches(), 50).await;
}

#[tokio::test]
async fn without_idempotence_the_order_holds_too() {
    let faults = [Fault::None, Fault::Error(ErrorCode::NotLeaderOrFollower), Fault::LostBefore];
    let options = ProducerOptions { enable_idempotence: false, acks: Acks::Leader, ..small_batches() };
    send_and_check(&fixture(1, faults).await, options, 100).await;
}

#[tokio::test]
async fn a_batch_refused_for_good_fails_and_those_behind_it_are_written() {
    let fixture = fixture(1, [Fault::None, Fault::Error(ErrorCode::InvalidRecord)]).await;
    let producer = Producer::new(&fixture.client, small_batches()).unwrap();
    let mut outcomes = Vec::new();
    for number in 0..20 {
        // One batch each, so that one record fails.
        let delivery = producer.send(record(number)).await.unwrap();
        producer.flush().await;
        outcomes.push(delivery.await);
    }
    let failed: Vec<_> = (0..20).filter(|number| outcomes[*number].is_err()).collect();
    assert_eq!(failed, [1]);
    assert!(outcomes[1].as_ref().unwrap_err().is(ErrorCode::InvalidRecord));
    let log = fixture.log.lock();
    assert_eq!(log.values[&0].len(), 19);
    assert_eq!(log.producers.len(), 2, "sequences start over under a second identity");
}

#[tokio::test]
async fn send_waits_while_the_buffer_is_full() {
    let fixture = fixture(1, std::iter::repeat_n(Fault::Silence, 3)).await;
    let options = ProducerOptions {
        buffer_bytes_max: 1000,
        request_bytes_max: 1000,
        linger_ms: 3_600_000,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(&fixture.client, options).unwrap();
    let value = "x".repeat(400);
    let _first = producer.send(record(&value)).await.unwrap();
    let _second = producer.send(record(&value)).await.unwrap();
    let blocked = timeout(Duration::from_millis(100), producer.send(record(&value))).await;
    assert!(blocked.is_err(), "a third record found room");
    // Lingering ends as soon as someone is short of room, and the silence is retried.
    timeout(Duration::from_secs(10), producer.send(record(&value))).await.expect("room at last").unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_delivered_in_time_fails() {
    let fixture = fixture(1, std::iter::repeat_n(Fault::Error(ErrorCode::NotEnoughReplicas), 10_000)).await;
    let options = ProducerOptions { delivery_timeout_ms: 100, ..small_batches() };
    let producer = Producer::new(&fixture.client, options).unwrap();
    let error = producer.send_and_wait(record("late")).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { ms: 100, .. }), "{error}");
}

/// There, a batch that was given up while its request was still being sent had its memory used for another topic's.
#[tokio::test]
async fn cve_2026_35554_what_is_given_up_in_flight_never_shows_up_elsewhere() {
    let silences = (0..40).map(|number| if number % 2 == 0 { Fault::Silence } else { Fault::LostAfter });
    let fixture = fixture(2, silences).await;
    let options = ProducerOptions { delivery_timeout_ms: 30, ..small_batches() };
    let producer = Producer::new(&fixture.client, options).unwrap();
    let mut given_up = 0;
    for number in 0..200 {
        let mut record = record(format!("{} {number}", number % 2));
        record.partition = Some(number % 2);
        let delivery = producer.send(record).await.unwrap();
        if number % 10 == 9 {
            given_up += usize::from(delivery.await.is_err());
        }
    }
    assert!(given_up > 0, "every record was delivered");
    let log = fixture.log.lock();
    for (partition, values) in &log.values {
        let foreign = values.iter().find(|value| !value.starts_with(&format!("{partition} ")));
        assert_eq!(foreign, None, "in partition {partition}");
    }
    assert_eq!(log.values.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let fixture = fixture(1, []).await;
    let producer = Producer::new(&fixture.client, ProducerOptions::default()).unwrap();
    let elsewhere = ProducerRecord { partition: Some(7), ..record("v") };
    let error = producer.send(elsewhere).await.unwrap_err();
    assert!(matches!(error, ClientError::UnknownPartition { partition: 7, .. }), "{error}");
    let large = record("x".repeat(2 << 20));
    assert!(matches!(producer.send(large).await.unwrap_err(), ClientError::InvalidRecord(_)));
    producer.close().await;
    assert!(matches!(producer.send(record("v")).await.unwrap_err(), ClientError::Closed));
}

#[tokio::test]
async fn keys_choose_their_partition_and_the_rest_is_spread() {
    let fixture = fixture(4, []).await;
    let producer = Producer::new(&fixture.client, small_batches()).unwrap();
    for number in 0..200 {
        let key = (number % 2 == 0).then(|| Bytes::from_static(b"foobar"));
        drop(
            producer
                .send(ProducerRecord::new(topic(), key, Some(Bytes::from(number.to_string()))))
                .await
                .unwrap(),
        );
    }
    producer.flush().await;
    let log = fixture.log.lock();
    let of_key = (-790_332_482 & i32::MAX) % 4;
    assert!((0..200).step_by(2).all(|number: i32| log.values[&of_key].contains(&number.to_string())));
    assert!((0..4).all(|partition| !log.values[&partition].is_empty()));
}

#[tokio::test]
async fn a_dropped_producer_still_sends_what_it_accepted() {
    let fixture = fixture(1, []).await;
    let options = ProducerOptions { linger_ms: 3_600_000, ..ProducerOptions::default() };
    let producer = Producer::new(&fixture.client, options).unwrap();
    let delivery = producer.send(record("last")).await.unwrap();
    drop(producer);
    assert_eq!(delivery.await.unwrap().offset, Offset(0));
}

#[tokio::test]
async fn options_that_contradict_each_other_are_refused() {
    let fixture = fixture(1, []).await;
    let refused = |options| matches!(Producer::new(&fixture.client, options), Err(ClientError::Options(_)));
    assert!(refused(ProducerOptions { acks: Acks::Leader, ..ProducerOptions::default() }));
    assert!(refused(ProducerOptions { in_flight_max: 6, ..ProducerOptions::default() }));
    assert!(refused(ProducerOptions { buffer_bytes_max: 10, ..ProducerOptions::default() }));
}
