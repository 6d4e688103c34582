//! Several data folders as one (`log.dirs`), each on a disk that may fail by itself.
//!
//! A folder that fails is offline until the next start: its logs refuse everything, the others go on. New logs go where
//! there are fewest.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strata_types::{TimestampMs, TopicId, TopicPartition};

use crate::{
    Log, LogConfig, LogListener, LogManager, LogManagerOptions, RecoveryReport, StorageError, Times,
};

/// For how long a full folder is not told of again.
const FULL_QUIET: Duration = Duration::from_secs(10);

/// A data folder's state, which its logs share.
pub(crate) struct Folder {
    path: PathBuf,
    failed: OnceLock<Arc<StorageError>>,
    /// When it was last said that the disk is full.
    full_since: Mutex<Option<Instant>>,
    /// The listener knows the logs, and they know the folder: nobody must keep all of them alive.
    listener: Option<Weak<dyn LogListener>>,
}

impl Folder {
    pub(crate) fn new(path: &Path, listener: Option<&Arc<dyn LogListener>>) -> Arc<Self> {
        let listener = listener.map(Arc::downgrade);
        Arc::new(Self {
            path: path.to_path_buf(),
            failed: OnceLock::new(),
            full_since: Mutex::default(),
            listener,
        })
    }

    pub(crate) fn failed(&self) -> Option<&Arc<StorageError>> {
        self.failed.get()
    }

    /// The disk is full. The folder stays: what is there can be read, and room may come by retention.
    pub(crate) fn tell_full(&self, error: &StorageError) {
        let mut told = self.full_since.lock();
        if told.is_none_or(|told| told.elapsed() >= FULL_QUIET) {
            *told = Some(Instant::now());
            tracing::error!(dir = %self.path.display(), %error, "the log directory is full: it takes no records until there is room");
        }
    }

    /// Takes the folder offline.
    pub(crate) fn fail(&self, error: &StorageError) {
        if self.failed.set(Arc::new(error.clone())).is_err() {
            return;
        }
        tracing::error!(dir = %self.path.display(), %error, "the log directory goes offline");
        if let Some(listener) = self.listener.as_ref().and_then(Weak::upgrade) {
            listener.folder_failed(&self.path, error);
        }
    }
}

/// What data folders are opened with.
pub struct LogDirsOptions {
    /// At least one, each once. The first one holds the metadata too, so that nothing goes without it.
    pub dirs: Vec<PathBuf>,
    pub default_config: Arc<LogConfig>,
    /// Over all folders.
    pub open_files_max: usize,
    pub listener: Option<Arc<dyn LogListener>>,
    pub now: TimestampMs,
}

/// A folder as seen from outside.
pub struct LogDirInfo {
    pub path: PathBuf,
    /// Why it is offline, if it is.
    pub failed: Option<Arc<StorageError>>,
    pub logs: Vec<Arc<Log>>,
}

/// The logs of all data folders. Cheap to clone.
#[derive(Clone)]
pub struct LogDirs(Arc<Inner>);

struct Inner {
    dirs: Vec<Dir>,
    /// Held while it is decided where a log goes.
    placing: Mutex<()>,
}

/// A folder that could be opened, or why it could not.
struct Dir {
    path: PathBuf,
    opened: Result<LogManager, Arc<StorageError>>,
}

impl LogDirs {
    /// Opens the folders, one after the other, each on all cores. One that cannot be opened is offline.
    ///
    /// # Errors
    /// The first folder cannot be opened.
    pub fn open(options: LogDirsOptions) -> Result<Self, StorageError> {
        let open_files_max = options.open_files_max / options.dirs.len().max(1);
        let folders_at_once = options.dirs.len() > 1;
        let mut dirs = Vec::with_capacity(options.dirs.len());
        for (at, path) in options.dirs.into_iter().enumerate() {
            let opened = LogManager::open(LogManagerOptions {
                dir: path.clone(),
                default_config: options.default_config.clone(),
                open_files_max,
                folders_at_once,
                listener: options.listener.clone(),
                now: options.now,
            });
            let opened = match opened {
                Err(error) if at == 0 => return Err(error),
                opened => opened.map_err(|error| {
                    tracing::error!(dir = %path.display(), %error, "the log directory is offline");
                    Arc::new(error)
                }),
            };
            dirs.push(Dir { path, opened });
        }
        let dirs = Self(Arc::new(Inner { dirs, placing: Mutex::new(()) }));
        dirs.remove_doubles()?;
        Ok(dirs)
    }

    /// A move between folders that a crash interrupted leaves a log twice: the longer one is kept.
    fn remove_doubles(&self) -> Result<(), StorageError> {
        for log in self.logs() {
            let mut double: Vec<_> = self
                .managers()
                .filter_map(|manager| Some((manager, manager.get(log.partition())?)))
                .collect();
            double.sort_by_key(|(_, log)| log.end_offset());
            double.pop();
            for (manager, log) in double {
                tracing::warn!(partition = %log.partition(), dir = %manager.dir().display(), "a log is there twice");
                manager.delete(log.partition())?;
            }
        }
        Ok(())
    }

