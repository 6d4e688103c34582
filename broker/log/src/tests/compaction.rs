//! Compaction of single logs: what stays, what goes, and that a crash anywhere changes nothing for who reads.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use strata_protocol::records::{Batch, Compression, ControlType};

use super::*;
use crate::cleaner::parts::{CleanError, OffsetMapOptions, Plan, RunOptions, clean};
use crate::disk::faults;
use crate::{CleanReport, CleanupPolicy};

fn compacted() -> LogConfig {
    LogConfig {
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 100,
        file_delete_delay_ms: 0,
        segment_bytes: 2_000,
        index_interval_bytes: 150,
        ..LogConfig::default()
    }
}

fn folder(dir: &tempfile::TempDir) -> std::path::PathBuf {
    dir.path().join("orders-3")
}

fn run_options(map_bytes: usize) -> RunOptions {
    let map = OffsetMapOptions { bytes_max: map_bytes, load_factor: 0.9, seed: (1, 2) };
    RunOptions { map, buffer_bytes: 512 }
}

fn clean_at(log: &Log, now: i64) -> Result<Option<CleanReport>, CleanError> {
    clean_with(log, now, &run_options(1 << 20))
}

/// Cleans if the log is due, as a thread of the cleaner does.
fn clean_with(log: &Log, now: i64, options: &RunOptions) -> Result<Option<CleanReport>, CleanError> {
    let (facts, config) = (log.facts(), log.config());
    let plan = Plan::of(&facts, &config, now);
    if !plan.is_due(&config) {
        return Ok(None);
    }
    let report = clean(log, &facts, &plan, options, now, &mut |_| Ok(()))?;
    log.set_cleaned_until(report.cleaned_until);
    Ok(Some(report))
}

fn keyed_with(options: BuilderOptions, records: &[(&str, Option<&str>)]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in records {
        builder.push_next(10, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn keyed(records: &[(&str, Option<&str>)]) -> Bytes {
    keyed_with(BuilderOptions::default(), records)
}

/// Appends, and has it committed at once.
fn put(log: &Log, records: Bytes) -> Appended {
    let appended = log.append(records, EPOCH, 1_000, Origin::Coordinator).unwrap();
    log.set_high_watermark(appended.end_offset);
    appended
}

fn all_batches(log: &Log) -> Vec<Batch> {
    let (mut found, mut next) = (Vec::new(), log.start_offset());
    loop {
        let bytes = log.read_batches(next, 1_000, log.end_offset()).unwrap();
        if bytes.is_empty() {
            return found;
        }
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            assert!(batch.next_offset() > next, "batches rise");
            next = batch.next_offset();
            found.push(batch);
        }
    }
}

/// What a consumer of committed records is given, by Kafka's own rule for aborted transactions.
fn committed(log: &Log) -> Vec<Record> {
    let until = log.last_stable_offset();
    let mut ahead = log.aborted_transactions(log.start_offset(), until);
    ahead.sort_by_key(|txn| txn.first_offset);
    let mut ahead = ahead.into_iter().peekable();
    let mut aborted = BTreeSet::new();
    let mut records = Vec::new();
    for batch in all_batches(log).iter().filter(|batch| batch.last_offset() < until) {
        let header = batch.header();
        while let Some(txn) = ahead.next_if(|txn| txn.first_offset <= header.last_offset()) {
            aborted.insert(txn.producer_id);
        }
        let content = batch.records(DecompressLimit::default()).unwrap().map(Result::unwrap);
        if header.is_control() {
            if content.filter_map(|record| ControlType::of(&record)).any(|kind| kind == ControlType::Abort) {
                aborted.remove(&header.producer_id);
            }
        } else if !(header.is_transactional() && aborted.contains(&header.producer_id)) {
            records.extend(content.filter(|record| record.offset >= log.start_offset().0));
        }
    }
    records
}

type View = BTreeMap<Bytes, (i64, Bytes)>;

/// The last value of each key, and where it stands.
fn view(log: &Log) -> View {
    let mut view = View::new();
    for record in committed(log) {
        let key = record.key.unwrap();
        match record.value {
            Some(value) => view.insert(key, (record.offset, value)),
            None => view.remove(&key),
        };
    }
    view
}

fn values(log: &Log) -> Vec<(String, Option<String>)> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    committed(log).into_iter().map(|r| (text(r.key.unwrap()), r.value.map(text))).collect()
}

fn owned(records: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    records.iter().map(|(key, value)| (key.to_string(), value.map(str::to_string))).collect()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    for n in 0..300 {
        let (key, value) = (format!("key {}", n % 7), format!("value {n}"));
        put(&log, keyed(&[(&key, Some(&value)), ("constant", Some(&value))]));
    }
    let before = view(&log);
    log.roll(0).unwrap();
    let report = clean_at(&log, 50).unwrap().unwrap();
    assert_eq!(report.cleaned_until, Offset(600));
    assert_eq!(view(&log), before);
    assert_eq!(committed(&log).len(), 8);
    assert!(report.bytes_written < report.bytes_read && report.records_kept == 8);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(600)));
    assert!(clean_at(&log, 60).unwrap().is_none(), "there is nothing more to do");
    // The log goes on, what is small by now is joined, and all that survives a restart.
    put(&log, keyed(&[("key 1", Some("new"))]));
    log.roll(0).unwrap();
    clean_at(&log, 70).unwrap().unwrap();
    assert_eq!(log.segments().len(), 2);
    let after = view(&log);
    assert_eq!(after.len(), 8);
    drop(log);
    for trust in [Trust::PageCache, Trust::RecoveryPoint] {
        let recovery = Recovery { high_watermark: Offset(601), ..trusting(trust) };
        assert_eq!(view(&open_with(dir.path(), compacted(), recovery)), after);
    }
}

