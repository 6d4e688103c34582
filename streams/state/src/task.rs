use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, TableDefinition};
use strata_types::Offset;

use crate::error::StateError;

/// How much uncommitted state a task may hold in memory, in bytes of keys and values. The runtime commits long before;
/// this bounds a plugin that writes without end within one call.
pub const DIRTY_BYTES_MAX: usize = 64 << 20;

/// Beside the stores, the next changelog offset of each. A store's name cannot hold a `/`, so none is called this.
const OFFSETS: TableDefinition<'_, &str, i64> = TableDefinition::new("/changelog-offsets");
/// The topic id of the changelog that each store was filled from: a topic made anew has other records under the same offsets.
const CHANGELOGS: TableDefinition<'_, &str, &str> = TableDefinition::new("/changelog-ids");
const FILE: &str = "state.redb";

/// The state stores of one task.
pub struct TaskState {
    path: PathBuf,
    database: Database,
    stores: BTreeMap<String, Dirty>,
    dirty_bytes: usize,
}

/// What was written since the last commit; `None` deletes.
type Dirty = HashMap<Bytes, Option<Bytes>>;

impl TaskState {
    /// Opens the stores named, in `folder`; makes them where they are not there yet.
    pub fn open(folder: &Path, stores: &[String]) -> Result<Self, StateError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| StateError::Folder { path: folder.to_path_buf(), source })?;
        let path = folder.join(FILE);
        let database = Database::create(&path).map_err(|error| storage(&path, error))?;
        let stores = stores.iter().map(|store| (store.clone(), Dirty::new())).collect();
        let state = Self { path, database, stores, dirty_bytes: 0 };
        state.make_tables()?;
        Ok(state)
    }

    /// The values of `keys`, in their order; uncommitted writes are seen.
    pub fn get_many(&self, store: &str, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StateError> {
        let dirty = self.dirty(store)?;
        let read = || -> Result<Vec<Option<Bytes>>, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(table(store))?;
            let value = |key: &Bytes| match dirty.get(key) {
                Some(written) => Ok(written.clone()),
                None => Ok(table.get(&key[..])?.map(|found| Bytes::copy_from_slice(found.value()))),
            };
            keys.iter().map(value).collect()
        };
        read().map_err(|error| storage(&self.path, error))
    }

    /// Sets values, or deletes where there is none. Nothing is on disk before [`Self::commit`].
    pub fn put_many(
        &mut self,
        store: &str,
        entries: impl IntoIterator<Item = (Bytes, Option<Bytes>)>,
    ) -> Result<(), StateError> {
        let Some(dirty) = self.stores.get_mut(store) else {
            return Err(StateError::NoSuchStore(store.to_owned()));
        };
        for (key, value) in entries {
            let bytes = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
            self.dirty_bytes += key.len() + bytes(&value);
            let key_bytes = key.len();
            if let Some(former) = dirty.insert(key, value) {
                self.dirty_bytes -= key_bytes + bytes(&former);
            }
        }
        if self.dirty_bytes > DIRTY_BYTES_MAX {
            return Err(StateError::TooMuchUncommitted { limit_bytes: DIRTY_BYTES_MAX });
        }
        Ok(())
    }

    /// Makes everything written so far durable, together with the changelog offset that each store is now complete up to.
    pub fn commit<'a>(
        &mut self,
        changelog_ends: impl IntoIterator<Item = (&'a str, Offset)>,
    ) -> Result<(), StateError> {
        self.write(changelog_ends).map_err(|error| storage(&self.path, error))?;
        self.revert();
        Ok(())
    }

    /// Forgets what was written since the last commit: after a trap, the batch is processed again.
    pub fn revert(&mut self) {
        self.stores.values_mut().for_each(HashMap::clear);
        self.dirty_bytes = 0;
    }

    /// The next offset of the store's changelog, as of the last commit. `None`: restore from its beginning.
    pub fn checkpoint(&self, store: &str) -> Result<Option<Offset>, StateError> {
        self.dirty(store)?;
        let read = || -> Result<Option<Offset>, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(OFFSETS)?;
            Ok(table.get(store)?.map(|offset| Offset(offset.value())))
        };
        read().map_err(|error| storage(&self.path, error))
    }

    /// The topic id of the changelog that the store was filled from, as [`Self::reset`] was told.
    pub fn changelog(&self, store: &str) -> Result<Option<String>, StateError> {
        self.dirty(store)?;
        let read = || -> Result<Option<String>, redb::Error> {
            let table = self.database.begin_read()?.open_table(CHANGELOGS)?;
            Ok(table.get(store)?.map(|id| id.value().to_owned()))
        };
        read().map_err(|error| storage(&self.path, error))
    }

    /// Empties the store, to be filled from the beginning of the changelog with this topic id.
    pub fn reset(&mut self, store: &str, changelog: &str) -> Result<(), StateError> {
        self.dirty(store)?;
        let wipe = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.delete_table(table(store))?;
            transaction.open_table(table(store))?;
            transaction.open_table(OFFSETS)?.remove(store)?;
            transaction.open_table(CHANGELOGS)?.insert(store, changelog)?;
            Ok(transaction.commit()?)
        };
        wipe().map_err(|error| storage(&self.path, error))?;
        if let Some(dirty) = self.stores.get_mut(store) {
            let bytes =
                |(key, value): (&Bytes, &Option<Bytes>)| key.len() + value.as_ref().map_or(0, Bytes::len);
            self.dirty_bytes -= dirty.iter().map(bytes).sum::<usize>();
            dirty.clear();
        }
        Ok(())
    }

    /// Bytes of keys and values that wait for a commit.
    pub fn dirty_bytes(&self) -> usize {
        self.dirty_bytes
    }

    fn dirty(&self, store: &str) -> Result<&Dirty, StateError> {
        self.stores.get(store).ok_or_else(|| StateError::NoSuchStore(store.to_owned()))
    }

    fn make_tables(&self) -> Result<(), StateError> {
        let make = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            transaction.open_table(OFFSETS)?;
            transaction.open_table(CHANGELOGS)?;
            for store in self.stores.keys() {
                transaction.open_table(table(store))?;
            }
            Ok(transaction.commit()?)
        };
        make().map_err(|error| storage(&self.path, error))
    }

    fn write<'a>(&self, ends: impl IntoIterator<Item = (&'a str, Offset)>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for (store, dirty) in self.stores.iter().filter(|(_, dirty)| !dirty.is_empty()) {
            let mut table = transaction.open_table(table(store))?;
            for (key, value) in dirty {
                match value {
                    Some(value) => table.insert(&key[..], &value[..])?,
                    None => table.remove(&key[..])?,
                };
            }
        }
        let mut offsets = transaction.open_table(OFFSETS)?;
        for (store, end) in ends {
            offsets.insert(store, end.0)?;
        }
        drop(offsets);
        Ok(transaction.commit()?)
    }
}

