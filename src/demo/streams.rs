use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use strata_client::{
    AutoOffsetReset, Client, Consumer, ConsumerOptions, Producer, ProducerOptions, ProducerRecord,
};
use strata_runtime::{Registry, State, Status};
use strata_types::{TopicName, TopicPartition};

use super::broker::Broker;
use super::hot::create_topic;
use super::story::Story;
use crate::shipped;

const LINES: &str = "lines";
const COUNTS: &str = "counts";
const ANSWER_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Deploys the word count and compares its counts with our own.
pub async fn count_words(story: &mut Story, broker: &Broker) -> anyhow::Result<()> {
    story.step("Streams: a sandboxed topology counts words, its state in a changelog")?;
    let client = broker.client().await?;
    create_topic(&client, LINES, 2, &[]).await?;
    create_topic(&client, COUNTS, 2, &[]).await?;
    let registry = Registry::open(client.clone()).await?;
    let wasm = Bytes::from_static(shipped::find("word-count").context("word-count is shipped")?);
    let config = [("topics", LINES), ("output.topic", COUNTS)];
    let deployment = registry.deploy("demo-word-count", wasm, owned(&config)).await?;
    story.fact(&format!(
        "deployed: strata streams deploy demo-word-count --plugin word-count ({}…)",
        &deployment.plugin[..12]
    ))?;

    let lines: Vec<String> =
        (0..1_000).map(|n| format!("the {} order of customer {}", n % 3, n % 5)).collect();
    write_lines(&client, &lines).await?;
    let mut expected: HashMap<String, u64> = HashMap::new();
    for word in lines.iter().flat_map(|line| line.split(' ')) {
        *expected.entry(word.to_owned()).or_default() += 1;
    }
    let found = tokio::time::timeout(ANSWER_MAX, read_counts(&client, &expected)).await;
    let found = match found {
        Ok(found) => found?,
        Err(_) => anyhow::bail!("the counts do not come: {:?}", status(&registry, "demo-word-count").await?),
    };
    story.check("words counted", expected.values().sum::<u64>(), found.values().sum())?;
    story.check("the count of \"the\"", expected["the"], found["the"])
}

/// Waits until the application says that it failed, and returns its reason.
pub async fn until_failed(registry: &Registry, application: &str) -> anyhow::Result<String> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let failed = async {
        loop {
            look.tick().await;
            if let Some(status) = status(registry, application).await?
                && status.state == State::Failed
            {
                return Ok(status.reason);
            }
        }
    };
    tokio::time::timeout(ANSWER_MAX, failed).await.context("the application does not fail")?
}

async fn status(registry: &Registry, application: &str) -> anyhow::Result<Option<Status>> {
    let deployed = registry.list().await?;
    let found = deployed.into_iter().find(|deployed| deployed.deployment.application == application);
    Ok(found.and_then(|deployed| deployed.status))
}

pub fn owned(config: &[(&str, &str)]) -> BTreeMap<String, String> {
    config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub async fn write_lines(client: &Client, lines: &[String]) -> anyhow::Result<()> {
    let producer = Producer::new(client, ProducerOptions::default())?;
    for line in lines {
        let value = Some(Bytes::from(line.clone()));
        let record = ProducerRecord::new(TopicName::new(LINES)?, None, value);
        producer.send(record).await?;
    }
    producer.flush().await;
    producer.close().await;
    Ok(())
}

/// Reads counts until every word has the one expected; the last one of a word is its count.
async fn read_counts(
    client: &Client,
    expected: &HashMap<String, u64>,
) -> anyhow::Result<HashMap<String, u64>> {
    let topic = TopicName::new(COUNTS)?;
    let options =
        ConsumerOptions { auto_offset_reset: AutoOffsetReset::Earliest, ..ConsumerOptions::default() };
    let mut consumer = Consumer::new(client, options)?;
    let partitions = client.partitions(&topic).await?;
    let address = |partition| TopicPartition::new(topic.clone(), partition);
    consumer.assign(&partitions.into_iter().map(address).collect::<Vec<_>>())?;
    let mut found = HashMap::new();
    while found != *expected {
        for record in consumer.poll(POLL).await? {
            let word = String::from_utf8(record.key.context("a count without a word")?.to_vec())?;
            let count = std::str::from_utf8(&record.value.context("a word without a count")?)?.parse()?;
            found.insert(word, count);
        }
    }
    consumer.close().await?;
    Ok(found)
}
