use strata_protocol::Records;
use strata_protocol::records::{Compression, Origin, TimestampType};
use strata_types::ErrorCode;

use super::*;
use crate::disk::faults;
use crate::{CompressionType, LogConfig, ReadError};

#[test]
fn records_are_read_back_at_the_offsets_that_they_got() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    let first = append(&log, batch(&[10, 11, 12]));
    assert_eq!((first.first_offset, first.last_offset, first.end_offset), (Offset(0), Offset(2), Offset(3)));
    for n in 0..100 {
        append(&log, batch(&[n, n + 1]));
    }
    assert!(log.segments().len() > 5);
    assert_eq!(log.end_offset(), Offset(203));
    for max_bytes in [1, 150, 1_000, 1 << 20] {
        let records = read_all(&log, Offset(0), max_bytes).unwrap();
        assert_eq!(offsets(&records), (0..203).collect::<Vec<_>>(), "{max_bytes}");
    }
    assert_eq!(offsets(&read_all(&log, Offset(101), 500).unwrap())[0], 101);
}

#[test]
fn a_read_is_a_range_of_whole_batches_below_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig { segment_bytes: 1 << 20, ..small() });
    let bytes = (0..40).map(|_| append(&log, batch(&[7, 7])).bytes).max().unwrap();
    for (max_batches, slack, until, expected) in [
        (3, 0, ALL, 3),
        (3, bytes - 1, ALL, 3),
        (40, 0, Offset(10), 5),
        (2, 0, Offset(10), 2),
        (40, 0, Offset(11), 5),
    ] {
        let read = log.read(Offset(0), max_batches * bytes + slack, until, false).unwrap();
        assert!(matches!(read.records, Records::FileRange(_)));
        assert_eq!(read.bytes, expected * bytes, "{max_batches} {slack} {until}");
    }
    let middle = log.read(Offset(5), 10 * bytes, ALL, false).unwrap();
    assert_eq!(middle.from, Offset(4));
    assert_eq!(log.read(Offset(0), 10, ALL, false).unwrap().bytes, 0);
    assert_eq!(log.read(Offset(0), 10, ALL, true).unwrap().bytes, bytes);
    assert_eq!(log.read(Offset(80), 10, ALL, true).unwrap().bytes, 0);
}

#[test]
fn offsets_outside_of_the_log_are_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    append(&log, batch(&[1]));
    let read = |offset| log.read(Offset(offset), 100, ALL, true).map(|read| read.bytes);
    assert!(matches!(read(2), Err(ReadError::OffsetOutOfRange { .. })));
    assert!(matches!(read(-1), Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!(read(1).unwrap(), 0);
}

#[test]
fn the_time_of_the_append_replaces_the_producers_where_the_topic_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { message_timestamp_type: TimestampType::LogAppendTime, ..small() };
    let log = open(dir.path(), config);
    let appended = log.append(batch(&[1, 2]), EPOCH, 777, Origin::Client).unwrap();
    assert_eq!(appended.append_time, Some(777));
    assert!(read_all(&log, Offset(0), 100).unwrap().iter().all(|record| record.timestamp == 777));
}

#[test]
fn the_topics_codec_replaces_the_producers() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { compression_type: CompressionType::Codec(Compression::Zstd), ..small() };
    let log = open(dir.path(), config);
    append(&log, batch(&[1, 2]));
    let bytes = log.read_batches(Offset(0), 1_000, ALL).unwrap();
    let stored = batches(bytes).next().unwrap().unwrap();
    assert_eq!(stored.header().compression(), Compression::Zstd);
    assert_eq!(read_all(&log, Offset(0), 1_000).unwrap().len(), 2);
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig { max_message_bytes: 500, ..small() });
    append(&log, batch(&[1]));
    let too_large = try_append(&log, batch(&[1; 20])).unwrap_err();
    assert_eq!(too_large.error_code(), ErrorCode::MessageTooLarge);
    let mut flipped = batch(&[1]).to_vec();
    flipped[70] ^= 1;
    assert_eq!(try_append(&log, flipped.into()).unwrap_err().error_code(), ErrorCode::CorruptMessage);
    assert!(try_append(&log, Bytes::new()).is_err());
    let whole = batch(&[1]);
    assert!(try_append(&log, whole.slice(..whole.len() - 1)).is_err());
    assert_eq!(log.end_offset(), Offset(1));
    assert_eq!(append(&log, batch(&[2])).first_offset, Offset(1));
}

#[test]
fn a_failed_write_leaves_the_log_at_its_former_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    append(&log, batch(&[1, 2]));
    {
        let _fault = faults::inject("write", ".log");
        assert_eq!(try_append(&log, batch(&[3])).unwrap_err().error_code(), ErrorCode::KafkaStorageError);
    }
    assert_eq!(log.end_offset(), Offset(2));
    assert!(log.offline().is_none());
    assert_eq!(append(&log, batch(&[3])).first_offset, Offset(2));
    assert_eq!(read_all(&log, Offset(0), 100).unwrap().len(), 3);
}

