//! Which partition of `__consumer_offsets` coordinates a group.

use strata_types::PartitionId;

/// Kafka's `Utils.abs(groupId.hashCode()) % partitions`. `partitions` is the internal topic's count, at least 1.
pub fn partition_for(group_id: &str, partitions: i32) -> PartitionId {
    // Java hashes UTF-16 code units, with wrapping arithmetic; its `Utils.abs` makes Integer.MIN_VALUE 0.
    let hash =
        group_id.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_those_that_java_computes() {
        // Asked of a JVM; the first one's hash is Integer.MIN_VALUE, the last one's name needs surrogate pairs.
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("", 50), 0);
        assert_eq!(partition_for("console-consumer-1", 50), 24);
        assert_eq!(partition_for("my-group", 50), 12);
        assert_eq!(partition_for("connect-cluster", 50), 13);
        assert_eq!(partition_for("grüße-🦀", 50), 30);
    }
}
