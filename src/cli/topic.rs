//! `strata topic`: create, list, describe and delete topics.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use serde::Serialize;
use strata_client::{ListedOffset, NewTopic};
use strata_types::{TopicName, TopicPartition};

use super::Bootstrap;
use crate::output::{Output, Row};

#[derive(Debug, Subcommand)]
pub enum Topic {
    /// Create a topic
    #[command(after_help = "A topic that is archived:\n  strata topic create orders --partitions 3 \
        --config remote.storage.enable=true --config local.retention.ms=3600000")]
    Create(Create),
    /// List the topics' names and sizes
    List(List),
    /// Show a topic's partitions
    Describe(Named),
    /// Delete a topic, with all its records, in the log and in the archive
    Delete(Named),
}

#[derive(Debug, Args)]
pub struct Create {
    topic: TopicName,
    /// -1 takes the broker's `num.partitions`.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    partitions: i32,
    /// -1 takes the broker's `default.replication.factor`.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    replication_factor: i16,
    /// One of the topic's settings; may be given several times.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = super::config::key_value)]
    configs: Vec<(String, String)>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub struct List {
    /// Also the topics that the broker keeps for itself.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub struct Named {
    topic: TopicName,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Serialize)]
struct Listed {
    topic: String,
    id: String,
    partitions: usize,
    internal: bool,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["topic", "id", "partitions"];
    fn cells(&self) -> Vec<String> {
        vec![self.topic.clone(), self.id.clone(), self.partitions.to_string()]
    }
}

#[derive(Serialize)]
struct Partition {
    partition: i32,
    leader: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    start_offset: i64,
    local_start_offset: i64,
    end_offset: i64,
}

impl Row for Partition {
    const COLUMNS: &'static [&'static str] =
        &["partition", "leader", "replicas", "isr", "start", "local start", "end"];
    fn cells(&self) -> Vec<String> {
        let nodes = |nodes: &[i32]| nodes.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        vec![
            self.partition.to_string(),
            self.leader.to_string(),
            nodes(&self.replicas),
            nodes(&self.isr),
            self.start_offset.to_string(),
            self.local_start_offset.to_string(),
            self.end_offset.to_string(),
        ]
    }
}

impl Topic {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(output).await,
            Self::List(list) => list.run(output).await,
            Self::Describe(named) => named.describe(output).await,
            Self::Delete(named) => named.delete(output).await,
        }
    }
}

impl Create {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let topic = NewTopic {
            replication_factor: self.replication_factor,
            configs: self.configs,
            ..NewTopic::new(self.topic.clone(), self.partitions)
        };
        client.admin().create_topic(topic).await?;
        output
            .done(&format!("created {}", self.topic), &serde_json::json!({ "created": self.topic.as_str() }))
    }
}

impl List {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let mut topics: Vec<Listed> = client
            .admin()
            .list_topics()
            .await?
            .into_iter()
            .filter(|topic| self.internal || !topic.name.is_internal())
            .map(|topic| Listed {
                topic: topic.name.to_string(),
                id: topic.id.to_string(),
                partitions: topic.partitions.len(),
                internal: topic.name.is_internal(),
            })
            .collect();
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        output.rows(&topics)
    }
}

impl Named {
    async fn describe(self, output: Output) -> anyhow::Result<()> {
        use strata_client::OffsetSpec::{Earliest, EarliestLocal, Latest};
        let client = self.bootstrap.connect().await?;
        let topic = client.admin().describe_topic(&self.topic).await?;
        let address = |partition: i32| TopicPartition::new(self.topic.clone(), partition);
        let all = |spec| topic.partitions.iter().map(|p| (address(p.index), spec)).collect::<Vec<_>>();
        let (start, local_start, end) = (
            client.list_offsets(&all(Earliest), false).await?,
            client.list_offsets(&all(EarliestLocal), false).await?,
            client.list_offsets(&all(Latest), false).await?,
        );
        let row = |partition: &strata_client::Partition| {
            let address = address(partition.index);
            let of = |listed: &HashMap<_, ListedOffset>| listed.get(&address).map_or(-1, |one| one.offset.0);
            Partition {
                partition: partition.index,
                leader: partition.leader.unwrap_or(-1),
                replicas: partition.replicas.clone(),
                isr: partition.isr.clone(),
                start_offset: of(&start),
                local_start_offset: of(&local_start),
                end_offset: of(&end),
            }
        };
        output.rows(&topic.partitions.iter().map(row).collect::<Vec<_>>())
    }

    async fn delete(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        client.admin().delete_topic(&self.topic).await?;
        output
            .done(&format!("deleted {}", self.topic), &serde_json::json!({ "deleted": self.topic.as_str() }))
    }
}
