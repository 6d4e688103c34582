//! What topics' settings do to logs.

use std::os::unix::fs::MetadataExt;

use strata_protocol::records::{Batch, Compression, Record};
use strata_types::ErrorCode;

use super::*;
use crate::CompressionType;

fn compressible(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(BuilderOptions::default());
    let words: String = (0..bytes / 8).map(|n| format!("w{:06} ", (n * n) % 5_000)).collect();
    builder.push_next(10, Some(b"key"), Some(words.as_bytes()), &[]).unwrap();
    builder.build().unwrap()
}

fn written(log: &Log) -> Batch {
    let bytes = log.read_batches(Offset(0), usize::MAX, ALL).unwrap();
    batches(bytes).next().unwrap().unwrap()
}

#[test]
fn the_broker_compresses_at_the_topics_level() {
    let size = |codec, settings: &[(&str, &str)]| {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig::from_map(settings.iter().copied()).unwrap();
        let log = open(dir.path(), config);
        append(&log, compressible(200_000));
        let batch = written(&log);
        assert_eq!(batch.header().compression(), codec);
        assert_eq!(batch.records(DecompressLimit::default()).unwrap().count(), 1);
        batch.header().batch_bytes
    };
    let zstd =
        |level| size(Compression::Zstd, &[("compression.type", "zstd"), ("compression.zstd.level", level)]);
    assert!(zstd("19") < zstd("-5"), "{} {}", zstd("19"), zstd("-5"));
    let gzip =
        |level| size(Compression::Gzip, &[("compression.type", "gzip"), ("compression.gzip.level", level)]);
    assert!(gzip("9") < gzip("1") && gzip("-1") <= gzip("1"));
    assert!(size(Compression::Lz4, &[("compression.type", "lz4")]) < 200_000);
    assert!(size(Compression::None, &[("compression.type", "uncompressed")]) > 200_000 - 100);
}

#[test]
fn a_batch_must_be_small_enough_in_the_topics_codec_too() {
    let dir = tempfile::tempdir().unwrap();
    let small = Batch::try_from_bytes(compressible(200_000)).unwrap();
    let small = small.recompressed(Compression::Zstd, None, DecompressLimit::default()).unwrap();
    let limit = small.header().batch_bytes + 10;
    let config = LogConfig { max_message_bytes: limit, ..LogConfig::default() };
    let log = open(dir.path(), config.clone());
    append(&log, small.bytes().clone());
    log.set_config(Arc::new(LogConfig {
        compression_type: CompressionType::Codec(Compression::None),
        ..config
    }));
    let refused = try_append(&log, small.into_bytes()).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::MessageTooLarge);
    assert_eq!(log.end_offset(), Offset(1));
}

#[test]
fn a_preallocated_segment_has_its_room_and_not_its_length() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { preallocate: true, segment_bytes: 4 << 20, ..LogConfig::default() };
    let log = open(dir.path(), config.clone());
    append(&log, batch(&[1, 2, 3]));
    let of = |base: i64| std::fs::metadata(log.dir().join(format!("{base:020}.log"))).unwrap();
    assert_eq!(of(0).len(), log.bytes());
    assert!(of(0).blocks() * 512 >= 4 << 20, "{}", of(0).blocks());
    log.roll(0).unwrap();
    assert!(of(0).blocks() * 512 < 1 << 20 && of(3).blocks() * 512 >= 4 << 20);
    drop(log);
    let again = open_with(dir.path(), config, trusting(Trust::RecoveryPoint));
    assert_eq!((again.end_offset(), again.recovery_report().bytes_cut), (Offset(3), 0));
}

#[test]
fn a_segment_that_grows_has_room_ahead_and_gives_it_back_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig::default());
    let blocks = |base: Offset| {
        let file = std::fs::metadata(log.dir().join(format!("{:020}.log", base.0))).unwrap();
        (file.blocks() * 512, file.len())
    };
    append(&log, batch(&[1]));
    let (small, _) = blocks(Offset(0));
    assert!(small < 1 << 20, "{small} bytes for one record");
    let large = Record { value: Some(Bytes::from(vec![7; 500_000])), ..Record::default() };
    let mut builder = BatchBuilder::new(BuilderOptions::default());
    builder.push(&large).unwrap();
    let large = builder.build().unwrap();
    for _ in 0..6 {
        append(&log, large.clone());
    }
    let (room, bytes) = blocks(Offset(0));
    assert!(bytes == log.bytes() && room > bytes + (2 << 20), "{room} bytes for {bytes}");
    log.roll(0).unwrap();
    let (room, _) = blocks(Offset(0));
    assert!(room < bytes + (1 << 20), "{room} bytes for {bytes} after the end");
    let second = log.end_offset();
    for _ in 0..6 {
        append(&log, large.clone());
    }
    log.close().unwrap();
    let (room, bytes) = blocks(second);
    assert!(room < bytes + (1 << 20), "{room} bytes for {bytes} after the close");
}

#[test]
fn a_flush_is_overdue_when_the_topic_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig { flush_ms: 500, ..small() });
    assert!(!log.is_flush_overdue(1_000_000));
    append(&log, batch(&[1]));
    assert!(!log.is_flush_overdue(1_499));
    assert!(log.is_flush_overdue(1_500));
    log.flush().unwrap();
    assert!(!log.is_flush_overdue(1_000_000));
}

#[test]
fn a_compacted_topics_segment_closes_before_its_records_have_waited_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { max_compaction_lag_ms: 500, ..small() };
    let log = open(dir.path(), config.clone());
    append(&log, batch(&[0]));
    append(&log, batch(&[501]));
    assert_eq!(log.segments().len(), 1);
    let cleanup_policy = crate::CleanupPolicy { delete: false, compact: true };
    log.set_config(Arc::new(LogConfig { cleanup_policy, ..config }));
    append(&log, batch(&[502]));
    assert_eq!(log.segments().len(), 2);
}
