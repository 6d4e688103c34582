//! `strata start`: broker, controller, archive and stream runtime in one process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use strata_runtime::{Runtime, RuntimeOptions};
use strata_server::Server;
use strata_server::config::Config;
use strata_store::{ObjectStoreUrl, Tier, TierOptions};

use super::Stop;

/// Where data goes unless something else is said.
const DATA_DIR: &str = "strata-data";

#[derive(Debug, Args)]
#[command(
    after_help = "Settings have Kafka's names. Each source overrules the ones before it: --config, then environment variables as \
    Kafka's official image takes them (KAFKA_NODE_ID, KAFKA_LISTENERS, any KAFKA_... ), then --override and the other flags.\n\
    Settings of S3 come from the usual AWS_* variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, \
    AWS_ALLOW_HTTP=true for a store without TLS)."
)]
pub struct Start {
    /// The folder for everything that the broker keeps; made and formatted at the first start [default: ./strata-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect, as in Kafka's `listeners` [default: PLAINTEXT://:9092].
    #[arg(long, value_name = "PLAINTEXT://HOST:PORT")]
    listeners: Option<String>,
    /// Where cold records go [default: the folder `archive` in the data folder].
    #[arg(long, value_name = "s3://BUCKET/PREFIX|file:///DIR")]
    object_store: Option<String>,
    /// A `server.properties` file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting; may be given several times.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// A user whom a new cluster starts with, written as for kafka-storage: SCRAM-SHA-512=[name=admin,password=SECRET]; may be
    /// given several times. Later starts leave users as they are.
    #[arg(long = "add-scram", value_name = "MECHANISM=[name=NAME,password=SECRET]")]
    add_scram: Vec<String>,
}

/// How this process' own clients (the streams runtime) secure their connections: a client.properties.
const CLIENT_CONFIG: &str = "strata.client.config";

impl Start {
    pub async fn run(self) -> anyhow::Result<()> {
        // Before anything else: a signal that comes early ends the broker in order too.
        let mut stop = Stop::new()?;
        let began = Instant::now();
        let config = self.load_config()?;
        let data_dir = config.data_dir.clone();
        let client_config = config.given(CLIENT_CONFIG).map(PathBuf::from);
        if let Some(path) = &client_config {
            super::secure_by(path)?;
        }
        let url: ObjectStoreUrl =
            match self.object_store.as_deref().or_else(|| config.given("strata.archive.url")) {
                Some(url) => url.parse()?,
                None => ObjectStoreUrl::local(&std::path::absolute(data_dir.join("archive"))?),
            };
        // Before the archive, which may lie within it.
        std::fs::create_dir_all(&data_dir)
            .with_context(|| format!("the data directory {} cannot be used", data_dir.display()))?;
        let tier = Tier::new(url.open()?, TierOptions::default());
        let server = Server::start(config, Some(Arc::clone(&tier) as _)).await?;
        let archiver = tier.start(server.archive_host());
        announce(&server, &url, began)?;
        let runtime = match own_bootstrap(&server, client_config.is_some()) {
            Some(bootstrap) => {
                Some(Runtime::start(RuntimeOptions::new(bootstrap, data_dir.join("streams")))?)
            }
            None => {
                tracing::warn!(
                    "every listener is secured and {CLIENT_CONFIG} is not set: stream applications do not run here"
                );
                None
            }
        };

        let outcome = tokio::select! {
            () = stop.asked() => Ok(()),
            why = server.failed() => Err(anyhow::anyhow!("the broker cannot go on: {why}")),
        };
        tracing::info!("stopping");
        if let Some(runtime) = runtime {
            runtime.shutdown().await;
        }
        archiver.shutdown().await;
        server.shutdown().await;
        outcome
    }

    fn load_config(&self) -> anyhow::Result<Config> {
        let properties = match &self.config {
            Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
            None => String::new(),
        };
        let load = |overrides: Vec<String>| Config::load(&properties, std::env::vars(), overrides);
        let mut overrides = self.overrides.clone();
        if let Some(listeners) = &self.listeners {
            overrides.push(format!("listeners={listeners}"));
        }
        if !self.add_scram.is_empty() {
            overrides.push(format!("strata.add.scram={}", self.add_scram.join(";")));
        }
        if let Some(dir) = &self.data_dir {
            overrides.push(format!("log.dirs={}", dir.display()));
            return Ok(load(overrides)?);
        }
        let config = load(overrides.clone())?;
        if config.given("log.dirs").or_else(|| config.given("log.dir")).is_some() {
            return Ok(config);
        }
        overrides.push(format!("log.dirs={DATA_DIR}"));
        Ok(load(overrides)?)
    }
}

/// By what this process' own clients reach its broker: with a configuration of their own by any listener, without one only
/// by one that asks for nothing.
fn own_bootstrap(server: &Server, is_secured: bool) -> Option<String> {
    if is_secured { Some(server.bootstrap()) } else { server.plain_bootstrap() }
}

/// The line that scripts wait for: it begins with `ready`, and that stays.
fn announce(server: &Server, url: &ObjectStoreUrl, began: Instant) -> anyhow::Result<()> {
    super::say(&format!(
        "ready on {} (cluster {}, node {}, archive {url}) after {} ms",
        server.bootstrap(),
        server.cluster_id(),
        server.node_id(),
        began.elapsed().as_millis()
    ))
}
