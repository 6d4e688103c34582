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
//! A crash in between processes some input again, and loses none.

mod application;
mod deployment;
mod error;
mod registry;
mod restore;
mod status;
mod supervisor;
mod task;
mod topics;

pub use deployment::{DEPLOYMENTS_TOPIC, Deployment, PLUGIN_BYTES_MAX};
pub use error::RuntimeError;
pub use registry::{Deployed, Registry};
pub use status::{STATUS_TOPIC, State, Status};
pub use supervisor::{Runtime, RuntimeOptions};