#[test]
fn a_failed_flush_takes_the_log_offline() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    append(&log, batch(&[1]));
    {
        let _fault = faults::inject("flush", "orders");
        assert!(log.flush().is_err());
    }
    assert_eq!(log.durable_offset(), Offset(0));
    assert_eq!(try_append(&log, batch(&[2])).unwrap_err().error_code(), ErrorCode::KafkaStorageError);
    assert!(log.flush().is_err(), "a second flush must not pretend that the first one worked");
}

#[test]
fn a_flush_makes_everything_before_it_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    for n in 0..60 {
        append(&log, batch(&[n]));
        assert!(log.durable_offset() < log.end_offset());
        if n % 25 == 0 {
            assert_eq!(log.flush().unwrap(), log.end_offset());
        }
    }
    assert_eq!(log.flush().unwrap(), Offset(60));
    assert_eq!(log.durable_offset(), Offset(60));
}

#[test]
fn a_followers_batches_are_kept_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let leader = open(&dir.path().join("leader"), small());
    let follower = open(&dir.path().join("follower"), small());
    for n in 0..20 {
        leader.append(batch(&[n, n]), LeaderEpoch(n as i32 / 10), 5_000, Origin::Client).unwrap();
    }
    let mut next = Offset(0);
    while next < leader.end_offset() {
        let bytes = leader.read_batches(next, 700, ALL).unwrap();
        next = follower.append(bytes, EPOCH, 9_999, Origin::Replica).unwrap().end_offset;
    }
    let read = |log: &Log| read_all(log, Offset(0), 1_000).unwrap();
    assert_eq!(read(&leader), read(&follower));
    assert_eq!(follower.end_offset_for_epoch(LeaderEpoch(0)), Some((LeaderEpoch(0), Offset(20))));
    let again = leader.read_batches(Offset(4), 200, ALL).unwrap();
    assert!(matches!(
        follower.append(again, EPOCH, 0, Origin::Replica),
        Err(AppendError::OutOfOrderOffsets { .. })
    ));
}

#[test]
fn the_high_watermark_moves_forward_within_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    append(&log, batch(&[1, 2, 3]));
    assert_eq!(log.set_high_watermark(Offset(2)), Offset(2));
    assert_eq!(log.set_high_watermark(Offset(1)), Offset(2));
    assert_eq!(log.set_high_watermark(Offset(99)), Offset(3));
    assert_eq!(log.last_stable_offset(), Offset(3));
}

#[test]
fn offsets_are_found_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    for n in 0..50 {
        append(&log, batch(&[n * 10, n * 10 + 5]));
    }
    let find = |timestamp| log.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset.0);
    assert_eq!(find(0), Some(0));
    assert_eq!(find(-1), Some(0));
    assert_eq!(find(5), Some(1));
    assert_eq!(find(6), Some(2));
    assert_eq!(find(333), Some(67));
    assert_eq!(find(495), Some(99));
    assert_eq!(find(496), None);
    assert_eq!(log.max_timestamp().unwrap().map(|max| (max.timestamp, max.offset)), Some((495, Offset(99))));
}

#[test]
fn a_late_record_is_the_first_one_found_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    for n in 0..30 {
        append(&log, batch(&[if n == 7 { 900 } else { n }, n]));
    }
    assert_eq!(log.offset_for_timestamp(500).unwrap().unwrap().offset, Offset(14));
    assert_eq!(log.max_timestamp().unwrap().unwrap().offset, Offset(14));
    assert_eq!(log.offset_for_timestamp(20).unwrap().unwrap().offset, Offset(14));
}

#[test]
fn segments_roll_by_size_and_age_and_index() {
    let dir = tempfile::tempdir().unwrap();
    let by_age = open(&dir.path().join("age"), LogConfig { segment_ms: 100, ..LogConfig::default() });
    for timestamp in [0, 50, 100, 101, 150, 201, 202] {
        append(&by_age, batch(&[timestamp]));
    }
    let bases = |log: &Log| log.segments().iter().map(|s| s.base_offset.0).collect::<Vec<_>>();
    assert_eq!(bases(&by_age), [0, 3, 6]);

    let config = LogConfig { index_interval_bytes: 0, segment_index_bytes: 40, ..LogConfig::default() };
    let by_index = open(&dir.path().join("index"), config);
    for n in 0..12 {
        append(&by_index, batch(&[n]));
    }
    assert!(by_index.segments().len() > 1);
    assert_eq!(read_all(&by_index, Offset(0), 1_000).unwrap().len(), 12);
}

#[test]
fn a_partition_at_rest_costs_no_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path());
    for n in 0..20 {
        let partition = TopicPartition { partition: n, ..partition() };
        let log = manager.get_or_create(&partition, topic_id(), Arc::new(small()), 0).unwrap();
        append(&log, batch(&[1]));
    }
    assert!(manager.files().open_files() > 0);
    manager.checkpoint().unwrap();
    manager.checkpoint().unwrap();
    assert_eq!(manager.files().open_files(), 0);
    let log = manager.get(&TopicPartition { partition: 7, ..partition() }).unwrap();
    assert_eq!(read_all(&log, Offset(0), 100).unwrap().len(), 1);
}
