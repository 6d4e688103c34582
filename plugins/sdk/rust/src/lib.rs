//! What a plugin in Rust is written with.
//!
//! ```text
//!   your type ── implements ──▶ Topology | Source | Sink | Transform
//!       │                                  │
//!   export_topology!(..), export_source!(..), export_sink!(..), export_transform!(..)
//!                                          │
//!                    bindings of `strata:plugin` (plugins/wit) ──▶ one component, one .wasm file
//! ```
//!
//! The host calls a plugin once for a batch of records; [`Records`] reads the batch in place, [`RecordWriter`] writes one.
//! A guest has no clock, no files and no network but what this crate offers.
//!
//! Build with `cargo build --release --target wasm32-wasip2`, as a `cdylib`: what comes out is the plugin.
//!
//! ```
//! use strata_plugin_sdk::{Config, Descriptor, Error, Graph, Topology};
//!
//! struct Shout;
//!
//! impl Topology for Shout {
//!     fn describe() -> Descriptor {
//!         Descriptor::new("shout", "0.1.0", "Upper case").required("topics", "Read from")
//!     }
//!
//!     fn build(config: &Config, graph: &Graph) -> Result<(), Error> {
//!         graph
//!             .stream(config.list("topics"))
//!             .map_values("shout", |record| Ok(record.value.map(|value| value.to_ascii_uppercase())))
//!             .to("shouted");
//!         Ok(())
//!     }
//! }
//! ```

#[doc(hidden)]
pub mod bindings;
mod config;
mod connect;
mod error;
mod graph;
mod http;
pub mod log;
mod records;
mod store;
mod topology;
mod varint;

pub use config::{Config, Descriptor};
pub use connect::{Position, Sink, Source, SourceBatch, Transform, Transformed};
pub use error::Error;
pub use graph::{Emit, Graph, Stream};
pub use http::{HttpError, Request, Response, send_many};
pub use records::{Headers, Record, RecordWriter, Records};
pub use topology::Topology;

/// Where a batch comes from, and what its records' deltas count from.
pub use bindings::topology::strata::plugin::types::BatchHeader;

#[doc(hidden)]
pub mod exports {
    //! What the export macros call.
    pub use crate::connect::{SinkCell, SourceCell, TransformCell};
    pub use crate::topology::TopologyCell;
}
