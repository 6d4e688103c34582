//! Which brokers get a partition's replicas.
//!
//! ```text
//!   rack a   1  3          partition 0   leader 1, then 2      racks take turns to lead, and so do a rack's brokers;
//!   rack b   2  4          partition 1   leader 2, then 1      the other replicas go to the racks that follow
//! ```
//!
//! Leaders and replicas thus spread over racks first, then over brokers, as with Kafka's striped placement. Unlike there, a
//! rack counts its leaders and its followers apart: with one counter for both, two racks of two brokers would give all of
//! a topic's leaders to the same broker of each rack. Once every broker had its turn, each rack is shuffled, so
//! that the same brokers do not always share partitions. Fenced brokers may hold replicas but lead nothing.

use std::collections::BTreeMap;

use strata_protocol::Str;
use strata_types::{ErrorCode, NodeId};

use super::ApiError;
use crate::Image;

/// Places one request's partitions. The same image and seed give the same placement.
pub(crate) struct Placer {
    racks: Vec<Rack>,
    active_count: usize,
    broker_count: usize,
    /// How many partitions were placed since the last shuffle.
    placed: usize,
    /// The rack whose turn it is to lead.
    turn: usize,
    random: SplitMix64,
}

#[derive(Default)]
struct Rack {
    active: Vec<NodeId>,
    fenced: Vec<NodeId>,
    /// How many leaders and how many followers it has given since the last shuffle.
    leaders: usize,
    followers: usize,
}

impl Placer {
    pub(crate) fn new(image: &Image, seed: u64) -> Self {
        let mut by_rack: BTreeMap<Option<&Str>, Rack> = BTreeMap::new();
        for broker in image.brokers() {
            let rack = by_rack.entry(broker.rack.as_ref()).or_default();
            match broker.is_active() {
                true => rack.active.push(broker.id),
                false => rack.fenced.push(broker.id),
            }
        }
        let mut racks: Vec<Rack> = by_rack.into_values().collect();
        let active_count = racks.iter().map(|rack| rack.active.len()).sum();
        let broker_count = racks.iter().map(|rack| rack.active.len() + rack.fenced.len()).sum();
        let mut random = SplitMix64(seed);
        random.shuffle(&mut racks);
        let mut placer = Self { racks, active_count, broker_count, placed: 0, turn: 0, random };
        placer.shuffle();
        placer
    }

    /// Whether topics of this replication factor can be placed at all.
    pub(crate) fn check(&self, replication_factor: i16) -> Result<(), ApiError> {
        let refuse = |why: String| {
            let message = format!("Unable to replicate the partition {replication_factor} time(s): {why}");
            Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message))
        };
        if self.active_count == 0 {
            return refuse(
                "All brokers are currently fenced, or have all their log directories cordoned.".to_owned(),
            );
        }
        if usize::try_from(replication_factor).is_ok_and(|factor| factor > self.broker_count) {
            return refuse(format!(
                "The target replication factor of {replication_factor} cannot be reached because only {} broker(s) \
                 are registered or some brokers have all their log directories cordoned.",
                self.broker_count
            ));
        }
        Ok(())
    }

    /// The next partition's replicas, the leader first. The factor has been checked.
    pub(crate) fn place(&mut self, replication_factor: i16) -> Vec<NodeId> {
        let wanted = usize::try_from(replication_factor).unwrap_or(0).min(self.broker_count);
        if self.placed >= self.active_count {
            self.shuffle();
        }
        let mut replicas = Vec::with_capacity(wanted);
        let count = self.racks.len();
        let leader_rack = (0..count).map(|step| (self.turn + step) % count).find(|&rack| {
            let leader = self.racks[rack].next_leader();
            replicas.extend(leader);
            leader.is_some()
        });
        let mut rack = leader_rack.unwrap_or(0);
        // Every round over the racks finds a replica while there are brokers left, and there are enough.
        while replicas.len() < wanted {
            rack = (rack + 1) % count;
            let follower = self.racks[rack].next_follower(&replicas);
            replicas.extend(follower);
        }
        self.placed += 1;
        self.turn = (self.turn + 1) % count.max(1);
        replicas
    }

    fn shuffle(&mut self) {
        self.placed = 0;
        for rack in &mut self.racks {
            self.random.shuffle(&mut rack.active);
            self.random.shuffle(&mut rack.fenced);
            rack.leaders = 0;
            rack.followers = 0;
        }
    }
}

impl Rack {
    fn next_leader(&mut self) -> Option<NodeId> {
        let leader = *self.active.get(self.leaders.checked_rem(self.active.len())?)?;
        self.leaders += 1;
        Some(leader)
    }

    /// The next broker that has no replica yet; an active one if possible.
    fn next_follower(&mut self, taken: &[NodeId]) -> Option<NodeId> {
        let first = self.followers;
        self.followers += 1;
        let ring = |brokers: &[NodeId]| {
            let count = brokers.len();
            let mut ring = (0..count).map(|step| brokers[(first + step) % count]);
            ring.find(|broker| !taken.contains(broker))
        };
        ring(&self.active).or_else(|| ring(&self.fenced))
    }
}

/// A small generator of random numbers; good enough to shuffle by, and the same everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}
