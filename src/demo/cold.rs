use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use strata_client::{Client, OffsetSpec};
use strata_query::{Format, QueryEngine, QueryOptions};
use strata_types::{TopicName, TopicPartition};

use super::broker::Broker;
use super::fingerprint::Fingerprint;
use super::hot::Written;
use super::story::{Story, seconds};
use crate::progress::Progress;

/// How long the archive may take before the demo gives up on it.
const ARCHIVED_MAX: Duration = Duration::from_secs(60);
/// Between two looks at how far it is: offsets tell it, and they are asked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until the log has dropped what is archived, and reads everything again.
pub async fn archive(
    story: &mut Story,
    broker: &Broker,
    root: &Path,
    written: &Written,
) -> anyhow::Result<()> {
    story.step("Cold: records move to Parquet, the log drops them, consumers see no difference")?;
    let client = broker.client().await?;
    let began = Instant::now();
    let progress = Progress::spinner("archiving");
    let cold = tokio::time::timeout(ARCHIVED_MAX, until_cold(&client, &written.topic))
        .await
        .context("the log still has everything: the archive does not get on")??;
    drop(progress);
    let (files, bytes) = parquet_files(&root.join("objects"))?;
    story.fact(&format!(
        "{cold} records are out of the log, after {}: {files} Parquet files, {bytes} bytes",
        seconds(began.elapsed())
    ))?;
    story.fact(&format!("look: any engine reads {}/**/*.parquet", root.join("objects").display()))?;
    let again = Fingerprint::of(&client, &written.topic).await?;
    story.check("what a consumer reads", written.fingerprint.clone(), again)
}

/// Asks for the same in SQL.
pub async fn query(story: &mut Story, broker: &Broker, written: &Written) -> anyhow::Result<()> {
    story.step("SQL: hot and cold records as one table")?;
    let engine = QueryEngine::new(QueryOptions {
        bootstrap: Some(broker.bootstrap().to_owned()),
        ..QueryOptions::default()
    })
    .await?;
    let sql = format!(
        "SELECT count(*) AS records, sum(octet_length(value)) AS value_bytes FROM \"{}\"",
        written.topic
    );
    story.fact(&sql)?;
    let mut answer = Vec::new();
    Format::Csv.write(&mut answer, engine.sql(&sql).await?).await?;
    let answer = String::from_utf8(answer)?;
    let expected = format!("{},{}", written.fingerprint.records, written.fingerprint.value_bytes);
    story.check("records,value_bytes", expected.as_str(), answer.lines().nth(1).unwrap_or(""))
}

/// Resolves once every partition has dropped records from the log, and says how many.
async fn until_cold(client: &Client, topic: &TopicName) -> anyhow::Result<i64> {
    let partitions: Vec<_> = client
        .partitions(topic)
        .await?
        .into_iter()
        .map(|partition| (TopicPartition::new(topic.clone(), partition), OffsetSpec::EarliestLocal))
        .collect();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let local = client.list_offsets(&partitions, false).await?;
        if local.len() == partitions.len() && local.values().all(|listed| listed.offset.0 > 0) {
            return Ok(local.values().map(|listed| listed.offset.0).sum());
        }
    }
}

fn parquet_files(folder: &Path) -> anyhow::Result<(usize, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                files += 1;
                bytes += entry.metadata()?.len();
            }
        }
    }
    Ok((files, bytes))
}
