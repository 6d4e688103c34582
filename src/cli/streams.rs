//! `strata streams`: topologies, deployed to whichever node has the runtime role.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use strata_plugin_host::{Host, HostOptions, World};
use strata_runtime::{Deployed, Registry, Runtime, RuntimeOptions};

use super::{Bootstrap, Stop};
use crate::output::{Output, Row};
use crate::shipped;

#[derive(Debug, Subcommand)]
pub enum Streams {
    /// Run a topology under an application's name; replaces what ran under it
    #[command(after_help = "Example:\n  strata streams deploy wc --plugin word-count \
        --config topics=lines --config output.topic=counts")]
    Deploy(Deploy),
    /// List applications and how they are
    List(List),
    /// Stop an application; its topics, offsets and state stay
    Remove(Remove),
    /// Run a stream runtime of its own in the foreground, beside the brokers
    Run(Run),
}

#[derive(Debug, Args)]
pub struct Deploy {
    /// `application.id`: the consumer group, and the prefix of internal topics.
    application: String,
    /// The topology: a WebAssembly component's file, or the name of one that is shipped, as `word-count`.
    #[arg(long, value_name = "FILE|NAME")]
    plugin: PathBuf,
    /// One of the plugin's settings; may be given several times.
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = super::config::key_value)]
    configs: Vec<(String, String)>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub struct Remove {
    application: String,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Where state stores and compiled plugins are kept.
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

impl Row for Deployed {
    const COLUMNS: &'static [&'static str] = &["application", "state", "tasks", "read", "written", "reason"];
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.deployment.application.clone()];
        match &self.status {
            None => {
                cells.extend(["WAITING", "0", "0", "0", "no runtime has picked it up yet"].map(str::to_owned))
            }
            Some(status) => cells.extend([
                status.state.to_string(),
                status.tasks.to_string(),
                status.records_read.to_string(),
                status.records_written.to_string(),
                status.reason.clone(),
            ]),
        }
        cells
    }
}

#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a str,
}

impl Streams {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Deploy(deploy) => deploy.run(output).await,
            Self::List(list) => {
                let registry = Registry::open(list.bootstrap.connect().await?).await?;
                output.rows(&registry.list().await?)
            }
            Self::Remove(remove) => {
                let registry = Registry::open(remove.bootstrap.connect().await?).await?;
                registry.remove(&remove.application).await?;
                let removed = Removed { removed: &remove.application };
                output.done(&format!("removed {}", remove.application), &removed)
            }
            Self::Run(run) => run.run().await,
        }
    }
}

impl Deploy {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let wasm = match self.plugin.to_str().and_then(shipped::find) {
            Some(wasm) => wasm.to_vec(),
            None => std::fs::read(&self.plugin).with_context(|| self.plugin.display().to_string())?,
        };
        let config: BTreeMap<String, String> = self.configs.into_iter().collect();
        // Whoever deploys hears here, and not in a log elsewhere, that a file is no topology.
        let plugin = Host::new(HostOptions::default())?.load(wasm.clone().into()).await?;
        anyhow::ensure!(
            plugin.world() == World::Topology,
            "{} is a {}, not a topology",
            self.plugin.display(),
            plugin.world()
        );
        let required = plugin.descriptor().config.iter().filter(|key| key.required && key.default.is_none());
        for key in required {
            anyhow::ensure!(
                config.contains_key(&key.name),
                "the setting {} is missing ({})",
                key.name,
                key.doc
            );
        }
        let registry = Registry::open(self.bootstrap.connect().await?).await?;
        let deployment = registry.deploy(&self.application, wasm.into(), config).await?;
        let line = format!(
            "deployed {} ({}); `strata streams list` shows how it is",
            self.application, deployment.plugin
        );
        output.done(&line, &deployment)
    }
}

impl Run {
    async fn run(self) -> anyhow::Result<()> {
        let mut stop = Stop::new()?;
        self.bootstrap.secure()?;
        let line = format!("running applications of {}", self.bootstrap.bootstrap_server);
        let runtime = Runtime::start(RuntimeOptions::new(self.bootstrap.bootstrap_server, self.state_dir))?;
        super::say(&line)?;
        stop.asked().await;
        runtime.shutdown().await;
        Ok(())
    }
}
