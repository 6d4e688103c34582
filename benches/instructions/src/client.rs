//! Requests to the broker in this process, and what they carry.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use strata_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use strata_protocol::messages::{CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ProduceRequest};
use strata_protocol::records::{BatchBuilder, BuilderOptions, Compression};
use strata_protocol::{Encoded, Records, Request, Str, frame};
use strata_server::Loopback;
use strata_types::{ProducerEpoch, ProducerId};
use uuid::Uuid;

/// The newest versions in which topics go by name (Produce) and by id (Fetch), as clients use them today.
pub const PRODUCE: i16 = 12;
pub const FETCH: i16 = 17;
const CREATE_TOPICS: i16 = 7;
const INIT_PRODUCER_ID: i16 = 4;
/// Longer than a flush takes below valgrind.
const PATIENCE_MS: i32 = 60_000;
const LENGTH_BYTES: usize = 4;

/// A request's frame, as a connection hands it on: without its length.
pub fn frame<R: Request>(version: i16, request: &R) -> anyhow::Result<Bytes> {
    let encoded = frame::encode_request(7, &Str::from_static("instructions"), version, request)?;
    Ok(encoded.to_bytes().slice(LENGTH_BYTES..))
}

/// Asks, and waits for the answer.
pub async fn call<R: Request>(broker: &Loopback, version: i16, request: &R) -> anyhow::Result<R::Response> {
    let answer = broker.answer(frame(version, request)?).await.context("no answer")?;
    decode::<R>(version, &answer)
}

pub fn decode<R: Request>(version: i16, answer: &Encoded) -> anyhow::Result<R::Response> {
    Ok(frame::decode_response::<R>(answer.to_bytes().slice(LENGTH_BYTES..), version)?.1)
}

/// The answer to a request that waits for nothing.
pub fn answer_now(broker: &Loopback, frame: Bytes) -> Option<Encoded> {
    match pin!(broker.answer(frame)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => None,
    }
}

/// Creates a topic and answers its id.
pub async fn create_topic(broker: &Loopback, name: &'static str, partitions: i32) -> anyhow::Result<Uuid> {
    let topic = CreatableTopic {
        name: Str::from_static(name),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: PATIENCE_MS, ..Default::default() };
    let response = call(broker, CREATE_TOPICS, &request).await?;
    let created = response.topics.first().context("no topic in the answer")?;
    ensure!(created.error_code == 0, "{name}: error {}", created.error_code);
    Ok(created.topic_id)
}

/// An idempotent producer's id and epoch.
pub async fn producer(broker: &Loopback) -> anyhow::Result<(ProducerId, ProducerEpoch)> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let response = call(broker, INIT_PRODUCER_ID, &request).await?;
    ensure!(response.error_code == 0, "no producer id: error {}", response.error_code);
    Ok((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)))
}

/// A batch of equal records.
pub fn batch(records: usize, value_bytes: usize, options: BuilderOptions) -> anyhow::Result<Bytes> {
    // Half the same, half not, so that a codec has something to do and something to win.
    let value: Vec<u8> =
        (0..value_bytes).map(|at| if at % 2 == 0 { b'x' } else { (at * at % 251) as u8 }).collect();
    let mut builder = BatchBuilder::new(options);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as i64;
    for _ in 0..records {
        builder.push_next(now, None, Some(&value), &[])?;
    }
    Ok(builder.build()?)
}

pub fn options(compression: Compression) -> BuilderOptions {
    BuilderOptions { compression, ..Default::default() }
}

pub fn produce(topic: &'static str, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Some(Records::Bytes(batch)), ..Default::default() };
    let topic =
        TopicProduceData { name: Str::from_static(topic), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: PATIENCE_MS, topic_data: vec![topic], ..Default::default() }
}

/// A fetch that does not wait, outside of any session.
pub fn fetch(topic: Uuid, partitions: i32, from: i64, bytes_max: i32) -> FetchRequest {
    let partition = |partition| FetchPartition {
        partition,
        fetch_offset: from,
        partition_max_bytes: bytes_max,
        ..Default::default()
    };
    let partitions = (0..partitions).map(partition).collect();
    let topic = FetchTopic { topic_id: topic, partitions, ..Default::default() };
    FetchRequest { max_bytes: bytes_max, session_epoch: -1, topics: vec![topic], ..Default::default() }
}
