//! The command line: one file per command.

mod config;
mod connect;
mod consume;
mod demo;
mod format;
mod group;
mod plugin;
mod produce;
mod query;
mod start;
mod streams;
mod topic;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use strata_client::{Client, ClientOptions, Security};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logging::LogFormat;
use crate::output::{self, Output};

/// A person who mistyped an address should hear of it before the coffee: how long to look for a broker.
const CONNECT_MS_MAX: u64 = 3_000;
/// A topic that was created a moment ago is known everywhere within this.
const TOPIC_WAIT_MS_MAX: u64 = 1_000;

/// A Kafka-compatible streaming platform in one binary: hot records in the log, cold ones in Parquet, processed by sandboxed plugins.
#[derive(Debug, Parser)]
#[command(name = "strata", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Begin with `strata demo`, which runs everything once on a throw-away folder, or with:\n  \
    strata start                                     a broker on localhost:9092, data in ./strata-data\n  \
    strata topic create orders --partitions 3        and any Kafka client on localhost:9092"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How answers are printed.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    output: Output,
    /// How the log is written, to standard error; STRATA_LOG says how much of it.
    #[arg(long, global = true, value_enum, default_value_t, env = "STRATA_LOG_FORMAT")]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker in the foreground
    Start(start::Start),
    /// Show everything once, end to end, and check every answer
    Demo(demo::Demo),
    /// Create, list, describe and delete topics
    #[command(subcommand)]
    Topic(topic::Topic),
    /// Write records, a line of standard input each
    Produce(produce::Produce),
    /// Read records
    Consume(consume::Consume),
    /// List, describe and delete consumer groups
    #[command(subcommand)]
    Group(group::Group),
    /// Read and change the configuration of topics and brokers
    #[command(subcommand)]
    Config(config::Config),
    /// Ask topics in SQL, hot and cold records as one table
    Query(query::Query),
    /// Deploy, list and stop stream topologies
    #[command(subcommand)]
    Streams(streams::Streams),
    /// Run connectors, and tell a worker which
    #[command(subcommand)]
    Connect(connect::Connect),
    /// Look into a plugin
    #[command(subcommand)]
    Plugin(plugin::Plugin),
}

/// Where the cluster is; every client command takes it.
#[derive(Debug, Clone, Args)]
pub struct Bootstrap {
    /// A broker to begin with, or several, separated by commas.
    #[arg(long, default_value = "localhost:9092", env = "STRATA_BOOTSTRAP_SERVER", value_name = "HOST:PORT")]
    pub bootstrap_server: String,
    /// How to secure connections: a client.properties with Kafka's names (security.protocol, sasl.jaas.config, …).
    #[arg(long, env = "STRATA_COMMAND_CONFIG", value_name = "FILE")]
    pub command_config: Option<PathBuf>,
}

impl Bootstrap {
    /// Has every client of this process secure its connections as the command's configuration says.
    pub fn secure(&self) -> anyhow::Result<()> {
        match &self.command_config {
            Some(path) => secure_by(path),
            None => Ok(()),
        }
    }

    /// A client of the cluster.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        self.secure()?;
        let options = ClientOptions {
            client_id: "strata-cli".to_owned(),
            bootstrap_timeout_ms: CONNECT_MS_MAX,
            connect_timeout_ms: CONNECT_MS_MAX,
            unknown_topic_wait_ms: TOPIC_WAIT_MS_MAX,
            ..ClientOptions::default()
        };
        Ok(Client::connect(&self.bootstrap_server, options).await?)
    }
}

/// Has every client of this process secure its connections by the `client.properties` at `path`.
fn secure_by(path: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let security = Security::from_properties(&text).with_context(|| path.display().to_string())?;
    security.use_for_process();
    Ok(())
}

impl Cli {
    /// Servers tell what they do; commands only speak when something is wrong.
    pub fn default_log_level(&self) -> &'static str {
        match self.command {
            // The Raft library tells its inner life at the level at which we tell events.
            Command::Start(_)
            | Command::Connect(connect::Connect::Worker(_))
            | Command::Streams(streams::Streams::Run(_)) => "info,openraft=warn",
            _ => "warn",
        }
    }

    /// Whether this process is to serve requests, and so has something to trace.
    pub fn is_broker(&self) -> bool {
        matches!(self.command, Command::Start(_))
    }

    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Start(start) => start.run().await,
            Command::Demo(demo) => demo.run().await,
            Command::Topic(topic) => topic.run(self.output).await,
            Command::Produce(produce) => produce.run(self.output).await,
            Command::Consume(consume) => consume.run(self.output).await,
            Command::Group(group) => group.run(self.output).await,
            Command::Config(config) => config.run(self.output).await,
            Command::Query(query) => query.run(self.output).await,
            Command::Streams(streams) => streams.run(self.output).await,
            Command::Connect(connect) => connect.run(self.output).await,
            Command::Plugin(plugin) => plugin.run(self.output).await,
        }
    }
}

/// One line on standard output, at once: scripts wait for it.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = output::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// SIGTERM and SIGINT: from the moment that this is made, they end the command in order and not at once.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves once one of them has come, also before this was called.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
