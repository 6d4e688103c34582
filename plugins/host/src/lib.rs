//! The sandbox that runs WebAssembly plugins.
//!
//! ```text
//!   Host ── load(bytes) ──▶ Plugin ── topology | source | sink | transform (grants, config) ──▶ an instance ── process,
//!    │ engine, linker         │ compiled code (cached on disk),    (6 to 35 µs)                  │ store    poll, put,
//!    │ ticker, pool           │ descriptor, imports                                              │ limits   apply
//! ```
//!
//! The contract is the WIT package in `plugins/wit`. A plugin gets a batch of records in one call and gives back batches: the
//! boundary is never crossed for a record. It has no files, no environment, no sockets; `http` is granted by host and port.
//!
//! **Limits.** A running guest is looked at every 10 ms: it yields to the executor, so that it does not stall the thread's
//! other tasks, or it is stopped at its deadline. Memory, tables, stack, calls to the host, logged bytes and what it hands
//! over are bounded, see [`Limits`]. A guest that breaks a limit, traps or answers nonsense loses its instance; an
//! instance's next call then answers [`PluginError::Discarded`], and a new one must be made.
//!
//! **Calls are async**, on fibers, for all worlds alike: only so can a guest that waits inside the host (a WASI timer, an
//! HTTP request) be given up at its deadline. Poll them where 10 ms on the processor hurt nobody.

mod bindings;
mod cache;
mod connect;
mod error;
mod grants;
mod host;
mod http;
mod imports;
mod instance;
mod limits;
mod plugin;
pub mod records;
mod state;
mod ticker;
mod topology;

pub use connect::{
    SinkInstance, SourceBatch, SourceInstance, SourcePosition, TransformInstance, TransformedBatch,
};
pub use error::{PluginError, Returned, Verdict};
pub use grants::{GrantError, Grants, HttpGrant};
pub use host::{Host, HostOptions};
pub use imports::Usage;
pub use limits::{HttpLimits, Limits};
pub use plugin::{Config, ConfigKey, ConfigKind, Descriptor, Plugin, World};
pub use state::{NoState, StateAccess, StateError};
pub use topology::{Graph, Node, Operator, Output, TopologyInstance};

/// What a section's deltas count from, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub topic: String,
    pub partition: i32,
    pub base_offset: i64,
    /// Milliseconds since 1970, UTC.
    pub base_timestamp: i64,
    /// How many records the section holds.
    pub count: u32,
}

impl From<&BatchHeader> for bindings::topology::strata::plugin::types::BatchHeader {
    fn from(header: &BatchHeader) -> Self {
        Self {
            topic: header.topic.clone(),
            partition: header.partition,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            count: header.count,
        }
    }
}
