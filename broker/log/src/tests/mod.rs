//! Tests of whole logs, by subject. What they share is here.

mod append;
mod cleaning;
mod compaction;
mod dirs;
mod empty;
mod files;
mod flushing;
mod model;
mod producers;
mod recovery;
mod retention;
mod settings;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::records::{
    BatchBuilder, BuilderOptions, DecompressLimit, EndTxnMarker, Origin, Record, batches,
    end_transaction_marker,
};
use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicName, TopicPartition};
use uuid::Uuid;

use crate::{
    AppendError, Appended, FileCache, Log, LogConfig, LogManager, LogManagerOptions, LogOptions, ReadError,
    Recovery, Trust,
};

pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(0);
pub(crate) const ALL: Offset = Offset(i64::MAX);

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new(TopicName::new("orders").unwrap(), 3)
}

pub(crate) fn topic_id() -> TopicId {
    TopicId(Uuid::from_u128(0x1234_5678))
}

/// Small segments, an index entry for every batch or so.
pub(crate) fn small() -> LogConfig {
    LogConfig { segment_bytes: 2_000, index_interval_bytes: 200, ..LogConfig::default() }
}

pub(crate) fn options(dir: &Path, config: LogConfig) -> LogOptions {
    LogOptions {
        dir: dir.join("orders-3"),
        partition: partition(),
        topic_id: topic_id(),
        config: Arc::new(config),
        files: FileCache::new(16),
        recovery: Recovery::default(),
        folder: crate::dirs::Folder::new(dir, None),
        folder_at_once: false,
        now: 0,
    }
}

pub(crate) fn open_with(dir: &Path, config: LogConfig, recovery: Recovery) -> Arc<Log> {
    Log::open(LogOptions { recovery, ..options(dir, config) }).unwrap()
}

pub(crate) fn open(dir: &Path, config: LogConfig) -> Arc<Log> {
    open_with(dir, config, Recovery::default())
}

pub(crate) fn trusting(trust: Trust) -> Recovery {
    Recovery { trust, ..Recovery::default() }
}

pub(crate) fn manager(dir: &Path) -> LogManager {
    LogManager::open(LogManagerOptions {
        default_config: Arc::new(small()),
        ..LogManagerOptions::new(dir, 0)
    })
    .unwrap()
}

/// A batch of records with these timestamps, and a value that names each.
pub(crate) fn batch_with(options: BuilderOptions, timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for (n, timestamp) in timestamps.iter().enumerate() {
        let value = format!("value {n} at {timestamp}, and some more to fill it up");
        builder.push_next(*timestamp, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn batch(timestamps: &[i64]) -> Bytes {
    batch_with(BuilderOptions::default(), timestamps)
}

pub(crate) fn sequenced(producer: i64, epoch: i16, sequence: i32) -> BuilderOptions {
    BuilderOptions {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BuilderOptions::default()
    }
}

pub(crate) fn marker(producer: i64, epoch: i16, commit: bool) -> Bytes {
    end_transaction_marker(&EndTxnMarker {
        base_offset: Offset::ZERO,
        leader_epoch: EPOCH,
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        commit,
        coordinator_epoch: 0,
        timestamp: 1,
    })
    .unwrap()
}

pub(crate) fn append(log: &Log, records: Bytes) -> Appended {
    log.append(records, EPOCH, 1_000, Origin::Client).unwrap()
}

pub(crate) fn try_append(log: &Log, records: Bytes) -> Result<Appended, AppendError> {
    log.append(records, EPOCH, 1_000, Origin::Client)
}

/// Every record from `from` on, read as a consumer does, fetch by fetch.
pub(crate) fn read_all(log: &Log, from: Offset, max_bytes: usize) -> Result<Vec<Record>, ReadError> {
    let mut records = Vec::new();
    let mut next = from;
    loop {
        let bytes = log.read_batches(next, max_bytes, ALL)?;
        if bytes.is_empty() {
            return Ok(records);
        }
        for batch in batches(bytes) {
            let batch = batch?;
            next = batch.next_offset();
            let all = batch.records(DecompressLimit::default())?.collect::<Result<Vec<_>, _>>()?;
            records.extend(all.into_iter().filter(|record| record.offset >= from.0));
        }
    }
}

pub(crate) fn offsets(records: &[Record]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}
