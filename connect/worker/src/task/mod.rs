//! A task: one plugin instance, and the loop that feeds it or drains it.
//!
//! ```text
//!   source:  poll ──▶ append to topics ──▶ acknowledged ──▶ position to the offsets topic ──┐
//!              ▲──────────────────────────────────────────────────────────────────────────────┘
//!   sink:    group member: poll ──▶ put (rejected: dead letter queue, or FAILED) ──▶ commit ──┐
//!              ▲───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What a task cannot go on from is its failure: FAILED, with the reason as its trace, until somebody restarts it. Other
//! tasks do not notice.

mod dead_letters;
mod retry;
mod sink;
mod source;

pub(crate) use sink::group_of;

use std::sync::Arc;

use strata_plugin_host::{Plugin, PluginError};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, ClusterError};
use crate::config::{ConnectorConfig, Direction};
use crate::formats::Properties;
use crate::offsets::Offsets;
use crate::status::{State, StatusBoard};

/// What a task is made of.
pub(crate) struct Task {
    pub(crate) connector: String,
    pub(crate) number: u32,
    pub(crate) plugin: Plugin,
    pub(crate) direction: Direction,
    pub(crate) config: ConnectorConfig,
    /// What the plugin gets.
    pub(crate) properties: Properties,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) offsets: Arc<Offsets>,
    /// The worker's own.
    pub(crate) internal_topics: Arc<[String]>,
}

/// Why a task stopped by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    #[error("{0}")]
    Plugin(#[from] PluginError),
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    #[error("the plugin still says, after {waited_ms} ms of retries: {message}")]
    RetriesUsedUp { waited_ms: u128, message: String },
    #[error("the plugin writes to `{0}`, an internal topic")]
    InternalTopic(String),
    #[error("records that do not fit into a batch: {0}")]
    Batch(#[from] strata_protocol::records::BuildError),
    #[error("records of the plugin cannot be read: {0}")]
    Records(#[from] strata_protocol::records::BatchError),
}

impl Task {
    /// Runs until it is cancelled or fails; the board tells how it is doing.
    pub(crate) async fn run(self, cancel: CancellationToken, board: Arc<StatusBoard>) {
        let (connector, number) = (self.connector.clone(), self.number);
        let version = self.plugin.descriptor().version.clone();
        let started = || board.set(&connector, Some(number), State::Running, None, &version);
        let outcome = match self.direction {
            Direction::Source => source::run(&self, &cancel, started).await,
            Direction::Sink => sink::run(&self, &cancel, started).await,
        };
        if let Err(error) = outcome {
            tracing::error!(connector, task = number, %error, "a connector's task failed");
            board.set(&connector, Some(number), State::Failed, Some(error.to_string()), &version);
        }
    }
}
