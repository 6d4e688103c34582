//! `strata produce`: records from lines.

use std::io::BufRead;
use std::os::fd::AsFd;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use strata_client::{Acks, Delivery, Producer, ProducerOptions, ProducerRecord};
use strata_protocol::Str;
use strata_protocol::records::{Compression, Header};
use strata_types::TopicName;

use super::Bootstrap;
use crate::output::Output;
use crate::progress::Progress;

/// Acknowledgements that may be outstanding before the next line is read.
const UNACKNOWLEDGED_MAX: usize = 100_000;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  seq 1000 | strata produce numbers\n  \
    echo 'alice:{\"age\": 41}' | strata produce people --key-separator : --header source=cli")]
pub struct Produce {
    topic: TopicName,
    /// What stands between key and value; without it, a line is a value and has no key.
    #[arg(long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// A header for every record; may be given several times.
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = super::config::key_value)]
    headers: Vec<(String, String)>,
    /// The partition; without it, the key's hash decides as in Kafka's own producer.
    #[arg(long)]
    partition: Option<i32>,
    #[arg(long, value_enum, default_value_t)]
    compression: Codec,
    #[arg(long, value_enum, default_value_t)]
    acks: AcksArg,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum AcksArg {
    /// On stable storage of all in-sync replicas.
    #[default]
    All,
    /// In the leader's log.
    Leader,
}

impl Produce {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let idempotent = matches!(self.acks, AcksArg::All);
        let acks = if idempotent { Acks::All } else { Acks::Leader };
        let options = ProducerOptions {
            acks,
            enable_idempotence: idempotent,
            compression: self.compression.into(),
            ..Default::default()
        };
        let producer = Producer::new(&client, options)?;
        let headers: Vec<Header> = self
            .headers
            .iter()
            .map(|(key, value)| Header { key: Str::from(key.as_str()), value: Some(value.clone().into()) })
            .collect();
        let mut unacknowledged: Vec<Delivery> = Vec::new();
        let mut produced = 0u64;
        let progress = progress_through_stdin();
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            progress.add(line.len() as u64 + 1);
            let (key, value) = self.split(line)?;
            let record = ProducerRecord {
                partition: self.partition,
                headers: headers.clone(),
                ..ProducerRecord::new(self.topic.clone(), key, Some(value))
            };
            unacknowledged.push(producer.send(record).await?);
            produced += 1;
            if unacknowledged.len() == UNACKNOWLEDGED_MAX {
                acknowledged(&mut unacknowledged).await?;
            }
        }
        producer.flush().await;
        acknowledged(&mut unacknowledged).await?;
        producer.close().await;
        drop(progress);
        output.done(
            &format!("{produced} records written to {}", self.topic),
            &serde_json::json!({ "topic": self.topic.as_str(), "records": produced }),
        )
    }

    fn split(&self, line: String) -> anyhow::Result<(Option<Bytes>, Bytes)> {
        let Some(separator) = &self.key_separator else { return Ok((None, line.into())) };
        match line.split_once(separator.as_str()) {
            Some((key, value)) => Ok((Some(key.to_owned().into()), value.to_owned().into())),
            None => anyhow::bail!("the line {line:?} has no {separator:?} between key and value"),
        }
    }
}

/// Only a file has a length to measure against.
fn progress_through_stdin() -> Progress {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from);
    match stdin.and_then(|stdin| stdin.metadata()) {
        Ok(metadata) if metadata.is_file() => Progress::bytes("producing", metadata.len()),
        _ => Progress::hidden(),
    }
}

async fn acknowledged(deliveries: &mut Vec<Delivery>) -> anyhow::Result<()> {
    for delivery in deliveries.drain(..) {
        delivery.await?;
    }
    Ok(())
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Self::None,
            Codec::Gzip => Self::Gzip,
            Codec::Snappy => Self::Snappy,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd => Self::Zstd,
        }
    }
}
