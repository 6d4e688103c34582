//! Runs topologies: deployments, tasks, state and commits. It speaks only the Kafka protocol, so it can share the
//! broker's process or be a companion on another machine.
//!
//! ```text
//!  __strata_deployments ─▶ Supervisor ─ one Application each ─▶ __strata_applications (status)
//!                                         │ consumer group = application id
//!      source topics ── poll ──▶ Task 0_3 ┤ plugin.process(node, section, state)
//!                                         ├─▶ sink topics
//!                                         ├─▶ repartition topics ─▶ Task 1_x
//!                                         └─▶ changelog topics   ◀─ restore
//! ```
//!
//! `at_least_once`: a commit first makes the outputs and the changelog durable, then the state, then the input offsets.
//! A crash in between processes some input again, and loses none; a stop, and a failure of the plugin, process none again.
//!
//! What stops an application decides what becomes of it:
//!
//! | | |
//! |---|---|
//! | the cluster is away, the group has moved on, the plugin asks for a retry | tried again from the last commit, with growing pauses |
//! | the plugin rejects a record or wants to stop, traps, breaks a limit; its topics do not fit | `FAILED`, as Kafka's `LogAndFailProcessingExceptionHandler` |

mod application;
mod deployment;
mod error;
mod registry;
mod restore;
mod running;
mod status;
mod stores;
mod supervisor;
mod task;
mod topics;

pub use deployment::{DEPLOYMENTS_TOPIC, Deployment, PLUGIN_BYTES_MAX};
pub use error::RuntimeError;
pub use registry::{Deployed, Registry};
pub use status::{STATUS_TOPIC, State, Status};
pub use supervisor::{Runtime, RuntimeOptions};