#[test]
fn a_tombstone_stays_for_its_time_after_the_first_cleaning() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    put(&log, keyed(&[("a", Some("1")), ("b", Some("1"))]));
    put(&log, keyed(&[("a", None), ("b", Some("2"))]));
    log.roll(0).unwrap();
    clean_at(&log, 1_000).unwrap().unwrap();
    assert_eq!(values(&log), owned(&[("a", None), ("b", Some("2"))]));
    assert_eq!(all_batches(&log).last().unwrap().header().delete_horizon_ms(), Some(1_100));
    let clean_more = |now| {
        put(&log, keyed(&[("c", Some("1"))]));
        log.roll(0).unwrap();
        clean_at(&log, now).unwrap().unwrap();
        values(&log)
    };
    assert_eq!(clean_more(1_099), owned(&[("a", None), ("b", Some("2")), ("c", Some("1"))]));
    assert_eq!(clean_more(1_100), owned(&[("b", Some("2")), ("c", Some("1"))]));
}

#[test]
fn records_of_aborted_transactions_go_and_markers_follow() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    let transactional =
        |producer, sequence| BuilderOptions { transactional: true, ..sequenced(producer, 0, sequence) };
    put(&log, keyed(&[("a", Some("kept"))]));
    put(&log, keyed_with(transactional(1, 0), &[("a", Some("aborted")), ("b", Some("aborted"))]));
    put(&log, keyed_with(transactional(2, 0), &[("c", Some("committed"))]));
    put(&log, marker(1, 0, false));
    put(&log, marker(2, 0, true));
    // So that the producers' last batches are others.
    put(&log, keyed_with(transactional(1, 2), &[("d", Some("1"))]));
    put(&log, keyed_with(transactional(2, 1), &[("e", Some("1"))]));
    put(&log, marker(1, 0, true));
    put(&log, marker(2, 0, true));
    log.roll(0).unwrap();
    let expected =
        owned(&[("a", Some("kept")), ("c", Some("committed")), ("d", Some("1")), ("e", Some("1"))]);
    assert_eq!(values(&log), expected);
    let controls = || all_batches(&log).iter().filter(|batch| batch.header().is_control()).count();
    clean_at(&log, 1_000).unwrap().unwrap();
    assert_eq!(values(&log), expected);
    assert_eq!(controls(), 4);
    assert_eq!(log.aborted_transactions(Offset(0), log.end_offset()).len(), 1);
    assert!(
        !all_batches(&log).iter().any(|batch| batch.base_offset() == Offset(1)),
        "the aborted batch is gone"
    );
    let clean_more = |now, value: &str| {
        put(&log, keyed(&[("z", Some(value))]));
        log.roll(0).unwrap();
        clean_at(&log, now).unwrap().unwrap();
    };
    // The abort marker gets its horizon in the second round and goes once that is past.
    clean_more(2_000, "1");
    assert_eq!((controls(), log.aborted_transactions(Offset(0), log.end_offset()).len()), (4, 0));
    clean_more(2_100, "2");
    assert_eq!(controls(), 3);
    assert_eq!(values(&log), [expected, owned(&[("z", Some("2"))])].concat());
}

