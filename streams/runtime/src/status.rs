//! How applications are: one record each in a compacted topic, written by whoever runs them.

use serde::{Deserialize, Serialize};

/// The compacted topic, of one partition, in which applications report.
pub const STATUS_TOPIC: &str = "__strata_applications";

/// Where an application is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Its plugin is being loaded, its state restored.
    Starting,
    Running,
    /// It stopped by itself, for the reason given. Deploying it again starts it again.
    Failed,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Failed => "FAILED",
        })
    }
}

/// An application's latest word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub state: State,
    /// Why it failed; empty otherwise.
    pub reason: String,
    /// The SHA-256 of the plugin that this is about: an older deployment's status is not mistaken for the new one's.
    pub plugin: String,
    /// Tasks that this runtime executes.
    pub tasks: usize,
    /// Records read from source topics, as of the last commit, since the application was started here.
    pub records_read: u64,
    /// Records written to sink and repartition topics, likewise.
    pub records_written: u64,
}