    /// Those that could be opened.
    fn managers(&self) -> impl Iterator<Item = &LogManager> {
        self.0.dirs.iter().filter_map(|dir| dir.opened.as_ref().ok())
    }

    fn online(&self) -> impl Iterator<Item = &LogManager> {
        self.managers().filter(|manager| manager.failed().is_none())
    }

    /// The folders, in the order in which they were given.
    pub fn describe(&self) -> Vec<LogDirInfo> {
        let info = |dir: &Dir| match &dir.opened {
            Ok(manager) => {
                LogDirInfo { path: dir.path.clone(), failed: manager.failed(), logs: manager.logs() }
            }
            Err(error) => {
                LogDirInfo { path: dir.path.clone(), failed: Some(error.clone()), logs: Vec::new() }
            }
        };
        self.0.dirs.iter().map(info).collect()
    }

    /// Whether a folder is offline, whose logs nobody knows.
    pub fn is_any_unopened(&self) -> bool {
        self.0.dirs.iter().any(|dir| dir.opened.is_err())
    }

    /// Whether the broker can go on: the first folder and with it the metadata are there.
    pub fn can_go_on(&self) -> bool {
        self.0
            .dirs
            .first()
            .is_some_and(|dir| dir.opened.as_ref().is_ok_and(|manager| manager.failed().is_none()))
    }

    /// All logs, in no order.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.managers().flat_map(LogManager::logs).collect()
    }

    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.managers().find_map(|manager| manager.get(partition))
    }

    /// Whose log this is: the folder that holds the partition.
    pub fn manager_of(&self, partition: &TopicPartition) -> Option<LogManager> {
        self.managers().find(|manager| manager.get(partition).is_some()).cloned()
    }

    /// What opening had to do, over all logs.
    pub fn recovery_report(&self) -> RecoveryReport {
        let mut report = RecoveryReport::default();
        self.managers().for_each(|manager| report.add(&manager.recovery_report()));
        report
    }

    /// How long each round of flushing has taken, over all folders.
    pub fn flush_times(&self) -> Times {
        let mut all = Times::default();
        self.managers().for_each(|manager| all.add(&manager.flusher().times()));
        all
    }

    /// The partition's log, made now if there is none, where there are fewest. A folder whose disk fails is offline from then on, a full one is passed over.
    pub fn get_or_create(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        now: TimestampMs,
    ) -> Result<(Arc<Log>, LogManager), StorageError> {
        let _one_at_a_time = self.0.placing.lock();
        if let Some(manager) = self.manager_of(partition) {
            let log = manager.get_or_create(partition, topic_id, config, now)?;
            return Ok((log, manager));
        }
        let mut last = StorageError::Closed;
        let mut folders: Vec<_> = self.online().collect();
        folders.sort_by_key(|manager| manager.logs_len());
        for manager in folders {
            match manager.get_or_create(partition, topic_id, config.clone(), now) {
                Ok(log) => return Ok((log, manager.clone())),
                Err(error) if error.is_disk_failure() => {
                    manager.fail(&error);
                    last = error;
                }
                // There may be room elsewhere.
                Err(error) if error.is_disk_full() => {
                    manager.tell_full(&error);
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Takes a log away; see [`LogManager::delete`].
    pub fn delete(&self, partition: &TopicPartition) -> Result<bool, StorageError> {
        match self.manager_of(partition) {
            Some(manager) => manager.delete(partition),
            None => Ok(false),
        }
    }

    /// Removes the files of deleted logs. Tells how many folders went.
    pub fn remove_deleted(&self) -> Result<usize, StorageError> {
        self.online().try_fold(0, |removed, manager| Ok(removed + manager.remove_deleted()?))
    }

    /// Writes down where recovery may start. A folder whose disk fails is offline from then on; a full one is tried again.
    pub fn checkpoint(&self) {
        for manager in self.online() {
            match manager.checkpoint() {
                Err(error) if error.is_disk_failure() => manager.fail(&error),
                Err(error) => tracing::error!("the checkpoints could not be written: {error}"),
                Ok(()) => {}
            }
        }
    }

    /// Writes down up to where logs are compacted.
    pub fn checkpoint_cleaned(&self) -> Result<(), StorageError> {
        self.online().try_for_each(LogManager::checkpoint_cleaned)
    }

    /// Flushes and completes every log; the first failure is told, after all were tried.
    pub fn close(&self) -> Result<(), StorageError> {
        let close = |manager: &LogManager| match manager.failed() {
            None => manager.close(),
            Some(_) => {
                manager.flusher().close();
                Ok(())
            }
        };
        let closed: Vec<_> = self.managers().map(close).collect();
        closed.into_iter().collect()
    }
}
