//! A topology's graph, its validation and its split into sub-topologies: sans-IO.
//!
//! ```text
//!  Graph (what a plugin describes)          Topology (what the runtime executes)
//!  source ─ flat_map ─ count ─ sink         0: source ─ flat_map ─▶ app-count-repartition
//!                      (keyed)              1: app-count-repartition ─ count ─ sink   app-counts-changelog
//! ```
//!
//! A keyed node must see every record of a key. Where a node above it may have changed the key, its input first goes
//! through a repartition topic, and the graph falls apart there into sub-topologies, each of which can be executed a
//! partition at a time (Kafka Streams' terms: one task is one sub-topology on one partition).

mod graph;
mod split;

pub use graph::{Graph, GraphError, NODES_MAX, Node, NodeId, Operator};
pub use split::{ApplicationId, InvalidApplicationId, Route, Source, Store, SubTopology, TaskId, Topology};
