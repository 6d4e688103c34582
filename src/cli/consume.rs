//! `strata consume`: records to lines.

use std::collections::HashMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use strata_client::{AutoOffsetReset, Client, Consumer, ConsumerOptions, ConsumerRecord, OffsetSpec};
use strata_types::{Offset, TopicName, TopicPartition};

use super::{Bootstrap, Stop, format};
use crate::output::{self, Output};
use crate::progress::Progress;

/// A partition, and the offset at which to stop.
type End = (TopicPartition, Offset);

/// How long one poll waits before it looks at the other conditions for stopping.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  strata consume orders --from-beginning --max-messages 10\n  \
    strata consume orders --from-beginning --until-end --output json | jq .value\n  strata consume orders --group billing")]
pub struct Consume {
    topic: TopicName,
    /// Begin with the oldest record, from the archive if it is there; otherwise with the next one that arrives.
    #[arg(long)]
    from_beginning: bool,
    /// Share the partitions with the group's other members, and commit what was printed.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Stop after so many records.
    #[arg(long, value_name = "COUNT")]
    max_messages: Option<u64>,
    /// Stop at what is the end when the command starts.
    #[arg(long, conflicts_with = "group")]
    until_end: bool,
    /// Print keys too, before their values.
    #[arg(long)]
    print_key: bool,
    /// Only records of committed transactions.
    #[arg(long)]
    read_committed: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Consume {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        let mut stop = Stop::new()?;
        let client = self.bootstrap.connect().await?;
        let mut consumer = self.consumer(&client)?;
        let ends = match self.group {
            Some(_) => {
                consumer.subscribe(std::slice::from_ref(&self.topic))?;
                Vec::new()
            }
            None => self.assign_all(&client, &mut consumer).await?,
        };
        let progress = self.progress(&client, &ends).await?;
        let mut out = BufWriter::new(output::stdout());
        let mut left = self.max_messages.unwrap_or(u64::MAX);
        while left > 0 && !(self.until_end && at_end(&consumer, &ends)) {
            let records = tokio::select! {
                records = consumer.poll(POLL) => records?,
                () = stop.asked() => break,
            };
            let mut printed = HashMap::new();
            for record in records.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                self.print(&mut out, output, record)?;
                let partition = TopicPartition::new(record.topic.clone(), record.partition);
                printed.insert(partition, Offset(record.offset.0 + 1));
                left -= 1;
                progress.add(1);
            }
            out.flush()?;
            // Not what was polled: of that, the last records may not have been wanted.
            if self.group.is_some() && !printed.is_empty() {
                consumer.commit_offsets(&printed).await?;
            }
        }
        drop(progress);
        consumer.close().await?;
        Ok(())
    }

    fn consumer(&self, client: &Client) -> anyhow::Result<Consumer> {
        let reset = if self.from_beginning { AutoOffsetReset::Earliest } else { AutoOffsetReset::Latest };
        let options = ConsumerOptions {
            group_id: self.group.clone(),
            auto_offset_reset: reset,
            read_committed: self.read_committed,
            enable_auto_commit: false,
            ..ConsumerOptions::default()
        };
        Ok(Consumer::new(client, options)?)
    }

    /// Takes all partitions, and tells where they end now if that is where to stop.
    async fn assign_all(&self, client: &Client, consumer: &mut Consumer) -> anyhow::Result<Vec<End>> {
        let partitions = client.partitions(&self.topic).await?;
        let address = |partition| TopicPartition::new(self.topic.clone(), partition);
        let all: Vec<_> = partitions.into_iter().map(address).collect();
        consumer.assign(&all)?;
        if !self.until_end {
            return Ok(Vec::new());
        }
        let listed = client.list_offsets(&every(&all, OffsetSpec::Latest), self.read_committed).await?;
        Ok(listed.into_iter().map(|(partition, listed)| (partition, listed.offset)).collect())
    }

    /// A bar where it is known how much will come, unless the records themselves go to the same terminal.
    async fn progress(&self, client: &Client, ends: &[End]) -> anyhow::Result<Progress> {
        if !(self.until_end && self.from_beginning) || io::stdout().is_terminal() {
            return Ok(Progress::hidden());
        }
        let all: Vec<_> = ends.iter().map(|(partition, _)| partition.clone()).collect();
        let starts = client.list_offsets(&every(&all, OffsetSpec::Earliest), false).await?;
        let start = |partition| starts.get(partition).map_or(0, |listed| listed.offset.0);
        let total: i64 = ends.iter().map(|(partition, end)| (end.0 - start(partition)).max(0)).sum();
        let total = u64::try_from(total).unwrap_or(0).min(self.max_messages.unwrap_or(u64::MAX));
        Ok(Progress::records("consuming", total))
    }

    fn print(&self, out: &mut impl Write, output: Output, record: &ConsumerRecord) -> anyhow::Result<()> {
        match output {
            Output::Json => writeln!(out, "{}", json(record))?,
            Output::Table => {
                if self.print_key {
                    write!(out, "{}\t", format::bytes(record.key.as_ref()))?;
                }
                writeln!(out, "{}", format::bytes(record.value.as_ref()))?;
            }
        }
        Ok(())
    }
}

/// One object a line, so that a stream of records can be read as it comes.
fn json(record: &ConsumerRecord) -> serde_json::Value {
    let text = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|bytes| format::bytes(Some(bytes)));
    let headers =
        record.headers.iter().map(|header| serde_json::json!([header.key.as_ref(), text(&header.value)]));
    serde_json::json!({
        "topic": record.topic.as_str(),
        "partition": record.partition,
        "offset": record.offset.0,
        "timestamp": record.timestamp,
        "key": text(&record.key),
        "value": text(&record.value),
        "headers": headers.collect::<Vec<_>>(),
    })
}

fn every(partitions: &[TopicPartition], spec: OffsetSpec) -> Vec<(TopicPartition, OffsetSpec)> {
    partitions.iter().map(|partition| (partition.clone(), spec)).collect()
}

fn at_end(consumer: &Consumer, ends: &[End]) -> bool {
    ends.iter().all(|(partition, end)| {
        *end == Offset::ZERO || consumer.position(partition).is_some_and(|position| position >= *end)
    })
}
