//! What is where in an archived file: the part of it that the tier index keeps, and that the footer repeats.

use serde::{Deserialize, Serialize};
use strata_types::{LeaderEpoch, Offset, PartitionId, TimestampMs};

/// The version of the layout, in every file's footer (`strata.format`) and every index entry.
pub const FORMAT_VERSION: u32 = 1;

/// One partition's part of a file: every committed record of `[start_offset, end_offset)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRange {
    pub partition: PartitionId,
    #[serde(with = "offset")]
    pub start_offset: Offset,
    /// Exclusive. Offsets at the end may have no rows: aborted records and markers.
    #[serde(with = "offset")]
    pub end_offset: Offset,
    pub rows: u64,
    /// Bytes of keys, values and headers, uncompressed: what retention counts.
    pub raw_bytes: u64,
    /// The largest timestamp and the first record that has it; -1 where there are no rows.
    pub max_timestamp: TimestampMs,
    #[serde(with = "offset")]
    pub max_timestamp_offset: Offset,
    pub leader_epochs: Vec<EpochStart>,
    /// In offset order. Empty where all records of the range were aborted.
    pub row_groups: Vec<RowGroup>,
}

/// From this offset on, records of the range were written under this leader epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStart {
    pub epoch: i32,
    #[serde(with = "offset")]
    pub start_offset: Offset,
}

/// A row group: whole batches of one partition, and the unit of a ranged GET.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowGroup {
    /// Its number in the file.
    pub index: usize,
    /// Where its bytes stand in the file.
    pub file_offset: u64,
    pub bytes: u64,
    /// Of those bytes (Castagnoli): Parquet readers of other makers ignore it, ours checks it before it decodes.
    pub crc32c: u32,
    /// Of the first batch.
    #[serde(with = "offset")]
    pub base_offset: Offset,
    /// Of the last batch.
    #[serde(with = "offset")]
    pub last_offset: Offset,
    pub rows: u64,
    pub raw_bytes: u64,
    pub max_timestamp: TimestampMs,
    #[serde(with = "offset")]
    pub max_timestamp_offset: Offset,
}

impl PartitionRange {
    /// Whether `offset` falls into this range.
    pub fn contains(&self, offset: Offset) -> bool {
        self.start_offset <= offset && offset < self.end_offset
    }

    /// The leader epoch that `offset` was written under, if the range has rows at or below it.
    pub fn leader_epoch(&self, offset: Offset) -> Option<LeaderEpoch> {
        let at = self.leader_epochs.partition_point(|start| start.start_offset <= offset);
        at.checked_sub(1).map(|at| LeaderEpoch(self.leader_epochs[at].epoch))
    }
}

/// The row groups to fetch for a read from `from`: the one that holds or follows that offset, and as many after it as
/// bring `max_bytes` of keys, values and headers. Empty where no rows are left from there on.
pub fn row_groups_from(range: &PartitionRange, from: Offset, max_bytes: u64) -> &[RowGroup] {
    let first = range.row_groups.partition_point(|group| group.last_offset < from);
    let mut bytes = 0;
    let mut end = first;
    while end < range.row_groups.len() && (end == first || bytes < max_bytes) {
        bytes += range.row_groups[end].raw_bytes;
        end += 1;
    }
    &range.row_groups[first..end]
}

/// Offsets are plain numbers in JSON.
mod offset {
    use serde::{Deserialize, Deserializer, Serializer};
    use strata_types::Offset;

    pub(super) fn serialize<S: Serializer>(offset: &Offset, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(offset.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Offset, D::Error> {
        i64::deserialize(deserializer).map(Offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> PartitionRange {
        let group = |index: usize, base: i64, last: i64| RowGroup {
            index,
            file_offset: 0,
            bytes: 10,
            crc32c: 0,
            base_offset: Offset(base),
            last_offset: Offset(last),
            rows: 1,
            raw_bytes: 100,
            max_timestamp: 0,
            max_timestamp_offset: Offset(base),
        };
        PartitionRange {
            partition: 0,
            start_offset: Offset(10),
            end_offset: Offset(60),
            rows: 3,
            raw_bytes: 300,
            max_timestamp: 0,
            max_timestamp_offset: Offset(10),
            leader_epochs: vec![
                EpochStart { epoch: 3, start_offset: Offset(10) },
                EpochStart { epoch: 5, start_offset: Offset(30) },
            ],
            row_groups: vec![group(0, 10, 19), group(1, 20, 29), group(2, 40, 49)],
        }
    }

    fn indexes(from: i64, max_bytes: u64) -> Vec<usize> {
        row_groups_from(&range(), Offset(from), max_bytes).iter().map(|group| group.index).collect()
    }

    #[test]
    fn a_read_needs_the_groups_that_its_bytes_span() {
        assert_eq!(indexes(10, 0), [0], "at least one");
        assert_eq!(indexes(10, 100), [0]);
        assert_eq!(indexes(10, 101), [0, 1]);
        assert_eq!(indexes(19, 1_000), [0, 1, 2]);
    }

    #[test]
    fn a_read_within_a_gap_starts_at_the_next_group() {
        assert_eq!(indexes(30, 1), [2]);
        assert!(indexes(50, 1).is_empty());
    }

    #[test]
    fn the_leader_epoch_of_an_offset_is_the_last_that_started_before_it() {
        assert_eq!(range().leader_epoch(Offset(9)), None);
        assert_eq!(range().leader_epoch(Offset(29)), Some(LeaderEpoch(3)));
        assert_eq!(range().leader_epoch(Offset(59)), Some(LeaderEpoch(5)));
    }
}
