//! Follows the deployments topic, and keeps one [`application`] running for each deployment.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use strata_client::{Client, Consumer, ConsumerOptions, ConsumerRecord, OffsetSpec, SeekTo};
use strata_plugin_host::{Host, HostOptions};
use strata_types::{Offset, TopicName, TopicPartition};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::application::{self, Context};
use crate::deployment::{Change, DEPLOYMENTS_TOPIC, Deployment, PLUGIN_BYTES_MAX};
use crate::error::{RuntimeError, is_transient};
use crate::topics;

/// How long the runtime waits before it tries again, after the cluster could not be reached.
const RETRY_MS: u64 = 1_000;
/// How long one poll for deployments waits; a new one answers at once.
const POLL: Duration = Duration::from_secs(5);
/// How long an application may take to commit and stop. Then it is cut off, and does again what it did not commit.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Threads that execute plugins: their own, so that guest code never holds up the broker's reactor.
const PLUGIN_THREADS: usize = 2;
/// How many uploaded plugins are kept in memory that no application runs (yet).
const UPLOADS_MAX: usize = 4;
/// Holds the runtime's id, and is locked while the folder is in use.
const ID_FILE: &str = "runtime.id";
/// How many bytes of it are looked at.
const ID_BYTES_MAX: u64 = 64;

/// Where a runtime finds its cluster and keeps its state.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// `HOST:PORT`, several separated by commas.
    pub bootstrap: String,
    /// State stores, a folder per application and task; and compiled plugins. One runtime's alone.
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
    /// Locked until the runtime is gone.
    _folder: File,
}

impl Runtime {
    /// Starts in the background; a cluster that is not there yet is waited for.
    ///
    /// # Errors
    /// When the state folder cannot be used, or another runtime uses it.
    pub fn start(options: RuntimeOptions) -> std::io::Result<Self> {
        let (folder, id) = lock(&options.state_dir)?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(PLUGIN_THREADS)
            .thread_name("strata-plugins")
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let supervisor = threads.spawn(supervise(options, id, stop.clone()));
        Ok(Self { stop, supervisor, threads: Some(threads), _folder: folder })
    }

    /// Commits and stops every application; those that cannot within [`STOP_MAX`] are cut off.
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

/// Takes the folder for this runtime alone, and finds or makes the id that it keeps over restarts.
fn lock(state_dir: &Path) -> std::io::Result<(File, String)> {
    std::fs::create_dir_all(state_dir)?;
    let path = state_dir.join(ID_FILE);
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let why = format!("{}: another stream runtime uses this folder", state_dir.display());
            return Err(Error::new(ErrorKind::ResourceBusy, why));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut id = String::new();
    (&file).take(ID_BYTES_MAX).read_to_string(&mut id)?;
    if let Ok(known) = uuid::Uuid::parse_str(id.trim()) {
        return Ok((file, known.to_string()));
    }
    let id = uuid::Uuid::new_v4().to_string();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(id.as_bytes())?;
    Ok((file, id))
}

async fn supervise(options: RuntimeOptions, id: String, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Err(error) = follow(&options, &id, &stop).await else { return };
        tracing::warn!(%error, "the stream runtime lost its cluster, and tries again in {RETRY_MS} ms");
        pause(&stop).await;
    }
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(RETRY_MS)) => {}
        () = stop.cancelled() => {}
    }
}

/// Until the runtime is stopped, with every application stopped in the end.
async fn follow(options: &RuntimeOptions, id: &str, stop: &CancellationToken) -> Result<(), RuntimeError> {
    let client = tokio::select! {
        client = connect(&options.bootstrap) => client?,
        () = stop.cancelled() => return Ok(()),
    };
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

    let mut running = Running {
        options,
        id,
        client,
        host,
        plugins: HashMap::new(),
        applications: HashMap::new(),
        wanted: HashMap::new(),
        uploads: VecDeque::new(),
    };
    let outcome = running.follow(&mut consumer, &partition, stop).await;
    running.stop_all().await;
    outcome
}

async fn connect(bootstrap: &str) -> Result<Client, RuntimeError> {
    let client = Client::connect(bootstrap, application::client_options()).await?;
    topics::ensure_own(&client).await?;
    Ok(client)
}

/// The applications that run here, and the plugins that they need.
struct Running<'a> {
    options: &'a RuntimeOptions,
    id: &'a str,
    client: Client,
    host: Host,
    plugins: HashMap<String, Bytes>,
    applications: HashMap<String, Handle>,
    /// What was read and is not done yet, by application: the last word on each. `None` removes it.
    wanted: HashMap<String, Option<(Deployment, Offset)>>,
    /// The latest uploads, [`UPLOADS_MAX`] of them.
    uploads: VecDeque<String>,
}

