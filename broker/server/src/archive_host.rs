//! What the archiver sees of the broker: the partitions to archive, and the tier index topic.

use std::sync::Arc;

use strata_log::{
    ArchiveHost, ArchivePartition, BoxFuture, IndexRead, IndexRecord, RemoteError, RemotePartition,
};
use strata_protocol::records::{BatchBuilder, BuilderOptions, DecompressLimit, Origin, batches};
use strata_types::{ErrorCode, LeaderEpoch, Offset, PartitionId};

use crate::broker::{Broker, now};
use crate::housekeeping;
use crate::internal::{self, TIER_INDEX, TIER_INDEX_PARTITIONS};
use crate::partition::Partition;
use crate::server::blocking;

/// [`ArchiveHost`] over a broker.
pub(crate) struct Host {
    broker: Arc<Broker>,
}

impl Host {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    fn find(&self, id: &RemotePartition) -> Option<Arc<Partition>> {
        self.broker.partitions.by_id(id.topic_id, id.partition.partition).ok()
    }

    async fn append(&self, index: PartitionId, records: Vec<IndexRecord>) -> Result<Offset, RemoteError> {
        internal::ensure(&self.broker, TIER_INDEX).await.map_err(unavailable)?;
        let partition = self.broker.partitions.by_name(TIER_INDEX, index).map_err(unavailable)?;
        let now = now();
        let mut batch = BatchBuilder::new(BuilderOptions::default());
        for record in &records {
            let pushed = batch.push_next(now, Some(&record.key), record.value.as_deref(), &[]);
            pushed.map_err(|error| RemoteError::Unavailable(error.to_string()))?;
        }
        let batch = batch.build().map_err(|error| RemoteError::Unavailable(error.to_string()))?;
        let appended =
            partition.append(batch, now, Origin::Coordinator).map_err(|e| unavailable(e.error_code()))?;
        partition.committed(appended.last_offset.next()).await.map_err(unavailable)?;
        Ok(appended.first_offset)
    }

    async fn read(
        &self,
        index: PartitionId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<IndexRead, RemoteError> {
        if self.broker.image().topic(TIER_INDEX).is_none() {
            return Ok(IndexRead { records: Vec::new(), next_offset: from, end_offset: from });
        }
        let partition = self.broker.partitions.by_name(TIER_INDEX, index).map_err(unavailable)?;
        let end_offset = partition.high_watermark();
        let from = from.max(partition.log.local_start_offset());
        if from >= end_offset {
            return Ok(IndexRead { records: Vec::new(), next_offset: from, end_offset });
        }
        let read = blocking(move || partition.log.read_batches(from, bytes_max, end_offset)).await;
        let bytes =
            read.map_err(|_| RemoteError::Cancelled)?.map_err(|error| unavailable(error.error_code()))?;
        let corrupt = |error: strata_protocol::records::BatchError| RemoteError::Corrupt(error.to_string());
        let (mut records, mut next_offset) = (Vec::new(), from);
        for batch in batches(bytes) {
            let batch = batch.map_err(corrupt)?;
            next_offset = batch.next_offset();
            for record in batch.records(DecompressLimit::default()).map_err(corrupt)? {
                let record = record.map_err(corrupt)?;
                // The first batch may start before what was asked for.
                if let (true, Some(key)) = (record.offset >= from.0, record.key) {
                    records.push((Offset(record.offset), IndexRecord { key, value: record.value }));
                }
            }
        }
        // Compaction may have left nothing at the end of the log.
        let next_offset = if next_offset == from { end_offset } else { next_offset };
        Ok(IndexRead { records, next_offset, end_offset })
    }
}

fn unavailable(code: ErrorCode) -> RemoteError {
    RemoteError::Unavailable(format!("the tier index topic: {code}"))
}

impl ArchiveHost for Host {
    fn partitions(&self) -> Vec<ArchivePartition> {
        let all = self.broker.partitions.all().into_iter();
        let archived = all.filter_map(|partition| {
            let config = partition.log.config();
            (config.remote_storage_enable && !config.remote_log_copy_disable).then(|| ArchivePartition {
                id: partition.id.clone(),
                log: partition.log.clone(),
                leader_epoch: partition.leader_epoch(),
                committed_until: partition.log.last_stable_offset().min(partition.log.durable_offset()),
                config,
            })
        });
        archived.collect()
    }

    fn leads(&self, id: &RemotePartition, epoch: LeaderEpoch) -> bool {
        self.find(id).is_some_and(|partition| partition.leader_epoch() == epoch && !partition.is_gone())
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.broker.partitions.changed.notified())
    }

    fn index_partitions(&self) -> PartitionId {
        let image = self.broker.image();
        image.topic(TIER_INDEX).map_or(TIER_INDEX_PARTITIONS, |topic| topic.partitions.len() as PartitionId)
    }

    fn append_index<'a>(
        &'a self,
        index_partition: PartitionId,
        records: Vec<IndexRecord>,
    ) -> BoxFuture<'a, Result<Offset, RemoteError>> {
        Box::pin(self.append(index_partition, records))
    }

    fn read_index<'a>(
        &'a self,
        index_partition: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<IndexRead, RemoteError>> {
        Box::pin(self.read(index_partition, from, max_bytes))
    }

    fn archived(&self, id: &RemotePartition, _until: Offset) {
        let Some(partition) = self.find(id) else { return };
        let broker = self.broker.clone();
        self.broker.tasks.spawn(async move { housekeeping::enforce_retention(&broker, &partition).await });
    }
}