#[test]
fn nothing_of_an_open_transaction_or_above_it_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    put(&log, keyed(&[("a", Some("1"))]));
    put(&log, keyed(&[("a", Some("2"))]));
    put(
        &log,
        keyed_with(BuilderOptions { transactional: true, ..sequenced(1, 0, 0) }, &[("a", Some("open"))]),
    );
    put(&log, keyed(&[("a", Some("above"))]));
    log.roll(0).unwrap();
    let report = clean_at(&log, 0).unwrap().unwrap();
    assert_eq!(report.cleaned_until, Offset(2));
    let left: Vec<_> = all_batches(&log).iter().map(|batch| batch.base_offset().0).collect();
    assert_eq!(left, [1, 2, 3]);
    put(&log, marker(1, 0, false));
    assert_eq!(values(&log), owned(&[("a", Some("2")), ("a", Some("above"))]));
}

#[test]
fn a_producer_goes_on_where_it_was_though_all_its_records_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    for sequence in 0..6 {
        put(&log, keyed_with(sequenced(9, 3, sequence), &[("a", Some("1"))]));
    }
    put(&log, keyed(&[("a", Some("last"))]));
    log.roll(0).unwrap();
    clean_at(&log, 0).unwrap().unwrap();
    assert_eq!(values(&log), owned(&[("a", Some("last"))]));
    drop(log);
    // Without a snapshot, so that the log itself must tell.
    for name in std::fs::read_dir(folder(&dir)).unwrap().flatten() {
        if name.path().extension().is_some_and(|extension| extension == "snapshot") {
            std::fs::remove_file(name.path()).unwrap();
        }
    }
    let log = open_with(
        dir.path(),
        compacted(),
        Recovery { high_watermark: Offset(7), ..trusting(Trust::PageCache) },
    );
    let again = keyed_with(sequenced(9, 3, 5), &[("a", Some("1"))]);
    assert!(append(&log, again).duplicate);
    assert!(try_append(&log, keyed_with(sequenced(9, 3, 7), &[("a", Some("1"))])).is_err());
    assert!(!append(&log, keyed_with(sequenced(9, 3, 6), &[("a", Some("1"))])).duplicate);
}

#[test]
fn a_small_map_cleans_in_several_rounds() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    for n in 0..200 {
        put(&log, keyed(&[(&format!("key {}", n % 50), Some(&format!("value {n}")))]));
    }
    log.roll(0).unwrap();
    let before = view(&log);
    let mut rounds = 0;
    while let Some(report) = clean_with(&log, 0, &run_options(20 * 24)).unwrap() {
        rounds += 1;
        assert!(report.map_bytes <= 20 * 24);
        assert_eq!(view(&log), before);
    }
    assert!(rounds > 3, "{rounds}");
    assert_eq!(committed(&log).len(), 50);
}

#[test]
fn a_batch_with_more_keys_than_the_map_holds_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    put(&log, keyed(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1")), ("d", Some("1"))]));
    log.roll(0).unwrap();
    let error = clean_with(&log, 0, &run_options(3 * 24)).unwrap_err();
    assert!(matches!(error, CleanError::TooManyKeys { offset: Offset(0) }), "{error}");
    assert_eq!(values(&log).len(), 4);
}

#[test]
fn records_without_a_key_go_and_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(
        dir.path(),
        LogConfig { cleanup_policy: CleanupPolicy { delete: true, compact: false }, ..compacted() },
    );
    let mut builder = BatchBuilder::new(BuilderOptions::default());
    builder.push_next(10, None, Some(b"no key"), &[]).unwrap();
    let keyless = builder.build().unwrap();
    put(&log, keyless.clone());
    put(&log, keyed(&[("a", Some("1"))]));
    log.set_config(Arc::new(compacted()));
    let refused = try_append(&log, keyless).unwrap_err();
    assert_eq!(refused.error_code(), strata_types::ErrorCode::InvalidRecord);
    log.roll(0).unwrap();
    clean_at(&log, 0).unwrap().unwrap();
    assert_eq!(values(&log), owned(&[("a", Some("1"))]));
}

