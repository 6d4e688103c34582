use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// The least recently used goes first; bounded in bytes, not in entries. Loads of one key are joined: a hundred
/// consumers that ask for the same row group cost one GET.
pub(crate) struct Cache<K, V> {
    bytes_max: usize,
    weigh: fn(&V) -> usize,
    inner: Mutex<Inner<K, V>>,
}

struct Inner<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// By last use.
    order: BTreeMap<u64, K>,
    clock: u64,
    bytes: usize,
    loading: HashMap<K, Arc<OnceCell<Arc<V>>>>,
}

struct Entry<V> {
    value: Arc<V>,
    bytes: usize,
    used: u64,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    pub(crate) fn new(bytes_max: usize, weigh: fn(&V) -> usize) -> Self {
        let inner = Inner {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            bytes: 0,
            loading: HashMap::new(),
        };
        Self { bytes_max, weigh, inner: Mutex::new(inner) }
    }

    /// The value, from the cache or else from `load`. A failed load is not remembered; who waited for it tries again.
    pub(crate) async fn get_or_load<E, F>(&self, key: &K, load: impl FnOnce() -> F) -> Result<Arc<V>, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        let cell = {
            let mut inner = self.inner.lock();
            if let Some(value) = inner.touch(key) {
                return Ok(value);
            }
            inner.loading.entry(key.clone()).or_default().clone()
        };
        let outcome = cell.get_or_try_init(|| async { load().await.map(Arc::new) }).await.cloned();
        let mut inner = self.inner.lock();
        let ours = inner.loading.get(key).is_some_and(|found| Arc::ptr_eq(found, &cell));
        match &outcome {
            Ok(value) if ours => {
                inner.loading.remove(key);
                inner.insert(key.clone(), value.clone(), (self.weigh)(value), self.bytes_max);
            }
            // The last one who waited takes the cell away: the map's own reference and this one are left.
            Err(_) if ours && Arc::strong_count(&cell) == 2 => {
                inner.loading.remove(key);
            }
            _ => {}
        }
        outcome
    }

    /// Whether it is there, or on its way.
    pub(crate) fn contains(&self, key: &K) -> bool {
        let inner = self.inner.lock();
        inner.entries.contains_key(key) || inner.loading.contains_key(key)
    }
}

impl<K: Hash + Eq + Clone, V> Inner<K, V> {
    fn touch(&mut self, key: &K) -> Option<Arc<V>> {
        let entry = self.entries.get_mut(key)?;
        self.order.remove(&entry.used);
        self.clock += 1;
        entry.used = self.clock;
        self.order.insert(self.clock, key.clone());
        Some(entry.value.clone())
    }

    /// What alone is larger than the cache is not kept.
    fn insert(&mut self, key: K, value: Arc<V>, bytes: usize, bytes_max: usize) {
        if bytes > bytes_max {
            return;
        }
        self.clock += 1;
        let used = self.clock;
        if let Some(old) = self.entries.insert(key.clone(), Entry { value, bytes, used }) {
            self.order.remove(&old.used);
            self.bytes -= old.bytes;
        }
        self.order.insert(used, key);
        self.bytes += bytes;
        while self.bytes > bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(gone) = self.entries.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn load(cache: &Cache<u32, usize>, key: u32, bytes: usize) -> bool {
        let mut loaded = false;
        let loaded_now = &mut loaded;
        let value = cache.get_or_load(&key, || async {
            *loaded_now = true;
            Ok::<_, ()>(bytes)
        });
        value.await.expect("loads succeed");
        loaded
    }

    #[tokio::test]
    async fn the_least_recently_used_makes_room() {
        let cache = Cache::new(100, |bytes: &usize| *bytes);
        assert!(load(&cache, 1, 40).await);
        assert!(load(&cache, 2, 40).await);
        assert!(!load(&cache, 1, 40).await, "it is cached, and now the younger one");
        assert!(load(&cache, 3, 40).await);
        assert!(!load(&cache, 1, 40).await);
        assert!(load(&cache, 2, 40).await, "it made room for 3");
    }

    #[tokio::test]
    async fn what_is_larger_than_the_cache_is_not_kept() {
        let cache = Cache::new(100, |bytes: &usize| *bytes);
        assert!(load(&cache, 1, 60).await);
        assert!(load(&cache, 2, 101).await);
        assert!(load(&cache, 2, 101).await);
        assert!(!load(&cache, 1, 60).await);
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_load() {
        let cache = Cache::new(100, |_: &usize| 1);
        let loads = AtomicUsize::new(0);
        let ask = || {
            cache.get_or_load(&1, || async {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok::<_, ()>(7)
            })
        };
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!((*a.expect("a"), *b.expect("b"), *c.expect("c")), (7, 7, 7));
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_failed_load_is_tried_again() {
        let cache = Cache::new(100, |_: &usize| 1);
        assert_eq!(cache.get_or_load(&1, || async { Err("down") }).await, Err("down"));
        assert!(!cache.contains(&1), "nothing is left behind");
        assert!(load(&cache, 1, 1).await);
    }
}
