use std::collections::{BTreeMap, BTreeSet};

use strata_types::{LeaderEpoch, NodeId, Offset, TimestampMs};

/// Which end of a replica's log counts for the high watermark (`strata.durability`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// What is on stable storage.
    Durable,
    /// What the replica's operating system has, as in Apache Kafka.
    Written,
}

/// The topic's and the broker's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaderOptions {
    /// A follower that has not caught up for this long leaves the ISR (`replica.lag.time.max.ms`).
    pub lag_time_max_ms: i64,
    /// How many in-sync replicas acks=all needs (`min.insync.replicas`). A partition with fewer replicas needs all.
    pub min_insync_replicas: usize,
    pub counts: Counts,
}

impl Default for LeaderOptions {
    fn default() -> Self {
        Self { lag_time_max_ms: 30_000, min_insync_replicas: 1, counts: Counts::Durable }
    }
}

/// How far a replica's log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaEnds {
    /// The next record's offset.
    pub end: Offset,
    /// Everything below is on stable storage. Of a replica that does not tell: its end.
    pub durable: Offset,
}

impl ReplicaEnds {
    fn counting(&self, counts: Counts) -> Offset {
        match counts {
            Counts::Durable => self.durable.min(self.end),
            Counts::Written => self.end,
        }
    }
}

/// With what a leadership begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderStart {
    pub node: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    /// Where the log ended when the leadership began: below it, a follower's log may still differ.
    pub epoch_start: Offset,
    pub ends: ReplicaEnds,
    pub high_watermark: Offset,
}

/// An ISR for the controller to decide on (AlterPartition).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrChange {
    pub isr: Vec<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
}

/// How far an append with acks=all is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    Waiting,
    Done,
    /// It is on all in-sync replicas, but those have become too few (NOT_ENOUGH_REPLICAS_AFTER_APPEND).
    NotEnoughReplicas,
}

/// A fetch from a node that has no replica of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {0} has no replica of this partition")]
pub struct NotAReplica(pub NodeId);

/// Too few replicas are in sync for acks=all (NOT_ENOUGH_REPLICAS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{isr} replicas are in sync, {needed} are needed")]
pub struct NotEnoughReplicas {
    pub isr: usize,
    pub needed: usize,
}

/// The leader's view of one partition.
#[derive(Debug, Clone)]
pub struct Leader {
    node: NodeId,
    leader_epoch: LeaderEpoch,
    partition_epoch: i32,
    options: LeaderOptions,
    epoch_start: Offset,
    own: ReplicaEnds,
    followers: BTreeMap<NodeId, Follower>,
    isr: BTreeSet<NodeId>,
    /// What the controller was asked for and has not answered.
    proposed: Option<BTreeSet<NodeId>>,
    high_watermark: Offset,
}

#[derive(Debug, Clone, Copy)]
struct Follower {
    ends: ReplicaEnds,
    /// When it last had everything that the leader had.
    caught_up_ms: TimestampMs,
    fetched_ms: TimestampMs,
    /// Where the leader's log ended at the last fetch: who has come that far by the next was caught up then.
    leader_end_at_fetch: Offset,
    /// Whether it has fetched under this leadership: before, nothing is known of its log.
    fetched: bool,
}

impl Leader {
    /// A leadership begins. Followers in the ISR are given `lag_time_max_ms` to show themselves.
    pub fn new(start: LeaderStart, options: LeaderOptions, now: TimestampMs) -> Self {
        let isr: BTreeSet<_> = start.isr.iter().copied().collect();
        let follower = |node: &NodeId| Follower {
            ends: ReplicaEnds::default(),
            caught_up_ms: if isr.contains(node) { now } else { TimestampMs::MIN },
            fetched_ms: TimestampMs::MIN,
            leader_end_at_fetch: Offset::ZERO,
            fetched: false,
        };
        let others = start.replicas.iter().filter(|node| **node != start.node);
        let mut leader = Self {
            node: start.node,
            leader_epoch: start.leader_epoch,
            partition_epoch: start.partition_epoch,
            options,
            epoch_start: start.epoch_start,
            own: start.ends,
            followers: others.map(|node| (*node, follower(node))).collect(),
            isr,
            proposed: None,
            high_watermark: start.high_watermark,
        };
        leader.advance(now);
        leader
    }

    /// Everything below is on all in-sync replicas: acknowledged, and visible to consumers.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    /// The in-sync replicas that the controller knows of, rising.
    pub fn isr(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.isr.iter().copied()
    }

    /// The leader's own log grew, or more of it is durable. The high watermark, if that moved it.
    pub fn local(&mut self, ends: ReplicaEnds, now: TimestampMs) -> Option<Offset> {
        self.own = ends;
        self.advance(now)
    }

