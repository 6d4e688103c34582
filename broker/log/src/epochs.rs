use std::path::PathBuf;

use strata_types::{LeaderEpoch, Offset};

use crate::{StorageError, checkpoint};

/// Where each leader epoch begins in the log (KIP-101): what a follower or a consumer asks to find where its own
/// history ends. Kept in `leader-epoch-checkpoint`.
pub(crate) struct EpochCache {
    path: PathBuf,
    /// Rising in both; the first may start below the local log, where the rest is archived.
    entries: Vec<(LeaderEpoch, Offset)>,
    /// Whether the file may be behind, or not on stable storage.
    dirty: bool,
    /// Whether the newest epoch has no record yet, and so no place in the file.
    unwritten: bool,
}

impl EpochCache {
    /// No epochs, and no file.
    pub(crate) fn empty(path: PathBuf) -> Self {
        Self { path, entries: Vec::new(), dirty: false, unwritten: false }
    }

    pub(crate) fn load(path: PathBuf) -> Result<Self, StorageError> {
        let mut entries: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for entry in checkpoint::read_epochs(&path)? {
            if entries.last().is_none_or(|last| last.0 < entry.0 && last.1 <= entry.1) {
                entries.push(entry);
            }
        }
        Ok(Self { entries, ..Self::empty(path) })
    }

    /// A leader's epoch begins at this offset, unless it or a later one has begun already. It goes to the file with its
    /// first record: a broker that takes over thousands of partitions writes nothing for those that stay as they are.
    pub(crate) fn begin(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.unwritten |= self.push(epoch, start);
    }

    /// A record of this epoch is written at this offset; the epoch begins there, unless it or a later one has begun
    /// already.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), StorageError> {
        if self.push(epoch, start) || self.unwritten {
            self.unwritten = false;
            return self.write(false);
        }
        Ok(())
    }

    /// Whether there is something new.
    fn push(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if epoch.0 < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        // An epoch in which nothing was written has no place.
        while self.entries.last().is_some_and(|(_, last)| *last >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    pub(crate) fn start_of_first(&self) -> Option<Offset> {
        self.entries.first().map(|(_, start)| *start)
    }

    /// The last epoch at or below `epoch`, and where it ends.
    pub(crate) fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.latest()?;
        if epoch == latest {
            return Some((epoch, log_end));
        }
        if epoch > latest || epoch.0 < 0 {
            return None;
        }
        let above = self.entries.partition_point(|(entry, _)| *entry <= epoch);
        let end = self.entries[above].1;
        // Below the first known epoch, all of the log is news to who asks.
        Some(above.checked_sub(1).map_or((epoch, end), |floor| (self.entries[floor].0, end)))
    }

    /// The epoch in which the record at `offset` was written.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.entries.partition_point(|(_, start)| *start <= offset);
        above.checked_sub(1).map(|floor| self.entries[floor].0)
    }

    /// Forgets epochs that begin at `end` or above.
    pub(crate) fn truncate_end(&mut self, end: Offset) -> Result<(), StorageError> {
        let keep = self.entries.partition_point(|(_, start)| *start < end);
        if keep == self.entries.len() {
            return Ok(());
        }
        self.entries.truncate(keep);
        self.unwritten = false;
        self.write(true)
    }

    /// Forgets epochs that end at `start` or below; the one that holds `start` begins there now.
    pub(crate) fn truncate_start(&mut self, start: Offset) -> Result<(), StorageError> {
        let above = self.entries.partition_point(|(_, entry)| *entry <= start);
        let Some(floor) = above.checked_sub(1) else { return Ok(()) };
        if floor == 0 && self.entries[0].1 == start {
            return Ok(());
        }
        self.entries.drain(..floor);
        self.entries[0].1 = start;
        self.write(false)
    }

    /// Puts the file on stable storage, if it is not there yet.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        if self.dirty { self.write(true) } else { Ok(()) }
    }

    fn write(&mut self, durable: bool) -> Result<(), StorageError> {
        self.dirty = !durable;
        let written = self.entries.len() - usize::from(self.unwritten && !self.entries.is_empty());
        checkpoint::write_epochs(&self.path, &self.entries[..written], durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(dir: &tempfile::TempDir, entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::load(dir.path().join("leader-epoch-checkpoint")).unwrap();
        for (epoch, start) in entries {
            cache.assign(LeaderEpoch(*epoch), Offset(*start)).unwrap();
        }
        cache
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir, &[(1, 0), (3, 10), (4, 25)]);
        let end = |epoch| cache.end_offset(LeaderEpoch(epoch), Offset(30)).map(|(e, o)| (e.0, o.0));
        assert_eq!(end(4), Some((4, 30)));
        assert_eq!(end(3), Some((3, 25)));
        assert_eq!(end(2), Some((1, 10)));
        assert_eq!(end(0), Some((0, 0)));
        assert_eq!(end(5), None);
        assert_eq!(end(-1), None);
        assert_eq!(cache.at(Offset(24)), Some(LeaderEpoch(3)));
    }

    #[test]
    fn an_epoch_without_records_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir, &[(1, 0), (2, 10), (3, 10)]);
        assert_eq!(cache.entries, [(LeaderEpoch(1), Offset(0)), (LeaderEpoch(3), Offset(10))]);
    }

    #[test]
    fn a_leaders_epoch_reaches_the_file_with_its_first_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = cache(&dir, &[(1, 0)]);
        cache.begin(LeaderEpoch(2), Offset(10));
        cache.sync().unwrap();
        assert_eq!(cache.latest(), Some(LeaderEpoch(2)));
        assert_eq!(EpochCache::load(cache.path.clone()).unwrap().latest(), Some(LeaderEpoch(1)));
        cache.assign(LeaderEpoch(2), Offset(10)).unwrap();
        assert_eq!(EpochCache::load(cache.path.clone()).unwrap().entries, cache.entries);
    }

    #[test]
    fn truncation_at_either_end_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = cache(&dir, &[(1, 0), (3, 10), (4, 25)]);
        cache.truncate_end(Offset(25)).unwrap();
        cache.truncate_start(Offset(12)).unwrap();
        let again = EpochCache::load(cache.path.clone()).unwrap();
        assert_eq!(again.entries, [(LeaderEpoch(3), Offset(12))]);
    }
}
