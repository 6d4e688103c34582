//! The share groups' assignor: every partition has as many members as every other, and every member as many partitions,
//! give or take one; what members have they keep where that allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strata_types::PartitionId;
use uuid::Uuid;

use super::MemberSpec;
use crate::group::modern::TopicPartitions;

/// Gives every partition of `partitions` to at least one of its subscribers, and every subscriber at least one partition.
/// Answers in the members' order.
pub(in crate::group) fn assign(members: &[MemberSpec], partitions: &TopicPartitions) -> Vec<TopicPartitions> {
    let mut assigned = vec![TopicPartitions::default(); members.len()];
    for (topics, subscribers) in subscriptions(members) {
        let wanted: Vec<_> = partitions.iter().filter(|(topic, _)| topics.contains(topic)).collect();
        spread(members, &subscribers, &wanted, &mut assigned);
    }
    assigned
}

/// Members by what they subscribe to. Where all subscribe to the same, all topics are spread together; otherwise each by
/// itself, over its own subscribers.
fn subscriptions(members: &[MemberSpec]) -> Vec<(BTreeSet<Uuid>, Vec<usize>)> {
    let is_homogeneous = members.windows(2).all(|pair| {
        Arc::ptr_eq(&pair[0].subscribed, &pair[1].subscribed) || pair[0].subscribed == pair[1].subscribed
    });
    if is_homogeneous {
        let topics = members.first().map(|member| BTreeSet::clone(&member.subscribed)).unwrap_or_default();
        return vec![(topics, (0..members.len()).collect())];
    }
    let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        member.subscribed.iter().for_each(|topic| subscribers.entry(*topic).or_default().push(index));
    }
    subscribers.into_iter().map(|(topic, members)| (BTreeSet::from([topic]), members)).collect()
}

fn spread(
    members: &[MemberSpec],
    subscribers: &[usize],
    partitions: &[(Uuid, PartitionId)],
    assigned: &mut [TopicPartitions],
) {
    if subscribers.is_empty() || partitions.is_empty() {
        return;
    }
    // So many members for each partition, so that no member goes without.
    let sharing = subscribers.len().div_ceil(partitions.len());
    let places = sharing * partitions.len();
    let share = |rank: usize| (rank + 1) * places / subscribers.len() - rank * places / subscribers.len();
    let mut taken: BTreeMap<(Uuid, PartitionId), usize> = partitions.iter().map(|p| (*p, 0)).collect();
    let mut counts = vec![0; subscribers.len()];
    for (rank, index) in subscribers.iter().enumerate() {
        for partition in members[*index].current.iter() {
            match taken.get_mut(&partition) {
                Some(count) if *count < sharing && counts[rank] < share(rank) => {
                    *count += 1;
                    counts[rank] += 1;
                    assigned[*index].insert(partition.0, partition.1);
                }
                _ => {}
            }
        }
    }
    for (rank, index) in subscribers.iter().enumerate() {
        while counts[rank] < share(rank) {
            let has = |partition: &(Uuid, PartitionId)| assigned[*index].contains(partition.0, partition.1);
            let free = taken.iter().filter(|(partition, _)| !has(partition)).min_by_key(|(_, count)| **count);
            let Some(partition) = free.map(|(partition, _)| *partition) else { break };
            assigned[*index].insert(partition.0, partition.1);
            taken.entry(partition).and_modify(|count| *count += 1);
            counts[rank] += 1;
        }
    }
    // Who came first may have left a partition to nobody.
    for (partition, _) in taken.into_iter().filter(|(_, count)| *count == 0) {
        let least = subscribers.iter().min_by_key(|index| assigned[**index].len());
        least.into_iter().for_each(|index| assigned[*index].insert(partition.0, partition.1));
    }
}

#[cfg(test)]
mod tests {
    use strata_protocol::Str;

    use super::*;

    fn topic(id: u128) -> Uuid {
        Uuid::from_u128(id)
    }

    fn member(id: &str, topics: &[u128], current: TopicPartitions) -> MemberSpec {
        MemberSpec {
            id: Str::from(id),
            subscribed: Arc::new(topics.iter().map(|id| topic(*id)).collect()),
            current: Arc::new(current),
        }
    }

    fn all(topics: &[(u128, i32)]) -> TopicPartitions {
        topics.iter().flat_map(|(id, count)| (0..*count).map(|p| (topic(*id), p))).collect()
    }

    fn counts(assigned: &[TopicPartitions]) -> Vec<usize> {
        assigned.iter().map(TopicPartitions::len).collect()
    }

    fn sharing(assigned: &[TopicPartitions], partitions: &TopicPartitions) -> Vec<usize> {
        let of = |(topic, p)| assigned.iter().filter(|assigned| assigned.contains(topic, p)).count();
        partitions.iter().map(of).collect()
    }

    #[test]
    fn fewer_members_than_partitions_divide_them() {
        let partitions = all(&[(1, 5)]);
        let members = [member("a", &[1], Default::default()), member("b", &[1], Default::default())];
        let assigned = assign(&members, &partitions);
        assert_eq!((counts(&assigned), sharing(&assigned, &partitions)), (vec![2, 3], vec![1; 5]));
    }

    #[test]
    fn more_members_than_partitions_share_them() {
        let partitions = all(&[(1, 2)]);
        let members: Vec<_> = ["a", "b", "c"].map(|id| member(id, &[1], Default::default())).into();
        let assigned = assign(&members, &partitions);
        assert!(counts(&assigned).iter().all(|count| *count >= 1));
        assert!(sharing(&assigned, &partitions).iter().all(|count| *count == 2));
    }

    #[test]
    fn members_keep_what_they_have() {
        let partitions = all(&[(1, 4)]);
        let alone = assign(&[member("b", &[1], Default::default())], &partitions);
        assert_eq!(alone[0], partitions);
        let two = assign(
            &[member("a", &[1], Default::default()), member("b", &[1], alone[0].clone())],
            &partitions,
        );
        assert_eq!(counts(&two), [2, 2]);
        assert_eq!(sharing(&two, &partitions), [1; 4]);
        let again =
            assign(&[member("a", &[1], two[0].clone()), member("b", &[1], two[1].clone())], &partitions);
        assert_eq!(again, two);
    }

    #[test]
    fn topics_go_to_their_subscribers_only() {
        let partitions = all(&[(1, 2), (2, 3)]);
        let members = [member("a", &[1], Default::default()), member("b", &[1, 2], Default::default())];
        let assigned = assign(&members, &partitions);
        assert!(assigned[0].of_topic(topic(2)).is_none());
        assert_eq!(assigned[1].of_topic(topic(2)).map(BTreeSet::len), Some(3));
        assert!(sharing(&assigned, &partitions).iter().all(|count| *count == 1));
        assert_eq!(assign(&[], &partitions), []);
    }
}
