//! The driver: librdkafka, the same for both servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientContext, Statistics};

use crate::server::Server;

/// As many as a small production topic has.
pub const PARTITIONS: i32 = 4;
/// A workload that takes longer than this has gone wrong.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// How often the server is asked how much has left the log: seldom enough to cost it nothing.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A batch of many 1 KiB records fills it; librdkafka's default would be 1 MB, which no `linger.ms` fills on loopback.
const BATCH_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    Leader,
    All,
}

/// What is produced, or consumed again.
#[derive(Debug, Clone)]
pub struct Workload {
    pub value_bytes: usize,
    pub acks: Acks,
    pub records: u64,
    /// Archived, and dropped from the log.
    pub cold: bool,
}

impl Workload {
    pub fn new(value_bytes: usize, acks: Acks, megabytes: usize) -> Self {
        Self { value_bytes, acks, records: (megabytes * 1_000_000 / value_bytes) as u64, cold: false }
    }

    pub fn name(&self) -> String {
        let acks = match self.acks {
            Acks::Leader => "1",
            Acks::All => "all",
        };
        format!("{} B, acks={acks}", self.value_bytes)
    }

    fn topic(&self) -> String {
        let acks = format!("{:?}", self.acks).to_lowercase();
        format!("sxs-{}-{acks}{}", self.value_bytes, if self.cold { "-cold" } else { "" })
    }
}

/// Creates a topic and writes one record to it, as soon as the server lets it. Returns when that was acknowledged.
pub fn first_record(bootstrap: &str) -> anyhow::Result<Instant> {
    let workload = Workload { records: 1, ..Workload::new(1, Acks::All, 1) };
    produce(bootstrap, &workload)?;
    Ok(Instant::now())
}

/// What every client here is made with.
pub fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    // While the server starts, it is knocked at all the time.
    config.set("reconnect.backoff.ms", "5").set("reconnect.backoff.max.ms", "10");
    config
}

/// Produces the workload into a topic of its own; returns the time until the last acknowledgement.
pub fn produce(bootstrap: &str, workload: &Workload) -> anyhow::Result<Duration> {
    create_topic(bootstrap, workload)?;
    let counters = Arc::new(Counters::default());
    let producer: BaseProducer<Delivered> = client(bootstrap)
        .set("acks", if workload.acks == Acks::All { "all" } else { "1" })
        .set("linger.ms", "5")
        .set("batch.size", BATCH_BYTES.to_string())
        .set("queue.buffering.max.messages", "1000000")
        .create_with_context(Delivered(Arc::clone(&counters)))?;
    let topic = workload.topic();
    let value = value(workload.value_bytes);
    let began = Instant::now();
    for _ in 0..workload.records {
        let mut record = BaseRecord::<(), [u8]>::to(&topic).payload(&value);
        while let Err((error, refused)) = producer.send(record) {
            anyhow::ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(Duration::from_millis(100));
            record = refused;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE)?;
    let wall = began.elapsed();
    let failed = counters.failed.load(Ordering::Relaxed);
    anyhow::ensure!(failed == 0, "{failed} records were not acknowledged");
    let acknowledged = counters.acknowledged.load(Ordering::Relaxed);
    anyhow::ensure!(acknowledged == workload.records, "{acknowledged} of {} acknowledged", workload.records);
    Ok(wall)
}

/// Reads everything that the workload produced; returns how long that took.
pub fn consume(bootstrap: &str, workload: &Workload) -> anyhow::Result<Duration> {
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "sxs")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        // By default it pauses for a second once it has 100,000 records, which small ones are at once.
        .set("queued.min.messages", "1000000")
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(&workload.topic(), partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let began = Instant::now();
    let mut left = workload.records;
    while left > 0 {
        anyhow::ensure!(began.elapsed() < PATIENCE, "{left} records did not come");
        let Some(record) = consumer.poll(Duration::from_secs(1)) else { continue };
        let bytes = record?.payload_len();
        anyhow::ensure!(bytes == workload.value_bytes, "a value of {bytes} bytes");
        left -= 1;
    }
    Ok(began.elapsed())
}

/// Waits until the archive has everything and the log has dropped it: until the log itself starts where the topic ends.
/// Only Strata's own command line tells where that is; librdkafka cannot ask.
pub fn until_cold(server: &Server, workload: &Workload) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let local = server.records_in_the_log(&workload.topic())?;
        // What came last stays in the log for a moment: at most a few batches are hot.
        if local * 20 < workload.records as i64 {
            return Ok(());
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "{local} records are still in the log");
        // A topic's local start is nothing that a client can wait for.
        std::thread::sleep(ASK_AGAIN);
    }
}

