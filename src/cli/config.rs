//! `strata config`: the settings of topics and brokers.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use strata_client::ConfigResource;
use strata_types::TopicName;

use super::Bootstrap;
use crate::output::{Output, Row};

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show settings: those that were set, or all
    Get(Get),
    /// Change settings: KEY=VALUE sets, KEY= followed by nothing removes
    Set(Set),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Of {
    /// A topic's settings.
    #[arg(long)]
    topic: Option<TopicName>,
    /// A broker's settings, by its node id.
    #[arg(long)]
    broker: Option<i32>,
}

#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    of: Of,
    /// Also the settings that have their default.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub struct Set {
    #[command(flatten)]
    of: Of,
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = key_value)]
    changes: Vec<(String, String)>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    value: Option<String>,
    is_default: bool,
    is_read_only: bool,
}

impl Row for Entry {
    const COLUMNS: &'static [&'static str] = &["key", "value", "set"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.key.clone(),
            self.value.clone().unwrap_or_default(),
            if self.is_default { "default" } else { "set" }.to_owned(),
        ]
    }
}

impl Config {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Get(get) => get.run(output).await,
            Self::Set(set) => set.run(output).await,
        }
    }
}

impl Of {
    fn resource(self) -> anyhow::Result<ConfigResource> {
        match (self.topic, self.broker) {
            (Some(topic), _) => Ok(ConfigResource::Topic(topic)),
            (None, Some(broker)) => Ok(ConfigResource::Broker(Some(broker))),
            (None, None) => anyhow::bail!("say --topic or --broker"),
        }
    }
}

impl Get {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let entries = client.admin().describe_configs(&self.of.resource()?).await?;
        let mut rows: Vec<Entry> = entries
            .into_iter()
            .filter(|entry| self.all || !entry.is_default)
            .map(|entry| Entry {
                key: entry.name,
                value: entry.value,
                is_default: entry.is_default,
                is_read_only: entry.is_read_only,
            })
            .collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        output.rows(&rows)
    }
}

impl Set {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let client = self.bootstrap.connect().await?;
        let changes: Vec<(&str, Option<&str>)> = self
            .changes
            .iter()
            .map(|(key, value)| (key.as_str(), Some(value.as_str()).filter(|value| !value.is_empty())))
            .collect();
        client.admin().alter_configs(&self.of.resource()?, &changes).await?;
        output.done(
            &format!("{} settings changed", changes.len()),
            &serde_json::json!({ "changed": changes.len() }),
        )
    }
}

/// `KEY=VALUE`; the value may hold further `=`.
pub fn key_value(argument: &str) -> anyhow::Result<(String, String)> {
    let (key, value) = argument.split_once('=').context("expected KEY=VALUE")?;
    anyhow::ensure!(!key.is_empty(), "expected KEY=VALUE");
    Ok((key.to_owned(), value.to_owned()))
}
