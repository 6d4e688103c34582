//! `uniform`: all partitions of all topics are spread so that members' shares differ by one at most, where subscriptions
//! allow that, and members keep what they have as far as balance allows.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use strata_types::PartitionId;
use uuid::Uuid;

use super::GroupSpec;
use crate::group::modern::TopicPartitions;

/// Passes over the topics in search of moves that balance better. Every move lowers the sum of the squared shares, so a
/// pass without one comes by itself; a group that needs more than this is balanced well enough.
const BALANCE_PASSES_MAX: usize = 64;

pub(super) fn assign(spec: &GroupSpec) -> Vec<TopicPartitions> {
    if spec.members.is_empty() {
        return Vec::new();
    }
    if spec.is_homogeneous() { assign_homogeneous(spec) } else { Heterogeneous::new(spec).assign() }
}

/// All members subscribe to the same: a member's share is known beforehand.
fn assign_homogeneous(spec: &GroupSpec) -> Vec<TopicPartitions> {
    let total: usize = spec.topics.values().map(|count| *count as usize).sum();
    let least = total / spec.members.len();
    let extras = total % spec.members.len();
    let mut taken = HashSet::with_capacity(total);
    let mut assigned = Vec::with_capacity(spec.members.len());
    // What a member has beyond its share is kept by those who have most, as far as there are extra partitions.
    let valid: Vec<usize> = spec.members.iter().map(|member| kept_at_most(spec, member)).collect();
    let mut extras_left = extras;
    let mut quotas: Vec<usize> = vec![least; spec.members.len()];
    for (quota, has) in quotas.iter_mut().zip(&valid) {
        if *has > least && extras_left > 0 {
            *quota += 1;
            extras_left -= 1;
        }
    }
    for quota in quotas.iter_mut().filter(|quota| **quota == least) {
        if extras_left > 0 {
            *quota += 1;
            extras_left -= 1;
        }
    }
    for (member, quota) in spec.members.iter().zip(&quotas) {
        let allowed =
            member.current.iter().filter(|(topic, partition)| spec.allows(member, *topic, *partition));
        let kept: TopicPartitions =
            allowed.filter(|partition| !taken.contains(partition)).take(*quota).collect();
        taken.extend(kept.iter());
        assigned.push(kept);
    }
    let mut free = all_partitions(spec).filter(|partition| !taken.contains(partition));
    for (assigned, quota) in assigned.iter_mut().zip(quotas) {
        let missing = quota - assigned.len();
        free.by_ref().take(missing).for_each(|(topic, partition)| assigned.insert(topic, partition));
    }
    assigned
}

fn kept_at_most(spec: &GroupSpec, member: &super::MemberSpec) -> usize {
    member.current.iter().filter(|(topic, partition)| spec.allows(member, *topic, *partition)).count()
}

fn all_partitions(spec: &GroupSpec) -> impl Iterator<Item = (Uuid, PartitionId)> {
    spec.topics.iter().flat_map(|(topic, count)| (0..*count).map(move |partition| (*topic, partition)))
}

/// Subscriptions differ: sticky first, then the rest to whoever has least, then moves that balance.
struct Heterogeneous<'a> {
    spec: &'a GroupSpec,
    subscribers: BTreeMap<Uuid, Vec<usize>>,
    assigned: Vec<TopicPartitions>,
    sizes: Vec<usize>,
    owners: BTreeMap<Uuid, Vec<Option<usize>>>,
}

impl<'a> Heterogeneous<'a> {
    fn new(spec: &'a GroupSpec) -> Self {
        let mut subscribers = BTreeMap::<Uuid, Vec<usize>>::new();
        for (index, member) in spec.members.iter().enumerate() {
            for topic in member.subscribed.iter().filter(|topic| spec.topics.contains_key(topic)) {
                subscribers.entry(*topic).or_default().push(index);
            }
        }
        let owners = spec.topics.iter().map(|(topic, count)| (*topic, vec![None; *count as usize]));
        Self {
            spec,
            subscribers,
            assigned: vec![TopicPartitions::default(); spec.members.len()],
            sizes: vec![0; spec.members.len()],
            owners: owners.collect(),
        }
    }