    /// A follower's fetch tells how far its log is. The high watermark, if that moved it.
    pub fn followed(
        &mut self,
        node: NodeId,
        ends: ReplicaEnds,
        now: TimestampMs,
    ) -> Result<Option<Offset>, NotAReplica> {
        let leader_end = self.own.end;
        let follower = self.followers.get_mut(&node).ok_or(NotAReplica(node))?;
        if ends.end >= leader_end {
            follower.caught_up_ms = follower.caught_up_ms.max(now);
        } else if follower.fetched && ends.end >= follower.leader_end_at_fetch {
            // A busy leader is always ahead; a follower that keeps up is one fetch behind.
            follower.caught_up_ms = follower.caught_up_ms.max(follower.fetched_ms);
        }
        follower.ends = ends;
        follower.fetched_ms = now;
        follower.leader_end_at_fetch = leader_end;
        follower.fetched = true;
        Ok(self.advance(now))
    }

    /// Other rules, from here on. The high watermark, if that moved it.
    pub fn set_options(&mut self, options: LeaderOptions, now: TimestampMs) -> Option<Offset> {
        self.options = options;
        self.advance(now)
    }

    /// Whether acks=all may append at all.
    pub fn check_min_isr(&self) -> Result<(), NotEnoughReplicas> {
        let (isr, needed) = (self.isr.len(), self.needed());
        if isr >= needed { Ok(()) } else { Err(NotEnoughReplicas { isr, needed }) }
    }

    /// How far an append is whose last record stands below `next_offset`.
    pub fn acknowledgement(&self, next_offset: Offset) -> Acknowledgement {
        if self.high_watermark < next_offset {
            Acknowledgement::Waiting
        } else if self.check_min_isr().is_ok() {
            Acknowledgement::Done
        } else {
            Acknowledgement::NotEnoughReplicas
        }
    }

    /// The ISR as it should be, if that is not what the controller knows; to be sent to it. `None` while it has not
    /// answered the last one ([`Leader::isr_decided`], [`Leader::isr_refused`]).
    pub fn isr_to_propose(&mut self, now: TimestampMs) -> Option<IsrChange> {
        if self.proposed.is_some() {
            return None;
        }
        let mut isr: BTreeSet<_> =
            self.isr.iter().copied().filter(|node| self.keeps_up(*node, now)).collect();
        isr.extend(self.followers.keys().copied().filter(|node| self.may_join(*node)));
        if isr == self.isr {
            return None;
        }
        self.proposed = Some(isr.clone());
        Some(IsrChange {
            isr: isr.into_iter().collect(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
        })
    }

    /// The controller's word on the ISR, as its answer or in the metadata. The high watermark, if that moved it. An
    /// older word than the last is passed over.
    pub fn isr_decided(&mut self, isr: &[NodeId], partition_epoch: i32, now: TimestampMs) -> Option<Offset> {
        if partition_epoch < self.partition_epoch {
            return None;
        }
        self.partition_epoch = partition_epoch;
        self.isr = isr.iter().copied().collect();
        self.proposed = None;
        self.advance(now)
    }

    /// The controller refused what was proposed, or did not answer: the ISR stays.
    pub fn isr_refused(&mut self) {
        self.proposed = None;
    }

    fn needed(&self) -> usize {
        self.options.min_insync_replicas.min(self.followers.len() + 1).max(1)
    }

    fn keeps_up(&self, node: NodeId, now: TimestampMs) -> bool {
        if node == self.node {
            return true;
        }
        self.followers.get(&node).is_some_and(|follower| {
            // An idle partition's follower has everything, even if it fetched long ago.
            (follower.fetched && follower.ends.end >= self.own.end)
                || now.saturating_sub(follower.caught_up_ms) <= self.options.lag_time_max_ms
        })
    }

    /// Has all that is committed, and its history is this leader's.
    fn may_join(&self, node: NodeId) -> bool {
        !self.isr.contains(&node)
            && self.followers.get(&node).is_some_and(|follower| {
                follower.fetched
                    && follower.ends.counting(self.options.counts) >= self.high_watermark
                    && follower.ends.end >= self.epoch_start
            })
    }

    /// Moves the high watermark to what all in-sync replicas have, and those that the ISR may be without the
    /// controller's answer: a replica counts from when it is proposed until it is surely out.
    fn advance(&mut self, now: TimestampMs) -> Option<Offset> {
        if self.isr.len() < self.needed() {
            return None;
        }
        let counts = self.options.counts;
        let counted = self.followers.iter().filter(|(node, follower)| {
            self.isr.contains(node)
                || self.proposed.as_ref().is_some_and(|proposed| proposed.contains(node))
                // About to join: waiting for it lets it, however busy the partition is.
                || (follower.fetched
                    && now.saturating_sub(follower.caught_up_ms) <= self.options.lag_time_max_ms)
        });
        let least = counted.map(|(_, follower)| follower.ends.counting(counts)).min();
        let own = self.own.counting(counts);
        let reached = least.map_or(own, |least| least.min(own));
        if reached <= self.high_watermark {
            return None;
        }
        self.high_watermark = reached;
        Some(reached)
    }
}
