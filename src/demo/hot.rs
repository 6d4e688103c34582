use std::time::Instant;

use bytes::Bytes;
use strata_client::{Client, NewTopic, Producer, ProducerOptions, ProducerRecord};
use strata_protocol::Str;
use strata_protocol::records::{Compression, Header};
use strata_types::TopicName;

use super::broker::Broker;
use super::fingerprint::Fingerprint;
use super::story::{Story, seconds};

/// The topic that goes the whole way.
pub const ORDERS: &str = "orders";

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// What is in the topic, as its first reader saw it.
pub struct Written {
    pub topic: TopicName,
    pub fingerprint: Fingerprint,
}

/// Creates the topic, writes records of every shape with every codec, and reads them.
pub async fn produce_and_consume(
    story: &mut Story,
    broker: &Broker,
    records: usize,
) -> anyhow::Result<Written> {
    story.step("Hot: produce with five codecs, consume from the log")?;
    let client = broker.client().await?;
    let topic = TopicName::new(ORDERS)?;
    // Small segments and short lags, so that the archive has work within seconds; the records' own times are long ago.
    let configs = [
        ("retention.ms", "-1"),
        ("remote.storage.enable", "true"),
        ("segment.bytes", "1048576"),
        ("local.retention.ms", "1000"),
        ("strata.archive.lag.ms", "200"),
    ];
    create_topic(&client, ORDERS, 3, &configs).await?;
    let began = Instant::now();
    for (part, codec) in CODECS.into_iter().enumerate() {
        produce(&client, &topic, codec, (part..records).step_by(CODECS.len())).await?;
    }
    let took = began.elapsed();
    story.fact(&format!(
        "{records} records written and acknowledged (acks=all, on disk) in {}, {:.0} a second",
        seconds(took),
        records as f64 / took.as_secs_f64()
    ))?;
    let fingerprint = Fingerprint::of(&client, &topic).await?;
    story.check("records consumed", records as u64, fingerprint.records)?;
    story.fact(&format!("their fingerprint: {fingerprint}"))?;
    Ok(Written { topic, fingerprint })
}

/// Kills the broker, and reads everything again from what the next one recovers.
pub async fn survive_sigkill(
    story: &mut Story,
    broker: &mut Broker,
    written: &Written,
) -> anyhow::Result<()> {
    story.step("SIGKILL, and a new process on the same folder")?;
    broker.kill_and_restart().await?;
    story.fact(&broker.ready_line())?;
    let again = Fingerprint::of(&broker.client().await?, &written.topic).await?;
    story.check("what a consumer reads", written.fingerprint.clone(), again)
}

pub async fn create_topic(
    client: &Client,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> anyhow::Result<()> {
    let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let topic = NewTopic { configs, ..NewTopic::new(TopicName::new(name)?, partitions) };
    client.admin().create_topic(topic).await?;
    Ok(())
}

async fn produce(
    client: &Client,
    topic: &TopicName,
    compression: Compression,
    numbers: impl Iterator<Item = usize>,
) -> anyhow::Result<()> {
    let producer = Producer::new(client, ProducerOptions { compression, ..ProducerOptions::default() })?;
    let mut deliveries = Vec::new();
    for number in numbers {
        deliveries.push(producer.send(order(topic, number)).await?);
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await?;
    }
    producer.close().await;
    Ok(())
}

/// Record `number`, the same every time: some without a key, some without a value, some with headers that repeat.
fn order(topic: &TopicName, number: usize) -> ProducerRecord {
    let text = |text: String| Some(Bytes::from(text));
    let filler = "x".repeat(number * 7919 % 400);
    let value = format!("{{\"order\":{number},\"customer\":\"c{}\",\"note\":\"{filler}\"}}", number % 997);
    let header = |key: &'static str, value: Option<String>| Header {
        key: Str::from_static(key),
        value: value.map(Bytes::from),
    };
    let headers = match number % 10 {
        0 => vec![header("trace", Some(number.to_string())), header("trace", None)],
        _ => Vec::new(),
    };
    let key = if number.is_multiple_of(7) { None } else { text(format!("c{}", number % 997)) };
    let value = if number.is_multiple_of(101) { None } else { text(value) };
    ProducerRecord {
        timestamp: Some(1_700_000_000_000 + number as i64),
        headers,
        ..ProducerRecord::new(topic.clone(), key, value)
    }
}
