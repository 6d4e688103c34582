//! The last offset of each key, in bounded memory: keys are known by a 128-bit hash.
//!
//! The hash is keyed anew for every map, so that nobody can choose two keys that are taken for one; by accident two of 2³²
//! keys are with a probability of 2⁻⁶⁴.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};
use strata_types::Offset;

/// A hash of 16 bytes and an offset.
const SLOT_BYTES: usize = 24;
const SLOT_WORDS: usize = 3;

/// What no slot may be without: with fewer than two the map could be full before it is used.
const SLOTS_MIN: usize = 2;

/// How many keys a map holds, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OffsetMapOptions {
    /// The most that the map takes (`log.cleaner.dedupe.buffer.size`, by thread).
    pub(crate) bytes_max: usize,
    /// How full it may become (`log.cleaner.io.buffer.load.factor`), above 0, at most 1.
    pub(crate) load_factor: f64,
    /// The hash's key.
    pub(crate) seed: (u64, u64),
}

/// The map is full: the key was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Key → the last offset at which it was put.
pub(crate) struct OffsetMap {
    /// Hash, hash, offset + 1; a zero in the third place is a free slot. The system gives zeroed memory page by page, as
    /// it is touched.
    words: Vec<u64>,
    slots: usize,
    keys: usize,
    keys_max: usize,
    seed: (u64, u64),
    latest: Offset,
}

impl OffsetMap {
    /// A map for at most `keys` keys, if the limit allows as many.
    pub(crate) fn new(options: &OffsetMapOptions, keys: u64) -> Self {
        let load_factor = options.load_factor.clamp(0.01, 1.0);
        let wanted = (keys as f64 / load_factor).ceil().min(usize::MAX as f64) as usize;
        let slots = (options.bytes_max / SLOT_BYTES).min(wanted.saturating_add(1)).max(SLOTS_MIN);
        // One slot stays free, so that every search ends.
        let keys_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        Self {
            words: vec![0; slots * SLOT_WORDS],
            slots,
            keys: 0,
            keys_max,
            seed: options.seed,
            latest: Offset(-1),
        }
    }

    /// Takes note of a key at an offset above all that were put before.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), Full> {
        let hash = self.hash(key);
        let at = self.find(hash);
        if self.words[at + 2] == 0 {
            if self.keys >= self.keys_max {
                return Err(Full);
            }
            (self.words[at], self.words[at + 1]) = hash;
            self.keys += 1;
        }
        self.words[at + 2] = offset.0 as u64 + 1;
        Ok(())
    }

    /// The last offset of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Offset> {
        let stored = self.words[self.find(self.hash(key)) + 2];
        stored.checked_sub(1).map(|offset| Offset(offset as i64))
    }

    /// The last offset that was taken into account; −1 before the first.
    pub(crate) fn latest(&self) -> Offset {
        self.latest
    }

    pub(crate) fn advance_latest(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// What share of the keys that it may hold it does hold.
    pub(crate) fn utilization(&self) -> f64 {
        self.keys as f64 / self.keys_max as f64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots * SLOT_BYTES
    }

    /// The key's slot, or the free one where it would be.
    fn find(&self, hash: (u64, u64)) -> usize {
        let mut slot = (hash.0 % self.slots as u64) as usize;
        loop {
            let at = slot * SLOT_WORDS;
            if self.words[at + 2] == 0 || (self.words[at], self.words[at + 1]) == hash {
                return at;
            }
            slot = if slot + 1 == self.slots { 0 } else { slot + 1 };
        }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bytes_max: usize, load_factor: f64) -> OffsetMapOptions {
        OffsetMapOptions { bytes_max, load_factor, seed: (3, 4) }
    }

    #[test]
    fn the_last_offset_of_each_key_is_kept() {
        let mut map = OffsetMap::new(&options(1 << 20, 0.9), 1_000);
        for offset in 0..5_000_i64 {
            map.put(&(offset % 997).to_be_bytes(), Offset(offset)).unwrap();
        }
        for key in 0..997_i64 {
            let last = (0..5_000).rev().find(|offset| offset % 997 == key).map(Offset);
            assert_eq!(map.get(&key.to_be_bytes()), last);
        }
        assert_eq!(map.get(b"another"), None);
        assert_eq!(map.get(b""), None);
    }

    #[test]
    fn offset_zero_and_the_empty_key_are_like_all_others() {
        let mut map = OffsetMap::new(&options(1 << 20, 0.9), 10);
        map.put(b"", Offset(0)).unwrap();
        assert_eq!(map.get(b""), Some(Offset(0)));
    }

    #[test]
    fn a_full_map_takes_known_keys_only() {
        let mut map = OffsetMap::new(&options(100 * SLOT_BYTES, 0.5), 1_000_000);
        assert!(map.bytes() <= 100 * SLOT_BYTES);
        for key in 0..50_i64 {
            map.put(&key.to_be_bytes(), Offset(key)).unwrap();
        }
        assert_eq!(map.put(b"new", Offset(50)), Err(Full));
        assert_eq!(map.put(&7_i64.to_be_bytes(), Offset(51)), Ok(()));
        assert_eq!((map.get(&7_i64.to_be_bytes()), map.get(b"new")), (Some(Offset(51)), None));
        assert!((map.utilization() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn even_the_smallest_map_ends_its_searches() {
        let mut map = OffsetMap::new(&options(0, 1.0), 1_000);
        map.put(b"a", Offset(1)).unwrap();
        assert_eq!(map.put(b"b", Offset(2)), Err(Full));
        assert_eq!((map.get(b"a"), map.get(b"b")), (Some(Offset(1)), None));
    }

    #[test]
    fn memory_follows_the_need_below_the_limit() {
        assert!(OffsetMap::new(&options(128 << 20, 0.9), 100).bytes() < 4096);
    }
}
