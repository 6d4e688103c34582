//! The coordinator runtime and its shards: sans-IO.
//!
//! ```text
//!   server's shell ──requests, time, log events──▶ Runtime<S> ──drives──▶ S: Shard
//!         ▲                                          │                    └ GroupShard: groups and offsets
//!         └────────── Effects: append, replies ──────┘
//! ```
//!
//! One [`Runtime`] per partition of an internal topic, single-threaded. A [`Shard`] turns requests into records and
//! replies; the runtime applies the records at once, has them appended, holds the replies until the log has committed
//! them, and puts the state back where the append fails. No sockets, files, clocks or random numbers: time and fresh
//! ids come in as arguments.

pub mod group;
mod partition;
mod runtime;
mod shard;
pub mod share;
pub mod transaction;

pub use group::{
    ClientContext, ConsumerConfig, GroupAction, GroupConfig, GroupRequest, GroupResponse, GroupShard,
    MetadataView, MigrationPolicy, Overrides, ShareConfig, ShareRequest, ShareResponse, ShareTopic,
    StreamsConfig, StreamsHeartbeat, StreamsStatus, TopicAccess, TopicInfo, offset_fetch, refusal,
};
pub use partition::partition_for;
pub use runtime::{Effects, Runtime, RuntimeOptions};
pub use shard::{Append, Outcome, OutcomeOf, RawRecord, ReplayError, ReplyId, Shard, TxnMarker, TxnProducer};

pub use transaction::{TransactionRequest, TransactionResponse, TransactionShard};

/// The group coordinator of one `__consumer_offsets` partition.
pub type GroupCoordinator = Runtime<GroupShard>;
