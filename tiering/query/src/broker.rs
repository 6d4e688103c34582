use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_client::{Client, ClientError, OffsetSpec};
use strata_protocol::messages::FetchRequest;
use strata_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use strata_protocol::records::{DecompressLimit, batches};
use strata_protocol::{Records, Str};
use strata_store::{TIER_INDEX_TOPIC, TierIndex};
use strata_types::{ErrorCode, Offset, ProducerId, TopicId, TopicName, TopicPartition};
use tokio::sync::Semaphore;

use crate::error::QueryError;
use crate::source::{Cluster, Fetched, TopicState};

/// What a fetch asks of a partition at most; a broker gives at least one batch.
const FETCH_BYTES_MAX: i32 = 4 << 20;
const FETCH_WAIT_MS_MAX: i32 = 500;
/// Fetches that are under way at a time, over all partitions of all queries.
const FETCHES_MAX: usize = 8;
/// A fetch is repeated so often while a partition changes its leader, so far apart.
const FETCH_ATTEMPTS_MAX: u32 = 10;
const FETCH_BACKOFF_MS: u64 = 200;
/// What one batch of the tier index may decompress to.
const INDEX_BATCH_BYTES_MAX: usize = 64 << 20;

/// A cluster, asked over the Kafka protocol as any consumer asks it.
pub(crate) struct Broker {
    client: Client,
    fetches: Semaphore,
}

impl Broker {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, fetches: Semaphore::new(FETCHES_MAX) }
    }

    async fn fetch_once(
        &self,
        topic_id: TopicId,
        partition: &TopicPartition,
        from: Offset,
    ) -> Result<Fetched, QueryError> {
        let request = FetchRequest {
            max_wait_ms: FETCH_WAIT_MS_MAX,
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            isolation_level: 1,
            topics: vec![FetchTopic {
                topic: Str::from(partition.topic.as_str()),
                topic_id: topic_id.0,
                partitions: vec![FetchPartition {
                    partition: partition.partition,
                    fetch_offset: from.0,
                    partition_max_bytes: FETCH_BYTES_MAX,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let leader = self.client.leader(partition).await?;
        let response = self.client.call(leader, &request).await?;
        let failed = |code: i16| QueryError::Fetch {
            partition: partition.clone(),
            code: ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError),
        };
        if response.error_code != 0 {
            return Err(failed(response.error_code));
        }
        let topics = response.responses.into_iter();
        let Some(found) = topics.flat_map(|topic| topic.partitions).next() else {
            return Ok(Fetched::default());
        };
        match ErrorCode::from_code(found.error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::OffsetOutOfRange) => {
                return Err(QueryError::Gone { partition: partition.clone(), offset: from });
            }
            _ => return Err(failed(found.error_code)),
        }
        let batches = match found.records {
            Some(Records::Bytes(bytes)) => bytes,
            _ => Bytes::new(),
        };
        let aborted = found.aborted_transactions.unwrap_or_default().into_iter();
        let aborted = aborted.map(|txn| (ProducerId(txn.producer_id), Offset(txn.first_offset)));
        Ok(Fetched { batches: whole(batches), aborted: aborted.collect() })
    }

    /// Applies one partition of the index topic.
    async fn read_index(
        &self,
        index: &TierIndex,
        topic_id: TopicId,
        partition: &TopicPartition,
        (mut at, end): (Offset, Offset),
    ) -> Result<(), QueryError> {
        let corrupt = |error: &dyn fmt::Display| QueryError::Corrupt {
            partition: partition.clone(),
            why: error.to_string(),
        };
        while at < end {
            let fetched = self.fetch(topic_id, partition, at).await?;
            let before = at;
            for batch in batches(fetched.batches) {
                let batch = batch.map_err(|error| corrupt(&error))?;
                at = at.max(batch.next_offset());
                if batch.header().is_control() {
                    continue;
                }
                for record in
                    batch.records(DecompressLimit(INDEX_BATCH_BYTES_MAX)).map_err(|e| corrupt(&e))?
                {
                    let record = record.map_err(|error| corrupt(&error))?;
                    let key = record.key.unwrap_or_default();
                    index.apply_record(&key, record.value.as_deref()).map_err(|error| corrupt(&error))?;
                }
            }
            if at == before {
                return Err(QueryError::Stuck { partition: partition.clone(), offset: at });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Cluster for Broker {
    async fn topics(&self) -> Result<Vec<TopicName>, QueryError> {
        self.client.refresh(None).await?;
        let metadata = self.client.metadata();
        Ok(metadata
            .topics
            .values()
            .filter(|topic| !topic.is_internal)
            .map(|topic| topic.name.clone())
            .collect())
    }

    async fn topic(&self, name: &TopicName) -> Result<Option<TopicState>, QueryError> {
        let topic = match self.client.topic(name).await {
            Ok(topic) => topic,
            Err(ClientError::UnknownTopic(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let partitions = || topic.partitions.iter().map(|p| TopicPartition::new(name.clone(), p.index));
        let wanted = |spec| partitions().map(|partition| (partition, spec)).collect::<Vec<_>>();
        let starts = self.client.list_offsets(&wanted(OffsetSpec::Earliest), true).await?;
        let ends = self.client.list_offsets(&wanted(OffsetSpec::Latest), true).await?;
        let mut offsets = BTreeMap::new();
        for partition in partitions() {
            if let (Some(start), Some(end)) = (starts.get(&partition), ends.get(&partition)) {
                offsets.insert(partition.partition, (start.offset, end.offset));
            }
        }
        Ok(Some(TopicState { id: topic.id, partitions: offsets }))
    }

    async fn tier_index(&self) -> Result<TierIndex, QueryError> {
        let index = TierIndex::default();
        let Ok(name) = TopicName::new(TIER_INDEX_TOPIC) else { return Ok(index) };
        // No index yet: nothing was ever archived.
        let Some(topic) = self.topic(&name).await? else { return Ok(index) };
        for (partition, offsets) in topic.partitions {
            let partition = TopicPartition::new(name.clone(), partition);
            self.read_index(&index, topic.id, &partition, offsets).await?;
        }
        Ok(index)
    }

    async fn fetch(
        &self,
        topic_id: TopicId,
        partition: &TopicPartition,
        from: Offset,
    ) -> Result<Fetched, QueryError> {
        let mut attempt = 1;
        loop {
            let outcome = {
                // Closed never: the semaphore lives as long as this does.
                let _permit = self.fetches.acquire().await;
                self.fetch_once(topic_id, partition, from).await
            };
            let retriable = match &outcome {
                Err(QueryError::Fetch { code, .. }) => code.is_retriable(),
                Err(QueryError::Client(error)) => error.is_retriable(),
                _ => false,
            };
            if !retriable || attempt == FETCH_ATTEMPTS_MAX {
                return outcome;
            }
            self.client.doubt(&partition.topic);
            tokio::time::sleep(Duration::from_millis(FETCH_BACKOFF_MS)).await;
            attempt += 1;
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broker")
    }
}

/// Without the batch at the end that a broker may have cut.
fn whole(batches: Bytes) -> Bytes {
    let bytes = strata_protocol::records::whole_batches_len(&batches);
    batches.slice(..bytes)
}
