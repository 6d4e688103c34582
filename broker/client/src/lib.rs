//! The asynchronous Kafka client that the streams runtime, Connect, the command line and the tests use.
//!
//! ```text
//!   Admin   Producer   Consumer
//!      \       |       /
//!           Client            metadata, coordinators, retries up to a deadline
//!             |
//!         Connection          versions negotiated, requests pipelined, answers in order
//! ```
//!
//! It speaks to any Kafka-compatible cluster. What a call sends belongs to it until it is acknowledged: a caller cannot
//! change a batch that is under way.

mod admin;
mod client;
mod connection;
mod consumer;
mod error;
mod list_offsets;
mod metadata;
mod offsets;
mod options;
mod producer;
mod retry;
mod rope;
mod security;

pub use admin::{
    Admin, ClusterDescription, ConfigEntry, ConfigResource, DescribedGroup, DescribedMember, ListedGroup,
    NewTopic,
};
pub use client::{Client, CoordinatorType};
pub use connection::Connection;
pub use consumer::{
    Assignor, AutoOffsetReset, Consumer, ConsumerEvent, ConsumerOptions, ConsumerRecord, SeekTo,
};
pub use error::{ClientError, Result};
pub use list_offsets::{ListedOffset, OffsetSpec};
pub use metadata::{Broker, Metadata, Partition, Topic};
pub use options::ClientOptions;
pub use producer::{Acks, Delivery, Producer, ProducerOptions, ProducerRecord, RecordMetadata};
pub use security::Security;
