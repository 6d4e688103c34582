//! The one door to the disk: every file operation of this crate goes through here, so that a test can make any of
//! them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::StorageError;

type Result<T> = std::result::Result<T, StorageError>;

/// The most pieces that the kernel takes in one vectored write (`IOV_MAX`).
pub(crate) const WRITE_PIECES_MAX: usize = 1024;

/// Opens a file to read and write; makes it if it is not there.
pub(crate) fn open(path: &Path) -> Result<File> {
    faults::check("open", path)
        .and_then(|()| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path))
        .map_err(StorageError::io("open", path))
}

/// Opens a new file to read and write; one that is there is emptied.
pub(crate) fn create(path: &Path) -> Result<File> {
    faults::check("open", path)
        .and_then(|()| OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path))
        .map_err(StorageError::io("create", path))
}

/// Opens a file that must be there.
pub(crate) fn open_existing(path: &Path) -> Result<File> {
    faults::check("open", path)
        .and_then(|()| OpenOptions::new().read(true).write(true).open(path))
        .map_err(StorageError::io("open", path))
}

/// Fills as much of `buffer` as the file has from `position` on.
pub(crate) fn read_at(file: &File, path: &Path, buffer: &mut [u8], position: u64) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StorageError::io("read", path)(error)),
        }
    }
    Ok(filled)
}

/// Writes all pieces, one behind the other, from `position` on: in one call, if the kernel takes it whole.
pub(crate) fn write_at(file: &File, path: &Path, pieces: &mut [IoSlice<'_>], position: u64) -> Result<()> {
    faults::check("write", path).map_err(StorageError::io("write", path))?;
    let mut rest = pieces;
    let mut position = position;
    while !rest.is_empty() {
        let now = rest.len().min(WRITE_PIECES_MAX);
        match rustix::io::pwritev(file, &rest[..now], position) {
            Ok(0) => return Err(StorageError::io("write", path)(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => {
                position += bytes as u64;
                IoSlice::advance_slices(&mut rest, bytes);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(StorageError::io("write", path)(error.into())),
        }
    }
    Ok(())
}

/// Puts a file's content on stable storage.
pub(crate) fn sync(file: &File, path: &Path) -> Result<()> {
    faults::check("flush", path).and_then(|()| file.sync_data()).map_err(StorageError::io("flush", path))
}

/// Puts a folder's entries on stable storage.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    faults::check("flush", path)
        .and_then(|()| File::open(path)?.sync_all())
        .map_err(StorageError::io("flush", path))
}

/// Puts everything on the folder's file system on stable storage.
pub(crate) fn sync_file_system(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|folder| Ok(rustix::fs::syncfs(&folder)?))
        .map_err(StorageError::io("flush the file system of", path))
}

/// Allocates room that the file may grow into, from a position on, without making it longer.
pub(crate) fn preallocate(file: &File, path: &Path, from: u64, bytes: u64) -> Result<()> {
    let allocated = rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, from, bytes);
    match allocated {
        // A file system that cannot is one without the gain, no fault.
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        allocated => allocated.map_err(|error| StorageError::io("allocate room for", path)(error.into())),
    }
}

pub(crate) fn set_len(file: &File, path: &Path, bytes: u64) -> Result<()> {
    faults::check("truncate", path)
        .and_then(|()| file.set_len(bytes))
        .map_err(StorageError::io("truncate", path))
}

/// Replaces a small file as a whole: readers see the old or the new content, never a part.
pub(crate) fn replace(path: &Path, content: &[u8], durable: bool) -> Result<()> {
    let mut temporary = path.as_os_str().to_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    faults::check("replace", path)
        .and_then(|()| {
            fs::write(&temporary, content)?;
            if durable {
                File::open(&temporary)?.sync_all()?;
            }
            fs::rename(&temporary, path)
        })
        .map_err(StorageError::io("write", path))?;
    match path.parent() {
        Some(folder) if durable => sync_folder(folder),
        _ => Ok(()),
    }
}

/// A small file's content, `None` if there is no such file.
pub(crate) fn read_small(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>> {
    let read = || {
        let file = File::open(path)?;
        if file.metadata()?.len() > bytes_max {
            return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
        }
        let mut content = Vec::new();
        file.take(bytes_max).read_to_end(&mut content)?;
        Ok(content)
    };
    match read() {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", path)(error)),
    }
}

/// Gives a file the age of another.
pub(crate) fn set_modified_as(file: &File, other: &File, path: &Path) -> Result<()> {
    let set = || file.set_modified(other.metadata()?.modified()?);
    set().map_err(StorageError::io("date", path))
}

pub(crate) fn create_folder(path: &Path) -> Result<()> {
    faults::check("create", path)
        .and_then(|()| fs::create_dir_all(path))
        .map_err(StorageError::io("create", path))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    faults::check("rename", from)
        .and_then(|()| fs::rename(from, to))
        .map_err(StorageError::io("rename", from))
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match faults::check("remove", path).and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it; one that is gone already is fine.
pub(crate) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The names in a folder that are text.
pub(crate) fn list(path: &Path) -> Result<Vec<String>> {
    names_in(path).map_err(StorageError::io("list", path))
}

/// The names in a folder that are text; `None` if there is no such folder.
pub(crate) fn list_if_there(path: &Path) -> Result<Option<Vec<String>>> {
    match names_in(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        names => names.map(Some).map_err(StorageError::io("list", path)),
    }
}

fn names_in(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Takes a folder's lock file, which is free again when the process ends, however it does.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StorageError::Locked { path: path.to_path_buf() }),
        Err(fs::TryLockError::Error(error)) => Err(StorageError::io("lock", path)(error)),
    }
}

/// Identifies this run of the kernel: the page cache lives as long.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_string()).unwrap_or_default()
}

/// A file's size in bytes; `None` if there is no such file.
pub(crate) fn size(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("look at", path)(error)),
    }
}

