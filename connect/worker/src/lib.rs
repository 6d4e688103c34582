//! Runs connectors and their tasks: a Kafka Connect worker whose connectors are plugins.
//!
//! ```text
//!   REST ──▶ Worker ──▶ configs topic            Connector ──▶ Task ──▶ plugin instance (sandboxed)
//!              │                                    │            │
//!              └── Connector (by name) ─────────────┘            ├── source: topics, then the offsets topic
//!                                                                ├── sink: group `connect-NAME`, dead letter queue
//!                                                                └── status: board ──▶ status topic
//! ```
//!
//! The three internal topics hold what Kafka Connect's own workers write. A plugin that traps, spins or grows beyond its limits
//! costs its task, which is FAILED with the reason; the other tasks do not notice.
//!
//! One worker is a cluster of its own for now: two workers on the same topics would both run everything. Sharing the work by
//! the group protocol comes later, and so do transforms, converters and exactly-once sources.

pub mod cluster;
mod config;
mod connector;
mod error;
mod formats;
mod kafka;
pub mod memory;
mod offsets;
mod plugins;
mod status;
mod task;
mod worker;

pub use config::{CheckedKey, Definition, Direction, WorkerConfig};
pub use error::WorkerError;
pub use formats::TargetState;
pub use status::{State, Status};
pub use worker::{ConnectorInfo, ConnectorStatus, Restart, Worker};