/// Fetches the first record of a topic's partition 0, as soon as the server lets it; writes `record` there before.
/// Returns when the record had come.
pub fn first_fetch(bootstrap: &str, topic: &str, record: Option<&[u8]>) -> anyhow::Result<Instant> {
    if let Some(record) = record {
        let producer: BaseProducer = client(bootstrap).create()?;
        let record = BaseRecord::<(), [u8]>::to(topic).partition(0).payload(record);
        producer.send(record).map_err(|(error, _)| error)?;
        producer.flush(PATIENCE)?;
    }
    let consumer: BaseConsumer = client(bootstrap).set("group.id", "sxs").create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(Ok(_)) = consumer.poll(Duration::from_millis(100)) {
            return Ok(Instant::now());
        }
    }
    anyhow::bail!("no record of {topic} came")
}

/// Spreads 1,000 B records over all partitions of the topics, and waits until all are acknowledged.
pub fn fill(bootstrap: &str, topics: &[String], megabytes: usize) -> anyhow::Result<()> {
    let counters = Arc::new(Counters::default());
    let producer: BaseProducer<Delivered> = client(bootstrap)
        .set("linger.ms", "100")
        .set("acks", "1")
        .create_with_context(Delivered(Arc::clone(&counters)))?;
    let value = value(1_000);
    for sent in 0..megabytes * 1_000 {
        // Runs of records to one topic: batches of a useful size.
        let mut record = BaseRecord::<(), [u8]>::to(&topics[sent / 10_000 % topics.len()]).payload(&value);
        while let Err((_, refused)) = producer.send(record) {
            producer.poll(Duration::from_millis(100));
            record = refused;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE)?;
    anyhow::ensure!(counters.failed.load(Ordering::Relaxed) == 0, "not everything was acknowledged");
    Ok(())
}

/// Creates topics with the server's defaults, in one request.
pub fn create_topics(bootstrap: &str, topics: &[String], partitions: i32) -> anyhow::Result<()> {
    let topics: Vec<_> =
        topics.iter().map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1))).collect();
    create(bootstrap, &topics)
}

fn create_topic(bootstrap: &str, workload: &Workload) -> anyhow::Result<()> {
    let name = workload.topic();
    let mut topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
    if workload.cold {
        topic = topic
            .set("remote.storage.enable", "true")
            .set("segment.bytes", "1048576")
            .set("local.retention.ms", "1000")
            .set("strata.archive.lag.ms", "100");
    }
    create(bootstrap, &[topic])
}

fn create(bootstrap: &str, topics: &[NewTopic<'_>]) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap).create()?;
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let created = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(admin.create_topics(topics, &options))?;
    for result in created {
        result.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    // Closing takes the client a tenth of a second, which is not the server's.
    std::thread::spawn(move || drop(admin));
    Ok(())
}

/// Half random, half constant, so that a codec has something to do and something to win.
pub fn value(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|index| if index % 2 == 0 { random() } else { b'x' }).collect()
}

#[derive(Default)]
struct Counters {
    acknowledged: AtomicU64,
    failed: AtomicU64,
}

struct Delivered(Arc<Counters>);

impl ClientContext for Delivered {
    fn stats(&self, _: Statistics) {}
}

impl ProducerContext for Delivered {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.0.acknowledged } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
