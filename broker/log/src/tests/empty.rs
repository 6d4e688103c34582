//! Logs that have no record yet, or none any more.

use std::fs;

use super::*;
use crate::StorageError;
use crate::disk::faults;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn log_of(manager: &LogManager) -> Arc<Log> {
    manager.get_or_create(&partition(), topic_id(), Arc::new(small()), 0).unwrap()
}

#[test]
fn a_partition_without_records_has_no_log_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("orders-3");
    let first = manager(dir.path());
    let log = log_of(&first);
    log.assign_epoch(LeaderEpoch(4), Offset(0)).unwrap();
    // Everything that is done to logs now and then.
    log.roll(1).unwrap();
    assert_eq!(log.flush().unwrap(), Offset(0));
    assert_eq!(log.enforce_retention(1 << 40, None).unwrap().segments_removed, 0);
    log.housekeep(1 << 40, 0);
    assert!(!log.truncate_to(Offset(0)).unwrap() && !log.advance_start_offset(Offset(0)).unwrap());
    assert!(read_all(&log, Offset(0), 100).unwrap().is_empty());
    assert!(matches!(log.read(Offset(1), 100, ALL, true), Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!((log.offset_for_timestamp(0).unwrap(), log.max_timestamp().unwrap()), (None, None));
    assert_eq!((log.bytes(), log.segments().len()), (0, 1));
    first.checkpoint().unwrap();
    first.close().unwrap();
    assert!(!folder.exists());
    assert!(matches!(try_append(&log, batch(&[1])), Err(AppendError::Storage(StorageError::Closed))));
    drop((first, log));

    // Nothing is known of it, and nothing needs to be.
    let second = manager(dir.path());
    assert_eq!((second.trust(), second.logs().len()), (Trust::Clean, 0));
    let log = log_of(&second);
    assert_eq!(append(&log, batch(&[1])).first_offset, Offset(0));
    let made = [
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "leader-epoch-checkpoint",
        "partition.metadata",
    ];
    assert_eq!(names(&folder), made);
}

#[test]
fn a_first_record_is_durable_only_with_its_folder() {
    for unsynced in ["partition.metadata", "0.log", "orders-3"] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), small());
        append(&log, batch(&[1]));
        let _fault = faults::inject("flush", unsynced);
        assert!(log.flush().is_err(), "{unsynced} was not synced");
        assert_eq!(log.durable_offset(), Offset(0));
    }
}

#[test]
fn a_first_record_that_the_disk_had_no_room_for_can_come_again() {
    for (action, word) in
        [("create", "orders-3"), ("replace", "partition.metadata"), ("open", ".timeindex"), ("open", ".log")]
    {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), small());
        {
            let _full = faults::inject(action, word);
            assert!(try_append(&log, batch(&[1])).is_err(), "{action} {word}");
        }
        assert!(log.offline().is_none());
        assert_eq!((log.end_offset(), log.bytes()), (Offset(0), 0));
        assert_eq!(append(&log, batch(&[1, 2])).first_offset, Offset(0));
        drop(log);
        let again = open_with(dir.path(), small(), trusting(Trust::PageCache));
        assert_eq!(offsets(&read_all(&again, Offset(0), 999).unwrap()), [0, 1]);
    }
}

#[test]
fn a_process_that_died_with_its_first_record_begins_again() {
    for operations in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let running = manager(dir.path());
        let log = log_of(&running);
        let appended = {
            let _death = faults::die_after(operations);
            try_append(&log, batch(&[1])).is_ok()
        };
        drop((running, log));
        let again = log_of(&manager(dir.path()));
        assert!(!appended || again.end_offset() == Offset(1), "after {operations}");
        let end = again.end_offset();
        assert_eq!(append(&again, batch(&[2])).first_offset, end);
    }
}

#[test]
fn a_partition_without_records_can_be_deleted_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path());
    let log = log_of(&manager);
    assert!(manager.delete(&partition()).unwrap() && !manager.delete(&partition()).unwrap());
    assert!(try_append(&log, batch(&[1])).is_err());
    assert!(log.flush().is_ok());
    assert_eq!(manager.remove_deleted().unwrap(), 0);
    let other = TopicId(Uuid::from_u128(2));
    let again = manager.get_or_create(&partition(), other, Arc::new(small()), 0).unwrap();
    append(&again, batch(&[1]));
    drop((manager, log, again));
    assert_eq!(super::manager(dir.path()).get(&partition()).unwrap().topic_id(), other);
}

#[test]
fn an_empty_log_keeps_its_start_offset_over_a_restart() {
    for (trust, is_archived) in [Trust::Clean, Trust::PageCache].into_iter().zip([false, true]) {
        let dir = tempfile::tempdir().unwrap();
        let config = LogConfig {
            remote_storage_enable: is_archived,
            local_retention_ms: crate::Retention::Limit(1),
            retention_ms: Some(1),
            ..small()
        };
        let running = manager(dir.path());
        let log = running.get_or_create(&partition(), topic_id(), Arc::new(config.clone()), 0).unwrap();
        for n in 0..60 {
            append(&log, batch(&[n]));
        }
        log.set_high_watermark(Offset(60));
        assert!(log.enforce_retention(1 << 40, Some(Offset(60))).unwrap().segments_removed > 0);
        let start = if is_archived { Offset(0) } else { Offset(60) };
        let is_empty = |log: &Log| {
            assert_eq!((log.bytes(), log.start_offset()), (0, start), "{trust:?}");
            assert_eq!((log.local_start_offset(), log.end_offset()), (Offset(60), Offset(60)), "{trust:?}");
        };
        is_empty(&log);
        running.checkpoint().unwrap();
        if trust == Trust::Clean {
            running.close().unwrap();
        }
        drop((running, log));
        let again = manager(dir.path());
        assert_eq!(again.trust(), trust);
        let log = again.get_or_create(&partition(), topic_id(), Arc::new(config), 0).unwrap();
        is_empty(&log);
        assert_eq!(append(&log, batch(&[1])).first_offset, Offset(60));
    }
}
