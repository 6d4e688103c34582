//! What a worker needs of a Kafka cluster, and no more: the seam between connectors and the client.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_protocol::records::{Header, Record};

/// A cluster that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct ClusterError {
    pub what: String,
    pub why: String,
}

impl ClusterError {
    pub fn new(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        ClusterError { what: what.into(), why: why.to_string() }
    }
}

/// A record on its way to a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    /// None: by the key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, UTC; none: now.
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// Records of one partition, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub topic: String,
    pub partition: i32,
    pub records: Vec<Record>,
}

/// A topic that is made when it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// -1: the broker's default.
    pub replication_factor: i16,
    pub compacted: bool,
}

#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Makes the topic, unless it is there.
    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), ClusterError>;

    /// Everything that the topic holds now, each partition in its order.
    async fn read_all(&self, topic: &str) -> Result<Vec<Record>, ClusterError>;

    /// Done when all records are acknowledged by all in-sync replicas.
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<(), ClusterError>;

    /// Joins a consumer group.
    async fn join(
        &self,
        group: &str,
        topics: &[String],
        start: StartAt,
    ) -> Result<Box<dyn Member>, ClusterError>;

    /// What a group committed: topic, partition, offset.
    async fn committed(&self, group: &str) -> Result<Vec<(String, i32, i64)>, ClusterError>;

    /// The cluster's id.
    async fn id(&self) -> Result<String, ClusterError>;
}

/// Where a group begins that has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    Earliest,
    Latest,
}

/// A member of a consumer group.
#[async_trait]
pub trait Member: Send {
    /// What there is after the last poll, of the partitions that are this member's now.
    async fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, ClusterError>;

    /// Everything that was polled is done with.
    async fn commit(&mut self) -> Result<(), ClusterError>;

    /// Leaves the group.
    async fn leave(self: Box<Self>) -> Result<(), ClusterError>;
}
