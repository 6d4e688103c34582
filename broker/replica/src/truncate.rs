use strata_types::{LeaderEpoch, Offset};

/// The leader's answer to where an epoch ends (OffsetForLeaderEpoch, or the diverging epoch of a fetch response).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaderEpochEnd {
    /// The leader knows no epoch that old.
    Unknown,
    /// The last epoch at or below the one asked for, and where it ends in the leader's log.
    End { epoch: LeaderEpoch, end: Offset },
}

/// Where a follower cuts its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    pub to: Offset,
    /// Below it, the log is the leader's. Otherwise ask the leader again, for the epoch that is the latest then.
    pub done: bool,
}

/// What a follower makes of the leader's answer. `local` tells where an epoch ends in its own log (the last one at or
/// below, as the leader's answer does).
///
/// Where the leader skipped the follower's epoch, one answer does not suffice: both go down, epoch by epoch, until they
/// meet in one that they share (KIP-279).
pub fn truncation(
    answer: LeaderEpochEnd,
    local: impl Fn(LeaderEpoch) -> Option<(LeaderEpoch, Offset)>,
    local_end: Offset,
    high_watermark: Offset,
) -> Truncation {
    let LeaderEpochEnd::End { epoch, end } = answer else {
        // Nothing is known of the history, but what is committed is everyone's.
        return Truncation { to: high_watermark.min(local_end), done: true };
    };
    match local(epoch) {
        Some((shared, local_epoch_end)) if shared == epoch => {
            Truncation { to: local_epoch_end.min(end).min(local_end), done: true }
        }
        Some((_, lower_epoch_end)) => Truncation { to: lower_epoch_end.min(local_end), done: false },
        // The epoch is newer than all of this log.
        None => Truncation { to: end.min(local_end), done: true },
    }
}
