//! A task's stores as the plugin sees them while it works on one batch.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_plugin_host::{StateAccess, StateError};
use strata_state::{DIRTY_BYTES_MAX, TaskState};
use strata_types::Offset;

/// What a batch wrote, by store and key; `None` deletes.
type Writes = HashMap<(String, Bytes), Option<Bytes>>;

/// The stores, and beside them what the batch under way wrote: it becomes state only once all of the batch is done.
pub struct TaskStores {
    inner: Mutex<Inner>,
}

struct Inner {
    state: TaskState,
    batch: Writes,
    batch_bytes: usize,
}

impl TaskStores {
    pub fn new(state: TaskState) -> Self {
        Self { inner: Mutex::new(Inner { state, batch: Writes::new(), batch_bytes: 0 }) }
    }

    /// Takes what the batch wrote into the state, and returns it for the changelog: the last write of each key.
    pub fn keep_batch(&self) -> Result<Writes, strata_state::StateError> {
        let inner = &mut *self.inner.lock();
        inner.batch_bytes = 0;
        let batch = std::mem::take(&mut inner.batch);
        for ((store, key), value) in &batch {
            inner.state.put_many(store, [(key.clone(), value.clone())])?;
        }
        Ok(batch)
    }

    /// Forgets what the batch wrote.
    pub fn drop_batch(&self) {
        let inner = &mut *self.inner.lock();
        inner.batch.clear();
        inner.batch_bytes = 0;
    }

    /// As [`TaskState::commit`].
    pub fn commit<'a>(
        &self,
        changelog_ends: impl IntoIterator<Item = (&'a str, Offset)>,
    ) -> Result<(), strata_state::StateError> {
        self.inner.lock().state.commit(changelog_ends)
    }

    /// Bytes of keys and values that wait for a commit.
    pub fn dirty_bytes(&self) -> usize {
        self.inner.lock().state.dirty_bytes()
    }
}

impl StateAccess for TaskStores {
    fn get_many(&self, store: &str, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let keys: Vec<Bytes> = keys.into_iter().map(Bytes::from).collect();
        let inner = self.inner.lock();
        let values = inner.state.get_many(store, &keys).map_err(|error| StateError(error.to_string()))?;
        let seen = |(key, value): (Bytes, Option<Bytes>)| {
            let written = inner.batch.get(&(store.to_owned(), key)).cloned();
            written.unwrap_or(value).map(Vec::from)
        };
        Ok(keys.into_iter().zip(values).map(seen).collect())
    }

    fn put_many(&self, store: &str, entries: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StateError> {
        let inner = &mut *self.inner.lock();
        for (key, value) in entries {
            inner.batch_bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            inner.batch.insert((store.to_owned(), key.into()), value.map(Bytes::from));
        }
        // Counts a key that is written twice twice: a bound, not an account.
        if inner.batch_bytes + inner.state.dirty_bytes() > DIRTY_BYTES_MAX {
            return Err(StateError(format!("over {DIRTY_BYTES_MAX} bytes of state in one batch")));
        }
        Ok(())
    }
}
