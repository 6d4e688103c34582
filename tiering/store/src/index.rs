//! The tier index: which object has which offsets of a partition.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use strata_archive::{FORMAT_VERSION, PartitionRange};
use strata_types::{Offset, PartitionId, TimestampMs, TopicId, TopicName};

/// The internal, compacted topic that holds the index: one record per archived range, a tombstone once it is gone.
pub const TIER_INDEX_TOPIC: &str = "__strata_tier_index";

/// A partition, by its topic's id: a topic that is made again under its old name is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    pub topic_id: TopicId,
    pub partition: PartitionId,
}

/// Which range a record of the index speaks of. JSON on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexKey {
    pub partition: PartitionKey,
    pub start_offset: Offset,
}

/// One archived range, and the object that holds it: a record of the index, and a manifest's content. JSON in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub topic: TopicName,
    pub topic_id: TopicId,
    /// Its name below the archive's prefix.
    pub object: String,
    pub object_bytes: u64,
    pub footer_bytes: u64,
    /// What the range took in the log: what `retention.bytes` counts.
    pub log_bytes: u64,
    pub archived_at: TimestampMs,
    pub range: PartitionRange,
}

/// A record of the index topic, or a manifest, that this version cannot read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not an entry of the tier index: {0}")]
pub struct InvalidEntry(String);

impl IndexKey {
    pub fn encode(&self) -> Bytes {
        let wire = WireKey {
            topic_id: self.partition.topic_id.to_string(),
            partition: self.partition.partition,
            start_offset: self.start_offset.0,
        };
        serde_json::to_vec(&wire).expect("text and numbers are JSON").into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidEntry> {
        let wire: WireKey = serde_json::from_slice(bytes).map_err(invalid)?;
        let topic_id = wire.topic_id.parse().map_err(invalid)?;
        let partition = PartitionKey { topic_id, partition: wire.partition };
        Ok(Self { partition, start_offset: Offset(wire.start_offset) })
    }
}

impl IndexEntry {
    pub fn key(&self) -> IndexKey {
        IndexKey { partition: self.partition(), start_offset: self.range.start_offset }
    }

    pub fn partition(&self) -> PartitionKey {
        PartitionKey { topic_id: self.topic_id, partition: self.range.partition }
    }