/// When a file last changed, in milliseconds since the epoch.
pub(crate) fn modified_ms(path: &Path) -> Option<i64> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    i64::try_from(modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(not(test))]
mod faults {
    use std::io;
    use std::path::Path;

    pub(super) fn check(_: &'static str, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Faults for tests.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::RefCell;
    use std::io;
    use std::path::Path;

    enum Fault {
        Named(&'static str, String),
        After(usize),
        Meanwhile(&'static str, Box<dyn FnOnce()>),
    }

    thread_local! {
        static FAULT: RefCell<Option<Fault>> = const { RefCell::new(None) };
    }

    /// Until the guard is dropped, `action` fails on this thread for paths that contain `word`.
    pub(crate) fn inject(action: &'static str, word: &str) -> Guard {
        FAULT.set(Some(Fault::Named(action, word.to_string())));
        Guard
    }

    /// Until the guard is dropped, everything fails on this thread after so many operations: as if the process had died
    /// there.
    pub(crate) fn die_after(operations: usize) -> Guard {
        FAULT.set(Some(Fault::After(operations)));
        Guard
    }

    /// Until the guard is dropped, `event` happens once, just before this thread's first `action`: what another thread
    /// may do at that moment.
    pub(crate) fn meanwhile(action: &'static str, event: impl FnOnce() + 'static) -> Guard {
        FAULT.set(Some(Fault::Meanwhile(action, Box::new(event))));
        Guard
    }

    pub(crate) struct Guard;

    impl Drop for Guard {
        fn drop(&mut self) {
            FAULT.set(None);
        }
    }

    pub(super) fn check(action: &'static str, path: &Path) -> io::Result<()> {
        let is_now = |fault: &mut Fault| matches!(fault, Fault::Meanwhile(awaited, _) if *awaited == action);
        if let Some(Fault::Meanwhile(_, event)) = FAULT.with_borrow_mut(|fault| fault.take_if(is_now)) {
            event();
        }
        FAULT.with_borrow_mut(|fault| match fault {
            Some(Fault::Named(failing, word))
                if *failing == action && path.to_string_lossy().contains(&*word) =>
            {
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(Fault::After(0)) => Err(io::ErrorKind::BrokenPipe.into()),
            Some(Fault::After(left)) => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        })
    }
}
