//! What leaves the archive: ranges past retention, deleted topics, orphans. The index first, the data last: a reader
//! never finds an entry whose object is gone, and what a crash leaves behind is swept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strata_log::{ArchiveHost, ArchivePartition, RetentionLimits};
use strata_types::{Offset, TimestampMs, TopicId, TopicName};

use crate::archiver::key_of;
use crate::error::StoreError;
use crate::index::{IndexEntry, IndexKey, PartitionKey};
use crate::manifest;
use crate::names;
use crate::tier::Tier;

/// What `deleted/<topic id>.json` says.
#[derive(Serialize, Deserialize)]
struct DeletedMarker {
    topic: String,
}

impl Tier {
    /// Takes the oldest objects while they are past a limit, and answers where the log starts then.
    pub(crate) async fn retain(
        &self,
        host: &dyn ArchiveHost,
        partition: PartitionKey,
        limits: &RetentionLimits,
        now: TimestampMs,
    ) -> Result<Offset, StoreError> {
        let entries = self.index.entries(partition);
        let expired = expired(&entries, limits, now);
        let start = entries[..expired].last().map_or(limits.log_start_offset, |last| last.range.end_offset);
        self.remove(host, &entries[..expired]).await?;
        Ok(start.max(limits.log_start_offset))
    }

    /// Deletes ranges that lie wholly below `start`.
    pub(crate) async fn remove_below(
        &self,
        host: &dyn ArchiveHost,
        partition: PartitionKey,
        start: Offset,
    ) -> Result<(), StoreError> {
        let entries = self.index.entries(partition);
        let below = entries.partition_point(|entry| entry.range.end_offset <= start);
        self.remove(host, &entries[..below]).await
    }

    async fn remove(&self, host: &dyn ArchiveHost, entries: &[Arc<IndexEntry>]) -> Result<(), StoreError> {
        let keys: Vec<IndexKey> = entries.iter().map(|entry| entry.key()).collect();
        self.index_log.remove(host, &keys).await?;
        for entry in entries {
            self.delete_objects(entry).await?;
        }
        Ok(())
    }

    /// The manifest's entry, then the data.
    pub(crate) async fn delete_objects(&self, entry: &IndexEntry) -> Result<(), StoreError> {
        let key = entry.partition();
        let manifest = names::manifest_object(key.topic_id, key.partition, entry.range.start_offset);
        self.store.delete(&manifest).await?;
        self.store.delete(&entry.object).await
    }

    /// Deletes all of a topic. A marker is written first, so that a crash on the way does not leave the rest for ever;
    /// it stays for a while, for what a slow upload may still add.
    pub(crate) async fn remove_topic(
        &self,
        host: &dyn ArchiveHost,
        topic_id: TopicId,
        topic: &TopicName,
    ) -> Result<(), StoreError> {
        let partitions = self.index.partitions_of(topic_id);
        if partitions.is_empty() && self.store.list(&names::topic_manifest_folder(topic_id)).await?.is_empty()
        {
            return Ok(());
        }
        let marker =
            serde_json::to_vec(&DeletedMarker { topic: topic.to_string() }).map_err(StoreError::log)?;
        self.store.put(&names::deleted_marker(topic_id), marker.into()).await?;
        for partition in partitions {
            let keys: Vec<IndexKey> = self.index.entries(partition).iter().map(|entry| entry.key()).collect();
            self.index_log.remove(host, &keys).await?;
        }
        self.delete_topic_objects(topic_id, topic).await
    }

    async fn delete_topic_objects(&self, topic_id: TopicId, topic: &TopicName) -> Result<(), StoreError> {
        let folders = [names::topic_manifest_folder(topic_id), names::topic_data_folder(topic, topic_id)];
        for folder in folders {
            for found in self.store.list(&folder).await? {
                if let Some(name) = self.store.name(&found.location) {
                    self.store.delete(&name).await?;
                }
            }
        }
        Ok(())
    }

