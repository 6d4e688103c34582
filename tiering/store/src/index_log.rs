use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strata_log::{ArchiveHost, IndexRecord, RemoteError};
use strata_types::{Offset, PartitionId};
use tokio::sync::Mutex;

use crate::error::StoreError;
use crate::index::{IndexEntry, IndexKey, PartitionKey, TierIndex};

/// What is read of the index topic at a time.
const READ_BYTES_MAX: usize = 1 << 20;

/// Follows the index topic into memory, and appends to it. Only what was read back from the topic is applied, in the
/// topic's order, so that memory never knows what the topic does not.
pub(crate) struct IndexLog {
    index: Arc<TierIndex>,
    next: Mutex<HashMap<PartitionId, Offset>>,
    loaded: AtomicBool,
}

impl IndexLog {
    pub(crate) fn new(index: Arc<TierIndex>) -> Self {
        Self { index, next: Mutex::default(), loaded: AtomicBool::new(false) }
    }

    /// Reads all partitions of the topic up to their committed ends.
    pub(crate) async fn catch_up(&self, host: &dyn ArchiveHost) -> Result<(), StoreError> {
        for partition in 0..host.index_partitions() {
            self.catch_up_partition(host, partition).await?;
        }
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the topic was read up to its end once. Before that, what memory lacks may well be archived.
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Appends entries, all of one partition, and applies them once they are committed.
    pub(crate) async fn append(
        &self,
        host: &dyn ArchiveHost,
        entries: &[IndexEntry],
    ) -> Result<(), StoreError> {
        let records = entries.iter().map(|entry| (entry.key(), Some(entry)));
        self.append_records(host, records.collect()).await
    }

    /// Appends tombstones, all for one partition, and applies them once they are committed.
    pub(crate) async fn remove(&self, host: &dyn ArchiveHost, keys: &[IndexKey]) -> Result<(), StoreError> {
        self.append_records(host, keys.iter().map(|key| (*key, None)).collect()).await
    }

    async fn append_records(
        &self,
        host: &dyn ArchiveHost,
        records: Vec<(IndexKey, Option<&IndexEntry>)>,
    ) -> Result<(), StoreError> {
        let Some((first, _)) = records.first() else { return Ok(()) };
        let partition = index_partition_of(first.partition, host.index_partitions());
        let records = records
            .into_iter()
            .map(|(key, entry)| IndexRecord { key: key.encode(), value: entry.map(IndexEntry::encode) })
            .collect();
        host.append_index(partition, records).await.map_err(unavailable)?;
        self.catch_up_partition(host, partition).await
    }

    async fn catch_up_partition(
        &self,
        host: &dyn ArchiveHost,
        partition: PartitionId,
    ) -> Result<(), StoreError> {
        let mut next = self.next.lock().await;
        let next = next.entry(partition).or_insert(Offset::ZERO);
        loop {
            let read = host.read_index(partition, *next, READ_BYTES_MAX).await.map_err(unavailable)?;
            for (offset, record) in &read.records {
                if let Err(error) = self.index.apply_record(&record.key, record.value.as_deref()) {
                    tracing::warn!(partition, %offset, %error, "a record of the tier index is passed over");
                }
            }
            let stuck = read.next_offset <= *next;
            *next = read.next_offset.max(*next);
            if stuck || *next >= read.end_offset {
                return Ok(());
            }
        }
    }
}

/// Where the records of a partition's ranges go: always to the same place, so that they stay in order.
fn index_partition_of(key: PartitionKey, partitions: i32) -> PartitionId {
    let mixed = key.topic_id.0.as_u128() % 1_000_003 + u128::from(key.partition.unsigned_abs());
    (mixed % u128::from(partitions.max(1).unsigned_abs())) as PartitionId
}

fn unavailable(error: RemoteError) -> StoreError {
    StoreError::StoreUnavailable { why: format!("the tier index: {error}") }
}
