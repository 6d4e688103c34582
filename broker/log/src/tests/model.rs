//! A log against the simplest thing that behaves like one: a list.

use proptest::prelude::*;

use super::*;
use crate::log::Settled;

#[derive(Debug, Clone)]
enum Step {
    Append {
        records: usize,
        timestamp: i64,
        producer: bool,
    },
    Flush,
    Roll,
    Commit(prop::sample::Index),
    Truncate(prop::sample::Index),
    DeleteBelow(prop::sample::Index),
    Retain(i64),
    Checkpoint,
    /// Closed, killed, or the machine lost power right after a flush.
    Reopen(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1..5_usize, 0..1_000_i64, any::<bool>())
            .prop_map(|(records, timestamp, producer)| Step::Append { records, timestamp, producer }),
        1 => Just(Step::Flush),
        1 => Just(Step::Roll),
        2 => any::<prop::sample::Index>().prop_map(Step::Commit),
        1 => any::<prop::sample::Index>().prop_map(Step::Truncate),
        1 => any::<prop::sample::Index>().prop_map(Step::DeleteBelow),
        1 => (0..1_500_i64).prop_map(Step::Retain),
        1 => Just(Step::Checkpoint),
        1 => (0..3_u8).prop_map(Step::Reopen),
    ]
}

/// What the log should hold: each batch's first offset and its records' timestamps.
#[derive(Default)]
struct Model {
    batches: Vec<(i64, Vec<i64>)>,
    start: i64,
    committed: i64,
    next_sequence: i32,
    /// What the last checkpoint told.
    settled: Option<Settled>,
}

impl Model {
    fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |(first, records)| first + records.len() as i64)
    }

    fn boundaries(&self) -> Vec<i64> {
        let firsts = self.batches.iter().map(|(first, _)| *first);
        firsts.chain([self.end()]).collect()
    }

    fn records(&self) -> Vec<(i64, i64)> {
        let all = self.batches.iter().flat_map(|(first, timestamps)| {
            timestamps.iter().enumerate().map(move |(n, timestamp)| (first + n as i64, *timestamp))
        });
        all.filter(|(offset, _)| *offset >= self.start).collect()
    }
}

fn check(log: &Log, model: &Model, max_bytes: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(log.start_offset().0, model.start);
    prop_assert_eq!(log.end_offset().0, model.end());
    prop_assert_eq!(log.high_watermark().0, model.committed);
    let found = read_all(log, Offset(model.start), max_bytes).unwrap();
    let found: Vec<_> = found.iter().map(|record| (record.offset, record.timestamp)).collect();
    let expected = model.records();
    prop_assert_eq!(&found, &expected);
    for timestamp in [0, 250, 500, 999] {
        let first = expected.iter().find(|(_, found)| *found >= timestamp).map(|(offset, _)| *offset);
        let found = log.offset_for_timestamp(timestamp).unwrap().map(|found| found.offset.0);
        prop_assert_eq!(found, first, "at time {}", timestamp);
    }
    Ok(())
}

fn reopen(dir: &Path, log: Arc<Log>, how: u8, model: &Model) -> Arc<Log> {
    let recovery = Recovery {
        trust: [Trust::Clean, Trust::PageCache, Trust::RecoveryPoint][usize::from(how)],
        recovery_point: log.durable_offset(),
        log_start_offset: Some(log.start_offset()),
        high_watermark: log.high_watermark(),
        cleaned_until: log.cleaned_until(),
        settled: model.settled,
    };
    let producers = log.active_producers();
    if how == 0 {
        log.close().unwrap();
    }
    drop(log);
    let again = open_with(dir, config(), recovery);
    assert_eq!(again.active_producers(), producers);
    again
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1_200,
        index_interval_bytes: 150,
        retention_ms: Some(700),
        ..LogConfig::default()
    }
}

fn apply(dir: &Path, log: Arc<Log>, model: &mut Model, step: &Step) -> Arc<Log> {
    match step {
        Step::Append { records, timestamp, producer } => {
            let timestamps: Vec<_> = (0..*records as i64).map(|n| (timestamp + n * 7) % 1_000).collect();
            let options =
                if *producer { sequenced(5, 0, model.next_sequence) } else { BuilderOptions::default() };
            let appended = append(&log, batch_with(options, &timestamps));
            assert_eq!(appended.first_offset.0, model.end());
            if *producer {
                assert!(append(&log, batch_with(options, &timestamps)).duplicate);
                model.next_sequence += *records as i32;
            }
            model.batches.push((model.end(), timestamps));
        }
        Step::Flush => assert_eq!(log.flush().unwrap().0, model.end()),
        Step::Roll => log.roll(0).unwrap(),
        Step::Commit(at) => {
            // Replicas fetch whole batches, so that is where a high watermark stands.
            let to = at.get(&model.boundaries()).to_owned();
            model.committed = model.committed.max(to);
            log.set_high_watermark(Offset(to));
        }
        Step::Truncate(at) => {
            let to = at.index(model.end() as usize + 1) as i64;
            // A follower never cuts what is committed.
            if to >= model.committed {
                // A follower cuts what was written in another epoch; here there is but one.
                model.settled = None;
                log.truncate_to(Offset(to)).unwrap();
                while model.batches.last().is_some_and(|(first, records)| first + records.len() as i64 > to) {
                    model.batches.pop();
                }
                model.committed = model.committed.min(model.end());
                // Which sequence is next is not the point here; a new epoch of the list of producers is.
                model.next_sequence = next_sequence(&log);
            }
        }
        Step::DeleteBelow(at) => {
            let to = at.index(model.committed as usize + 1) as i64;
            log.advance_start_offset(Offset(to)).unwrap();
            model.start = model.start.max(to);
        }
        Step::Retain(now) => {
            let before = log.segments();
            log.enforce_retention(*now, None).unwrap();
            model.start = model.start.max(log.segments()[0].base_offset.0);
            // Only what may go went: old enough and committed, or deleted.
            for gone in before.iter().filter(|s| s.end_offset.0 <= model.start) {
                let old = gone.max_timestamp.is_none_or(|max| now - max > 700);
                assert!(gone.end_offset.0 <= model.committed && (old || gone.end_offset.0 <= model.start));
            }
        }
        Step::Checkpoint => model.settled = log.checkpoint().unwrap().and_then(|point| point.settled),
        Step::Reopen(how) => return reopen(dir, log, *how, model),
    }
    log
}

fn next_sequence(log: &Log) -> i32 {
    log.active_producers().first().map_or(0, |producer| producer.last_sequence + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_behaves_like_a_list(steps in prop::collection::vec(step(), 1..60), max_bytes in 1..3_000_usize) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), config());
        let mut model = Model::default();
        for step in &steps {
            log = apply(dir.path(), log, &mut model, step);
            if !matches!(step, Step::Append { .. }) {
                check(&log, &model, max_bytes)?;
            }
        }
        check(&log, &model, max_bytes)?;
    }
}
