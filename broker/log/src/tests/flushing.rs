use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::disk::faults;
use crate::{LogListener, StorageError};

struct Told(Mutex<mpsc::Sender<(i32, Offset)>>);

impl LogListener for Told {
    fn durable(&self, log: &Arc<Log>, until: Offset) {
        self.0.lock().send((log.partition().partition, until)).unwrap();
    }
    fn failed(&self, _: &Arc<Log>, error: &StorageError) {
        panic!("{error}");
    }
    fn folder_failed(&self, _: &Path, error: &StorageError) {
        panic!("{error}");
    }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn log_of(manager: &LogManager, number: i32) -> Arc<Log> {
    let partition = TopicPartition { partition: number, ..partition() };
    manager.get_or_create(&partition, topic_id(), Arc::new(small()), 0).unwrap()
}

#[test]
fn whoever_asks_is_told_when_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, told) = mpsc::channel();
    let listener: Arc<dyn LogListener> = Arc::new(Told(Mutex::new(sender)));
    let options = LogManagerOptions { listener: Some(listener), ..LogManagerOptions::new(dir.path(), 0) };
    let manager = LogManager::open(options).unwrap();
    for number in 0..5 {
        let log = log_of(&manager, number);
        append(&log, batch(&[1, 2, 3]));
        manager.flusher().request(&log);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (number, Offset(3)));
    }
    manager.close().unwrap();
}

#[test]
fn every_request_is_answered_while_many_append() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path());
    let appended = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (manager, appended) = (&manager, &appended);
            scope.spawn(move || {
                // Two threads to a log; rounds of few logs and of many.
                let log = log_of(manager, number / 2);
                for n in 0..40 {
                    let end = append(&log, batch(&[n])).end_offset;
                    manager.flusher().wait(&log, end).unwrap();
                    assert!(log.durable_offset() >= end);
                    appended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(appended.load(Ordering::Relaxed), 480);
    for number in 0..6 {
        assert_eq!(
            offsets(&read_all(&log_of(&manager, number), Offset(0), 999).unwrap()),
            (0..80).collect::<Vec<_>>()
        );
    }
}

#[test]
fn readers_see_whole_batches_while_others_append_and_remove() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), LogConfig { retention_bytes: Some(6_000), ..small() });
    append(&log, batch(&[0]));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..600 {
                let end = append(&log, batch(&[n, n])).end_offset;
                log.set_high_watermark(end);
                if n % 20 == 0 {
                    log.enforce_retention(0, None).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let from = log.start_offset();
            match log.read_batches(from, 3_000, log.high_watermark()) {
                Ok(bytes) => {
                    let mut next = from;
                    for batch in batches(bytes) {
                        let batch = batch.unwrap();
                        assert!(batch.base_offset() <= next && batch.next_offset() > next);
                        next = batch.next_offset();
                    }
                }
                // Removed between the two calls.
                Err(ReadError::OffsetOutOfRange { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
}

#[test]
fn a_cut_is_put_on_stable_storage_like_an_append() {
    for offset in [99, 40] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), small());
        for n in 0..100 {
            append(&log, batch(&[n]));
        }
        log.flush().unwrap();
        assert!(log.truncate_to(Offset(offset)).unwrap());
        {
            let _fault = faults::inject("flush", ".log");
            assert!(log.flush().is_err(), "nothing was synced after the cut to {offset}");
        }
        let log = open_with(dir.path(), small(), trusting(Trust::PageCache));
        log.truncate_to(Offset(offset - 1)).unwrap();
        assert_eq!(log.flush().unwrap(), Offset(offset - 1));
        // Once is enough.
        let _fault = faults::inject("flush", ".log");
        assert_eq!(log.flush().unwrap(), Offset(offset - 1));
    }
}

#[test]
fn a_log_that_is_deleted_under_a_flush_is_no_failure_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let manager = Arc::new(manager(dir.path()));
    let log = log_of(&manager, 0);
    append(&log, batch(&[1]));
    let (deleter, partition) = (manager.clone(), log.partition().clone());
    let _meanwhile = faults::meanwhile("flush", move || {
        assert!(deleter.delete(&partition).unwrap());
        deleter.remove_deleted().unwrap();
    });
    assert!(log.flush().is_ok());
    assert!(log.offline().is_none());
    assert!(manager.get(log.partition()).is_none(), "it was deleted in between");
}
