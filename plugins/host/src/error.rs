//! What can go wrong with a plugin.

use std::fmt;

/// A plugin's own word on what it could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    pub verdict: Verdict,
    pub message: String,
    /// Index in the batch of the record that it is about; none: the whole batch.
    pub record: Option<u32>,
}

/// What a plugin wants done about its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It will never work: the dead letter queue's, if there is one.
    Reject,
    /// The same call may work later.
    Retry,
    /// Stop the task.
    Stop,
}

/// Why a call to a plugin failed, or why it could not be loaded or started. Everything but [`PluginError::Returned`] costs
/// the instance: see [`PluginError::discards_instance`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    #[error("the plugin says: {0}")]
    Returned(Returned),
    #[error("the plugin trapped: {reason}")]
    Trap { reason: String },
    #[error("the plugin did not finish within {limit_ms} ms")]
    Deadline { limit_ms: u64 },
    #[error("the plugin wants more than {limit_bytes} bytes of memory")]
    MemoryLimit { limit_bytes: usize },
    #[error("the plugin wants a table of more than {limit_elements} elements")]
    TableLimit { limit_elements: usize },
    #[error("the plugin hands over more than {limit_bytes} bytes at once")]
    OutputTooLarge { limit_bytes: usize },
    #[error("the plugin calls the host more than {limit} times for one batch")]
    HostCallLimit { limit: u32 },
    #[error("the plugin imports `{import}`, which is not granted to it")]
    NotGranted { import: String },
    /// Records, a graph or a descriptor that break the contract.
    #[error("the plugin answers nonsense: {0}")]
    Malformed(String),
    /// The bytes are no component, or not one of a world that we know.
    #[error("not a plugin: {0}")]
    NotAPlugin(String),
    /// The plugin is of another world than the caller needs.
    #[error("the plugin is a {found}, not a {wanted}")]
    WrongWorld { wanted: &'static str, found: &'static str },
    /// An earlier call failed, or was given up by its caller.
    #[error("this instance of the plugin is discarded: make a new one")]
    Discarded,
    /// The host could not do its part.
    #[error("the plugin host: {0}")]
    Host(String),
}

impl PluginError {
    /// Whether the instance is of no more use, so that a new one must be made.
    pub fn discards_instance(&self) -> bool {
        !matches!(self, PluginError::Returned(_))
    }

    pub(crate) fn host(error: impl fmt::Display) -> Self {
        PluginError::Host(format!("{error:#}"))
    }
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Some(record) => write!(f, "{} (record {record} of the batch)", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// A limit that a guest ran into: travels through wasmtime as the reason of a trap.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum LimitReached {
    #[error("deadline")]
    Deadline,
    #[error("memory")]
    Memory,
    #[error("table")]
    Table,
    #[error("host calls")]
    HostCalls,
}
