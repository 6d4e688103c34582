//! Follows the deployments topic, and keeps one [`Application`] running for each deployment.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use strata_client::{Client, ClientOptions, Consumer, ConsumerOptions, SeekTo};
use strata_plugin_host::{Host, HostOptions};
use strata_types::{TopicName, TopicPartition};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::application::{self, Context};
use crate::deployment::{Change, DEPLOYMENTS_TOPIC, Deployment, PLUGIN_BYTES_MAX};
use crate::error::RuntimeError;
use crate::topics;

/// How long the runtime waits before it tries again, after the cluster could not be reached.
const RETRY_MS: u64 = 1_000;
/// How long one poll for deployments waits; a new one answers at once.
const POLL: Duration = Duration::from_secs(5);
/// Threads that execute plugins: their own, so that guest code never holds up the broker's reactor.
const PLUGIN_THREADS: usize = 2;

/// Where a runtime finds its cluster and keeps its state.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// `HOST:PORT`, several separated by commas.
    pub bootstrap: String,
    /// State stores, a folder per application and task; and compiled plugins.
    pub state_dir: PathBuf,
    /// How often offsets and state are committed (`commit.interval.ms`).
    pub commit_interval_ms: u64,
}

impl RuntimeOptions {
    pub fn new(bootstrap: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        Self { bootstrap: bootstrap.into(), state_dir: state_dir.into(), commit_interval_ms: 1_000 }
    }
}

/// A running stream runtime.
pub struct Runtime {
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
    threads: Option<tokio::runtime::Runtime>,
}

impl Runtime {
    /// Starts in the background; a cluster that is not there yet is waited for.
    pub fn start(options: RuntimeOptions) -> std::io::Result<Self> {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(PLUGIN_THREADS)
            .thread_name("strata-plugins")
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let supervisor = threads.spawn(supervise(options, stop.clone()));
        Ok(Self { stop, supervisor, threads: Some(threads) })
    }

    /// Commits and stops every application.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.supervisor).await {
            tracing::error!(%error, "the stream runtime did not stop in order");
        }
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

async fn supervise(options: RuntimeOptions, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let outcome = tokio::select! {
            outcome = follow(&options, &stop) => outcome,
            () = stop.cancelled() => return,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "the stream runtime lost its cluster, and tries again in {RETRY_MS} ms");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(RETRY_MS)) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

async fn follow(options: &RuntimeOptions, stop: &CancellationToken) -> Result<(), RuntimeError> {
    let client = Client::connect(&options.bootstrap, ClientOptions::default()).await?;
    topics::ensure_own(&client).await?;
    let host = Host::new(HostOptions {
        cache_dir: Some(options.state_dir.join("compiled")),
        ..HostOptions::default()
    })?;
    let partition = TopicPartition::new(TopicName::new(DEPLOYMENTS_TOPIC)?, 0);
    let bytes = i32::try_from(2 * PLUGIN_BYTES_MAX).unwrap_or(i32::MAX);
    let consumer = ConsumerOptions {
        partition_fetch_bytes_max: bytes,
        fetch_bytes_max: bytes,
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::new(&client, consumer)?;
    consumer.assign(std::slice::from_ref(&partition))?;
    consumer.seek(&partition, SeekTo::Earliest)?;

    let mut running =
        Running { options, client, host, plugins: HashMap::new(), applications: HashMap::new() };
    let outcome = loop {
        tokio::select! {
            records = consumer.poll(POLL) => match records {
                Ok(records) => running.apply(records.into_iter().map(|record| (record.key, record.value))).await,
                Err(error) => break Err(error.into()),
            },
            () = stop.cancelled() => break Ok(()),
        }
    };
    running.stop_all().await;
    outcome
}

/// The applications that run here, and the plugins that were uploaded.
struct Running<'a> {
    options: &'a RuntimeOptions,
    client: Client,
    host: Host,
    plugins: HashMap<String, Bytes>,
    applications: HashMap<String, Handle>,
}

struct Handle {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running<'_> {
    /// Takes the records of one poll together, so that of several deployments of one application only the last is started.
    async fn apply(&mut self, records: impl Iterator<Item = (Option<Bytes>, Option<Bytes>)>) {
        let mut wanted: HashMap<String, Option<Deployment>> = HashMap::new();
        for (key, value) in records {
            match Change::decode(key.as_ref(), value) {
                Ok(Change::Plugin { sha256, wasm }) => drop(self.plugins.insert(sha256, wasm)),
                Ok(Change::PluginRemoved { sha256 }) => drop(self.plugins.remove(&sha256)),
                Ok(Change::Deployed(deployment)) => {
                    wanted.insert(deployment.application.clone(), Some(deployment));
                }
                Ok(Change::Removed { application }) => drop(wanted.insert(application, None)),
                Err(error) => tracing::error!(%error, "a deployment is passed over"),
            }
        }
        for (application, deployment) in wanted {
            if let Some(former) = self.applications.remove(&application) {
                former.stop().await;
            }
            if let Some(deployment) = deployment {
                let handle = self.start(deployment);
                self.applications.insert(application, handle);
            }
        }
    }

    fn start(&self, deployment: Deployment) -> Handle {
        let stop = CancellationToken::new();
        let context = Context {
            client: self.client.clone(),
            host: self.host.clone(),
            wasm: self.plugins.get(&deployment.plugin).cloned(),
            state_dir: self.options.state_dir.join(&deployment.application),
            commit_interval: Duration::from_millis(self.options.commit_interval_ms),
            stop: stop.clone(),
            deployment,
        };
        Handle { stop, task: tokio::spawn(application::run(context)) }
    }

    async fn stop_all(&mut self) {
        for handle in self.applications.values() {
            handle.stop.cancel();
        }
        for (_, handle) in self.applications.drain() {
            handle.stop().await;
        }
    }
}

impl Handle {
    async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "an application did not stop in order");
        }
    }
}
