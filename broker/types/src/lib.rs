//! Newtypes for ids, offsets and epochs, Kafka's error codes, and the two syntaxes of its settings.
//!
//! The bottom of the house: every other crate may use this one, and it uses none of them. A value that passed
//! through a constructor here is valid, so the rooms above never check it again.

mod epoch;
mod error_code;
pub mod jaas;
mod offset;
mod producer;
pub mod properties;
mod topic;
mod trace;

pub use epoch::LeaderEpoch;
pub use error_code::ErrorCode;
pub use offset::Offset;
pub use producer::{ProducerEpoch, ProducerId, VerificationGuard};
pub use topic::{
    InvalidTopicId, InvalidTopicName, PartitionId, TOPIC_NAME_BYTES_MAX, TopicId, TopicName, TopicPartition,
};
pub use trace::TRACE_TARGET;

/// A node's id (`node.id`), unique in the cluster.
pub type NodeId = i32;

/// Milliseconds since the Unix epoch, UTC. Negative means "no timestamp" where Kafka says so.
pub type TimestampMs = i64;
