//! A cluster with one log per partition, and an archive of what its test chooses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use strata_archive::{ArchiveWriter, WriterOptions};
use strata_protocol::Str;
use strata_protocol::records::{
    Batch, BatchBuilder, BatchHeader, BuilderOptions, EndTxnMarker, Header, end_transaction_marker,
};
use strata_query::{Cluster, Fetched, QueryEngine, QueryError, QueryOptions, TopicState};
use strata_store::{IndexEntry, Store, TierIndex};
use strata_types::{
    LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId, TopicName, TopicPartition,
};
use uuid::Uuid;

pub(crate) const TOPIC: &str = "my.orders-v1";
const TOPIC_ID: TopicId = TopicId(Uuid::from_u128(77));

#[derive(Debug, Default)]
pub(crate) struct Memory {
    logs: Mutex<BTreeMap<PartitionId, Vec<Batch>>>,
    aborted: Mutex<Vec<(ProducerId, Offset)>>,
    starts: Mutex<BTreeMap<PartitionId, Offset>>,
    entries: Mutex<Vec<IndexEntry>>,
    objects: Arc<InMemory>,
    fetches: Mutex<Vec<(PartitionId, Offset)>>,
    snapshots: AtomicUsize,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A batch of `count` records: keys are text, every third value is no UTF-8, every fifth is null.
    pub(crate) fn produce(&self, partition: PartitionId, count: i64) {
        self.append(partition, BuilderOptions::default(), count);
    }

    pub(crate) fn produce_text(&self, partition: PartitionId, values: &[&str]) {
        let base_offset = self.end(partition);
        let mut builder = BatchBuilder::new(BuilderOptions { base_offset, ..BuilderOptions::default() });
        for value in values {
            builder.push_next(0, None, Some(value.as_bytes()), &[]).expect("a record");
        }
        self.push(partition, builder.build().expect("a batch"));
    }

    pub(crate) fn produce_aborted(&self, partition: PartitionId, producer: i64, count: i64) {
        let first = self.end(partition);
        let (producer_id, producer_epoch) = (ProducerId(producer), ProducerEpoch(0));
        let options = BuilderOptions {
            producer_id,
            producer_epoch,
            base_sequence: 0,
            transactional: true,
            ..BuilderOptions::default()
        };
        self.append(partition, options, count);
        let marker = end_transaction_marker(&EndTxnMarker {
            base_offset: self.end(partition),
            leader_epoch: LeaderEpoch(1),
            producer_id,
            producer_epoch,
            commit: false,
            coordinator_epoch: 0,
            timestamp: 0,
        });
        self.push(partition, marker.expect("a marker"));
        self.aborted.lock().expect("no panic").push((producer_id, first));
    }

    fn append(&self, partition: PartitionId, options: BuilderOptions, count: i64) {
        let base = self.end(partition);
        let mut builder =
            BatchBuilder::new(BuilderOptions { base_offset: base, leader_epoch: LeaderEpoch(1), ..options });
        for offset in base.0..base.0 + count {
            let key = format!("key {}", offset % 7);
            let value = match offset {
                offset if offset % 5 == 4 => None,
                offset if offset % 3 == 2 => Some(vec![0xff, offset as u8]),
                offset => Some(format!("value {offset}").into_bytes()),
            };
            let headers = [Header { key: Str::from_static("h"), value: (offset % 2 == 0).then(Bytes::new) }];
            let headers = &headers[..(offset % 4 > 0) as usize];
            builder
                .append(offset, 1_000 * offset, Some(key.as_bytes()), value.as_deref(), headers)
                .expect("offsets rise");
        }
        self.push(partition, builder.build().expect("a batch"));
    }

    fn push(&self, partition: PartitionId, batch: Bytes) {
        let batch = Batch::try_from_bytes(batch).expect("a batch");
        self.logs.lock().expect("no panic").entry(partition).or_default().push(batch);
    }

    pub(crate) fn end(&self, partition: PartitionId) -> Offset {
        let logs = self.logs.lock().expect("no panic");
        logs.get(&partition).and_then(|log| log.last()).map_or(Offset(0), Batch::next_offset)
    }

    /// Records below `start` are deleted.
    pub(crate) fn set_start(&self, partition: PartitionId, start: i64) {
        self.starts.lock().expect("no panic").insert(partition, Offset(start));
    }

