use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{StorageError, disk};

/// How many files stay open unless the options say otherwise.
pub const OPEN_FILES_MAX: usize = 4096;

/// Open files, at most so many. A partition at rest needs none. Where another one needs the room, the hand of a clock goes
/// round: who was used since it last came by is let be, once; the first that was not is closed.
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
    /// Where each open file stands in `slots`.
    places: HashMap<u64, usize>,
    /// At most `files_max`.
    slots: Vec<Option<Slot>>,
    /// The slots that nothing is in.
    free: Vec<usize>,
    hand: usize,
}

struct Slot {
    id: u64,
    file: Arc<File>,
    /// Used since the hand came by.
    spared: bool,
    /// Used since the last [`FileCache::close_idle`].
    busy: bool,
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
        self.0.open.lock().places.len()
    }

    /// Closes what was not used since the last call.
    pub fn close_idle(&self) {
        let mut open = self.0.open.lock();
        let idle = |slot: &mut Slot| !std::mem::replace(&mut slot.busy, false);
        let idle: Vec<u64> =
            open.slots.iter_mut().flatten().filter_map(|slot| idle(slot).then_some(slot.id)).collect();
        let closed: Vec<_> = idle.into_iter().map(|id| open.take(id)).collect();
        drop(open);
        drop(closed);
    }

    pub(crate) fn register(&self) -> FileId {
        FileId(self.0.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The open file at `path`, which `id` stands for.
    pub(crate) fn get(&self, id: FileId, path: impl FnOnce() -> PathBuf) -> Result<Arc<File>, StorageError> {
        if let Some(file) = self.0.open.lock().used(id.0) {
            return Ok(file);
        }
        Ok(self.keep(id, disk::open_existing(&path())?))
    }

    /// Makes the file, or empties it, and keeps it open.
    pub(crate) fn create(&self, id: FileId, path: &Path) -> Result<Arc<File>, StorageError> {
        self.forget(id);
        Ok(self.keep(id, disk::create(path)?))
    }

    /// Files are opened and closed outside of the lock, so that nobody waits for the disk who needs no file of it.
    fn keep(&self, id: FileId, file: File) -> Arc<File> {
        let mut open = self.0.open.lock();
        // Another thread may have been faster.
        if let Some(file) = open.used(id.0) {
            return file;
        }
        let file = Arc::new(file);
        let closed = open.insert(id.0, file.clone(), self.0.files_max);
        drop(open);
        drop(closed);
        file
    }

    pub(crate) fn forget(&self, id: FileId) {
        let closed = self.0.open.lock().take(id.0);
        drop(closed);
    }
}

impl Open {
    fn used(&mut self, id: u64) -> Option<Arc<File>> {
        let slot = self.slots[*self.places.get(&id)?].as_mut()?;
        (slot.spared, slot.busy) = (true, true);
        Some(slot.file.clone())
    }

    /// Tells who had to make room.
    fn insert(&mut self, id: u64, file: Arc<File>, files_max: usize) -> Option<Slot> {
        let evicted = if self.places.len() >= files_max { self.evict() } else { None };
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        // Not spared yet: a file that is needed once does not outlive those that are needed again and again.
        self.slots[place] = Some(Slot { id, file, spared: false, busy: true });
        self.places.insert(id, place);
        evicted
    }

    /// Every step undoes a use, so that this costs no more than the uses did.
    fn evict(&mut self) -> Option<Slot> {
        loop {
            self.hand = (self.hand + 1) % self.slots.len().max(1);
            match self.slots.get_mut(self.hand)? {
                Some(slot) if slot.spared => slot.spared = false,
                Some(slot) => {
                    let id = slot.id;
                    return self.take(id);
                }
                None => {}
            }
        }
    }

    fn take(&mut self, id: u64) -> Option<Slot> {
        let place = self.places.remove(&id)?;
        self.free.push(place);
        self.slots[place].take()
    }
}

/// A file that is read once, outside of any cache.
pub(crate) fn open(path: &Path) -> Result<Arc<File>, StorageError> {
    disk::open_existing(path).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        dir: tempfile::TempDir,
        cache: FileCache,
    }

    impl Files {
        fn new(files_max: usize) -> Self {
            Self { dir: tempfile::tempdir().unwrap(), cache: FileCache::new(files_max) }
        }

        fn path(&self, name: usize) -> PathBuf {
            self.dir.path().join(name.to_string())
        }

        fn create(&self, names: std::ops::Range<usize>) -> Vec<FileId> {
            let create = |name| {
                let id = self.cache.register();
                self.cache.create(id, &self.path(name)).unwrap();
                id
            };
            names.map(create).collect()
        }

        /// Whether the file was still open.
        fn uses(&self, id: FileId, name: usize) -> bool {
            let mut opened = false;
            let path = || {
                opened = true;
                self.path(name)
            };
            self.cache.get(id, path).unwrap();
            !opened
        }
    }

    #[test]
    fn no_more_files_are_open_than_allowed_and_closed_ones_open_again() {
        let files = Files::new(4);
        let ids = files.create(0..100);
        for _ in 0..2 {
            for (name, id) in ids.iter().enumerate() {
                files.uses(*id, name);
                assert!(files.cache.open_files() <= 4);
            }
        }
        ids.iter().for_each(|id| files.cache.forget(*id));
        assert_eq!(files.cache.open_files(), 0);
        files.create(0..3);
        assert_eq!(files.cache.open_files(), 3);
    }

    #[test]
    fn a_file_in_use_outlives_any_number_that_are_used_once() {
        let files = Files::new(4);
        let busy = files.create(0..1)[0];
        assert!(files.uses(busy, 0));
        for name in 1..50 {
            files.create(name..name + 1);
            assert!(files.uses(busy, 0), "it was closed for file {name}");
        }
    }

    #[test]
    fn idle_files_are_closed_and_busy_ones_are_not() {
        let files = Files::new(4);
        let ids = files.create(0..3);
        files.cache.close_idle();
        assert_eq!(files.cache.open_files(), 3, "they were just made");
        files.uses(ids[1], 1);
        files.cache.close_idle();
        assert_eq!(files.cache.open_files(), 1);
        assert!(files.uses(ids[1], 1) && !files.uses(ids[0], 0));
    }

    #[test]
    fn making_a_file_again_empties_it() {
        let files = Files::new(1);
        let id = files.cache.register();
        files.cache.create(id, &files.path(0)).unwrap().set_len(10).unwrap();
        assert_eq!(files.cache.create(id, &files.path(0)).unwrap().metadata().unwrap().len(), 0);
    }
}
