//! The cleaner's threads.

use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::{CleanerHost, CleanerOptions, CleanupPolicy, LogCleaner};

const PATIENCE: Duration = Duration::from_secs(20);

struct Host {
    manager: LogManager,
    told: Mutex<mpsc::Sender<(i32, Offset)>>,
}

impl CleanerHost for Host {
    fn logs(&self) -> Vec<Arc<Log>> {
        self.manager.logs()
    }
    fn cleaned(&self, log: &Arc<Log>) {
        self.manager.checkpoint_cleaned().unwrap();
        self.told.lock().send((log.partition().partition, log.cleaned_until().unwrap())).unwrap();
    }
    fn now(&self) -> i64 {
        0
    }
}

fn log_of(manager: &LogManager, number: i32, compact: bool) -> Arc<Log> {
    let config = LogConfig { cleanup_policy: CleanupPolicy { delete: !compact, compact }, ..small() };
    let partition = TopicPartition { partition: number, ..partition() };
    let log = manager.get_or_create(&partition, topic_id(), Arc::new(config), 0).unwrap();
    for n in 0..60 {
        append(&log, batch(&[n]));
    }
    log.set_high_watermark(Offset(60));
    log.roll(0).unwrap();
    log
}

fn start(manager: &LogManager, options: CleanerOptions) -> (LogCleaner, mpsc::Receiver<(i32, Offset)>) {
    let (sender, told) = mpsc::channel();
    let host = Host { manager: manager.clone(), told: Mutex::new(sender) };
    (LogCleaner::start(Arc::new(host), options).unwrap(), told)
}

/// Nothing happens by the clock; the tests say when to look.
fn patient(threads: usize) -> CleanerOptions {
    CleanerOptions { threads, backoff: Duration::from_secs(1_000), ..CleanerOptions::default() }
}

#[test]
fn compacted_topics_are_cleaned_others_are_not_and_it_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let running = manager(dir.path());
    let logs = [log_of(&running, 0, true), log_of(&running, 1, false), log_of(&running, 2, true)];
    let (cleaner, told) = start(&running, patient(2));
    let mut cleaned = [told.recv_timeout(PATIENCE).unwrap(), told.recv_timeout(PATIENCE).unwrap()];
    cleaned.sort_unstable();
    assert_eq!(cleaned, [(0, Offset(60)), (2, Offset(60))]);
    cleaner.close();
    let left = |log: &Log| read_all(log, Offset(0), 999).unwrap().len();
    assert_eq!(logs.each_ref().map(|log| left(log)), [1, 60, 1]);
    let stats = cleaner.stats();
    assert_eq!((stats.logs_cleaned, stats.logs_failed, stats.records_kept), (2, 0, 2));
    let checkpoint = std::fs::read_to_string(dir.path().join("cleaner-offset-checkpoint")).unwrap();
    let mut lines: Vec<_> = checkpoint.lines().collect();
    lines[2..].sort_unstable();
    assert_eq!(lines, ["0", "2", "orders 0 60", "orders 2 60"]);
    running.close().unwrap();
    drop((cleaner, running, logs));
    let again = manager(dir.path());
    let cleaned: Vec<_> = again.logs().iter().filter_map(|log| log.cleaned_until()).collect();
    assert_eq!(cleaned, [Offset(60); 2]);
}

#[test]
fn a_log_that_cannot_be_cleaned_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path());
    let (damaged, _) = (log_of(&manager, 0, true), log_of(&manager, 1, true));
    let segment = damaged.dir().join(format!("{:020}.log", 0));
    let mut content = std::fs::read(&segment).unwrap();
    content[100] ^= 1;
    std::fs::write(&segment, content).unwrap();
    let (cleaner, told) = start(&manager, patient(1));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (1, Offset(60)));
    cleaner.close();
    let stats = cleaner.stats();
    assert_eq!((stats.logs_failed, stats.uncleanable), (1, vec![damaged.partition().clone()]));
    // What is not damaged can still be read.
    assert!(damaged.read_batches(Offset(50), 999, ALL).is_ok());
}

#[test]
fn other_options_hold_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path());
    log_of(&manager, 0, true);
    let (cleaner, told) = start(&manager, patient(0));
    cleaner.reconfigure(patient(1)).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (0, Offset(60)));
    log_of(&manager, 1, true);
    cleaner.wake();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (1, Offset(60)));
    // So slow that it cannot end by itself, and stops all the same.
    log_of(&manager, 2, true);
    cleaner.reconfigure(CleanerOptions { bytes_per_second_max: 1.0, ..patient(1) }).unwrap();
    cleaner.close();
    assert_eq!((cleaner.stats().logs_cleaned, cleaner.stats().logs_failed), (2, 0));
}