    /// Deletes what no manifest entry names and is too old to be an upload on its way, and ends deletions that were
    /// interrupted. Only partitions led here, and topics marked as deleted, are looked at: what else is in the bucket
    /// may be another cluster's, or one to be restored.
    pub async fn sweep(&self, host: &dyn ArchiveHost, now: TimestampMs) -> Result<usize, StoreError> {
        let mut swept = 0;
        for partition in host.partitions() {
            swept += self.sweep_partition(&partition, now).await?;
        }
        for marker in self.store.list(names::deleted_markers()).await? {
            let Some(topic_id) = names::topic_of_marker(&marker.location) else { continue };
            let name = names::deleted_marker(topic_id);
            let content: DeletedMarker = serde_json::from_slice(&self.store.get(&name).await?)
                .map_err(|error| StoreError::corrupt(&name, error))?;
            let topic = TopicName::new(&content.topic).map_err(|error| StoreError::corrupt(&name, error))?;
            self.delete_topic_objects(topic_id, &topic).await?;
            if self.is_old(marker.last_modified.timestamp_millis(), now) {
                self.store.delete(&name).await?;
            }
        }
        Ok(swept)
    }

    async fn sweep_partition(
        &self,
        partition: &ArchivePartition,
        now: TimestampMs,
    ) -> Result<usize, StoreError> {
        let key = key_of(partition);
        let topic = &partition.id.partition.topic;
        let mut swept = 0;
        for found in self.store.list(&names::data_folder(topic, key.topic_id, key.partition)).await? {
            let old = self.is_old(found.last_modified.timestamp_millis(), now);
            let (Some(name), Some(start)) =
                (self.store.name(&found.location), names::start_of_data_object(&found.location))
            else {
                continue;
            };
            if old && !self.is_referenced(key, start, &name).await? {
                tracing::info!(object = name, "orphan swept");
                self.store.delete(&name).await?;
                swept += 1;
            }
        }
        let start = partition.log.start_offset();
        for entry in manifest::read_partition(&self.store, key).await? {
            // Retention was interrupted between the index and here.
            if entry.range.end_offset <= start && self.index.get(entry.key()).is_none() {
                self.delete_objects(&entry).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    async fn is_referenced(
        &self,
        key: PartitionKey,
        start: Offset,
        object: &str,
    ) -> Result<bool, StoreError> {
        let indexed = self.index.get(IndexKey { partition: key, start_offset: start });
        if indexed.is_some_and(|entry| entry.object == object) {
            return Ok(true);
        }
        Ok(manifest::read(&self.store, key, start).await?.is_some_and(|entry| entry.object == object))
    }

    fn is_old(&self, modified: TimestampMs, now: TimestampMs) -> bool {
        now.saturating_sub(modified) >= self.options.orphan_age_ms_min as i64
    }
}

/// How many of the oldest entries are past a limit: by the age of their youngest record, by the bytes of what would
/// stay, or because the log starts after them.
fn expired(entries: &[Arc<IndexEntry>], limits: &RetentionLimits, now: TimestampMs) -> usize {
    let mut bytes: u64 = entries.iter().map(|entry| entry.log_bytes).sum::<u64>() + limits.local_bytes;
    let mut expired = 0;
    for entry in entries {
        let range = &entry.range;
        let below_start = range.end_offset <= limits.log_start_offset;
        // A range without rows goes by the time at which it was archived.
        let youngest = if range.rows > 0 { range.max_timestamp } else { entry.archived_at };
        let too_old = limits.retention_ms.is_some_and(|ms| youngest < now.saturating_sub(ms));
        // As Kafka: an object goes if what is left without it still has the limit's bytes.
        let too_many = limits.retention_bytes.is_some_and(|max| bytes.saturating_sub(entry.log_bytes) >= max);
        if !(below_start || too_old || too_many) {
            break;
        }
        bytes -= entry.log_bytes;
        expired += 1;
    }
    expired
}
