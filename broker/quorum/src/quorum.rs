use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::SnapshotPolicy;
use openraft::error::{ClientWriteError, RaftError};
use strata_metadata::{Image, MetadataRecord};
use strata_protocol::Str;
use strata_types::{LeaderEpoch, NodeId};
use tokio::sync::watch;
use uuid::Uuid;

use crate::disk::remove_unfinished;
use crate::log_store::{LogSize, LogStore, Start};
use crate::machine::Machine;
use crate::network::Network;
use crate::raft::{Command, Raft};
use crate::{OpenError, ProposeError, snapshot, state};

/// The metadata log's folder in the data directory.
const FOLDER: &str = "__cluster_metadata-0";

/// A snapshot is made when the log behind the last one has this size, or that snapshot's size if that is more: then
/// snapshots never cost more than the log itself.
const SNAPSHOT_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// The most bytes of records that one decision may have (Kafka's `MAX_BATCH_SIZE_BYTES`).
const PROPOSAL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a node may take to recover and to lead. A disk that hangs is an error, not an endless start.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Where and as whom to open the quorum.
#[derive(Debug, Clone)]
pub struct QuorumOptions {
    /// The data directory; made if it is not there.
    pub dir: PathBuf,
    pub node_id: NodeId,
    pub cluster_id: Str,
    /// The ids of all voters.
    pub voters: Vec<NodeId>,
}

impl QuorumOptions {
    /// A node that is the whole quorum.
    pub fn single(dir: impl Into<PathBuf>, node_id: NodeId, cluster_id: impl Into<Str>) -> Self {
        Self { dir: dir.into(), node_id, cluster_id: cluster_id.into(), voters: vec![node_id] }
    }
}

/// This node's part in the metadata quorum. Cheap to clone; stops when [`Quorum::shutdown`] is called.
#[derive(Clone)]
pub struct Quorum {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft,
    images: watch::Receiver<Arc<Image>>,
    /// Held from a decision until its records are applied, so that the next decision sees them.
    decisions: Arc<tokio::sync::Mutex<()>>,
    log_size: LogSize,
    snapshot_bytes: Arc<AtomicU64>,
    directory_id: Uuid,
    /// What ends last.
    held: Mutex<Option<Held>>,
}

struct Held {
    disk_thread: JoinHandle<()>,
    lock: File,
}

impl Quorum {
    /// Opens the quorum in a data directory, a fresh one or one that was left in whatever way. When it returns, this node
    /// leads and has applied all that was ever acknowledged. A quorum of one waits for no timer.
    pub async fn open(options: QuorumOptions) -> Result<Self, OpenError> {
        check_voters(&options)?;
        let QuorumOptions { dir, node_id, cluster_id, .. } = options;
        let folder = dir.join(FOLDER);
        fs::create_dir_all(&folder).map_err(OpenError::io(&folder))?;
        let lock = lock(&folder)?;
        let directory_id = state::claim(&dir, &cluster_id, node_id)?;
        remove_unfinished(&folder).map_err(OpenError::io(&folder))?;

        let loaded = snapshot::load(&folder)?;
        let start = loaded.as_ref().map_or_else(Start::default, |(state, _)| Start {
            last: Some(state.last),
            next_offset: state.image.next_offset(),
        });
        let snapshot_bytes = Arc::new(AtomicU64::new(0));
        let (sender, images) = watch::channel(Arc::new(Image::default()));
        let machine = Machine::new(folder.clone(), loaded, sender, Arc::clone(&snapshot_bytes));
        let (store, disk_thread) = LogStore::open(&folder, node_id, start, images.clone())?;
        let log_size = store.size();
        let is_fresh = store.last().is_none();

        let raft = Raft::new(node_id, config()?, Network, store, machine).await.map_err(raft_error)?;
        let quorum = Self {
            inner: Arc::new(Inner {
                raft,
                images,
                decisions: Arc::default(),
                log_size,
                snapshot_bytes,
                directory_id,
                held: Mutex::new(Some(Held { disk_thread, lock })),
            }),
        };
        match quorum.lead(node_id, is_fresh).await {
            Ok(()) => Ok(quorum),
            Err(error) => {
                quorum.shutdown().await;
                Err(error)
            }
        }
    }