fn table(store: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(store)
}

fn storage(path: &Path, error: impl Into<redb::Error>) -> StateError {
    StateError::Storage { path: path.to_path_buf(), source: Box::new(error.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: &str = "counts";

    fn open(folder: &Path) -> TaskState {
        TaskState::open(folder, &[STORE.to_owned()]).expect("opens")
    }

    fn put(state: &mut TaskState, key: &'static str, value: Option<&'static str>) {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        state.put_many(STORE, [(bytes(key), value.map(bytes))]).expect("a store");
    }

    fn get(state: &TaskState, key: &'static str) -> Option<Bytes> {
        state.get_many(STORE, &[Bytes::from_static(key.as_bytes())]).expect("a store").remove(0)
    }

    #[test]
    fn only_committed_state_survives_and_knows_its_changelog_offset() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = open(folder.path());
        assert_eq!(state.checkpoint(STORE).expect("a store"), None);
        put(&mut state, "a", Some("1"));
        put(&mut state, "b", Some("1"));
        state.commit([(STORE, Offset(7))]).expect("commits");
        put(&mut state, "a", Some("2"));
        put(&mut state, "b", None);
        assert_eq!(get(&state, "a").as_deref(), Some(&b"2"[..]), "uncommitted writes are seen");
        assert_eq!(get(&state, "b"), None);
        drop(state);

        let state = open(folder.path());
        assert_eq!(get(&state, "a").as_deref(), Some(&b"1"[..]));
        assert_eq!(get(&state, "b").as_deref(), Some(&b"1"[..]));
        assert_eq!(state.checkpoint(STORE).expect("a store"), Some(Offset(7)));
    }

    #[test]
    fn a_reset_store_is_empty_and_knows_its_new_changelog() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = open(folder.path());
        assert_eq!(state.changelog(STORE).expect("a store"), None);
        put(&mut state, "a", Some("1"));
        state.commit([(STORE, Offset(7))]).expect("commits");
        put(&mut state, "b", Some("1"));
        state.reset(STORE, "another").expect("resets");
        assert_eq!((get(&state, "a"), get(&state, "b"), state.dirty_bytes()), (None, None, 0));
        drop(state);

        let state = open(folder.path());
        assert_eq!(state.checkpoint(STORE).expect("a store"), None);
        assert_eq!(state.changelog(STORE).expect("a store").as_deref(), Some("another"));
        assert_eq!(get(&state, "a"), None);
    }

    #[test]
    fn reverting_forgets_what_the_failed_batch_wrote() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = open(folder.path());
        put(&mut state, "a", Some("1"));
        state.commit([]).expect("commits");
        put(&mut state, "a", Some("2"));
        state.revert();
        assert_eq!(get(&state, "a").as_deref(), Some(&b"1"[..]));
        assert_eq!(state.dirty_bytes(), 0);
    }

    #[test]
    fn overwriting_a_key_does_not_count_it_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = open(folder.path());
        put(&mut state, "key", Some("12345"));
        put(&mut state, "key", Some("1"));
        assert_eq!(state.dirty_bytes(), 4);
    }

    #[test]
    fn a_store_that_the_graph_does_not_name_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = open(folder.path());
        assert!(matches!(state.get_many("other", &[]), Err(StateError::NoSuchStore(_))));
    }

    #[test]
    fn uncommitted_state_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut state = open(folder.path());
        let big = Bytes::from(vec![0; DIRTY_BYTES_MAX]);
        let refused = state.put_many(STORE, [(Bytes::from_static(b"k"), Some(big))]);
        assert!(matches!(refused, Err(StateError::TooMuchUncommitted { .. })));
    }
}
