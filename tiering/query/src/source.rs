use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use strata_store::TierIndex;
use strata_types::{Offset, PartitionId, ProducerId, TopicId, TopicName, TopicPartition};

use crate::error::QueryError;

/// Where hot records come from: a running cluster.
#[async_trait]
pub trait Cluster: fmt::Debug + Send + Sync {
    /// The names of all topics, internal ones aside.
    async fn topics(&self) -> Result<Vec<TopicName>, QueryError>;

    /// A topic as it is now; `None` if there is none of this name.
    async fn topic(&self, name: &TopicName) -> Result<Option<TopicState>, QueryError>;

    /// The whole tier index, as far as it is committed now.
    async fn tier_index(&self) -> Result<TierIndex, QueryError>;

    /// Whole batches from `from` on, which the first one holds or follows.
    async fn fetch(
        &self,
        topic_id: TopicId,
        partition: &TopicPartition,
        from: Offset,
    ) -> Result<Fetched, QueryError>;
}

/// A topic's partitions at one moment.
#[derive(Debug, Clone)]
pub struct TopicState {
    pub id: TopicId,
    /// For each partition the earliest offset and the last stable offset, exclusive: what is below it is decided.
    pub partitions: BTreeMap<PartitionId, (Offset, Offset)>,
}

/// One answer to a fetch.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    pub batches: Bytes,
    /// Transactions within these batches that were aborted: producer, and the offset of its first record.
    pub aborted: Vec<(ProducerId, Offset)>,
}
