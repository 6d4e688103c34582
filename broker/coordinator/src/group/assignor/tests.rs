//! What holds of every assignment: all is assigned, to one each, evenly; and members keep what they can.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use strata_protocol::Str;
use uuid::Uuid;

use super::{Assign, GroupSpec, MemberSpec, range, uniform};
use crate::group::modern::TopicPartitions;

const ASSIGNORS: [Assign; 2] = [uniform::assign, range::assign];

fn spec(partitions: &[i32], subscriptions: &[u8]) -> GroupSpec {
    let topic = |index: usize| Uuid::from_u128(index as u128 + 1);
    let members = subscriptions.iter().enumerate().map(|(index, bits)| {
        let subscribed = (0..partitions.len()).filter(|topic| bits & (1 << topic) != 0);
        MemberSpec {
            id: Str::from(format!("m{index:02}")),
            subscribed: Arc::new(subscribed.map(topic).collect::<BTreeSet<_>>()),
            current: Arc::default(),
        }
    });
    let members: Vec<MemberSpec> = members.collect();
    let wanted = |topic: &Uuid| members.iter().any(|member| member.subscribed.contains(topic));
    let topics = partitions.iter().enumerate().map(|(index, count)| (topic(index), *count));
    let topics: BTreeMap<_, _> = topics.filter(|(topic, _)| wanted(topic)).collect();
    GroupSpec { members, topics }
}

/// The group with what was assigned as what its members have.
fn applied(mut spec: GroupSpec, assigned: Vec<TopicPartitions>) -> GroupSpec {
    for (member, assigned) in spec.members.iter_mut().zip(assigned) {
        member.current = Arc::new(assigned);
    }
    spec
}

fn check_complete(spec: &GroupSpec, assigned: &[TopicPartitions]) {
    let mut seen = BTreeSet::new();
    for (member, assigned) in spec.members.iter().zip(assigned) {
        for (topic, partition) in assigned.iter() {
            assert!(member.subscribed.contains(&topic), "{} does not subscribe to {topic}", member.id);
            assert!(seen.insert((topic, partition)), "{topic}-{partition} is assigned twice");
        }
    }
    let all =
        spec.topics.iter().flat_map(|(topic, count)| (0..*count).map(move |partition| (*topic, partition)));
    assert_eq!(seen, all.collect());
}

/// No partition could go to another subscriber and make shares more even.
fn check_balanced(spec: &GroupSpec, assigned: &[TopicPartitions]) {
    for (owner, owned) in assigned.iter().enumerate() {
        for (topic, _) in owned.topics() {
            for (other, member) in spec.members.iter().enumerate() {
                if other != owner && member.subscribed.contains(&topic) {
                    let (has, could) = (owned.len(), assigned[other].len() + 1);
                    assert!(
                        could >= has,
                        "{} has {has}, {} would have {could}",
                        spec.members[owner].id,
                        member.id
                    );
                }
            }
        }
    }
}

/// Of each topic, all its subscribers have as many partitions, or one more.
fn check_even_by_topic(spec: &GroupSpec, assigned: &[TopicPartitions]) {
    for topic in spec.topics.keys() {
        let subscribers =
            spec.members.iter().zip(assigned).filter(|(member, _)| member.subscribed.contains(topic));
        let sizes = subscribers.map(|(_, assigned)| assigned.of_topic(*topic).map_or(0, BTreeSet::len));
        let sizes: Vec<usize> = sizes.collect();
        assert!(sizes.iter().max() <= sizes.iter().min().map(|least| least + 1).as_ref(), "{sizes:?}");
    }
}

fn groups() -> impl Strategy<Value = GroupSpec> {
    let partitions = prop::collection::vec(0..12_i32, 1..5);
    let subscriptions = prop::collection::vec(0..16_u8, 1..9);
    (partitions, subscriptions).prop_map(|(partitions, subscriptions)| spec(&partitions, &subscriptions))
}

fn alike() -> impl Strategy<Value = GroupSpec> {
    (prop::collection::vec(0..12_i32, 1..5), 1..9_usize)
        .prop_map(|(partitions, members)| spec(&partitions, &vec![15; members]))
}

proptest! {
    #[test]
    fn every_partition_is_assigned_to_one_subscriber(group in groups(), leaver in 0..9_usize) {
        for assign in ASSIGNORS {
            let assigned = assign(&group);
            check_complete(&group, &assigned);
            // And when one of them has gone, what it had is, too.
            let mut group = applied(GroupSpec { members: group.members.clone(), topics: group.topics.clone() }, assigned);
            if leaver < group.members.len() && group.members.len() > 1 {
                group.members.remove(leaver);
                let members = &group.members;
                group.topics.retain(|topic, _| members.iter().any(|member| member.subscribed.contains(topic)));
                check_complete(&group, &assign(&group));
            }
        }
    }

    #[test]
    fn uniform_shares_cannot_be_more_even(group in groups()) {
        let assigned = uniform::assign(&group);
        check_balanced(&group, &assigned);
    }

    #[test]
    fn range_shares_of_a_topic_differ_by_one_at_most(group in groups()) {
        check_even_by_topic(&group, &range::assign(&group));
    }

    #[test]
    fn nothing_moves_when_nothing_has_changed(group in groups()) {
        for assign in ASSIGNORS {
            let before = assign(&group);
            let group = applied(GroupSpec { members: group.members.clone(), topics: group.topics.clone() }, before.clone());
            prop_assert_eq!(assign(&group), before);
        }
    }

    #[test]
    fn whoever_stays_keeps_all_of_it_when_another_leaves(group in alike(), leaver in 0..9_usize) {
        prop_assume!(leaver < group.members.len() && group.members.len() > 1);
        let assigned = uniform::assign(&group);
        let mut group = applied(group, assigned);
        group.members.remove(leaver);
        let after = uniform::assign(&group);
        for (member, after) in group.members.iter().zip(&after) {
            prop_assert!(member.current.iter().all(|(topic, partition)| after.contains(topic, partition)));
        }
    }

    #[test]
    fn only_the_newcomer_gains_when_one_joins(group in alike()) {
        let assigned = uniform::assign(&group);
        let mut group = applied(group, assigned);
        let newcomer = MemberSpec { id: Str::from("newcomer"), current: Arc::default(), ..group.members[0].clone() };
        group.members.push(newcomer);
        let after = uniform::assign(&group);
        for (member, after) in group.members.iter().zip(&after).take(after.len() - 1) {
            prop_assert!(after.iter().all(|(topic, partition)| member.current.contains(topic, partition)));
        }
        check_balanced(&group, &after);
    }
}

#[test]
fn co_partitioned_topics_are_in_the_same_hands() {
    let group = spec(&[4, 4], &[3, 3]);
    let assigned = range::assign(&group);
    for assigned in &assigned {
        let numbers: Vec<_> = assigned.topics().map(|(_, partitions)| partitions.clone()).collect();
        assert_eq!(numbers[0], numbers[1]);
    }
}