    /// Archives all that a partition has and that is not archived yet, as one object.
    pub(crate) async fn archive(&self, partition: PartitionId) {
        let topic = TopicName::new(TOPIC).expect("a name");
        let start = self.archived_until(partition);
        let options = WriterOptions { row_group_rows_max: 10, ..WriterOptions::default() };
        let mut writer = ArchiveWriter::new(&topic, TOPIC_ID, options).expect("a writer");
        writer.start_partition(partition, start).expect("a new partition");
        let aborted: Vec<_> = self.aborted.lock().expect("no panic").iter().map(|(id, _)| *id).collect();
        let log = self.logs.lock().expect("no panic")[&partition].clone();
        for batch in log.iter().filter(|batch| batch.base_offset() >= start) {
            let mut skip =
                |header: &BatchHeader| header.is_transactional() && aborted.contains(&header.producer_id);
            writer.push(batch.bytes().clone(), &mut skip).expect("in order");
        }
        let file = writer.finish().expect("a file");
        let range = file.ranges[0].clone();
        let entry = IndexEntry {
            topic,
            topic_id: TOPIC_ID,
            object: format!("data/{partition}-{}.parquet", start.0),
            object_bytes: file.bytes.len() as u64,
            footer_bytes: file.footer_bytes,
            log_bytes: 0,
            archived_at: 0,
            range,
        };
        let path = Path::from(format!("lake/{}", entry.object));
        self.objects.put(&path, file.bytes.into()).await.expect("memory takes it");
        let manifest = format!("lake/manifest/{TOPIC_ID}/{partition}/{:020}.json", start.0);
        self.objects.put(&Path::from(manifest), entry.encode().into()).await.expect("memory takes it");
        self.entries.lock().expect("no panic").push(entry);
    }

    fn archived_until(&self, partition: PartitionId) -> Offset {
        let entries = self.entries.lock().expect("no panic");
        let archived = entries.iter().filter(|entry| entry.range.partition == partition);
        archived.map(|entry| entry.range.end_offset).max().unwrap_or(Offset(0))
    }

    pub(crate) fn store(&self) -> Store {
        let objects: Arc<dyn ObjectStore> = self.objects.clone();
        Store::new(objects, Path::from("lake"))
    }

    /// Fetches so far, by partition and offset.
    pub(crate) fn fetches(&self) -> Vec<(PartitionId, i64)> {
        let mut fetches: Vec<_> = self
            .fetches
            .lock()
            .expect("no panic")
            .iter()
            .map(|(partition, from)| (*partition, from.0))
            .collect();
        fetches.sort_unstable();
        fetches
    }

    pub(crate) fn snapshots(&self) -> usize {
        self.snapshots.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Cluster for Memory {
    async fn topics(&self) -> Result<Vec<TopicName>, QueryError> {
        Ok(vec![TopicName::new(TOPIC).expect("a name"), TopicName::new("Cased").expect("a name")])
    }

    async fn topic(&self, name: &TopicName) -> Result<Option<TopicState>, QueryError> {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        if name.as_str() != TOPIC {
            return Ok(None);
        }
        let starts = self.starts.lock().expect("no panic").clone();
        let partitions: Vec<_> = self.logs.lock().expect("no panic").keys().copied().collect();
        let offsets = partitions.into_iter().map(|partition| {
            let start = starts.get(&partition).copied().unwrap_or(Offset(0));
            (partition, (start, self.end(partition)))
        });
        Ok(Some(TopicState { id: TOPIC_ID, partitions: offsets.collect() }))
    }

    async fn tier_index(&self) -> Result<TierIndex, QueryError> {
        let index = TierIndex::default();
        for entry in &*self.entries.lock().expect("no panic") {
            index.apply(entry.key(), Some(entry.clone()));
        }
        Ok(index)
    }

    /// Two batches at a time, as a broker would with a small limit.
    async fn fetch(
        &self,
        id: TopicId,
        partition: &TopicPartition,
        from: Offset,
    ) -> Result<Fetched, QueryError> {
        assert_eq!(id, TOPIC_ID);
        self.fetches.lock().expect("no panic").push((partition.partition, from));
        let log = self.logs.lock().expect("no panic")[&partition.partition].clone();
        let mut batches = BytesMut::new();
        for batch in log.iter().filter(|batch| batch.last_offset() >= from).take(2) {
            batches.extend_from_slice(batch.bytes());
        }
        Ok(Fetched { batches: batches.freeze(), aborted: self.aborted.lock().expect("no panic").clone() })
    }
}

/// An engine over the cluster's log and archive, over one of them, or over none.
pub(crate) fn engine(memory: &Arc<Memory>, hot: bool, cold: bool) -> Result<QueryEngine, QueryError> {
    let cluster = hot.then(|| memory.clone() as Arc<dyn Cluster>);
    QueryEngine::with_sources(cluster, cold.then(|| memory.store()), &QueryOptions::default())
}

/// All rows of a statement.
pub(crate) async fn query(engine: &QueryEngine, sql: &str) -> Result<RecordBatch, QueryError> {
    let mut result = engine.sql(sql).await?;
    let schema = result.schema();
    let mut batches = Vec::new();
    while let Some(batch) = result.next().await {
        batches.push(batch?);
    }
    Ok(concat_batches(&schema, &batches).expect("one schema"))
}

/// The first column's numbers.
pub(crate) async fn numbers(engine: &QueryEngine, sql: &str) -> Vec<i64> {
    let rows = query(engine, sql).await.expect(sql);
    let column = cast(rows.column(0), &DataType::Int64).expect("numbers");
    column.as_primitive::<Int64Type>().values().to_vec()
}
