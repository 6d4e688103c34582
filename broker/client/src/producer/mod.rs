//! Sending records: batched by partition, in order, each acknowledged with its offset.
//!
//! ```text
//! send --> queue of its partition --> sender: one request per node, several batches each --> Connection
//!              (Queue, Batch)              |                                                    |
//! Delivery <---- offset or error ---------- outcome: acknowledge, put back, or fail <-----------+
//! ```
//!
//! The producer is idempotent unless told otherwise (KIP-98): a retry can neither lose the order nor write twice.

mod batch;
mod partitioner;
mod queue;
mod request;
mod sender;
mod shared;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use strata_protocol::records::{Compression, Header};
use strata_types::{Offset, PartitionId, TimestampMs, TopicName, TopicPartition};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::error::{ClientError, Result};
use batch::Parts;
use partitioner::Sticky;
use shared::Shared;

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// When all in-sync replicas have it.
    All,
    /// When the leader has it.
    Leader,
}

/// The names follow Kafka's.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    pub acks: Acks,
    pub enable_idempotence: bool,
    /// How long a batch waits for company.
    pub linger_ms: u64,
    /// A batch of this size waits no longer. A larger record makes a batch of its own.
    pub batch_bytes_max: usize,
    /// The largest request, and so the largest record.
    pub request_bytes_max: usize,
    /// What may wait for its acknowledgement at most. Then [`Producer::send`] waits.
    pub buffer_bytes_max: usize,
    pub compression: Compression,
    /// How long a record may take with all retries, before it is given up.
    pub delivery_timeout_ms: u64,
    /// How many requests may be unanswered at one node; at most 5 with idempotence.
    pub in_flight_max: usize,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            enable_idempotence: true,
            linger_ms: 5,
            batch_bytes_max: 64 * 1024,
            request_bytes_max: 1024 * 1024,
            buffer_bytes_max: 32 * 1024 * 1024,
            compression: Compression::None,
            delivery_timeout_ms: 120_000,
            in_flight_max: 5,
        }
    }
}

/// How many batches of one producer a broker remembers in order to know a duplicate.
const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

impl ProducerOptions {
    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(ClientError::Options(what.into()));
        if self.enable_idempotence && self.acks != Acks::All {
            return wrong("enable_idempotence needs acks=all");
        }
        if self.enable_idempotence && self.in_flight_max > IDEMPOTENT_IN_FLIGHT_MAX {
            return wrong("in_flight_max may be 5 at most with enable_idempotence");
        }
        if self.in_flight_max == 0 || self.batch_bytes_max == 0 {
            return wrong("in_flight_max and batch_bytes_max may not be 0");
        }
        if self.buffer_bytes_max < self.request_bytes_max || self.buffer_bytes_max > u32::MAX as usize {
            return wrong("buffer_bytes_max must be from request_bytes_max to 4 GiB");
        }
        Ok(())
    }
}

/// A record to send.
#[derive(Clone, Debug)]
pub struct ProducerRecord {
    pub topic: TopicName,
    /// `None` lets the key decide, as in the Java client; without a key records are spread.
    pub partition: Option<PartitionId>,
    /// `None` is now.
    pub timestamp: Option<TimestampMs>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

impl ProducerRecord {
    pub fn new(topic: TopicName, key: Option<Bytes>, value: Option<Bytes>) -> Self {
        Self { topic, partition: None, timestamp: None, key, value, headers: Vec::new() }
    }
}

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    pub partition: TopicPartition,
    /// -1 when the broker knows only that it has the record already.
    pub offset: Offset,
    /// The record's own, or the broker's where the topic has it so.
    pub timestamp: TimestampMs,
}

/// The outcome of one record, to be awaited. Dropping it does not take the record back.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<RecordMetadata>>);

impl Future for Delivery {
    type Output = Result<RecordMetadata>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(ClientError::Closed)))
    }
}

/// Sends records. Clones share everything. What has been accepted is still sent when the last clone is dropped.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

struct Handle {
    client: Client,
    shared: Arc<Shared>,
    sticky: Mutex<Sticky>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Producer {
    /// A producer with connections of its own. Must be called inside a tokio runtime.
    pub fn new(client: &Client, options: ProducerOptions) -> Result<Self> {
        options.check()?;
        let client = client.fork();
        let shared = Arc::new(Shared::new(options));
        tokio::spawn(sender::run(client.clone(), shared.clone()));
        Ok(Self { handle: Arc::new(Handle { client, shared, sticky: Mutex::default() }) })
    }

    /// Accepts a record, as soon as there is room for it, and returns its delivery.
    ///
    /// # Errors
    /// For what can be known at once: the topic or partition is unknown, the record is too large, we are closed.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery> {
        let shared = &self.handle.shared;
        let parts = Parts {
            timestamp: record.timestamp.unwrap_or_else(now_ms),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
        };
        let bytes = parts.bytes();
        let limit = shared.options.request_bytes_max;
        if bytes > limit {
            let problem = format!("it takes {bytes} bytes, request_bytes_max is {limit}");
            return Err(ClientError::InvalidRecord(problem));
        }
        let partition = self.partition_for(&record, bytes).await?;
        shared.reserve(bytes).await?;
        Ok(Delivery(shared.push(partition, &parts, bytes)?))
    }

    async fn partition_for(&self, record: &ProducerRecord, bytes: usize) -> Result<TopicPartition> {
        let topic = &record.topic;
        let partitions = self.handle.client.partitions(topic).await?;
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) if partitions.contains(&partition) => partition,
            (Some(partition), _) => {
                return Err(ClientError::UnknownPartition { topic: topic.clone(), partition });
            }
            (None, _) if partitions.is_empty() => return Err(ClientError::UnknownTopic(topic.clone())),
            (None, Some(key)) => partitions[partitioner::of_key(key, partitions.len())],
            (None, None) => {
                let batch_bytes_max = self.handle.shared.options.batch_bytes_max;
                self.handle.sticky.lock().next(topic, &partitions, bytes, batch_bytes_max)
            }
        };
        Ok(TopicPartition::new(topic.clone(), partition))
    }

    /// Sends one record and waits for its outcome.
    pub async fn send_and_wait(&self, record: ProducerRecord) -> Result<RecordMetadata> {
        self.send(record).await?.await
    }

    /// Sends everything accepted so far without lingering, and waits until all of it has an outcome.
    pub async fn flush(&self) {
        self.handle.shared.flush().await;
    }

    /// Accepts nothing more, and waits until everything accepted has an outcome.
    pub async fn close(&self) {
        self.handle.shared.close();
        self.handle.shared.flush().await;
        self.handle.client.close().await;
    }
}

fn now_ms() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
