//! A driver that keeps to a rate: what records and acknowledgements take while a server is not at its limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::load::{self, Acks, PARTITIONS, PATIENCE};

/// How often the driver looks how many records are due.
const TICK: Duration = Duration::from_millis(1);
/// What happens this early is not counted: connections are made, the first batches grow.
const WARM_UP: Duration = Duration::from_secs(2);
/// A record begins with the time at which it was sent, in nanoseconds since the run began.
const STAMP_BYTES: usize = size_of::<u64>();

/// A run at a rate.
pub struct Paced {
    pub acks: Acks,
    pub value_bytes: usize,
    pub bytes_per_second: f64,
    pub lasts: Duration,
}

/// How long things took.
pub struct Latencies {
    /// From `send` to the acknowledgement.
    pub acknowledged: Percentiles,
    /// From `send` to the consumer.
    pub consumed: Percentiles,
}

#[derive(Debug, Clone, Copy)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Percentiles {
    /// Of durations in any order.
    pub fn of(mut durations: Vec<Duration>) -> anyhow::Result<Self> {
        durations.sort_unstable();
        let last = durations.len().checked_sub(1).context("nothing was measured")?;
        let at = |percent: usize| durations[last * percent / 100].as_secs_f64() * 1e3;
        Ok(Self { p50_ms: at(50), p99_ms: at(99) })
    }
}

/// Writes to a topic of its own at the rate, while a consumer reads it.
pub fn run(bootstrap: &str, topic: &str, paced: &Paced) -> anyhow::Result<Latencies> {
    load::create_topics(bootstrap, &[topic.to_owned()], PARTITIONS)?;
    let began = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let consuming = thread::spawn({
        let (bootstrap, topic, done) = (bootstrap.to_owned(), topic.to_owned(), Arc::clone(&done));
        move || consume(&bootstrap, &topic, began, &done)
    });
    let produced = produce(bootstrap, topic, paced, began);
    done.store(true, Ordering::Relaxed);
    let consumed = consuming.join().map_err(|_| anyhow::anyhow!("the consumer panicked"))??;
    Ok(Latencies { acknowledged: Percentiles::of(produced?)?, consumed: Percentiles::of(consumed)? })
}

fn produce(bootstrap: &str, topic: &str, paced: &Paced, began: Instant) -> anyhow::Result<Vec<Duration>> {
    let context = Delivered { began, taken: Arc::default() };
    let taken = Arc::clone(&context.taken);
    let producer: ThreadedProducer<Delivered> = load::client(bootstrap)
        .set("acks", if paced.acks == Acks::All { "all" } else { "1" })
        // What is measured is the server's time, not how long a client waits for a fuller batch.
        .set("linger.ms", "0")
        .set("queue.buffering.max.messages", "1000000")
        .create_with_context(context)?;
    let per_second = paced.bytes_per_second / paced.value_bytes as f64;
    let mut value = load::value(paced.value_bytes);
    let mut sent = 0;
    while began.elapsed() < paced.lasts {
        let due = (began.elapsed().as_secs_f64() * per_second) as u64;
        while sent < due {
            let stamp = began.elapsed();
            value[..STAMP_BYTES].copy_from_slice(&(stamp.as_nanos() as u64).to_be_bytes());
            let record = BaseRecord::<(), [u8], Box<Duration>>::with_opaque_to(topic, Box::new(stamp));
            producer.send(record.payload(&value)).map_err(|(error, _)| error)?;
            sent += 1;
        }
        thread::sleep(TICK);
    }
    producer.flush(PATIENCE)?;
    let taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
    taken.into_iter().collect::<Option<Vec<_>>>().context("a record was not acknowledged")
}

fn consume(bootstrap: &str, topic: &str, began: Instant, done: &AtomicBool) -> anyhow::Result<Vec<Duration>> {
    let consumer: BaseConsumer =
        load::client(bootstrap).set("group.id", "sxs").set("enable.auto.commit", "false").create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut taken = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let Some(record) = consumer.poll(Duration::from_millis(10)) else { continue };
        let now = began.elapsed();
        let record = record?;
        let stamp = record.payload().and_then(|value| value.first_chunk::<STAMP_BYTES>());
        let sent = Duration::from_nanos(u64::from_be_bytes(*stamp.context("a record without a time")?));
        if sent >= WARM_UP {
            taken.push(now.saturating_sub(sent));
        }
    }
    Ok(taken)
}

/// Counts how long acknowledgements took; `None` for a record that was refused.
struct Delivered {
    began: Instant,
    taken: Arc<Mutex<Vec<Option<Duration>>>>,
}

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = Box<Duration>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Duration>) {
        let took = result.is_ok().then(|| self.began.elapsed().saturating_sub(*sent));
        if *sent >= WARM_UP || took.is_none() {
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_durations() {
        let durations = (1..=101).rev().map(Duration::from_millis).collect();
        let Percentiles { p50_ms, p99_ms } = Percentiles::of(durations).expect("there are some");
        assert!((p50_ms - 51.0).abs() < 1e-9 && (p99_ms - 100.0).abs() < 1e-9, "{p50_ms} {p99_ms}");
        assert!(Percentiles::of(Vec::new()).is_err());
    }
}
