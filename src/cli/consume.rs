//! `strata consume`: records to lines.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;
use strata_client::{AutoOffsetReset, Consumer, ConsumerOptions, ConsumerRecord};
use strata_types::{TopicName, TopicPartition};

use super::{Bootstrap, format};
use crate::output::Output;

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
        let client = self.bootstrap.connect().await?;
        let reset = if self.from_beginning { AutoOffsetReset::Earliest } else { AutoOffsetReset::Latest };
        let options = ConsumerOptions {
            group_id: self.group.clone(),
            auto_offset_reset: reset,
            read_committed: self.read_committed,
            enable_auto_commit: false,
            ..ConsumerOptions::default()
        };
        let mut consumer = Consumer::new(&client, options)?;
        let mut ends = Vec::new();
        if self.group.is_some() {
            consumer.subscribe(&[self.topic.clone()])?;
        } else {
            let partitions = client.partitions(&self.topic).await?;
            let all: Vec<_> = partitions
                .into_iter()
                .map(|partition| TopicPartition::new(self.topic.clone(), partition))
                .collect();
            if self.until_end {
                let wanted: Vec<_> = all
                    .iter()
                    .map(|partition| (partition.clone(), strata_client::OffsetSpec::Latest))
                    .collect();
                let listed = client.list_offsets(&wanted, self.read_committed).await?;
                ends.extend(listed.into_iter().map(|(partition, listed)| (partition, listed.offset)));
            }
            consumer.assign(&all)?;
        }
        let mut out = BufWriter::new(io::stdout().lock());
        let mut left = self.max_messages.unwrap_or(u64::MAX);
        while left > 0 && !(self.until_end && at_end(&consumer, &ends)) {
            let records = tokio::select! {
                records = consumer.poll(POLL) => records?,
                _ = tokio::signal::ctrl_c() => break,
            };
            for record in records.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                self.print(&mut out, output, record)?;
                left -= 1;
            }
            out.flush()?;
            if self.group.is_some() {
                consumer.commit().await?;
            }
        }
        consumer.close().await?;
        Ok(())
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

fn at_end(consumer: &Consumer, ends: &[(TopicPartition, strata_types::Offset)]) -> bool {
    ends.iter().all(|(partition, end)| {
        *end == strata_types::Offset::ZERO
            || consumer.position(partition).is_some_and(|position| position >= *end)
    })
}
