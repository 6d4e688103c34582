//! How connectors and their tasks are doing: in memory for the REST API, in the status topic for whoever reads that.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::cluster::{Cluster, NewRecord};
use crate::formats::status_record;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Unassigned,
    Running,
    Paused,
    Stopped,
    Failed,
    /// Shown to whoever asked for a restart.
    Restarting,
}

/// A connector's or a task's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub state: State,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    pub worker_id: String,
    /// The plugin's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Changes that are not in the topic yet.
const UNWRITTEN_MAX: usize = 10_000;

/// All statuses of this worker.
pub(crate) struct StatusBoard {
    worker_id: String,
    statuses: Mutex<BTreeMap<(String, Option<u32>), Status>>,
    unwritten: mpsc::Sender<Change>,
}

enum Change {
    Status(NewRecord),
    /// Somebody waits until everything before this is in the topic.
    Written(oneshot::Sender<()>),
}

impl StatusBoard {
    /// Writes changes to `topic`, in their order, until the board is dropped.
    pub(crate) fn start(cluster: Arc<dyn Cluster>, topic: String, worker_id: String) -> Arc<Self> {
        let (unwritten, changes) = mpsc::channel(UNWRITTEN_MAX);
        tokio::spawn(write_all(cluster, topic, changes));
        Arc::new(StatusBoard { worker_id, statuses: Mutex::default(), unwritten })
    }

    /// Of a connector (no task) or of one of its tasks.
    pub(crate) fn set(
        &self,
        connector: &str,
        task: Option<u32>,
        state: State,
        trace: Option<String>,
        version: &str,
    ) {
        let version = Some(version.to_owned()).filter(|version| !version.is_empty());
        let status = Status { state, trace, worker_id: self.worker_id.clone(), version };
        let record = status_record(connector, task, Some(&status), &self.worker_id);
        self.statuses.lock().insert((connector.to_owned(), task), status);
        self.write(record);
    }

    pub(crate) fn get(&self, connector: &str, task: Option<u32>) -> Option<Status> {
        self.statuses.lock().get(&(connector.to_owned(), task)).cloned()
    }

    pub(crate) fn remove(&self, connector: &str, task: Option<u32>) {
        if self.statuses.lock().remove(&(connector.to_owned(), task)).is_some() {
            self.write(status_record(connector, task, None, &self.worker_id));
        }
    }

    /// Done when everything set until now is in the topic.
    pub(crate) async fn written(&self) {
        let (done, wait) = oneshot::channel();
        if self.unwritten.send(Change::Written(done)).await.is_ok() {
            wait.await.ok();
        }
    }

    fn write(&self, record: NewRecord) {
        // A status that is lost here is lost in the topic only; the next change says the newer truth.
        if self.unwritten.try_send(Change::Status(record)).is_err() {
            tracing::warn!("a status is not written: the status topic is too slow");
        }
    }
}

async fn write_all(cluster: Arc<dyn Cluster>, topic: String, mut changes: mpsc::Receiver<Change>) {
    let mut batch = Vec::new();
    while changes.recv_many(&mut batch, UNWRITTEN_MAX).await > 0 {
        let (mut records, mut waiting) = (Vec::new(), Vec::new());
        for change in batch.drain(..) {
            match change {
                Change::Status(record) => records.push(record),
                Change::Written(done) => waiting.push(done),
            }
        }
        if let Err(error) = cluster.append(&topic, records).await {
            tracing::warn!(%error, "statuses cannot be written");
        }
        waiting.into_iter().for_each(|done| done.send(()).unwrap_or_default());
    }
}
