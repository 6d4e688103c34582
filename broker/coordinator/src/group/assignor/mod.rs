//! Who gets which partitions: the assignors that a coordinator has, and what they are told.

mod range;
pub(super) mod simple;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strata_protocol::Str;
use strata_types::PartitionId;
use uuid::Uuid;

use super::modern::TopicPartitions;

/// A member as an assignor sees it.
#[derive(Debug, Clone)]
pub(super) struct MemberSpec {
    pub(super) id: Str,
    /// Topics that exist. Members with equal subscriptions share one set, mostly.
    pub(super) subscribed: Arc<BTreeSet<Uuid>>,
    /// Its part in the target assignment so far.
    pub(super) current: Arc<TopicPartitions>,
}

/// The group as an assignor sees it. Members are in the order of their ids, which makes assignments repeatable.
#[derive(Debug)]
pub(super) struct GroupSpec {
    pub(super) members: Vec<MemberSpec>,
    /// How many partitions each topic has that somebody subscribes to.
    pub(super) topics: BTreeMap<Uuid, PartitionId>,
}

impl GroupSpec {
    /// Whether all members subscribe to the same topics.
    pub(super) fn is_homogeneous(&self) -> bool {
        self.members.windows(2).all(|pair| {
            Arc::ptr_eq(&pair[0].subscribed, &pair[1].subscribed) || pair[0].subscribed == pair[1].subscribed
        })
    }

    /// Whether the member may have the partition.
    fn allows(&self, member: &MemberSpec, topic: Uuid, partition: PartitionId) -> bool {
        member.subscribed.contains(&topic) && self.topics.get(&topic).is_some_and(|count| partition < *count)
    }
}

/// Gives every partition of a subscribed topic to exactly one of its subscribers. Answers in the members' order.
pub(super) type Assign = fn(&GroupSpec) -> Vec<TopicPartitions>;

/// The assignor of that name (`group.consumer.assignors`).
pub(super) fn by_name(name: &str) -> Option<Assign> {
    match name {
        "uniform" => Some(uniform::assign),
        "range" => Some(range::assign),
        _ => None,
    }
}
