//! `range`: of each topic, every subscriber gets a run of partitions, as equal in length as may be. Members keep what they
//! have as far as that allows, and lower partitions rather than higher ones, so that members with equal subscriptions
//! have the same numbers of co-partitioned topics.

use std::collections::BTreeSet;

use strata_types::PartitionId;
use uuid::Uuid;

use super::GroupSpec;
use crate::group::modern::TopicPartitions;

pub(super) fn assign(spec: &GroupSpec) -> Vec<TopicPartitions> {
    let mut assigned = vec![TopicPartitions::default(); spec.members.len()];
    for (&topic, &partitions) in &spec.topics {
        let subscribers: Vec<usize> = (0..spec.members.len())
            .filter(|&index| spec.members[index].subscribed.contains(&topic))
            .collect();
        if !subscribers.is_empty() {
            assign_topic(spec, topic, partitions, &subscribers, &mut assigned);
        }
    }
    assigned
}

fn assign_topic(
    spec: &GroupSpec,
    topic: Uuid,
    partitions: PartitionId,
    subscribers: &[usize],
    assigned: &mut [TopicPartitions],
) {
    let least = partitions as usize / subscribers.len();
    // That many members get one more.
    let mut extras = partitions as usize % subscribers.len();
    let mut free: BTreeSet<PartitionId> = (0..partitions).collect();
    let mut unfilled = Vec::new();
    for &member in subscribers {
        let has = spec.members[member].current.of_topic(topic).into_iter().flatten().copied();
        let has: Vec<PartitionId> = has.filter(|partition| free.contains(partition)).collect();
        let keeps_extra = has.len() > least && extras > 0;
        extras -= usize::from(keeps_extra);
        let kept = has.len().min(least + usize::from(keeps_extra));
        for partition in &has[..kept] {
            free.remove(partition);
            assigned[member].insert(topic, *partition);
        }
        if !keeps_extra {
            unfilled.push((member, least - kept));
        }
    }
    for (member, missing) in unfilled {
        let extra = usize::from(extras > 0);
        extras -= extra;
        for _ in 0..missing + extra {
            if let Some(partition) = free.pop_first() {
                assigned[member].insert(topic, partition);
            }
        }
    }
}
