use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{StorageError, disk};

/// How many files stay open unless the options say otherwise.
pub const OPEN_FILES_MAX: usize = 4096;

/// Open files, at most so many: the one that was used longest ago is closed first. A partition at rest needs none.
///
/// Whoever has the `Arc<File>` of a file can go on using it, even after the file was closed here or removed.
#[derive(Clone)]
pub struct FileCache(Arc<Shared>);

struct Shared {
    files_max: usize,
    next_id: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    files: HashMap<u64, Entry>,
    /// Counts uses, so that entries can be told apart by age.
    clock: u64,
    /// The clock at the last sweep.
    swept: u64,
}

struct Entry {
    file: Arc<File>,
    used: u64,
}

/// A file's place in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId(u64);

/// A file that stays open for as long as this is held.
pub(crate) struct OpenFile {
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
}

impl OpenFile {
    /// Puts the file's content on stable storage.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        disk::sync(&self.file, &self.path)
    }
}

impl FileCache {
    /// A cache of at most `files_max` open files (at least one).
    pub fn new(files_max: usize) -> Self {
        let files_max = files_max.max(1);
        Self(Arc::new(Shared { files_max, next_id: AtomicU64::new(0), open: Mutex::default() }))
    }

    /// How many are open.
    pub fn open_files(&self) -> usize {
        self.0.open.lock().files.len()
    }

    /// Closes what was not used since the last call.
    pub fn close_idle(&self) {
        let mut open = self.0.open.lock();
        let swept = open.swept;
        open.files.retain(|_, entry| entry.used > swept);
        open.swept = open.clock;
    }

    pub(crate) fn register(&self) -> FileId {
        FileId(self.0.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The open file at `path`, which `id` stands for.
    pub(crate) fn get(&self, id: FileId, path: impl FnOnce() -> PathBuf) -> Result<Arc<File>, StorageError> {
        let mut open = self.0.open.lock();
        open.clock += 1;
        let now = open.clock;
        if let Some(entry) = open.files.get_mut(&id.0) {
            entry.used = now;
            return Ok(entry.file.clone());
        }
        let file = Arc::new(disk::open_existing(&path())?);
        if open.files.len() >= self.0.files_max
            && let Some(oldest) = open.files.iter().min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id)
        {
            open.files.remove(&oldest);
        }
        open.files.insert(id.0, Entry { file: file.clone(), used: now });
        Ok(file)
    }

    /// Makes the file and keeps it open.
    pub(crate) fn create(&self, path: &Path) -> Result<FileId, StorageError> {
        disk::open(path)?;
        Ok(self.register())
    }

    pub(crate) fn forget(&self, id: FileId) {
        self.0.open.lock().files.remove(&id.0);
    }
}

/// A file that is read once, outside of any cache.
pub(crate) fn open(path: &Path) -> Result<Arc<File>, StorageError> {
    disk::open_existing(path).map(Arc::new)
}