    fn assign(mut self) -> Vec<TopicPartitions> {
        self.keep();
        self.hand_out();
        self.balance();
        self.assigned
    }

    fn keep(&mut self) {
        for (index, member) in self.spec.members.iter().enumerate() {
            for (topic, partition) in member.current.iter() {
                if self.spec.allows(member, topic, partition) && self.owner(topic, partition).is_none() {
                    self.give(topic, partition, index);
                }
            }
        }
    }

    /// Topics with most partitions per subscriber come first, then those with fewest subscribers: they leave least choice.
    fn hand_out(&mut self) {
        let mut topics: Vec<(Uuid, usize, usize)> = self
            .subscribers
            .iter()
            .map(|(topic, subscribers)| (*topic, self.owners[topic].len(), subscribers.len()))
            .collect();
        topics.sort_by(|(_, partitions, members), (_, other_partitions, other_members)| {
            (other_partitions * members).cmp(&(partitions * other_members)).then(members.cmp(other_members))
        });
        for (topic, partitions, _) in topics {
            let mut least: BTreeSet<(usize, usize)> =
                self.subscribers[&topic].iter().map(|&member| (self.sizes[member], member)).collect();
            for partition in 0..partitions as PartitionId {
                if self.owner(topic, partition).is_none()
                    && let Some((size, member)) = least.pop_first()
                {
                    self.give(topic, partition, member);
                    least.insert((size + 1, member));
                }
            }
        }
    }

    /// Moves partitions from members to others of the same topic that have at least two less, until there are none.
    fn balance(&mut self) {
        let contested: Vec<Uuid> = self
            .subscribers
            .iter()
            .filter(|(_, members)| members.len() > 1)
            .map(|(topic, _)| *topic)
            .collect();
        for _ in 0..BALANCE_PASSES_MAX {
            let moved = contested.iter().filter(|topic| self.balance_topic(**topic)).count();
            if moved == 0 {
                return;
            }
        }
    }

    fn balance_topic(&mut self, topic: Uuid) -> bool {
        let mut sizes: BTreeSet<(usize, usize)> =
            self.subscribers[&topic].iter().map(|&member| (self.sizes[member], member)).collect();
        let mut moved = false;
        // From those that have most downwards: not all of them have partitions of this topic.
        let mut from = sizes.iter().rev().map(|(_, member)| *member).collect::<Vec<_>>().into_iter();
        let mut giver = from.next();
        while let (Some(member), Some(&(least, taker))) = (giver, sizes.first()) {
            let size = self.sizes[member];
            let partition =
                self.assigned[member].of_topic(topic).and_then(|partitions| partitions.last().copied());
            match partition {
                Some(partition) if size > least + 1 => {
                    sizes.remove(&(size, member));
                    sizes.remove(&(least, taker));
                    self.assigned[member].remove(topic, partition);
                    self.sizes[member] -= 1;
                    self.give(topic, partition, taker);
                    sizes.insert((size - 1, member));
                    sizes.insert((least + 1, taker));
                    moved = true;
                    // Whoever has most now goes on.
                    from = sizes.iter().rev().map(|(_, member)| *member).collect::<Vec<_>>().into_iter();
                    giver = from.next();
                }
                _ => giver = from.next(),
            }
        }
        moved
    }

    fn owner(&self, topic: Uuid, partition: PartitionId) -> Option<usize> {
        self.owners.get(&topic).and_then(|owners| *owners.get(partition as usize)?)
    }

    fn give(&mut self, topic: Uuid, partition: PartitionId, member: usize) {
        self.assigned[member].insert(topic, partition);
        self.sizes[member] += 1;
        if let Some(owner) = self.owners.get_mut(&topic).and_then(|owners| owners.get_mut(partition as usize))
        {
            *owner = Some(member);
        }
    }
}
