use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::StorageError;
use crate::log::Settled;

/// A copy of a partition's folder, as it is at this moment.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("orders-3")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    files
}

fn append_bytes(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}

/// A log of a hundred batches of one record in several segments; not closed.
fn written(dir: &Path) -> Arc<Log> {
    let log = open(dir, small());
    for n in 0..100 {
        append(&log, batch(&[n]));
    }
    log
}

fn holds(log: &Log, records: i64) {
    assert_eq!(log.end_offset(), Offset(records));
    let read = read_all(log, Offset(0), 1_000).unwrap();
    assert_eq!(offsets(&read), (0..records).collect::<Vec<_>>());
    for timestamp in [0, records / 3, records / 2, records - 1] {
        let found = log.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset.0);
        assert_eq!(found, Some(timestamp));
    }
    assert_eq!(log.max_timestamp().unwrap().unwrap().offset, Offset(records - 1));
    assert_eq!(append(log, batch(&[1_000])).first_offset, Offset(records));
}

#[test]
fn a_log_that_was_closed_is_opened_without_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let log = written(dir.path());
    log.close().unwrap();
    assert!(matches!(try_append(&log, batch(&[1])), Err(AppendError::Storage(StorageError::Closed))));
    let again = open_with(dir.path(), small(), trusting(Trust::Clean));
    assert_eq!(again.recovery_report().segments_scanned, 0);
    assert_eq!(again.durable_offset(), Offset(100));
    holds(&again, 100);
}

#[test]
fn a_killed_process_leaves_only_the_tail_to_scan() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 40_000, ..small() };
    let log = open(&dir.path().join("a"), config.clone());
    for n in 0..1_000 {
        append(&log, batch(&[n]));
    }
    copy(&dir.path().join("a"), &dir.path().join("b"));
    let again = open_with(&dir.path().join("b"), config, trusting(Trust::PageCache));
    let report = again.recovery_report();
    assert_eq!((report.segments_scanned, report.bytes_cut), (1, 0));
    assert!(report.bytes_scanned <= 40_000, "{report:?}");
    holds(&again, 1_000);
}

#[test]
fn the_largest_timestamp_of_a_long_segment_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { index_interval_bytes: 0, ..LogConfig::default() };
    let log = open(dir.path(), config.clone());
    append(&log, batch(&[999]));
    for _ in 0..700 {
        append(&log, batch(&[5]));
    }
    drop(log);
    let again = open_with(dir.path(), config, trusting(Trust::PageCache));
    assert!(again.recovery_report().bytes_scanned < again.bytes() / 2, "the index was used");
    assert_eq!(again.max_timestamp().unwrap().unwrap().timestamp, 999);
    assert_eq!(again.offset_for_timestamp(6).unwrap().unwrap().offset, Offset(0));
}

