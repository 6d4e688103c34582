//! A broker of one partition, as the archive sees it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use strata_archive::WriterOptions;
use strata_log::{
    ArchiveHost, ArchivePartition, BoxFuture, IndexRead, IndexRecord, Log, LogConfig, LogManager,
    LogManagerOptions, RemoteError, RemoteLog, RemotePartition,
};
use strata_protocol::records::{
    Batch, BatchBuilder, BuilderOptions, DecompressLimit, EndTxnMarker, Origin, Record, batches,
    end_transaction_marker,
};
use strata_store::{ColdOptions, Retry, Store, Tier, TierOptions};
use strata_types::{
    LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId, TopicName, TopicPartition,
};
use uuid::Uuid;

use crate::faulty::Faulty;

pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(4);

pub(crate) struct TestHost {
    pub(crate) log: Arc<Log>,
    pub(crate) id: RemotePartition,
    config: Mutex<Arc<LogConfig>>,
    index: Mutex<Vec<IndexRecord>>,
    pub(crate) append_fails: AtomicBool,
    pub(crate) deposed: AtomicBool,
    appends: AtomicUsize,
    _manager: LogManager,
    _dir: tempfile::TempDir,
}

impl TestHost {
    pub(crate) fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let config = Arc::new(config(0));
        let manager = LogManager::open(LogManagerOptions {
            default_config: config.clone(),
            open_files_max: 16,
            ..LogManagerOptions::new(dir.path(), 0)
        })
        .expect("an empty data folder");
        let partition = TopicPartition::new(TopicName::new("orders").expect("a name"), 0);
        let topic_id = TopicId(Uuid::from_u128(42));
        let log = manager.get_or_create(&partition, topic_id, config.clone(), 0).expect("a log");
        Arc::new(Self {
            log,
            id: RemotePartition { topic_id, partition },
            config: Mutex::new(config),
            index: Mutex::default(),
            append_fails: AtomicBool::default(),
            deposed: AtomicBool::default(),
            appends: AtomicUsize::default(),
            _manager: manager,
            _dir: dir,
        })
    }

    pub(crate) fn set_lag_ms(&self, lag_ms: i64) {
        *self.config.lock().expect("no panic") = Arc::new(config(lag_ms));
    }

    /// The index topic is gone, as after a restore from the bucket alone.
    pub(crate) fn lose_index(&self) {
        self.index.lock().expect("no panic").clear();
    }

    /// Appends a batch of `count` records, committed at once. Record `n` has timestamp `n * 10`.
    pub(crate) fn produce(&self, count: i64) {
        self.append(BuilderOptions::default(), count);
    }

    /// Appends `bytes` of what no codec makes smaller, in batches of half a megabyte.
    pub(crate) fn produce_noise(&self, bytes: usize) {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..bytes.div_ceil(500_000) {
            let noise = std::iter::repeat_with(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            });
            let value: Vec<u8> = noise.take(500_000 / 8).flatten().collect();
            let mut builder = BatchBuilder::new(BuilderOptions::default());
            builder.append(0, 0, None, Some(&value), &[]).expect("a record");
            let batch = builder.build().expect("a batch");
            self.log.append(batch, EPOCH, 0, Origin::Client).expect("appended");
        }
        self.log.set_high_watermark(self.log.end_offset());
    }

    pub(crate) fn produce_in_transaction(&self, producer: i64, count: i64) {
        let options = BuilderOptions {
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            transactional: true,
            ..BuilderOptions::default()
        };
        self.append(options, count);
    }

    pub(crate) fn end_transaction(&self, producer: i64, commit: bool) {
        let marker = end_transaction_marker(&EndTxnMarker {
            base_offset: Offset(0),
            leader_epoch: EPOCH,
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            commit,
            coordinator_epoch: 0,
            timestamp: 0,
        })
        .expect("a marker");
        self.log.append(marker, EPOCH, 0, Origin::Coordinator).expect("appended");
        self.log.set_high_watermark(self.log.end_offset());
    }

    fn append(&self, options: BuilderOptions, count: i64) {
        let start = self.log.end_offset().0;
        let mut builder = BatchBuilder::new(options);
        for n in 0..count {
            let offset = start + n;
            let value = format!("value {offset} {}", "x".repeat(100));
            builder
                .append(n, offset * 10, Some(format!("key {offset}").as_bytes()), Some(value.as_bytes()), &[])
                .expect("offsets rise");
        }
        let bytes = builder.build().expect("a batch");
        self.log.append(bytes, EPOCH, 0, Origin::Client).expect("appended");
        self.log.set_high_watermark(self.log.end_offset());
    }

    /// The records that a `read_committed` consumer sees in the log, `aborted` offsets aside.
    pub(crate) fn log_records(&self, aborted: &[i64]) -> Vec<Record> {
        let from = self.log.start_offset();
        let bytes = self.log.read_batches(from, usize::MAX, self.log.end_offset()).expect("the log reads");
        records(bytes).into_iter().filter(|record| !aborted.contains(&record.offset)).collect()
    }
}