#[test]
fn a_segment_that_retention_takes_meanwhile_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    for n in 0..100 {
        put(&log, keyed(&[("a", Some(&format!("value {n}")))]));
    }
    log.roll(0).unwrap();
    let (facts, config) = (log.facts(), log.config());
    let plan = Plan::of(&facts, &config, 0);
    let mut steps = 0;
    let cleaned = clean(&log, &facts, &plan, &run_options(1 << 20), 0, &mut |_| {
        steps += 1;
        if steps == 105 {
            log.advance_start_offset(Offset(60)).unwrap();
            assert!(log.enforce_retention(0, None).unwrap().segments_removed > 1);
        }
        Ok(())
    });
    assert!(matches!(cleaned, Err(CleanError::Aborted)));
    assert_eq!(log.start_offset(), Offset(60));
    assert_eq!(offsets(&committed(&log))[0], 60);
    let names: Vec<_> =
        std::fs::read_dir(folder(&dir)).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains(".cleaned")), "{names:?}");
}

#[test]
fn replaced_files_wait_for_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig { file_delete_delay_ms: 1_000, ..compacted() });
    for n in 0..100 {
        put(&log, keyed(&[("a", Some(&format!("value {n}")))]));
    }
    log.roll(0).unwrap();
    clean_at(&log, 5_000).unwrap().unwrap();
    let deleted = || {
        let names = std::fs::read_dir(folder(&dir)).unwrap().flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().ends_with(".deleted")).count()
    };
    assert!(deleted() > 3);
    log.housekeep(5_999, i64::MAX);
    assert!(deleted() > 3);
    log.housekeep(6_000, i64::MAX);
    assert_eq!(deleted(), 0);
}

#[test]
fn readers_go_on_while_segments_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), compacted());
    put(&log, keyed(&[("key 0", Some("0"))]));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..400 {
                put(&log, keyed(&[(&format!("key {}", n % 5), Some(&format!("{n}")))]));
                if n % 25 == 24 {
                    log.roll(0).unwrap();
                    clean_at(&log, 0).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let last = all_batches(&log).last().unwrap().last_offset();
            assert!(last >= Offset(0));
            assert!(view(&log).contains_key("key 0".as_bytes()));
        }
    });
    assert_eq!(view(&log).len(), 5);
}

#[test]
fn what_kafka_left_half_done_is_finished_or_undone() {
    for (cleaned, swapped) in [(true, false), (false, true)] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), compacted());
        for n in 0..60 {
            put(&log, keyed(&[("a", Some(&format!("value {n}")))]));
        }
        log.roll(0).unwrap();
        let before = view(&log);
        let bases: Vec<_> = log.segments().iter().map(|segment| segment.base_offset).collect();
        // One batch of the whole range stands for what a cleaner had written.
        let last = all_batches(&log).pop().unwrap();
        drop(log);
        let suffix = if cleaned { ".cleaned" } else { ".swap" };
        let name = |base: Offset, extension: &str| folder(&dir).join(format!("{:020}.{extension}", base.0));
        std::fs::write(folder(&dir).join(format!("{:020}.log{suffix}", 0)), last.bytes()).unwrap();
        std::fs::write(folder(&dir).join(format!("{:020}.index{suffix}", 0)), b"").unwrap();
        let log = open_with(
            dir.path(),
            compacted(),
            Recovery { high_watermark: Offset(60), ..trusting(Trust::PageCache) },
        );
        assert_eq!(view(&log), before);
        assert_eq!(committed(&log).len(), if swapped { 1 } else { 60 });
        assert_eq!(name(bases[1], "log").exists(), cleaned);
        assert_eq!(log.end_offset(), Offset(60));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Put {
        keys: Vec<u8>,
        tombstone: bool,
        codec: bool,
    },
    /// By one of three producers, in a transaction or only in sequence.
    Produce {
        producer: u8,
        key: u8,
        transactional: bool,
    },
    End {
        producer: u8,
        commit: bool,
    },
    Roll,
    Pass(i64),
    /// Cleans; dies after so many operations of the disk, if they are that many.
    Clean {
        dies_after: Option<usize>,
        map_slots: usize,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (prop::collection::vec(0..6_u8, 1..4), any::<bool>(), any::<bool>())
            .prop_map(|(keys, tombstone, codec)| Step::Put { keys, tombstone, codec }),
        5 => (0..3_u8, 0..6_u8, any::<bool>())
            .prop_map(|(producer, key, transactional)| Step::Produce { producer, key, transactional }),
        3 => (0..3_u8, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        3 => Just(Step::Roll),
        1 => (0..150_i64).prop_map(Step::Pass),
        4 => (prop::option::of(0..80_usize), 4..40_usize)
            .prop_map(|(dies_after, map_slots)| Step::Clean { dies_after, map_slots }),
        1 => Just(Step::Reopen),
    ]
}

