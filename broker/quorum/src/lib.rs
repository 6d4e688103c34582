//! The metadata quorum: one replicated log of metadata records, and the image that it adds up to.
//!
//! ```text
//!   propose(decide) ─▶ decide(image) ─▶ records ─▶ raft ─▶ log_store ─▶ __cluster_metadata-0/*.log   (durable)
//!                                                   │ committed
//!                                                   ▼
//!                         images() ◀── watch ◀── machine (Image::apply) ─▶ *.checkpoint              (snapshots)
//! ```
//!
//! Raft itself is the `openraft` library's; what is here is its storage, its state machine and the door for the rest of the
//! broker, [`Quorum`]. On disk everything is in Kafka's own formats, so that `kafka-dump-log --cluster-metadata-decoder` reads
//! the log and the snapshots:
//!
//! | file | what it holds |
//! |---|---|
//! | `meta.properties` | whose directory this is: cluster id, node id, directory id |
//! | `__cluster_metadata-0/<offset>.log` | batches of records; one batch is one entry of Raft's log |
//! | `__cluster_metadata-0/<offset>-<epoch>.checkpoint` | the image up to an offset, as records |
//! | `__cluster_metadata-0/quorum-state` | the newest epoch and whom this node voted for in it |
//!
//! For now the quorum has one voter; the rest of the adapter does not know that, except for [`network`](mod@network).

mod batch;
mod disk;
mod error;
mod log_store;
mod machine;
mod network;
mod quorum;
mod raft;
mod segments;
mod snapshot;
mod state;

pub use error::{OpenError, ProposeError};
pub use quorum::{Quorum, QuorumOptions};
pub use state::{claim, cluster_id_of};
