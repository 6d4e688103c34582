//! Records that left the local disk: what the broker asks of an archive, and what it makes of the answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_log::{
    BoxFuture, IndexRecord, RemoteError, RemoteLog, RemotePartition, RemoteRead, RetentionLimits,
    TimestampAndOffset,
};
use strata_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use strata_protocol::messages::{DeleteTopicsRequest, ListOffsetsRequest};
use strata_protocol::records::{DecompressLimit, batches};
use strata_types::{ErrorCode, LeaderEpoch, Offset, TimestampMs, TopicId, TopicName};

use crate::support::{Broker, Connection, PATIENCE, batch, batch_with, values};

/// An archive in memory, which can be made to fail.
#[derive(Default)]
pub(super) struct Archive {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By base offset.
    batches: BTreeMap<i64, Bytes>,
    until: Option<Offset>,
    start: Offset,
    down: bool,
    deleted: Vec<TopicName>,
}

impl Archive {
    fn keep(&self, bytes: Bytes) {
        let mut state = self.state.lock();
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            state.until = Some(batch.next_offset());
            state.batches.insert(batch.base_offset().0, batch.into_bytes());
        }
    }

    fn records(&self) -> Vec<(i64, TimestampMs)> {
        let state = self.state.lock();
        let all = state.batches.values().cloned().flat_map(batches).map(Result::unwrap);
        let records =
            all.flat_map(|batch| batch.records(DecompressLimit::default()).unwrap().map(Result::unwrap));
        records.map(|record| (record.offset, record.timestamp)).collect()
    }
}

fn at((offset, timestamp): (i64, TimestampMs)) -> TimestampAndOffset {
    TimestampAndOffset { timestamp, offset: Offset(offset), leader_epoch: LeaderEpoch(0) }
}

impl RemoteLog for Archive {
    fn fetch<'a>(
        &'a self,
        _: &'a RemotePartition,
        from: Offset,
        _: usize,
    ) -> BoxFuture<'a, Result<RemoteRead, RemoteError>> {
        let state = self.state.lock();
        if state.down {
            return Box::pin(async { Err(RemoteError::Unavailable("it is down".into())) });
        }
        // One batch at a time: readers must come again for the next one.
        let found = state.batches.range(..=from.0).next_back().map(|(base, bytes)| (*base, bytes.clone()));
        Box::pin(async move {
            let (base, batches) = found.ok_or(RemoteError::NotFound)?;
            Ok(RemoteRead { batches, next_offset: Offset(base + 1) })
        })
    }

    fn offset_for_timestamp<'a>(
        &'a self,
        _: &'a RemotePartition,
        timestamp: TimestampMs,
        from: Offset,
    ) -> BoxFuture<'a, Result<Option<TimestampAndOffset>, RemoteError>> {
        let found = self.records().into_iter().find(|(offset, at)| *offset >= from.0 && *at >= timestamp);
        Box::pin(async move { Ok(found.map(at)) })
    }

    fn max_timestamp<'a>(
        &'a self,
        _: &'a RemotePartition,
    ) -> BoxFuture<'a, Result<Option<TimestampAndOffset>, RemoteError>> {
        let found = self.records().into_iter().max_by_key(|(offset, at)| (*at, -offset));
        Box::pin(async move { Ok(found.map(at)) })
    }

    fn earliest_offset(&self, _: &RemotePartition) -> Option<Offset> {
        self.state.lock().batches.keys().next().map(|offset| Offset(*offset))
    }

    fn archived_until(&self, _: &RemotePartition) -> Option<Offset> {
        self.state.lock().until
    }

    fn bytes(&self, _: &RemotePartition) -> u64 {
        0
    }

    fn enforce_retention<'a>(
        &'a self,
        _: &'a RemotePartition,
        limits: RetentionLimits,
        _: TimestampMs,
    ) -> BoxFuture<'a, Result<Offset, RemoteError>> {
        let start = self.state.lock().start.max(limits.log_start_offset);
        Box::pin(async move { Ok(start) })
    }

    fn start_offset_advanced<'a>(
        &'a self,
        _: &'a RemotePartition,
        _: Offset,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        Box::pin(async { Ok(()) })
    }

    fn topic_deleted<'a>(
        &'a self,
        _: TopicId,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<(), RemoteError>> {
        self.state.lock().deleted.push(topic.clone());
        Box::pin(async { Ok(()) })
    }
}

