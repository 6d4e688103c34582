//! Which brokers get a partition's replicas: Kafka's striped placement.
//!
//! The racks stand in a ring, and the brokers of each rack in a ring of their own. Each partition's leader goes to the next
//! rack; its other replicas to the racks after that one. Thus leaders and replicas spread over racks first, then over
//! brokers. A rack's next broker differs from partition to partition; once all brokers had their turn, the rings are shuffled,
//! so that the same brokers do not always share partitions. Fenced brokers may hold replicas but lead nothing.
//!
//! Source: the description of `org.apache.kafka.metadata.placement.StripedReplicaPlacer`.

use std::collections::BTreeMap;

use strata_protocol::Str;
use strata_types::{ErrorCode, NodeId};

use super::ApiError;
use crate::Image;

/// Places one topic's partitions. The same image and seed give the same placement.
pub(crate) struct Placer {
    racks: Vec<Rack>,
    active_count: usize,
    broker_count: usize,
    /// How many partitions were placed since the last shuffle.
    turn: usize,
    /// The rack that the next leader comes from.
    rack: usize,
    random: SplitMix64,
}

struct Rack {
    active: Ring,
    fenced: Ring,
}

/// Brokers in a ring; each turn starts one further.
struct Ring {
    brokers: Vec<NodeId>,
    start: usize,
    taken: usize,
    turn: Option<usize>,
}

impl Placer {
    pub(crate) fn new(image: &Image, seed: u64) -> Self {
        let mut by_rack: BTreeMap<Option<&Str>, (Vec<NodeId>, Vec<NodeId>)> = BTreeMap::new();
        for broker in image.brokers() {
            let (active, fenced) = by_rack.entry(broker.rack.as_ref()).or_default();
            match broker.is_active() {
                true => active.push(broker.id),
                false => fenced.push(broker.id),
            }
        }
        let racks: Vec<Rack> = by_rack
            .into_values()
            .map(|(active, fenced)| Rack { active: Ring::new(active), fenced: Ring::new(fenced) })
            .collect();
        let active_count = racks.iter().map(|rack| rack.active.brokers.len()).sum();
        let fenced_count: usize = racks.iter().map(|rack| rack.fenced.brokers.len()).sum();
        let broker_count = active_count + fenced_count;
        let mut placer =
            Self { racks, active_count, broker_count, turn: 0, rack: 0, random: SplitMix64(seed) };
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
        if self.turn >= self.active_count {
            self.shuffle();
            self.turn = 0;
        }
        let mut replicas = Vec::with_capacity(wanted);
        let mut leader_rack = self.rack;
        for step in 0..self.racks.len() {
            let rack = (self.rack + step) % self.racks.len();
            if let Some(leader) = self.racks[rack].active.next(self.turn) {
                leader_rack = rack;
                replicas.push(leader);
                break;
            }
        }
        // The leader's rack has had its replica of the first round.
        let mut rack = self.rack;
        let mut passed_leader = false;
        while replicas.len() < wanted {
            if rack == leader_rack && !passed_leader {
                passed_leader = true;
            } else if let Some(broker) = self.racks[rack].next(self.turn) {
                replicas.push(broker);
            }
            rack = (rack + 1) % self.racks.len();
        }
        self.turn += 1;
        self.rack = (self.rack + 1) % self.racks.len().max(1);
        replicas
    }

    fn shuffle(&mut self) {
        self.random.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            self.random.shuffle(&mut rack.active.brokers);
            self.random.shuffle(&mut rack.fenced.brokers);
            rack.active.turn = None;
            rack.fenced.turn = None;
        }
    }
}

impl Rack {
    fn next(&mut self, turn: usize) -> Option<NodeId> {
        self.active.next(turn).or_else(|| self.fenced.next(turn))
    }
}

impl Ring {
    fn new(brokers: Vec<NodeId>) -> Self {
        Self { brokers, start: 0, taken: 0, turn: None }
    }

    /// The next broker of the ring that has not been taken in this turn.
    fn next(&mut self, turn: usize) -> Option<NodeId> {
        if self.turn != Some(turn) {
            self.turn = Some(turn);
            self.taken = 0;
            self.start = (self.start + 1) % self.brokers.len().max(1);
        }
        if self.taken == self.brokers.len() {
            return None;
        }
        let broker = self.brokers[(self.start + self.taken) % self.brokers.len()];
        self.taken += 1;
        Some(broker)
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
