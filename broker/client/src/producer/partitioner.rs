//! Which partition a record goes to, as the Java client decides it.

use std::collections::HashMap;

use strata_types::{PartitionId, TopicName};

/// Kafka's murmur2, by which a key has the same partition from every client.
pub(crate) fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mix = |word: u32| {
        let word = word.wrapping_mul(M);
        (word ^ (word >> 24)).wrapping_mul(M)
    };
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_mul(M) ^ mix(u32::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of a key: the hash without its sign, modulo the number of partitions.
pub(crate) fn of_key(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & i32::MAX) as usize % partitions
}

/// Spreads records without a key: one partition for as long as it takes to fill a batch, then the next (KIP-794).
#[derive(Default)]
pub(crate) struct Sticky {
    topics: HashMap<TopicName, (usize, usize)>,
}

impl Sticky {
    /// The position among the topic's partitions for a record of this size.
    pub(crate) fn next(
        &mut self,
        topic: &TopicName,
        partitions: &[PartitionId],
        bytes: usize,
        batch_bytes_max: usize,
    ) -> PartitionId {
        let (turn, filled) = match self.topics.get_mut(topic) {
            Some(state) => state,
            None => self.topics.entry(topic.clone()).or_default(),
        };
        if *filled >= batch_bytes_max {
            *turn += 1;
            *filled = 0;
        }
        *filled += bytes;
        partitions[*turn % partitions.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_javas_do() {
        // From org.apache.kafka.common.utils.Utils.murmur2.
        for (key, hash) in [
            (&b"21"[..], -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key), hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn records_without_a_key_stay_until_a_batch_is_full() {
        let mut sticky = Sticky::default();
        let topic = TopicName::new("t").unwrap();
        let chosen: Vec<_> = (0..6).map(|_| sticky.next(&topic, &[0, 1], 50, 100)).collect();
        assert_eq!(chosen, [0, 0, 1, 1, 0, 0]);
    }
}
