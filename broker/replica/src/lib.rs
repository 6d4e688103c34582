//! In-sync replicas, the high watermark and truncation: what a partition's replicas decide, without IO.
//!
//! ```text
//!  own log grew ───┐                       ┌──▶ the high watermark moved: acknowledge, serve consumers
//!  a follower ─────┼──▶ Leader (one        ├──▶ an ISR to propose to the controller
//!  fetched         │    partition's view)  │
//!  the controller ─┘                       └──▶ whether acks=all may append, and is satisfied
//!  decided
//!
//!  the leader's answer for an epoch ──▶ truncation() ──▶ where a follower cuts its log
//! ```
//!
//! Sources: KIP-101 and KIP-279 (truncation by epoch), KIP-497 (ISR changes through the controller), KIP-966 (the high
//! watermark rests while the ISR is too small).

mod leader;
mod truncate;

#[cfg(test)]
mod tests;

pub use leader::{
    Acknowledgement, Counts, IsrChange, Leader, LeaderOptions, LeaderStart, NotAReplica, NotEnoughReplicas,
    ReplicaEnds,
};
pub use truncate::{LeaderEpochEnd, Truncation, truncation};