struct World {
    dir: tempfile::TempDir,
    log: Arc<Log>,
    now: i64,
    written: BTreeMap<i64, Record>,
    sequences: [i32; 3],
    open: [bool; 3],
    values: u32,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), compacted());
        Self {
            dir,
            log,
            now: 1_000,
            written: BTreeMap::new(),
            sequences: [0; 3],
            open: [false; 3],
            values: 0,
        }
    }

    fn put(&mut self, mut options: BuilderOptions, keys: &[u8], tombstone: bool, codec: bool) {
        if codec {
            options.compression = Compression::Lz4;
        }
        let mut builder = BatchBuilder::new(options);
        for key in keys {
            self.values += 1;
            let value = (!tombstone).then(|| format!("value {} that takes some room", self.values));
            let value = value.as_ref().map(String::as_bytes);
            builder.push_next(self.now, Some(&[*key]), value, &[]).unwrap();
        }
        let appended = put(&self.log, builder.build().unwrap());
        let batch = all_batches(&self.log).pop().unwrap();
        assert_eq!(batch.base_offset(), appended.first_offset);
        for record in batch.records(DecompressLimit::default()).unwrap() {
            let record = record.unwrap();
            self.written.insert(record.offset, record);
        }
    }

    fn reopen(&mut self) {
        let recovery = Recovery {
            high_watermark: self.log.high_watermark(),
            cleaned_until: self.log.cleaned_until(),
            recovery_point: self.log.durable_offset(),
            ..trusting(Trust::PageCache)
        };
        self.log = open_with(self.dir.path(), compacted(), recovery);
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Put { keys, tombstone, codec } => {
                self.put(BuilderOptions::default(), keys, *tombstone, *codec)
            }
            Step::Produce { producer, key, transactional } => {
                let at = usize::from(*producer);
                // Within a transaction everything is, as with a real producer.
                let transactional = *transactional || self.open[at];
                let options = BuilderOptions {
                    transactional,
                    ..sequenced(i64::from(*producer) + 100, 0, self.sequences[at])
                };
                self.put(options, &[*key], false, false);
                self.sequences[at] += 1;
                self.open[at] = transactional;
            }
            Step::End { producer, commit } => {
                if std::mem::take(&mut self.open[usize::from(*producer)]) {
                    put(&self.log, marker(i64::from(*producer) + 100, 0, *commit));
                }
            }
            Step::Roll => self.log.roll(self.now).unwrap(),
            Step::Pass(ms) => self.now += ms,
            Step::Clean { dies_after, map_slots } => {
                let options = run_options(map_slots * 24);
                let died = {
                    let _fault = dies_after.map(faults::die_after);
                    match clean_with(&self.log, self.now, &options) {
                        Ok(_) => false,
                        Err(CleanError::Storage(_)) => true,
                        Err(error) => panic!("{error}"),
                    }
                };
                if died {
                    self.reopen();
                }
            }
            Step::Reopen => self.reopen(),
        }
    }

    fn check(&self, before: &View) -> Result<(), TestCaseError> {
        prop_assert_eq!(&view(&self.log), before);
        for record in committed(&self.log) {
            prop_assert_eq!(Some(&record), self.written.get(&record.offset));
        }
        // No producer is forgotten, and none is taken for another.
        let mut found: Vec<_> = self.log.active_producers();
        found.sort_by_key(|producer| producer.producer_id);
        for producer in found {
            let at = (producer.producer_id.0 - 100) as usize;
            prop_assert_eq!(producer.last_sequence, self.sequences[at] - 1);
            prop_assert_eq!(producer.current_txn_start_offset.is_some(), self.open[at]);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_view_by_key_is_the_same_before_and_after_and_at_every_crash(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            let before = view(&world.log);
            world.apply(step);
            if matches!(step, Step::Clean { .. } | Step::Reopen) {
                world.check(&before)?;
            }
        }
    }
}
