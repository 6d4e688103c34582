use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use strata_types::{TimestampMs, TopicId, TopicName, TopicPartition};

use crate::checkpoint::{Known, SettledLog};
use crate::dirs::Folder;
use crate::log::{Checkpoint, LogOptions, Recovery, RecoveryReport, Trust};
use crate::{FileCache, Flusher, Log, LogConfig, LogListener, StorageError, checkpoint, disk};

/// There while no process has the folder open, and the last one closed it properly.
const CLEAN_MARKER: &str = ".kafka_cleanshutdown";

/// Which run of the kernel the folder was last written under.
const BOOT_MARKER: &str = ".strata_boot_id";

/// Ends the name of a partition's folder that is to be removed.
const DELETE_SUFFIX: &str = "-delete";

/// The metadata quorum's log, which it opens itself.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// What a data folder is opened with.
pub struct LogManagerOptions {
    pub dir: PathBuf,
    /// What logs have until [`Log::set_config`].
    pub default_config: Arc<LogConfig>,
    /// How many files stay open.
    pub open_files_max: usize,
    /// Whether a log's folder is made at once, and not with its first record: where there are several data folders, it says
    /// in which of them the log is.
    pub folders_at_once: bool,
    pub listener: Option<Arc<dyn LogListener>>,
    pub now: TimestampMs,
}

impl LogManagerOptions {
    /// A folder with defaults.
    pub fn new(dir: impl Into<PathBuf>, now: TimestampMs) -> Self {
        Self {
            dir: dir.into(),
            default_config: Arc::new(LogConfig::default()),
            open_files_max: crate::OPEN_FILES_MAX,
            folders_at_once: false,
            listener: None,
            now,
        }
    }
}

/// The logs of one data folder. Cheap to clone.
#[derive(Clone)]
pub struct LogManager(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    default_config: Arc<LogConfig>,
    files: FileCache,
    logs: RwLock<HashMap<TopicPartition, Arc<Log>>>,
    flusher: Flusher,
    trust: Trust,
    report: RecoveryReport,
    folder: Arc<Folder>,
    /// Held for as long as the folder is open.
    _lock: File,
    /// Held while checkpoints are collected and written: two at once could replace newer offsets by older ones.
    checkpoints: Mutex<checkpoint::Writer>,
    folders_at_once: bool,
    /// Whether there may be folders of deleted logs.
    any_deleted: AtomicBool,
}

impl LogManager {
    /// Takes the folder for this process and recovers its logs, on all cores.
    pub fn open(options: LogManagerOptions) -> Result<Self, StorageError> {
        let LogManagerOptions { dir, default_config, open_files_max, folders_at_once, listener, now } =
            options;
        disk::create_folder(&dir)?;
        let lock = disk::lock(&dir.join(".lock"))?;
        let trust = trust(&dir)?;
        let files = FileCache::new(open_files_max);
        let folder = Folder::new(&dir, listener.as_ref());
        let opened = open_logs(&folder, &dir, trust, &default_config, &files, now)?;
        let mut report = RecoveryReport::default();
        opened.iter().for_each(|log| report.add(&log.recovery_report()));
        if trust != Trust::Clean && !opened.is_empty() {
            // What the last process wrote is in the page cache at best. One call for all beats one for each.
            disk::sync_file_system(&dir)?;
            opened.iter().for_each(|log| log.synced_by_file_system());
        }
        disk::replace(&dir.join(BOOT_MARKER), disk::boot_id().as_bytes(), true)?;
        let logs = opened.into_iter().map(|log| (log.partition().clone(), log)).collect();
        let flusher = Flusher::start(&dir, listener)?;
        let checkpoints = Mutex::new(checkpoint::Writer::new(&dir));
        Ok(Self(Arc::new(Inner {
            dir,
            default_config,
            files,
            logs: RwLock::new(logs),
            flusher,
            trust,
            report,
            folder,
            _lock: lock,
            checkpoints,
            folders_at_once,
            any_deleted: AtomicBool::new(true),
        })))
    }

    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Why the folder is offline, if it is.
    pub fn failed(&self) -> Option<Arc<StorageError>> {
        self.0.folder.failed().cloned()
    }

    /// Takes the folder offline, with all its logs.
    pub(crate) fn fail(&self, error: &StorageError) {
        self.0.folder.fail(error);
    }

    pub(crate) fn tell_full(&self, error: &StorageError) {
        self.0.folder.tell_full(error);
    }

    pub(crate) fn logs_len(&self) -> usize {
        self.0.logs.read().len()
    }

    /// How much of what was found on disk could be believed.
    pub fn trust(&self) -> Trust {
        self.0.trust
    }

