use std::fmt;

/// The id of an idempotent or transactional producer (KIP-98). `-1` on the wire means "neither".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// What a batch carries that no idempotent producer wrote.
    pub const NONE: Self = Self(-1);

    /// Whether a producer with sequence numbers stands behind it.
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which incarnation of a producer wrote a batch; an older one is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

impl ProducerEpoch {
    /// What a batch carries that no idempotent producer wrote.
    pub const NONE: Self = Self(-1);
}

impl fmt::Display for ProducerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stands for one question of a partition's leader to a transaction's coordinator, whether the partition is part of the
/// transaction (KIP-890). A marker that comes meanwhile makes it void: the answer may be older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationGuard(pub u64);
