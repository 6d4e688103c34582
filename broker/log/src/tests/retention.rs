use super::*;
use crate::{CleanupPolicy, Retention, RetentionOutcome};

/// A hundred records of one batch each, timestamps 0, 10, …, all committed.
fn filled(dir: &Path, config: LogConfig) -> Arc<Log> {
    let log = open(dir, config);
    for n in 0..100 {
        append(&log, batch(&[n * 10]));
    }
    log.set_high_watermark(Offset(100));
    log
}

#[test]
fn segments_go_when_their_last_record_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path(), LogConfig { retention_ms: Some(500), ..small() });
    assert_eq!(log.enforce_retention(500, None).unwrap(), RetentionOutcome::default());
    let outcome = log.enforce_retention(1_000, None).unwrap();
    assert!(outcome.segments_removed > 0 && outcome.bytes_removed > 0);
    let start = log.start_offset();
    assert!(start > Offset(30) && start <= Offset(50), "{start}");
    assert_eq!(log.local_start_offset(), start);
    assert_eq!(offsets(&read_all(&log, start, 1_000).unwrap())[0], start.0);
    assert!(matches!(log.read(Offset(0), 1, ALL, true), Err(ReadError::OffsetOutOfRange { .. })));
}

#[test]
fn a_log_whose_records_are_all_too_old_becomes_empty_and_keeps_its_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path(), LogConfig { retention_ms: Some(500), ..small() });
    log.enforce_retention(1_000_000, None).unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (Offset(100), Offset(100), 0));
    assert_eq!(log.enforce_retention(1_000_000, None).unwrap().segments_removed, 0);
    drop(log);
    let again = open(dir.path(), small());
    assert_eq!((again.start_offset(), again.end_offset()), (Offset(100), Offset(100)));
}

#[test]
fn segments_go_while_the_rest_is_large_enough() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path(), LogConfig { retention_bytes: Some(5_000), ..small() });
    log.enforce_retention(0, None).unwrap();
    assert!(log.bytes() >= 5_000 && log.bytes() < 7_000, "{}", log.bytes());
}

#[test]
fn what_is_not_committed_is_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig { retention_ms: Some(1), ..small() });
    for _ in 0..100 {
        append(&log, batch(&[0]));
    }
    log.set_high_watermark(Offset(50));
    log.enforce_retention(1_000_000, None).unwrap();
    assert!(log.start_offset() > Offset(30) && log.start_offset() <= Offset(50));
}

#[test]
fn an_archived_topic_keeps_what_is_not_archived_and_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        remote_storage_enable: true,
        retention_ms: Some(1_000_000),
        local_retention_ms: Retention::Limit(100),
        ..small()
    };
    let log = filled(dir.path(), config);
    assert_eq!(log.enforce_retention(10_000, None).unwrap().segments_removed, 0);
    log.enforce_retention(10_000, Some(Offset(50))).unwrap();
    assert_eq!(log.start_offset(), Offset(0));
    let local = log.local_start_offset();
    assert!(local > Offset(30) && local <= Offset(50), "{local}");
    log.enforce_retention(10_000, Some(Offset(100))).unwrap();
    assert_eq!((log.start_offset(), log.local_start_offset(), log.bytes()), (Offset(0), Offset(100), 0));
    assert_eq!(log.epoch_for_offset(Offset(3)), Some(EPOCH));
    log.advance_start_offset(Offset(60)).unwrap();
    assert!(matches!(log.read(Offset(59), 1, ALL, true), Err(ReadError::OffsetOutOfRange { .. })));
    assert!(matches!(log.read(Offset(60), 1, ALL, true), Err(ReadError::BelowLocalStart { .. })));
}

#[test]
fn deleted_records_are_gone_at_once_and_their_segments_later() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(dir.path(), LogConfig { retention_ms: None, ..small() });
    assert!(log.advance_start_offset(Offset(45)).unwrap());
    assert!(!log.advance_start_offset(Offset(44)).unwrap());
    assert!(log.advance_start_offset(Offset(101)).is_err());
    assert_eq!(log.start_offset(), Offset(45));
    assert!(log.read(Offset(44), 1, ALL, true).is_err());
    assert_eq!(offsets(&read_all(&log, Offset(45), 1_000).unwrap())[0], 45);
    assert_eq!(log.offset_for_timestamp(0).unwrap().unwrap().offset, Offset(45));
    let before = log.segments().len();
    log.enforce_retention(0, None).unwrap();
    assert!(log.segments().len() < before);
    assert_eq!(log.start_offset(), Offset(45));
}

#[test]
fn a_compacted_topic_loses_nothing_to_age() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        retention_ms: Some(1),
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..small()
    };
    let log = filled(dir.path(), config);
    assert_eq!(log.enforce_retention(1_000_000, None).unwrap().segments_removed, 0);
}

#[test]
fn starts_and_high_watermarks_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = manager(dir.path());
    let log = running.get_or_create(&partition(), topic_id(), Arc::new(small()), 0).unwrap();
    for n in 0..20 {
        append(&log, batch(&[n]));
    }
    log.set_high_watermark(Offset(18));
    log.advance_start_offset(Offset(3)).unwrap();
    running.close().unwrap();
    drop((running, log));
    let log = manager(dir.path()).get(&partition()).unwrap();
    assert_eq!((log.start_offset(), log.high_watermark()), (Offset(3), Offset(18)));
}