#[test]
fn what_is_settled_is_not_read_again_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 1 << 20, ..small() };
    let log = open(dir.path(), config.clone());
    let producer = |sequence| batch_with(sequenced(7, 0, sequence), &[1]);
    for n in 0..500 {
        append(&log, producer(n));
    }
    let settled = log.checkpoint().unwrap().unwrap().settled;
    assert_eq!(settled, Some(Settled { end: Offset(500), epoch: EPOCH }));
    for n in 500..503 {
        append(&log, producer(n));
    }
    let producers = log.active_producers();
    drop(log);

    let recovery = Recovery { settled, ..trusting(Trust::PageCache) };
    let again = open_with(dir.path(), config.clone(), recovery);
    assert!(again.recovery_report().bytes_scanned < 6_000, "{:?}", again.recovery_report());
    assert_eq!(again.active_producers(), producers);
    assert!(append(&again, producer(502)).duplicate);
    drop(again);

    // Who looks there finds damage.
    let path = files(dir.path(), "log")[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[2_000..3_000].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let again = open_with(dir.path(), config.clone(), recovery);
    assert_eq!((again.end_offset(), again.active_producers()), (Offset(503), producers));
    drop(again);
    // The log was cut since, and written to in another epoch.
    let other = Recovery { settled: Some(Settled { end: Offset(500), epoch: LeaderEpoch(1) }), ..recovery };
    fs::remove_file(files(dir.path(), "snapshot").pop().unwrap()).unwrap();
    let looked = Log::open(LogOptions { recovery: other, ..options(dir.path(), config) });
    assert!(matches!(looked, Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_last_batch_that_is_damaged_after_a_kill_has_all_of_its_segment_checked() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 1 << 20, ..small() };
    let log = open(dir.path(), config.clone());
    for n in 0..100 {
        append(&log, batch(&[n]));
    }
    log.close().unwrap();
    let path = files(dir.path(), "log")[0].clone();
    let mut bytes = fs::read(&path).unwrap();
    let batch_bytes = bytes.len() / 100;
    let (last, earlier) = (bytes.len() - 1, 50 * batch_bytes - 1);
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(open_with(dir.path(), config.clone(), trusting(Trust::PageCache)).end_offset(), Offset(99));
    bytes[earlier] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(open_with(dir.path(), config, trusting(Trust::PageCache)).end_offset(), Offset(49));
}

#[test]
fn checkpoints_of_an_earlier_topic_of_that_name_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let running = manager(&first);
    let create = |id| running.get_or_create(&partition(), TopicId(Uuid::from_u128(id)), Arc::new(small()), 0);
    let log = create(1).unwrap();
    for n in 0..50 {
        append(&log, batch(&[n]));
    }
    log.set_high_watermark(Offset(50));
    log.advance_start_offset(Offset(40)).unwrap();
    running.checkpoint().unwrap();
    running.delete(&partition()).unwrap();
    let log = create(2).unwrap();
    for n in 0..50 {
        append(&log, batch(&[n]));
    }

    copy(&first, &second);
    let killed = manager(&second);
    let recovered = killed.get(&partition()).unwrap();
    assert_eq!((recovered.topic_id(), recovered.start_offset()), (TopicId(Uuid::from_u128(2)), Offset(0)));
    assert_eq!(recovered.high_watermark(), Offset(0));
    holds(&recovered, 50);
}

#[test]
fn nothing_below_the_recovery_point_is_scanned_after_a_power_loss() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path()));
    let recovery = Recovery { recovery_point: Offset(80), ..trusting(Trust::RecoveryPoint) };
    let again = open_with(dir.path(), small(), recovery);
    let report = again.recovery_report();
    assert!(report.segments_scanned < report.segments, "{report:?}");
    assert_eq!(again.durable_offset(), Offset(80));
    holds(&again, 100);
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_tore() {
    for trust in [Trust::PageCache, Trust::RecoveryPoint] {
        for torn in [1, 60, 61, 100] {
            let dir = tempfile::tempdir().unwrap();
            drop(written(dir.path()));
            cut(files(dir.path(), "log").last().unwrap(), torn);
            let again = open_with(dir.path(), small(), trusting(trust));
            assert!(again.recovery_report().bytes_cut > 0);
            holds(&again, 99);
        }
    }
}

#[test]
fn garbage_behind_the_tail_is_cut_off() {
    for garbage in [&[0_u8; 4096][..], &[0xff; 100], b"x"] {
        let dir = tempfile::tempdir().unwrap();
        drop(written(dir.path()));
        append_bytes(files(dir.path(), "log").last().unwrap(), garbage);
        let again = open_with(dir.path(), small(), trusting(Trust::RecoveryPoint));
        assert_eq!(again.recovery_report().bytes_cut, garbage.len() as u64);
        holds(&again, 100);
    }
}

#[test]
fn a_flipped_bit_ends_the_log_and_what_follows_goes() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path()));
    let second = files(dir.path(), "log")[1].clone();
    let mut bytes = fs::read(&second).unwrap();
    bytes[100] ^= 0x10;
    fs::write(&second, bytes).unwrap();
    let again = open(dir.path(), small());
    let end = again.end_offset();
    assert!(end > Offset(0) && end < Offset(30), "{end}");
    assert_eq!(again.segments().len(), 2);
    holds(&again, end.0);
}

