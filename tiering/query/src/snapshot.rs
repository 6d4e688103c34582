use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use strata_store::{IndexEntry, PartitionKey, TierIndex};
use strata_types::{Offset, PartitionId, TopicId, TopicName};

use crate::source::TopicState;

/// A topic at one moment: for each partition, which offsets to read from where. No offset is in two pieces, and between
/// a partition's start and its end each is in one.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub topic: TopicName,
    pub topic_id: TopicId,
    pub pieces: Vec<Piece>,
}

/// A stretch of one partition.
#[derive(Debug, Clone)]
pub enum Piece {
    /// An archived object, all of it.
    Cold(Arc<IndexEntry>),
    /// To be fetched from the broker.
    Hot { partition: PartitionId, offsets: Range<Offset> },
}

impl Piece {
    pub fn partition(&self) -> PartitionId {
        match self {
            Self::Cold(entry) => entry.range.partition,
            Self::Hot { partition, .. } => *partition,
        }
    }

    pub fn offsets(&self) -> Range<Offset> {
        match self {
            Self::Cold(entry) => entry.range.start_offset..entry.range.end_offset,
            Self::Hot { offsets, .. } => offsets.clone(),
        }
    }
}

impl Snapshot {
    /// Of a running cluster. The index must have been read before `state`: then all that it calls archived lies below
    /// the end. Without an object store (`index` is `None`) the broker serves it all, the archived part too.
    pub(crate) fn of_cluster(topic: TopicName, state: &TopicState, index: Option<&TierIndex>) -> Self {
        let pieces = state.partitions.iter().flat_map(|(&partition, &(start, end))| {
            let key = PartitionKey { topic_id: state.id, partition };
            let entries = index.map(|index| index.entries(key)).unwrap_or_default();
            pieces_of(partition, entries, start, end)
        });
        Self { topic, topic_id: state.id, pieces: pieces.collect() }
    }

    /// Of the archive alone. Where topics of the same name were deleted and made again, the one that was archived last.
    pub(crate) fn of_archive(name: &TopicName, index: &TierIndex) -> Option<Self> {
        let mut by_age: BTreeMap<_, Vec<Piece>> = BTreeMap::new();
        for (_, topic_id) in index.topics().into_iter().filter(|(found, _)| found == name) {
            let entries: Vec<_> =
                index.partitions_of(topic_id).into_iter().flat_map(|key| index.entries(key)).collect();
            let age = entries.iter().map(|entry| entry.archived_at).max();
            by_age.insert((age, topic_id), entries.into_iter().map(Piece::Cold).collect());
        }
        let ((_, topic_id), pieces) = by_age.pop_last()?;
        Some(Self { topic: name.clone(), topic_id, pieces })
    }
}

/// `[start, end)` of a partition as archived objects and, wherever there is none, stretches to fetch. An object of
/// which a part lies below the start (records were deleted) counts as none: the broker knows where to begin.
fn pieces_of(
    partition: PartitionId,
    entries: Vec<Arc<IndexEntry>>,
    start: Offset,
    end: Offset,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = start;
    for entry in entries {
        let range = entry.range.start_offset..entry.range.end_offset;
        if range.start < at || range.start >= end {
            continue;
        }
        if at < range.start {
            pieces.push(Piece::Hot { partition, offsets: at..range.start });
        }
        at = range.end;
        pieces.push(Piece::Cold(entry));
    }
    if at < end {
        pieces.push(Piece::Hot { partition, offsets: at..end });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use strata_archive::PartitionRange;

    use super::*;

    fn entry(start: i64, end: i64, archived_at: i64, topic_id: TopicId) -> IndexEntry {
        IndexEntry {
            topic: TopicName::new("orders").expect("a name"),
            topic_id,
            object: format!("data/{start}"),
            object_bytes: 100,
            footer_bytes: 10,
            log_bytes: 0,
            archived_at,
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

    /// Each piece as `(cold, start, end)`.
    fn pieces(entries: &[(i64, i64)], start: i64, end: i64) -> Vec<(bool, i64, i64)> {
        let entries = entries.iter().map(|&(s, e)| Arc::new(entry(s, e, 0, TopicId::ZERO))).collect();
        pieces_of(0, entries, Offset(start), Offset(end))
            .iter()
            .map(|piece| {
                let offsets = piece.offsets();
                (matches!(piece, Piece::Cold(_)), offsets.start.0, offsets.end.0)
            })
            .collect()
    }

    #[test]
    fn the_hot_part_follows_the_cold_one() {
        assert_eq!(pieces(&[(0, 10), (10, 20)], 0, 25), [(true, 0, 10), (true, 10, 20), (false, 20, 25)]);
        assert_eq!(pieces(&[(0, 10)], 0, 10), [(true, 0, 10)]);
        assert_eq!(pieces(&[], 3, 10), [(false, 3, 10)]);
        assert_eq!(pieces(&[], 5, 5), []);
    }

    #[test]
    fn what_the_index_does_not_know_is_fetched() {
        assert_eq!(
            pieces(&[(5, 10), (20, 30)], 0, 30),
            [(false, 0, 5), (true, 5, 10), (false, 10, 20), (true, 20, 30)]
        );
    }

    #[test]
    fn deleted_records_do_not_come_back() {
        assert_eq!(pieces(&[(0, 10), (10, 20)], 10, 20), [(true, 10, 20)]);
        assert_eq!(pieces(&[(0, 10), (10, 20)], 4, 20), [(false, 4, 10), (true, 10, 20)]);
    }

    #[test]
    fn an_offset_is_never_in_two_pieces() {
        assert_eq!(
            pieces(&[(0, 10), (5, 15), (15, 20)], 0, 20),
            [(true, 0, 10), (false, 10, 15), (true, 15, 20)]
        );
    }

    #[test]
    fn of_topics_that_shared_a_name_the_latest_is_read() {
        let (old, new) = (TopicId(uuid(9)), TopicId(uuid(1)));
        let index = TierIndex::default();
        for entry in [entry(0, 10, 100, old), entry(0, 5, 200, new)] {
            index.apply(entry.key(), Some(entry));
        }
        let topic = TopicName::new("orders").expect("a name");
        let snapshot = Snapshot::of_archive(&topic, &index).expect("it is archived");
        assert_eq!((snapshot.topic_id, snapshot.pieces.len()), (new, 1));
        assert!(Snapshot::of_archive(&TopicName::new("other").expect("a name"), &index).is_none());
    }

    fn uuid(n: u128) -> uuid::Uuid {
        uuid::Uuid::from_u128(n)
    }
}
