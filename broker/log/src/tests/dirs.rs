//! Several data folders.

use std::path::PathBuf;
use std::sync::mpsc;

use parking_lot::Mutex;

use super::*;
use crate::disk::faults;
use crate::{LogDirs, LogDirsOptions, LogListener, StorageError};

struct Told(Mutex<mpsc::Sender<PathBuf>>);

impl LogListener for Told {
    fn durable(&self, _: &Arc<Log>, _: Offset) {}
    fn failed(&self, _: &Arc<Log>, _: &StorageError) {}
    fn folder_failed(&self, dir: &Path, _: &StorageError) {
        self.0.lock().send(dir.to_path_buf()).unwrap();
    }
}

fn try_open(dir: &Path) -> (Result<LogDirs, StorageError>, mpsc::Receiver<PathBuf>) {
    let (sender, told) = mpsc::channel();
    let opened = LogDirs::open(LogDirsOptions {
        dirs: vec![dir.join("a"), dir.join("b")],
        default_config: Arc::new(small()),
        open_files_max: 32,
        listener: Some(Arc::new(Told(Mutex::new(sender)))),
        now: 0,
    });
    (opened, told)
}

fn number(number: i32) -> TopicPartition {
    TopicPartition { partition: number, ..partition() }
}

fn log_of(dirs: &LogDirs, at: i32) -> Arc<Log> {
    dirs.get_or_create(&number(at), topic_id(), Arc::new(small()), 0).unwrap().0
}

fn is_in(dir: &Path, name: &str, log: &Log) -> bool {
    log.dir().starts_with(dir.join(name))
}

#[test]
fn logs_spread_over_the_folders_and_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = try_open(dir.path()).0.unwrap();
    for at in 0..6 {
        append(&log_of(&dirs, at), batch(&[1, 2, 3]));
    }
    let counts = || -> Vec<usize> {
        let dirs = try_open(dir.path()).0.unwrap();
        dirs.describe()
            .iter()
            .map(|one| one.logs.iter().filter(|log| log.end_offset() == Offset(3)).count())
            .collect()
    };
    dirs.close().unwrap();
    drop(dirs);
    assert_eq!(counts(), [3, 3]);
    let dirs = try_open(dir.path()).0.unwrap();
    assert!(dirs.delete(&number(4)).unwrap() && !dirs.delete(&number(4)).unwrap());
    assert_eq!((dirs.logs().len(), dirs.remove_deleted().unwrap()), (5, 1));
}

#[test]
fn a_log_without_records_stays_in_the_folder_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = try_open(dir.path()).0.unwrap();
    let places: Vec<_> = (0..4).map(|at| log_of(&dirs, at).dir()).collect();
    assert!(places.iter().all(|place| place.join("partition.metadata").is_file()));
    drop(dirs);
    let dirs = try_open(dir.path()).0.unwrap();
    assert_eq!((0..4).map(|at| log_of(&dirs, at).dir()).collect::<Vec<_>>(), places);
    append(&log_of(&dirs, 3), batch(&[1]));
}

#[test]
fn a_folder_that_fails_takes_its_logs_with_it_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let (dirs, told) = try_open(dir.path());
    let dirs = dirs.unwrap();
    let logs: Vec<_> = (0..6).map(|at| log_of(&dirs, at)).collect();
    for log in &logs {
        append(log, batch(&[1]));
    }
    let failing = logs.iter().find(|log| is_in(dir.path(), "b", log)).unwrap();
    {
        let _fault = faults::inject("flush", "/b/");
        assert!(failing.flush().is_err());
    }
    assert_eq!(told.try_recv().unwrap(), dir.path().join("b"));
    for log in &logs {
        let offline = is_in(dir.path(), "b", log);
        assert_eq!(log.offline().is_some(), offline);
        assert_eq!(try_append(log, batch(&[2])).is_err(), offline);
    }
    let failed: Vec<_> = dirs.describe().iter().map(|one| one.failed.is_some()).collect();
    assert_eq!(failed, [false, true]);
    assert!(dirs.can_go_on());
    // What is new goes where it can be kept.
    assert!((6..9).all(|at| is_in(dir.path(), "a", &log_of(&dirs, at))));
    dirs.checkpoint();
    dirs.close().unwrap();
    assert!(told.try_recv().is_err(), "once is enough");
}

#[test]
fn a_disk_that_fails_under_an_append_takes_its_folder_offline_a_full_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (dirs, told) = try_open(dir.path());
    let dirs = dirs.unwrap();
    let log = log_of(&dirs, 0);
    append(&log, batch(&[1]));
    {
        let _fault = faults::inject("write", "/a/");
        assert!(try_append(&log, batch(&[2])).is_err());
    }
    assert!(log.offline().is_none() && told.try_recv().is_err());
    append(&log, batch(&[3]));
    {
        let _fault = faults::die_after(0);
        assert!(try_append(&log, batch(&[4])).is_err());
    }
    assert_eq!(told.try_recv().unwrap(), dir.path().join("a"));
    assert!(log.offline().is_some() && !dirs.can_go_on());
}

#[test]
fn new_logs_pass_a_full_folder_over_and_leave_nothing_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (dirs, told) = try_open(dir.path());
    let dirs = dirs.unwrap();
    {
        let _fault = faults::inject("replace", "/a/");
        assert!((0..3).all(|at| is_in(dir.path(), "b", &log_of(&dirs, at))));
        assert!(!dir.path().join("a/orders-0").exists());
    }
    assert!(told.try_recv().is_err() && dirs.can_go_on(), "a full disk has not failed");
    assert!(is_in(dir.path(), "a", &log_of(&dirs, 3)), "there is room again");
    let _fault = faults::inject("replace", "");
    let refused = dirs.get_or_create(&number(4), topic_id(), Arc::new(small()), 0);
    assert!(refused.err().is_some_and(|error| error.is_disk_full()));
}

#[test]
fn a_folder_that_cannot_be_opened_is_offline_the_first_one_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("b"), b"no folder").unwrap();
    let dirs = try_open(dir.path()).0.unwrap();
    assert!(dirs.is_any_unopened() && dirs.can_go_on());
    assert!((0..3).all(|at| is_in(dir.path(), "a", &log_of(&dirs, at))));
    drop(dirs);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), b"no folder").unwrap();
    assert!(try_open(dir.path()).0.is_err());
}

#[test]
fn of_a_log_that_is_there_twice_the_longer_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = try_open(dir.path()).0.unwrap();
    let log = log_of(&dirs, 0);
    append(&log, batch(&[1]));
    let (folder, copy) = (log.dir(), dir.path().join("b/orders-0"));
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    append(&log, batch(&[2]));
    dirs.close().unwrap();
    drop((dirs, log));
    let dirs = try_open(dir.path()).0.unwrap();
    assert_eq!(dirs.logs().len(), 1);
    assert_eq!((dirs.logs()[0].end_offset(), dirs.logs()[0].dir()), (Offset(2), folder));
}