pub(super) const RECORDS: i64 = 20;
pub(super) const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;

/// A broker with a topic of twenty batches, most of which only the archive has.
pub(super) async fn archived(settings: &[&str]) -> (Broker, Arc<Archive>, Connection) {
    let archive = Arc::new(Archive::default());
    let broker = Broker::with_archive_and(archive.clone(), settings).await;
    let mut connection = broker.connect().await;
    let configs = [
        ("remote.storage.enable", "true"),
        ("internal.segment.bytes", "2048"),
        ("local.retention.bytes", "1"),
        ("retention.ms", "-1"),
    ];
    connection.create_topic("t", 1, &configs).await;
    for number in 0..RECORDS {
        let value = format!("{number:0>500}");
        let record = batch_with(&[&value], Default::default(), FIRST_TIMESTAMP + number);
        assert_eq!(connection.produce("t", 0, record).await.error_code, 0);
    }
    archive_all(&broker, &archive);
    local_start_moves(&mut connection).await;
    (broker, archive, connection)
}

fn archive_all(broker: &Broker, archive: &Archive) {
    let host = broker.server.archive_host();
    for partition in host.partitions() {
        assert!(host.leads(&partition.id, partition.leader_epoch));
        let until = partition.committed_until;
        let mut next = partition.log.local_start_offset();
        while next < until {
            archive.keep(partition.log.read_batches(next, 1 << 20, until).unwrap());
            next = archive.state.lock().until.unwrap();
        }
        host.archived(&partition.id, until);
    }
}

async fn local_start_moves(connection: &mut Connection) {
    let moved = async {
        while list(connection, -4).await.1 == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.expect("no local segment goes");
}

async fn list(connection: &mut Connection, timestamp: i64) -> (i16, i64) {
    let partitions = vec![ListOffsetsPartition { timestamp, ..Default::default() }];
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions, ..Default::default() }];
    let response = connection.call(11, &ListOffsetsRequest { topics, ..Default::default() }).await;
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.offset)
}

#[tokio::test]
async fn a_consumer_reads_through_the_archive_into_the_log() {
    let (_broker, _archive, mut connection) = archived(&[]).await;
    let mut next = 0;
    while next < RECORDS {
        let data = connection.fetch("t", 0, next).await;
        assert_eq!((data.error_code, data.log_start_offset, data.high_watermark), (0, 0, RECORDS));
        for (offset, value) in values(&data) {
            assert_eq!((offset, value.parse()), (next, Ok(next)));
            next += 1;
        }
    }
}

#[tokio::test]
async fn offsets_are_found_on_both_sides() {
    let (_broker, _archive, mut connection) = archived(&[]).await;
    let (_, local_start) = list(&mut connection, -4).await;
    assert!((1..RECORDS).contains(&local_start));
    for (asked, offset) in [
        (-1, RECORDS),
        (-2, 0),
        (-3, RECORDS - 1),
        (-5, RECORDS - 1),
        (-6, RECORDS),
        (FIRST_TIMESTAMP, 0),
        (FIRST_TIMESTAMP + local_start - 1, local_start - 1),
        (FIRST_TIMESTAMP + local_start, local_start),
        (FIRST_TIMESTAMP + RECORDS, -1),
    ] {
        assert_eq!(list(&mut connection, asked).await, (0, offset), "{asked}");
    }
}