    /// What opening had to do, over all logs.
    pub fn recovery_report(&self) -> RecoveryReport {
        self.0.report
    }

    pub fn flusher(&self) -> &Flusher {
        &self.0.flusher
    }

    /// The descriptors' cache, for who opens logs of its own.
    pub fn files(&self) -> &FileCache {
        &self.0.files
    }

    /// All logs, in no order.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.0.logs.read().values().cloned().collect()
    }

    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.0.logs.read().get(partition).cloned()
    }

    /// The partition's log, made now if there is none. One of another topic of the same name is an error.
    pub fn get_or_create(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        now: TimestampMs,
    ) -> Result<Arc<Log>, StorageError> {
        let mut logs = self.0.logs.write();
        if let Some(log) = logs.get(partition) {
            if log.topic_id() != topic_id {
                let (path, found) = (log.dir(), log.topic_id());
                return Err(StorageError::TopicIdMismatch { path, found, expected: topic_id });
            }
            return Ok(log.clone());
        }
        let dir = self.0.dir.join(partition.to_string());
        let opened = Log::open(LogOptions {
            dir: dir.clone(),
            partition: partition.clone(),
            topic_id,
            config,
            files: self.0.files.clone(),
            recovery: Recovery::default(),
            folder: self.0.folder.clone(),
            folder_at_once: self.0.folders_at_once,
            now,
        });
        let log = opened.inspect_err(|error| {
            // The log may find room in another folder; half of one here must not be taken for it.
            if error.is_disk_full()
                && let Err(error) = disk::remove_folder(&dir)
            {
                tracing::warn!("a log for which there was no room leaves a folder behind: {error}");
            }
        })?;
        logs.insert(partition.clone(), log.clone());
        Ok(log)
    }

    /// What a log has until the topic's own configuration is known.
    pub fn default_config(&self) -> Arc<LogConfig> {
        self.0.default_config.clone()
    }

    /// Takes a log away: its folder is renamed at once, its files go with [`LogManager::remove_deleted`]. False if
    /// there is no such log.
    pub fn delete(&self, partition: &TopicPartition) -> Result<bool, StorageError> {
        let Some(log) = self.0.logs.write().remove(partition) else { return Ok(false) };
        log.abandon();
        if !log.has_folder() {
            return Ok(true);
        }
        let name = deleted_name(partition, log.topic_id());
        let to = self.0.dir.join(name);
        disk::remove_folder(&to)?;
        disk::rename(&log.dir(), &to)?;
        log.moved_to(&to);
        self.0.any_deleted.store(true, Ordering::Release);
        Ok(true)
    }

    /// Removes the files of deleted logs. Who still reads one keeps it. Tells how many folders went.
    pub fn remove_deleted(&self) -> Result<usize, StorageError> {
        if !self.0.any_deleted.swap(false, Ordering::AcqRel) {
            return Ok(0);
        }
        let remove = || {
            let names = disk::list(&self.0.dir)?;
            let deleted: Vec<_> = names.iter().filter(|name| name.ends_with(DELETE_SUFFIX)).collect();
            deleted.iter().try_for_each(|name| disk::remove_folder(&self.0.dir.join(name)))?;
            Ok(deleted.len())
        };
        remove().inspect_err(|_| self.0.any_deleted.store(true, Ordering::Release))
    }

    /// Writes down where recovery may start, and closes files that were not used since the last call.
    pub fn checkpoint(&self) -> Result<(), StorageError> {
        let mut writer = self.0.checkpoints.lock();
        let logs = self.logs();
        let mut points = checkpoint::Points::default();
        for log in &logs {
            let at = log.partition();
            match log.offline().map_or_else(|| log.checkpoint(), |_| Ok(None)) {
                Ok(Some(Checkpoint { recovery_point, settled })) => {
                    points.recovery_points.insert(at, recovery_point);
                    points.settled.insert(at, SettledLog { topic_id: log.topic_id(), settled });
                }
                Ok(None) => {}
                // Its folder was moved meanwhile.
                Err(_) if log.is_deleted() => {}
                Err(error) => return Err(error),
            }
            // Of a log without files nothing needs to be known.
            if log.has_folder() {
                if let Some(start) = log.start_to_remember() {
                    points.starts.insert(at, start);
                }
                points.high_watermarks.insert(at, log.high_watermark());
            }
        }
        writer.write(&points)?;
        self.0.files.close_idle();
        Ok(())
    }

    /// Writes down up to where logs are compacted, so that the next start need not begin anew.
    pub fn checkpoint_cleaned(&self) -> Result<(), StorageError> {
        let mut writer = self.0.checkpoints.lock();
        let logs = self.logs();
        let cleaned = logs.iter().filter_map(|log| Some((log.partition(), log.cleaned_until()?)));
        writer.write_cleaned(&cleaned.collect())
    }

    /// Flushes and completes every log, so that the next start has nothing to recover. Nothing can be appended any
    /// more.
    pub fn close(&self) -> Result<(), StorageError> {
        // All in the flusher's last round, which syncs the file system once where there are many.
        self.logs().iter().for_each(|log| self.0.flusher.request(log));
        self.0.flusher.close();
        self.logs().iter().try_for_each(|log| log.close())?;
        self.checkpoint()?;
        let clean = self.logs().iter().all(|log| log.offline().is_none());
        if clean {
            // Kafka's own marker, so that a folder can change hands.
            disk::replace(&self.0.dir.join(CLEAN_MARKER), b"{\"version\":0,\"brokerEpoch\":-1}", true)?;
        }
        Ok(())
    }
}

