//! A segment's files by name, and how the names change.

use std::path::{Path, PathBuf};

use strata_types::Offset;

use super::Segment;
use crate::{StorageError, disk};

/// `<folder>/<20 digits of base offset>.<extension>`
pub(crate) fn file_path(folder: &Path, base: Offset, extension: &str) -> PathBuf {
    folder.join(format!("{:020}.{extension}", base.0))
}

/// Ends the names of a segment's files while the cleaner writes it …
pub(crate) const CLEANED: &str = ".cleaned";
/// … once it is whole, and about to replace others: from here on recovery finishes the work …
pub(crate) const SWAP: &str = ".swap";
/// … and of those that are replaced or expired, until they are removed.
pub(crate) const DELETED: &str = ".deleted";

/// A segment's file under a name that ends with `suffix`.
pub(super) fn named(folder: &Path, base: Offset, extension: &str, suffix: &str) -> PathBuf {
    with_suffix(&file_path(folder, base, extension), suffix)
}

/// The path with `suffix` behind it.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_os_string();
    path.push(suffix);
    PathBuf::from(path)
}

impl Segment {
    /// The cleaned segment is whole: the log's file gets its name last, so that it stands for all.
    pub(crate) fn rename_to_swap(&mut self, folder: &Path) -> Result<(), StorageError> {
        self.rename_indexes(folder, SWAP)?;
        self.rename_log(folder, SWAP)
    }

    /// The segments that it replaces have made way: the log's file gets its name first, so that recovery leaves the
    /// others alone.
    pub(crate) fn rename_to_final(&mut self, folder: &Path) -> Result<(), StorageError> {
        self.rename_log(folder, "")?;
        self.rename_indexes(folder, "")
    }

    /// Takes the segment out of the folder's sight, and tells the files that are to be removed. Who still reads one keeps
    /// it. As with [`Segment::remove`], the log goes first.
    pub(crate) fn retire(&mut self, folder: &Path) -> Result<Vec<PathBuf>, StorageError> {
        self.rename_log(folder, DELETED)?;
        self.rename_indexes(folder, DELETED)?;
        let paths = [self.path.as_path(), self.offsets.path(), self.times.path(), self.transactions.path()];
        Ok(paths.map(Path::to_path_buf).to_vec())
    }

    fn rename_log(&mut self, folder: &Path, suffix: &str) -> Result<(), StorageError> {
        let to = named(folder, self.base, "log", suffix);
        disk::rename(&self.path, &to)?;
        self.path = to;
        Ok(())
    }

    fn rename_indexes(&mut self, folder: &Path, suffix: &str) -> Result<(), StorageError> {
        self.offsets.rename(named(folder, self.base, "index", suffix))?;
        self.times.rename(named(folder, self.base, "timeindex", suffix))?;
        self.transactions.rename(named(folder, self.base, "txnindex", suffix))
    }
}