    pub fn encode(&self) -> Bytes {
        let wire = WireEntry {
            format: FORMAT_VERSION,
            topic: self.topic.to_string(),
            topic_id: self.topic_id.to_string(),
            object: self.object.clone(),
            object_bytes: self.object_bytes,
            footer_bytes: self.footer_bytes,
            log_bytes: self.log_bytes,
            archived_at: self.archived_at,
            range: self.range.clone(),
        };
        serde_json::to_vec(&wire).expect("text and numbers are JSON").into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidEntry> {
        let wire: WireEntry = serde_json::from_slice(bytes).map_err(invalid)?;
        if wire.format > FORMAT_VERSION {
            return Err(invalid(format!(
                "format {}, this version reads up to {FORMAT_VERSION}",
                wire.format
            )));
        }
        if wire.range.start_offset >= wire.range.end_offset || wire.footer_bytes > wire.object_bytes {
            return Err(invalid("its offsets or sizes cannot be"));
        }
        Ok(Self {
            topic: TopicName::new(&wire.topic).map_err(invalid)?,
            topic_id: wire.topic_id.parse().map_err(invalid)?,
            object: wire.object,
            object_bytes: wire.object_bytes,
            footer_bytes: wire.footer_bytes,
            log_bytes: wire.log_bytes,
            archived_at: wire.archived_at,
            range: wire.range,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct WireKey {
    topic_id: String,
    partition: PartitionId,
    start_offset: i64,
}

#[derive(Serialize, Deserialize)]
struct WireEntry {
    format: u32,
    topic: String,
    topic_id: String,
    object: String,
    object_bytes: u64,
    footer_bytes: u64,
    log_bytes: u64,
    archived_at: TimestampMs,
    range: PartitionRange,
}

fn invalid(why: impl std::fmt::Display) -> InvalidEntry {
    InvalidEntry(why.to_string())
}

type Entries = BTreeMap<Offset, Arc<IndexEntry>>;

/// The index in memory: the topic's records applied in order. It grows with the archive, by about 150 bytes per row
/// group (16 MiB of records) and 500 per object.
#[derive(Debug, Default)]
pub struct TierIndex {
    partitions: RwLock<HashMap<PartitionKey, Entries>>,
}

impl TierIndex {
    /// Applies one record; `None` is a tombstone.
    pub fn apply(&self, key: IndexKey, entry: Option<IndexEntry>) {
        let mut partitions = self.partitions.write();
        match entry {
            Some(entry) => {
                partitions.entry(key.partition).or_default().insert(key.start_offset, Arc::new(entry));
            }
            None => {
                if let Some(entries) = partitions.get_mut(&key.partition) {
                    entries.remove(&key.start_offset);
                    if entries.is_empty() {
                        partitions.remove(&key.partition);
                    }
                }
            }
        }
    }

    /// Applies a record as the topic has it.
    pub fn apply_record(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), InvalidEntry> {
        let key = IndexKey::decode(key)?;
        let entry = value.map(IndexEntry::decode).transpose()?;
        if entry.as_ref().is_some_and(|entry| entry.key() != key) {
            return Err(invalid("the key is another range's"));
        }
        self.apply(key, entry);
        Ok(())
    }

    /// The entry that holds `offset`.
    pub fn entry_at(&self, partition: PartitionKey, offset: Offset) -> Option<Arc<IndexEntry>> {
        let partitions = self.partitions.read();
        let (_, entry) = partitions.get(&partition)?.range(..=offset).next_back()?;
        entry.range.contains(offset).then(|| entry.clone())
    }

    /// A partition's entries, by offset.
    pub fn entries(&self, partition: PartitionKey) -> Vec<Arc<IndexEntry>> {
        let partitions = self.partitions.read();
        partitions.get(&partition).map(|entries| entries.values().cloned().collect()).unwrap_or_default()
    }

    pub fn get(&self, key: IndexKey) -> Option<Arc<IndexEntry>> {
        self.partitions.read().get(&key.partition)?.get(&key.start_offset).cloned()
    }

    pub fn earliest_offset(&self, partition: PartitionKey) -> Option<Offset> {
        self.partitions.read().get(&partition)?.keys().next().copied()
    }

    /// The end of the archive: of its entries as far as each follows the one before. What lies beyond a hole (an entry
    /// whose record is still to be written) does not count yet.
    pub fn archived_until(&self, partition: PartitionKey) -> Option<Offset> {
        let partitions = self.partitions.read();
        let mut entries = partitions.get(&partition)?.values();
        let mut until = entries.next()?.range.end_offset;
        for entry in entries {
            if entry.range.start_offset > until {
                break;
            }
            until = until.max(entry.range.end_offset);
        }
        Some(until)
    }

    /// Bytes that a partition's archived ranges took in the log.
    pub fn log_bytes(&self, partition: PartitionKey) -> u64 {
        let partitions = self.partitions.read();
        partitions.get(&partition).map_or(0, |entries| entries.values().map(|entry| entry.log_bytes).sum())
    }

    /// The partitions of a topic that have entries.
    pub fn partitions_of(&self, topic_id: TopicId) -> Vec<PartitionKey> {
        let mut found: Vec<_> =
            self.partitions.read().keys().filter(|key| key.topic_id == topic_id).copied().collect();
        found.sort_unstable();
        found
    }

    /// Every archived topic, by name and id. Several ids may share a name: topics that were deleted and made again.
    pub fn topics(&self) -> Vec<(TopicName, TopicId)> {
        let partitions = self.partitions.read();
        let mut topics: Vec<_> = partitions
            .values()
            .filter_map(|entries| entries.values().next())
            .map(|entry| (entry.topic.clone(), entry.topic_id))
            .collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn entry(start: i64, end: i64) -> IndexEntry {
        IndexEntry {
            topic: TopicName::new("orders").expect("a name"),
            topic_id: TopicId::ZERO,
            object: format!("data/{start}"),
            object_bytes: 100,
            footer_bytes: 10,
            log_bytes: 1_000,
            archived_at: 0,
            range: PartitionRange {
                partition: 0,
                start_offset: Offset(start),
                end_offset: Offset(end),
                rows: 0,
                raw_bytes: 0,
                max_timestamp: -1,
                max_timestamp_offset: Offset(-1),
                leader_epochs: Vec::new(),
                row_groups: Vec::new(),
            },
        }
    }

    const KEY: PartitionKey = PartitionKey { topic_id: TopicId::ZERO, partition: 0 };

    fn index_of(ranges: &[(i64, i64)]) -> TierIndex {
        let index = TierIndex::default();
        for &(start, end) in ranges {
            let entry = entry(start, end);
            index.apply_record(&entry.key().encode(), Some(&entry.encode())).expect("a record");
        }
        index
    }

    #[test]
    fn an_offset_is_found_in_its_entry() {
        let index = index_of(&[(0, 10), (10, 25)]);
        let start = |offset| index.entry_at(KEY, Offset(offset)).map(|entry| entry.range.start_offset.0);
        assert_eq!(
            (start(0), start(9), start(10), start(24), start(25)),
            (Some(0), Some(0), Some(10), Some(10), None)
        );
    }

    #[test]
    fn the_archive_ends_at_its_first_hole() {
        assert_eq!(index_of(&[(0, 10), (20, 30)]).archived_until(KEY), Some(Offset(10)));
        assert_eq!(index_of(&[(20, 30), (0, 10), (10, 20)]).archived_until(KEY), Some(Offset(30)));
        assert_eq!(index_of(&[]).archived_until(KEY), None);
    }

    #[test]
    fn a_tombstone_removes_its_range_only() {
        let index = index_of(&[(0, 10), (10, 25)]);
        index.apply_record(&entry(0, 10).key().encode(), None).expect("a tombstone");
        assert_eq!(index.earliest_offset(KEY), Some(Offset(10)));
        assert_eq!(index.log_bytes(KEY), 1_000);
    }

    #[test]
    fn foreign_records_are_errors() {
        let index = TierIndex::default();
        let good = entry(0, 10);
        assert!(index.apply_record(b"{}", None).is_err());
        assert!(index.apply_record(&good.key().encode(), Some(b"null")).is_err());
        assert!(
            index.apply_record(&entry(5, 6).key().encode(), Some(&good.encode())).is_err(),
            "another key"
        );
        let newer =
            String::from_utf8(good.encode().to_vec()).expect("JSON").replace("\"format\":1", "\"format\":2");
        assert!(index.apply_record(&good.key().encode(), Some(newer.as_bytes())).is_err(), "a later format");
        assert!(IndexEntry::decode(&entry(10, 10).encode()).is_err(), "an empty range");
    }
}
