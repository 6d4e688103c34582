//! The state machine: committed entries become the image, and the image becomes snapshots.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{AnyError, OptionalSend, StorageIOError};
use strata_metadata::{Image, MetadataRecord};
use strata_types::LeaderEpoch;
use tokio::sync::watch;

use crate::batch::offsets_of;
use crate::log_store::now;
use crate::raft::{
    Command, Entry, EntryPayload, LogId, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};
use crate::snapshot::{self, SnapshotState};

/// The state machine as Raft drives it.
pub(crate) struct Machine {
    dir: PathBuf,
    images: watch::Sender<Arc<Image>>,
    last: Option<LogId>,
    membership: StoredMembership,
    /// The size of the newest snapshot's file.
    snapshot_bytes: Arc<AtomicU64>,
}

/// Writes a snapshot of the state at one moment, while the machine goes on.
pub(crate) struct Builder {
    dir: PathBuf,
    state: Option<SnapshotState>,
    snapshot_bytes: Arc<AtomicU64>,
}

impl Machine {
    /// A machine that starts from a snapshot, or from nothing. What it applies is seen through `images`.
    pub(crate) fn new(
        dir: PathBuf,
        start: Option<(SnapshotState, u64)>,
        images: watch::Sender<Arc<Image>>,
        snapshot_bytes: Arc<AtomicU64>,
    ) -> Self {
        let mut machine =
            Self { dir, images, last: None, membership: StoredMembership::default(), snapshot_bytes };
        if let Some((state, bytes)) = start {
            machine.take(state, bytes);
        }
        machine
    }

    fn take(&mut self, state: SnapshotState, bytes: u64) {
        self.last = Some(state.last);
        self.membership = state.membership;
        self.snapshot_bytes.store(bytes, Ordering::Relaxed);
        self.images.send_replace(Arc::new(state.image));
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut image = Image::clone(&self.images.borrow());
        let mut responses = Vec::new();
        for entry in entries {
            let id = entry.log_id;
            let next_offset = image.next_offset() + offsets_of(&entry.payload);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(id), membership);
                }
                EntryPayload::Normal(Command(records)) => {
                    apply_all(&mut image, records).map_err(|error| StorageIOError::apply(id, error))?;
                }
            }
            let epoch = i32::try_from(id.leader_id.term).unwrap_or(i32::MAX);
            image.set_position(next_offset, LeaderEpoch(epoch));
            self.last = Some(id);
            responses.push(());
        }
        self.images.send_replace(Arc::new(image));
        Ok(responses)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let image = Image::clone(&self.images.borrow());
        let membership = self.membership.clone();
        Builder {
            dir: self.dir.clone(),
            state: self.last.map(|last| SnapshotState { image, last, membership }),
            snapshot_bytes: Arc::clone(&self.snapshot_bytes),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        received: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let signature = Some(meta.signature());
        let content = Bytes::from(received.into_inner());
        let state = SnapshotState::decode(content.clone())
            .map_err(|error| StorageIOError::read_snapshot(signature.clone(), &error))?;
        let (dir, name, bytes) = (self.dir.clone(), state.file_name(), content.len() as u64);
        blocking(move || snapshot::save(&dir, &name, &content))
            .await
            .map_err(|error| StorageIOError::write_snapshot(signature, &error))?;
        self.take(state, bytes);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let dir = self.dir.clone();
        let loaded = blocking(move || {
            let loaded = snapshot::load(&dir).map_err(std::io::Error::other)?;
            loaded.map(|(state, _)| Ok((std::fs::read(dir.join(state.file_name()))?, state))).transpose()
        });
        let loaded = loaded.await.map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        Ok(loaded.map(|(content, state)| raft_snapshot(&state, content)))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let Some(state) = self.state.clone() else {
            let nothing = AnyError::error("nothing has been applied yet");
            return Err(StorageIOError::write_snapshot(None, nothing).into());
        };
        let dir = self.dir.clone();
        let built = blocking(move || {
            let content = state.encode(now()).map_err(std::io::Error::other)?;
            snapshot::save(&dir, &state.file_name(), &content)?;
            Ok((content, state))
        });
        let (content, state) = built.await.map_err(|error| StorageIOError::write_snapshot(None, &error))?;
        self.snapshot_bytes.store(content.len() as u64, Ordering::Relaxed);
        Ok(raft_snapshot(&state, content.to_vec()))
    }
}

/// Applies an entry's records: all of them, since the proposer tried them before.
fn apply_all(image: &mut Image, records: Vec<Bytes>) -> Result<(), AnyError> {
    for record in records {
        let record = MetadataRecord::decode(record).map_err(|error| AnyError::new(&error))?;
        image.apply(&record).map_err(|error| AnyError::new(&error))?;
    }
    Ok(())
}

fn raft_snapshot(state: &SnapshotState, content: Vec<u8>) -> Snapshot<TypeConfig> {
    let meta = SnapshotMeta {
        last_log_id: Some(state.last),
        last_membership: state.membership.clone(),
        snapshot_id: state.file_name(),
    };
    Snapshot { meta, snapshot: Box::new(Cursor::new(content)) }
}

/// Runs what touches the disk where it may take its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
