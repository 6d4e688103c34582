//! The broker: listeners, request dispatch and one file per API key.
//!
//! ```text
//! net ─▶ dispatch ─▶ api/<key> ─┬▶ partitions ─▶ strata_log          records
//!                               ├▶ coordinators ─▶ strata_coordinator  groups and their offsets
//!                               ├▶ quorum ─▶ strata_metadata           topics, settings, brokers
//!                               └▶ RemoteLog (the archive)             records that left the local disk
//! ```
//!
//! [`Server::start`] is all that the binary needs; [`config`] reads what it is started with.

mod api;
mod archive_host;
mod broker;
mod cleaner;
pub mod config;
mod configs;
mod coordinators;
mod dispatch;
mod features;
mod fetch_sessions;
mod housekeeping;
mod internal;
mod loggers;
mod loopback;
mod markers;
mod measured;
mod metrics;
mod net;
mod partition;
mod partitions;
mod producer_ids;
mod quotas;
mod read;
mod security;
mod server;
mod share;
mod telemetry;
mod trace;
mod verification;

pub use dispatch::{ServedApi, served_apis};
pub use loggers::{LogLevels, ROOT, set_log_levels};
pub use loopback::Loopback;
pub use server::{Server, StartError};
pub use trace::{SPAN_COUNTS, SpanCounts};