#[test]
fn missing_and_damaged_indexes_are_made_again() {
    for (extension, trust) in [
        ("index", Trust::Clean),
        ("timeindex", Trust::Clean),
        ("index", Trust::PageCache),
        ("index", Trust::RecoveryPoint),
        ("timeindex", Trust::RecoveryPoint),
    ] {
        for damage in ["missing", "garbage", "not a multiple", "empty"] {
            let dir = tempfile::tempdir().unwrap();
            let log = written(dir.path());
            log.close().unwrap();
            for path in files(dir.path(), extension) {
                match damage {
                    "missing" => fs::remove_file(path).unwrap(),
                    "garbage" => fs::write(path, [0x7f; 240]).unwrap(),
                    "empty" if trust != Trust::Clean => fs::write(path, []).unwrap(),
                    "not a multiple" => fs::write(path, [0; 7]).unwrap(),
                    _ => {}
                }
            }
            let recovery = Recovery { log_start_offset: Some(Offset(0)), ..trusting(trust) };
            let again = open_with(dir.path(), small(), recovery);
            assert_eq!(again.end_offset(), Offset(100), "{extension} {trust:?} {damage}");
            holds(&again, 100);
        }
    }
}

#[test]
fn orphans_of_a_crash_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    drop(written(dir.path()));
    let folder = dir.path().join("orders-3");
    let orphans = [
        "00000000000000009999.index",
        "00000000000000000000.log.deleted",
        "x.cleaned",
        "leader-epoch-checkpoint.tmp",
    ];
    orphans.iter().for_each(|name| fs::write(folder.join(name), b"junk").unwrap());
    holds(&open(dir.path(), small()), 100);
    assert!(orphans.iter().all(|name| !folder.join(name).exists()));
}

#[test]
fn leader_epochs_survive_without_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), small());
    for n in 0..30 {
        log.append(batch(&[n]), LeaderEpoch(n as i32 / 10), 1, Origin::Client).unwrap();
    }
    fs::remove_file(dir.path().join("orders-3/leader-epoch-checkpoint")).unwrap();
    let again = open(dir.path(), small());
    for epoch in 0..3 {
        let end = again.end_offset_for_epoch(LeaderEpoch(epoch));
        assert_eq!(end, Some((LeaderEpoch(epoch), Offset(10 * (i64::from(epoch) + 1)))));
    }
}

#[test]
fn the_archived_part_is_found_again_without_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig {
        remote_storage_enable: true,
        local_retention_bytes: crate::Retention::Limit(0),
        ..small()
    };
    let log = open(dir.path(), config.clone());
    for n in 0..60 {
        append(&log, batch(&[n]));
    }
    log.set_high_watermark(Offset(60));
    assert!(log.enforce_retention(1_000, Some(Offset(40))).unwrap().segments_removed > 0);
    assert_eq!(log.start_offset(), Offset(0));
    let local_start = log.local_start_offset();
    assert!(local_start > Offset(0) && local_start <= Offset(40));
    let again = open(dir.path(), config);
    assert_eq!((again.start_offset(), again.local_start_offset()), (Offset(0), local_start));
    assert!(matches!(again.read(Offset(0), 100, ALL, true), Err(ReadError::BelowLocalStart { .. })));
}

#[test]
fn a_folder_of_another_topic_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    append(&open(dir.path(), small()), batch(&[1]));
    let topic_id = TopicId(Uuid::from_u128(99));
    let other = Log::open(LogOptions { topic_id, ..options(dir.path(), small()) });
    assert!(matches!(other, Err(StorageError::TopicIdMismatch { .. })));
}

#[test]
fn a_truncated_log_goes_on_from_the_cut() {
    for cut_at in [1, 37, 50, 99] {
        let dir = tempfile::tempdir().unwrap();
        let log = written(dir.path());
        log.flush().unwrap();
        log.set_high_watermark(Offset(100));
        assert!(!log.truncate_to(Offset(100)).unwrap());
        assert!(log.truncate_to(Offset(cut_at)).unwrap());
        assert_eq!((log.durable_offset(), log.high_watermark()), (Offset(cut_at), Offset(cut_at)));
        holds(&log, cut_at);
        log.close().unwrap();
        let again = open_with(dir.path(), small(), trusting(Trust::Clean));
        assert_eq!(again.end_offset(), Offset(cut_at + 1));
    }
}