    /// The newest image.
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.inner.images.borrow())
    }

    /// The newest image, and news of newer ones. A slow reader does not see every image:
    /// [`Changes::between`](strata_metadata::Changes::between) tells what happened since the last one it saw.
    pub fn images(&self) -> watch::Receiver<Arc<Image>> {
        self.inner.images.clone()
    }

    /// Who leads the quorum, as far as this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.inner.raft.metrics().borrow().current_leader
    }

    /// The epoch of the newest record that was applied.
    pub fn epoch(&self) -> LeaderEpoch {
        self.inner.images.borrow().epoch()
    }

    /// The id of the data directory (KIP-858), chosen when it was first opened.
    pub fn directory_id(&self) -> Uuid {
        self.inner.directory_id
    }

    /// Decides against the newest image, and returns what was decided once the records are durable, committed and
    /// applied. Decisions come one after the other: each sees the image with the records of all before it. Without records
    /// it returns at once. A caller that goes away after the decision does not undo it.
    ///
    /// # Errors
    /// [`ProposeError::Stopped`] leaves open whether the records are in the log; after any other error they are not.
    pub async fn propose<R>(
        &self,
        decide: impl FnOnce(&Image) -> (Vec<MetadataRecord>, R),
    ) -> Result<R, ProposeError> {
        let turn = Arc::clone(&self.inner.decisions).lock_owned().await;
        let image = self.image();
        let (records, outcome) = decide(&image);
        if records.is_empty() {
            return Ok(outcome);
        }
        let command = prepare(&image, &records)?;
        drop((image, records));
        let inner = Arc::clone(&self.inner);
        let write = tokio::spawn(async move {
            let written = inner.raft.client_write(command).await;
            inner.snapshot_if_worthwhile().await;
            drop(turn);
            written
        });
        match write.await {
            Ok(Ok(_)) => Ok(outcome),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(ProposeError::NotLeader { leader: forward.leader_id })
            }
            Ok(Err(error)) => Err(ProposeError::Stopped(error.to_string())),
            Err(error) => Err(ProposeError::Stopped(error.to_string())),
        }
    }

    /// Writes a snapshot of the newest image, and drops the log before it. Happens by itself as the log grows.
    pub async fn snapshot(&self) -> Result<(), ProposeError> {
        let stopped = |error: &dyn std::error::Error| ProposeError::Stopped(error.to_string());
        let raft = &self.inner.raft;
        let applied = raft.metrics().borrow().last_applied;
        raft.trigger().snapshot().await.map_err(|error| stopped(&error))?;
        let done = raft.wait(None);
        let done =
            done.metrics(|metrics| metrics.snapshot >= applied && metrics.purged >= applied, "snapshot");
        done.await.map(drop).map_err(|error| stopped(&error))
    }

    /// Waits until Raft has stopped, and says why: it was shut down, or its disk failed and nothing can be acknowledged any
    /// more, so that the process had better end.
    pub async fn stopped(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        let stopped = metrics.wait_for(|metrics| metrics.running_state.is_err()).await;
        let fatal =
            stopped.ok().and_then(|metrics| metrics.running_state.as_ref().err().map(ToString::to_string));
        fatal.unwrap_or_else(|| "it was shut down".to_owned())
    }

    /// Stops Raft and lets the directory go. What was proposed and acknowledged is on disk already.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "the quorum did not stop cleanly");
        }
        let held = self.inner.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Held { disk_thread, lock }) = held {
            // The thread ends with Raft, which had the other end of its queue.
            let joined = tokio::task::spawn_blocking(move || disk_thread.join().is_ok()).await;
            if !joined.unwrap_or(false) {
                tracing::warn!("the metadata log's thread panicked");
            }
            drop(lock);
        }
    }

    /// Becomes the leader in a new epoch and applies what the log has.
    async fn lead(&self, node_id: NodeId, is_fresh: bool) -> Result<(), OpenError> {
        let raft = &self.inner.raft;
        match is_fresh {
            true => raft.initialize(BTreeSet::from([node_id])).await.map_err(raft_error)?,
            false => raft.trigger().elect().await.map_err(raft_error)?,
        }
        let leading = raft.wait(Some(OPEN_TIMEOUT));
        leading
            .metrics(
                |metrics| {
                    let applied_term = metrics.last_applied.map(|last| last.leader_id.term);
                    metrics.state.is_leader() && applied_term == Some(metrics.current_term)
                },
                "lead the quorum",
            )
            .await
            .map(drop)
            .map_err(raft_error)
    }
}

impl Inner {
    async fn snapshot_if_worthwhile(&self) {
        let worthwhile = SNAPSHOT_LOG_BYTES.max(self.snapshot_bytes.load(Ordering::Relaxed));
        if self.log_size.bytes() < worthwhile {
            return;
        }
        if let Err(error) = self.raft.trigger().snapshot().await {
            tracing::warn!(%error, "no snapshot of the metadata: the quorum has stopped");
        }
    }
}

/// Makes sure that the records fit before they get into the log, where nothing can be done about them.
fn prepare(image: &Image, records: &[MetadataRecord]) -> Result<Command, ProposeError> {
    let mut tried = image.clone();
    let mut encoded = Vec::with_capacity(records.len());
    let mut bytes = 0;
    for record in records {
        tried.apply(record)?;
        let record = record.encode()?;
        bytes += record.len();
        encoded.push(record);
    }
    match bytes {
        ..=PROPOSAL_BYTES_MAX => Ok(Command(encoded)),
        _ => Err(ProposeError::TooLarge { bytes }),
    }
}

fn check_voters(options: &QuorumOptions) -> Result<(), OpenError> {
    match options.voters[..] {
        [only] if only == options.node_id => Ok(()),
        [_, _, ..] => Err(OpenError::ManyVoters),
        _ => Err(OpenError::NotAVoter { node_id: options.node_id }),
    }
}

fn config() -> Result<Arc<openraft::Config>, OpenError> {
    let config = openraft::Config {
        cluster_name: "strata".to_owned(),
        // One voter needs no heartbeats and no election timer; it is told to lead.
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        // By bytes, in `snapshot_if_worthwhile`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..Default::default()
    };
    config.validate().map(Arc::new).map_err(raft_error)
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::io(&path)(error)),
    }
}

fn raft_error(error: impl std::fmt::Display) -> OpenError {
    OpenError::Raft(error.to_string())
}
