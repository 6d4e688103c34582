//! When nothing disturbs them any more, all members are in the group's epoch, and every partition of every topic that
//! somebody subscribes to is read by exactly one of its subscribers.

use std::collections::BTreeSet;

use strata_coordinator::group::{ConsumerGroup, MemberState};
use uuid::Uuid;

use crate::consumer::topic_id;

pub(crate) fn check(
    seed: u64,
    group: &ConsumerGroup,
    owned: &[&BTreeSet<(Uuid, i32)>],
    subscribed: &[&[&'static str]],
    topics: &[(&str, i32)],
) {
    for member in group.members() {
        let at = (member.epoch(), member.state());
        assert_eq!(at, (group.epoch(), MemberState::Stable), "seed {seed}: {}", member.id());
    }
    for (topic, partitions) in topics {
        let wanted = subscribed.iter().any(|topics| topics.contains(topic));
        for partition in 0..*partitions {
            let owners =
                (0..owned.len()).filter(|index| owned[*index].contains(&(topic_id(topic), partition)));
            let owners: Vec<usize> = owners.collect();
            assert_eq!(
                owners.len(),
                usize::from(wanted),
                "seed {seed}: {topic}-{partition} is with {owners:?}"
            );
            assert!(owners.iter().all(|owner| subscribed[*owner].contains(topic)), "seed {seed}: {topic}");
        }
    }
}