fn config(lag_ms: i64) -> LogConfig {
    let lag = lag_ms.to_string();
    LogConfig::from_map([("remote.storage.enable", "true"), ("strata.archive.lag.ms", lag.as_str())])
        .expect("a config")
}

impl ArchiveHost for TestHost {
    fn partitions(&self) -> Vec<ArchivePartition> {
        vec![ArchivePartition {
            id: self.id.clone(),
            log: self.log.clone(),
            config: self.config.lock().expect("no panic").clone(),
            leader_epoch: EPOCH,
            committed_until: self.log.last_stable_offset(),
        }]
    }

    fn leads(&self, _: &RemotePartition, epoch: LeaderEpoch) -> bool {
        epoch == EPOCH && !self.deposed.load(Ordering::Relaxed)
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn index_partitions(&self) -> i32 {
        1
    }

    fn append_index<'a>(
        &'a self,
        _: PartitionId,
        records: Vec<IndexRecord>,
    ) -> BoxFuture<'a, Result<Offset, RemoteError>> {
        Box::pin(async move {
            if self.append_fails.swap(false, Ordering::Relaxed) {
                return Err(RemoteError::Unavailable("no leader".to_owned()));
            }
            self.appends.fetch_add(1, Ordering::Relaxed);
            let mut index = self.index.lock().expect("no panic");
            let first = index.len() as i64;
            index.extend(records);
            Ok(Offset(first))
        })
    }

    fn read_index<'a>(
        &'a self,
        _: PartitionId,
        from: Offset,
        _: usize,
    ) -> BoxFuture<'a, Result<IndexRead, RemoteError>> {
        Box::pin(async move {
            let index = self.index.lock().expect("no panic");
            // One record at a time: the reader must come back for more.
            let record = index.get(from.0 as usize).map(|record| (from, record.clone()));
            let next_offset = from + i64::from(record.is_some());
            let records = record.into_iter().collect();
            Ok(IndexRead { records, next_offset, end_offset: Offset(index.len() as i64) })
        })
    }

    fn archived(&self, _: &RemotePartition, _: Offset) {}
}

/// Small row groups, so that a handful of records has several.
pub(crate) fn options() -> TierOptions {
    TierOptions {
        writer: WriterOptions { row_group_rows_max: 10, ..WriterOptions::default() },
        cold: ColdOptions::default(),
        ..TierOptions::default()
    }
}

pub(crate) fn store(faulty: &Arc<Faulty>) -> Store {
    let retry = Retry { attempts_max: 1, backoff_ms_min: 1, backoff_ms_max: 1 };
    Store::new(faulty.clone(), object_store::path::Path::default()).with_retry(retry)
}

pub(crate) fn tier(faulty: &Arc<Faulty>) -> Arc<Tier> {
    Tier::new(store(faulty), options())
}

/// All records of the archive from `from` on, fetched as a broker fetches them for a consumer: batch after batch, the
/// next offset being the last batch's end.
pub(crate) async fn consume(tier: &Tier, id: &RemotePartition, from: Offset) -> Vec<Record> {
    let Some(until) = tier.archived_until(id) else { return Vec::new() };
    let mut at = from;
    let mut all = Vec::new();
    while at < until {
        let read = tier.fetch(id, at, 500).await.expect("it is archived");
        let last = batches(read.batches.clone()).last().expect("a batch").expect("whole batches");
        assert!(last.next_offset() > at, "a consumer that only sees the batches gets on");
        assert!(read.next_offset >= last.next_offset());
        all.extend(records(read.batches).into_iter().filter(|record| record.offset >= at.0));
        at = last.next_offset();
    }
    all
}

pub(crate) fn records(bytes: Bytes) -> Vec<Record> {
    let data = batches(bytes).map(|batch| batch.expect("whole batches"));
    data.filter(|batch| !batch.header().is_control()).flat_map(|batch| records_of(&batch)).collect()
}

fn records_of(batch: &Batch) -> Vec<Record> {
    batch
        .records(DecompressLimit::default())
        .expect("records")
        .map(|record| record.expect("a record"))
        .collect()
}