#[tokio::test]
async fn an_archive_that_is_down_is_an_error_to_retry() {
    let (_broker, archive, mut connection) = archived(&[]).await;
    archive.state.lock().down = true;
    let data = connection.fetch("t", 0, 0).await;
    assert!(ErrorCode::from_code(data.error_code).unwrap().is_retriable(), "{}", data.error_code);
    // What is on the local disk is served all the same.
    assert_eq!(values(&connection.fetch("t", 0, RECORDS - 1).await).len(), 1);
    archive.state.lock().down = false;
    assert_eq!(values(&connection.fetch("t", 0, 0).await).len(), 1);
}

#[tokio::test]
async fn what_retention_dropped_from_the_archive_is_out_of_range() {
    let (broker, archive, mut connection) = archived(&[]).await;
    archive.state.lock().start = Offset(3);
    archive_all(&broker, &archive);
    let moved = async {
        while list(&mut connection, -2).await.1 == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.expect("the start does not move");
    assert_eq!(list(&mut connection, -2).await, (0, 3));
    assert_eq!(connection.fetch("t", 0, 2).await.error_code, ErrorCode::OffsetOutOfRange.code());
    assert_eq!(values(&connection.fetch("t", 0, 3).await)[0].0, 3);
}

#[tokio::test]
async fn a_deleted_topic_leaves_the_archive() {
    let (_broker, archive, mut connection) = archived(&[]).await;
    let names = DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
    assert_eq!(connection.call(5, &names).await.responses[0].error_code, 0);
    let deleted = async {
        while archive.state.lock().deleted.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, deleted).await.expect("the archive is not told");
    assert_eq!(archive.state.lock().deleted[0].as_str(), "t");
}

#[tokio::test]
async fn topics_without_remote_storage_are_not_archived() {
    let broker = Broker::with_archive(Arc::new(Archive::default())).await;
    let mut connection = broker.connect().await;
    connection.create_topic("plain", 1, &[]).await;
    connection
        .create_topic("paused", 1, &[("remote.storage.enable", "true"), ("remote.log.copy.disable", "true")])
        .await;
    connection.produce("plain", 0, batch(&["x"])).await;
    assert!(broker.server.archive_host().partitions().is_empty());
}

#[tokio::test]
async fn the_archiver_is_woken_by_committed_records() {
    let broker = Broker::with_archive(Arc::new(Archive::default())).await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[("remote.storage.enable", "true")]).await;
    let host = broker.server.archive_host();
    // The topic itself was news.
    tokio::time::timeout(PATIENCE, host.changed()).await.expect("the new topic is no news");
    connection.produce("t", 0, batch(&["x"])).await;
    tokio::time::timeout(PATIENCE, host.changed()).await.expect("the record is no news");
    assert_eq!(host.partitions()[0].committed_until, Offset(1));
}

#[tokio::test]
async fn the_tier_index_keeps_what_is_appended() {
    let broker = Broker::with_archive(Arc::new(Archive::default())).await;
    let host = broker.server.archive_host();
    let empty = host.read_index(1, Offset::ZERO, 1 << 20).await.unwrap();
    assert_eq!((empty.records.len(), empty.next_offset), (0, empty.end_offset));
    let record = |key: &'static str, value: Option<&'static str>| IndexRecord {
        key: Bytes::from_static(key.as_bytes()),
        value: value.map(|value| Bytes::from_static(value.as_bytes())),
    };
    let appended = vec![record("a", Some("1")), record("b", None)];
    assert_eq!(host.append_index(1, appended.clone()).await.unwrap(), Offset(0));
    assert_eq!(host.append_index(1, vec![record("c", Some("3"))]).await.unwrap(), Offset(2));
    let read = host.read_index(1, Offset::ZERO, 1 << 20).await.unwrap();
    assert_eq!((read.records.len(), read.next_offset, read.end_offset), (3, Offset(3), Offset(3)));
    assert_eq!((&read.records[1].1.key[..], &read.records[1].1.value), (&b"b"[..], &None));
    // From within a batch.
    assert_eq!(host.read_index(1, Offset(1), 1 << 20).await.unwrap().records.len(), 2);
    assert!(host.index_partitions() > 1);
    assert!(broker.connect().await.topic_names().await.iter().any(|name| name == "__strata_tier_index"));
}