#[test]
fn a_log_that_starts_over_begins_at_its_new_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = written(dir.path());
    log.truncate_fully_and_start_at(Offset(500)).unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (Offset(500), Offset(500), 0));
    assert_eq!(append(&log, batch(&[1])).first_offset, Offset(500));
    drop(log);
    let again = open(dir.path(), small());
    assert_eq!((again.start_offset(), again.end_offset()), (Offset(500), Offset(501)));
}

#[test]
fn a_data_folder_is_recovered_as_its_last_process_left_it() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let running = manager(&first);
    let log = running.get_or_create(&partition(), topic_id(), Arc::new(small()), 0).unwrap();
    for n in 0..100 {
        append(&log, batch(&[n]));
    }
    log.set_high_watermark(Offset(70));
    running.checkpoint().unwrap();
    assert!(matches!(LogManager::open(LogManagerOptions::new(&first, 0)), Err(StorageError::Locked { .. })));

    copy(&first, &second);
    let killed = manager(&second);
    assert_eq!(killed.trust(), Trust::PageCache);
    assert_eq!(killed.recovery_report().segments_scanned, 1);
    let recovered = killed.get(&partition()).unwrap();
    assert_eq!(recovered.high_watermark(), Offset(70));
    assert_eq!(recovered.durable_offset(), Offset(100));

    running.close().unwrap();
    drop((running, log));
    let clean = manager(&first);
    assert_eq!((clean.trust(), clean.recovery_report().segments_scanned), (Trust::Clean, 0));
    holds(&clean.get(&partition()).unwrap(), 100);
}

#[test]
fn sealed_segments_become_durable_with_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let running = manager(dir.path());
    let log = running.get_or_create(&partition(), topic_id(), Arc::new(small()), 0).unwrap();
    for n in 0..100 {
        append(&log, batch(&[n]));
    }
    assert_eq!(log.durable_offset(), Offset(0));
    running.checkpoint().unwrap();
    assert_eq!(log.durable_offset(), log.segments().last().unwrap().base_offset);
    let points = fs::read_to_string(dir.path().join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(points, format!("0\n1\norders 3 {}\n", log.durable_offset()));
}

#[test]
fn another_boot_of_the_kernel_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let running = manager(&dir.path().join("a"));
    let log = running.get_or_create(&partition(), topic_id(), Arc::new(small()), 0).unwrap();
    for n in 0..100 {
        append(&log, batch(&[n]));
    }
    copy(&dir.path().join("a"), &dir.path().join("b"));
    fs::write(dir.path().join("b/.strata_boot_id"), b"another").unwrap();
    let again = manager(&dir.path().join("b"));
    assert_eq!(again.trust(), Trust::RecoveryPoint);
    assert_eq!(again.recovery_report().segments_scanned, again.recovery_report().segments);
    holds(&again.get(&partition()).unwrap(), 100);
}

#[test]
fn a_deleted_partition_is_gone_at_once_and_can_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path());
    let log = manager.get_or_create(&partition(), topic_id(), Arc::new(small()), 0).unwrap();
    append(&log, batch(&[1]));
    let reader = log.read(Offset(0), 1_000, ALL, true).unwrap();
    assert!(manager.delete(&partition()).unwrap());
    assert!(!manager.delete(&partition()).unwrap());
    assert!(manager.get(&partition()).is_none());
    assert!(try_append(&log, batch(&[1])).is_err());
    assert!(log.flush().is_ok(), "a flush that was under way is not an error");
    let other = TopicId(Uuid::from_u128(2));
    let again = manager.get_or_create(&partition(), other, Arc::new(small()), 0).unwrap();
    assert_eq!(again.end_offset(), Offset(0));
    assert_eq!(manager.remove_deleted().unwrap(), 1);
    append(&again, batch(&[1]));
    let strata_protocol::Records::FileRange(range) = reader.records else { panic!("not a file") };
    assert_eq!(range.read().unwrap().len(), reader.bytes);
    drop((manager, log, again));
    let found = super::manager(dir.path()).get(&partition()).unwrap();
    assert_eq!(found.topic_id(), other);
}