/// How the last process left the folder. The marker of a clean end goes at once: from here on it is not clean.
fn trust(dir: &Path) -> Result<Trust, StorageError> {
    let marker = dir.join(CLEAN_MARKER);
    if disk::read_small(&marker, 4096)?.is_some() {
        disk::remove(&marker)?;
        disk::sync_folder(dir)?;
        return Ok(Trust::Clean);
    }
    let boot = disk::boot_id();
    let last = disk::read_small(&dir.join(BOOT_MARKER), 4096)?.unwrap_or_default();
    Ok(if !boot.is_empty() && last == boot.as_bytes() { Trust::PageCache } else { Trust::RecoveryPoint })
}

fn open_logs(
    folder: &Arc<Folder>,
    dir: &Path,
    trust: Trust,
    config: &Arc<LogConfig>,
    files: &FileCache,
    now: TimestampMs,
) -> Result<Vec<Arc<Log>>, StorageError> {
    let known = Known::read(dir);
    let found: Vec<_> = disk::list(dir)?
        .into_iter()
        .filter_map(|name| partition_of(&name).filter(|at| at.topic.as_str() != METADATA_TOPIC))
        .collect();
    let open = |partition: &TopicPartition| {
        let path = dir.join(partition.to_string());
        let names = disk::list(&path)?;
        let Some(topic_id) = topic_id_of(&path, &names)? else { return Ok(None) };
        let options = LogOptions {
            dir: path,
            partition: partition.clone(),
            topic_id,
            config: config.clone(),
            files: files.clone(),
            recovery: known.of(partition, topic_id, trust),
            folder: folder.clone(),
            folder_at_once: true,
            now,
        };
        Log::open_found(options, names).map(Some)
    };
    Ok(on_all_cores(&found, open)?.into_iter().flatten().collect())
}

fn on_all_cores<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, StorageError> + Sync,
) -> Result<Vec<R>, StorageError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len()).max(1);
    let share = items.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let running: Vec<_> = items
            .chunks(share)
            .map(|items| scope.spawn(|| items.iter().map(&work).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut done = Vec::with_capacity(items.len());
        for thread in running {
            match thread.join() {
                Ok(part) => done.extend(part?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(done)
    })
}

/// The partition whose folder has this name.
fn partition_of(name: &str) -> Option<TopicPartition> {
    let (topic, number) = name.rsplit_once('-')?;
    // `+1` and `01` are numbers too, but not of this folder.
    let partition: i32 = number.parse().ok().filter(|n: &i32| *n >= 0 && n.to_string() == number)?;
    Some(TopicPartition::new(TopicName::new(topic).ok()?, partition))
}

/// The topic's id. A folder that was made and never written to is removed: its creation was never acknowledged.
fn topic_id_of(folder: &Path, names: &[String]) -> Result<Option<TopicId>, StorageError> {
    let path = folder.join("partition.metadata");
    if let Some(id) = checkpoint::read_topic_id(&path)? {
        return Ok(Some(id));
    }
    for name in names.iter().filter(|name| name.ends_with(".log")) {
        if disk::size(&folder.join(name))?.is_some_and(|bytes| bytes > 0) {
            return Err(StorageError::corrupt(&path, "it is missing, and the folder holds records"));
        }
    }
    disk::remove_folder(folder)?;
    Ok(None)
}

/// `<topic>-<partition>.<topic id>-delete`. Kafka cuts long topic names, as a folder's name has at most 255 bytes.
fn deleted_name(partition: &TopicPartition, topic_id: TopicId) -> String {
    let suffix = format!("-{}.{:032x}{DELETE_SUFFIX}", partition.partition, topic_id.0.as_u128());
    let topic = partition.topic.as_str();
    // Topic names are ASCII.
    format!("{}{suffix}", &topic[..topic.len().min(255 - suffix.len())])
}
