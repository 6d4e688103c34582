//! `strata group`: consumer groups and how far behind they are.

use clap::{Args, Subcommand};
use serde::Serialize;
use strata_client::OffsetSpec;

use super::Bootstrap;
use crate::output::{Output, Row};

#[derive(Debug, Subcommand)]
pub enum Group {
    /// List groups and their states
    List(List),
    /// Show a group's offsets and lag, partition by partition
    Describe(Named),
    /// Delete an empty group, with its offsets
    Delete(Named),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub struct Named {
    group: String,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
    protocol_type: String,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["group", "state", "type"];
    fn cells(&self) -> Vec<String> {
        vec![self.group.clone(), self.state.clone(), self.protocol_type.clone()]
    }
}

#[derive(Serialize)]
struct Lag {
    topic: String,
    partition: i32,
    committed: i64,
    end: i64,
    lag: i64,
}

impl Row for Lag {
    const COLUMNS: &'static [&'static str] = &["topic", "partition", "committed", "end", "lag"];
    fn cells(&self) -> Vec<String> {
        let numbers = [self.committed, self.end, self.lag].map(|number| number.to_string());
        [vec![self.topic.clone(), self.partition.to_string()], numbers.to_vec()].concat()
    }
}

impl Group {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List(list) => list.run(output).await,
            Self::Describe(named) => named.describe(output).await,
            Self::Delete(named) => named.delete(output).await,
        }
    }
}

impl List {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let mut groups: Vec<Listed> = client
            .admin()
            .list_groups()
            .await?
            .into_iter()
            .map(|group| Listed {
                group: group.group_id,
                state: group.state,
                protocol_type: group.protocol_type,
            })
            .collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        output.rows(&groups)
    }
}

impl Named {
    async fn describe(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let groups = client.admin().list_groups().await?;
        anyhow::ensure!(
            groups.iter().any(|group| group.group_id == self.group),
            "group {} does not exist",
            self.group
        );
        let mut committed: Vec<_> = client.admin().group_offsets(&self.group).await?.into_iter().collect();
        committed.sort_by(|a, b| a.0.cmp(&b.0));
        let wanted: Vec<_> =
            committed.iter().map(|(partition, _)| (partition.clone(), OffsetSpec::Latest)).collect();
        let ends = client.list_offsets(&wanted, false).await?;
        let lag = |(partition, committed): (strata_types::TopicPartition, strata_types::Offset)| {
            let end = ends.get(&partition).map_or(-1, |listed| listed.offset.0);
            Lag {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                committed: committed.0,
                end,
                lag: end - committed.0,
            }
        };
        output.rows(&committed.into_iter().map(lag).collect::<Vec<_>>())
    }

    async fn delete(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        client.admin().delete_group(&self.group).await?;
        output.done(&format!("deleted group {}", self.group), &serde_json::json!({ "deleted": self.group }))
    }
}