struct Handle {
    plugin: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running<'_> {
    async fn follow(
        &mut self,
        consumer: &mut Consumer,
        partition: &TopicPartition,
        stop: &CancellationToken,
    ) -> Result<(), RuntimeError> {
        // Nothing is started before all that was said up to now is read: an old deployment is not run on the way.
        let mut history_end = None;
        loop {
            let records = tokio::select! {
                records = consumer.poll(POLL) => records,
                () = stop.cancelled() => return Ok(()),
            };
            match records {
                Ok(records) => records.into_iter().for_each(|record| self.take_in(record)),
                Err(error) if is_transient(&error) => {
                    tracing::warn!(%error, "deployments cannot be read at the moment");
                    pause(stop).await;
                }
                Err(error) => return Err(error.into()),
            }
            let end = match history_end {
                Some(end) => end,
                None => *history_end.insert(end_of(&self.client, partition).await?),
            };
            if consumer.position(partition).is_some_and(|position| position >= end) {
                self.apply().await;
            }
        }
    }

    fn take_in(&mut self, record: ConsumerRecord) {
        match Change::decode(record.key.as_ref(), record.value) {
            Ok(Change::Plugin { sha256, wasm }) => {
                self.uploads.push_back(sha256.clone());
                self.plugins.insert(sha256, wasm);
            }
            Ok(Change::PluginRemoved { sha256 }) => drop(self.plugins.remove(&sha256)),
            Ok(Change::Deployed(deployment)) => {
                self.wanted.insert(deployment.application.clone(), Some((deployment, record.offset)));
            }
            Ok(Change::Removed { application }) => drop(self.wanted.insert(application, None)),
            Err(error) => tracing::error!(%error, "a deployment is passed over"),
        }
        self.forget_plugins();
    }

    /// Keeps the plugins that are deployed, and the latest uploads, whose deployments may be on their way.
    fn forget_plugins(&mut self) {
        while self.uploads.len() > UPLOADS_MAX {
            self.uploads.pop_front();
        }
        let wanted = self.wanted.values().flatten().map(|(deployment, _)| &deployment.plugin);
        let running = self.applications.values().map(|handle| &handle.plugin);
        let needed: HashSet<&String> = wanted.chain(running).chain(&self.uploads).collect();
        self.plugins.retain(|sha256, _| needed.contains(sha256));
    }

    async fn apply(&mut self) {
        for (application, deployment) in std::mem::take(&mut self.wanted) {
            if let Some(former) = self.applications.remove(&application) {
                former.stop(Instant::now() + STOP_MAX).await;
            }
            if let Some((deployment, offset)) = deployment {
                let handle = self.start(deployment, offset);
                self.applications.insert(application, handle);
            }
        }
    }

    fn start(&self, deployment: Deployment, offset: Offset) -> Handle {
        let (plugin, stop) = (deployment.plugin.clone(), CancellationToken::new());
        let context = Context {
            client: self.client.clone(),
            host: self.host.clone(),
            wasm: self.plugins.get(&plugin).cloned(),
            state_dir: self.options.state_dir.join(&deployment.application),
            commit_interval: Duration::from_millis(self.options.commit_interval_ms),
            stop: stop.clone(),
            runtime_id: self.id.to_owned(),
            deployed_at: offset.0,
            deployment,
        };
        Handle { plugin, stop, task: tokio::spawn(application::run(context)) }
    }

    /// All at once, and all by the same time.
    async fn stop_all(&mut self) {
        let deadline = Instant::now() + STOP_MAX;
        for handle in self.applications.values() {
            handle.stop.cancel();
        }
        for (_, handle) in self.applications.drain() {
            handle.stop(deadline).await;
        }
    }
}

impl Handle {
    async fn stop(mut self, deadline: Instant) {
        self.stop.cancel();
        let ended = match tokio::time::timeout_at(deadline, &mut self.task).await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::warn!("an application does not stop: cut off");
                self.task.abort();
                self.task.await
            }
        };
        if let Err(error) = ended.or_else(|error| if error.is_cancelled() { Ok(()) } else { Err(error) }) {
            tracing::error!(%error, "an application did not stop in order");
        }
    }
}

async fn end_of(client: &Client, partition: &TopicPartition) -> Result<Offset, RuntimeError> {
    let ends = client.list_offsets(&[(partition.clone(), OffsetSpec::Latest)], false).await?;
    Ok(ends.get(partition).map_or(Offset::ZERO, |listed| listed.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_belongs_to_one_runtime_which_keeps_its_id() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, id) = lock(folder.path()).expect("free");
        let refused = lock(folder.path()).expect_err("in use");
        assert_eq!(refused.kind(), ErrorKind::ResourceBusy);
        drop(file);
        let (_file, again) = lock(folder.path()).expect("free again");
        assert_eq!(again, id);
    }

    #[test]
    fn an_id_file_of_nonsense_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(ID_FILE), vec![b'x'; 1_000]).expect("a file");
        let (file, id) = lock(folder.path()).expect("free");
        drop(file);
        assert_eq!(lock(folder.path()).expect("free again").1, id);
    }
}
