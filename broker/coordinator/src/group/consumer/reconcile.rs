//! One member's next step towards its part of the target assignment.
//!
//! A member first gives up what it is not to have, and stays in its epoch until it has said so. Then it takes the
//! target's epoch and what is free of its part; the rest follows when others have given it up. So a partition is never
//! with two members.

use std::collections::BTreeSet;
use std::sync::Arc;

use strata_types::{ErrorCode, PartitionId};
use uuid::Uuid;

use super::ConsumerGroup;
use super::member::{Assigned, ConsumerMember, MemberState};
use crate::group::kind::Failure;
use crate::group::metadata::MetadataView;
use crate::group::modern::TopicPartitions;

/// What a member's step depends on beside itself.
pub(super) struct Step<'a> {
    pub(super) group: &'a ConsumerGroup,
    pub(super) view: &'a dyn MetadataView,
    pub(super) target_epoch: i32,
    pub(super) target: &'a TopicPartitions,
    /// Whether the member's subscription has just changed: then it must give up what it no longer subscribes to.
    pub(super) subscription_changed: bool,
    /// What the member says that it owns; `None` if it does not say.
    pub(super) owned: Option<&'a TopicPartitions>,
}

impl Step<'_> {
    /// The member after its step; equal to what it was if there is none to take.
    pub(super) fn take(&self, member: &ConsumerMember) -> Result<ConsumerMember, Failure> {
        if !self.subscription_changed && member.is_reconciled_to(self.target_epoch) {
            return Ok(member.clone());
        }
        Ok(match member.state {
            MemberState::Stable if member.epoch != self.target_epoch => self.advance(member, member.epoch),
            MemberState::Stable => self.drop_unsubscribed(member),
            MemberState::UnrevokedPartitions if self.owns_any(&member.revoking) => {
                if self.subscription_changed { self.drop_unsubscribed(member) } else { member.clone() }
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                self.advance(member, member.epoch)
            }
            MemberState::Unknown if self.owned.is_some_and(TopicPartitions::is_empty) => {
                self.advance(member, self.target_epoch)
            }
            MemberState::Unknown => {
                let message = "The consumer group member is in a unknown state. The member must abandon all its \
                               partitions and rejoin.";
                return Err(Failure::new(ErrorCode::FencedMemberEpoch, message));
            }
        })
    }

    /// Whether the member may still own some of these. Where it does not say, it may.
    fn owns_any(&self, partitions: &Assigned) -> bool {
        self.owned
            .is_none_or(|owned| owned.iter().any(|(topic, partition)| partitions.contains(topic, partition)))
    }

    fn advance(&self, member: &ConsumerMember, epoch: i32) -> ConsumerMember {
        let subscribed = self.group.topic_ids(member, self.view);
        let is_target = |topic: Uuid, partition: PartitionId| {
            subscribed.contains(&topic) && self.target.contains(topic, partition)
        };
        let (kept, revoking): (Vec<_>, Vec<_>) =
            member.assigned.iter().partition(|(topic, partition, _)| is_target(*topic, *partition));
        let mut assigned: Assigned = kept.into_iter().collect();
        let revoking: Assigned = revoking.into_iter().collect();
        let mut next = member.clone();
        if !revoking.is_empty() && self.owns_any(&revoking) {
            next.set_epoch(epoch);
            next.state = MemberState::UnrevokedPartitions;
            (next.assigned, next.revoking) = (Arc::new(assigned), Arc::new(revoking));
            return next;
        }
        let mut unreleased = false;
        for (topic, partition) in self.target.iter() {
            if !subscribed.contains(&topic) || assigned.contains(topic, partition) {
                continue;
            }
            // What it is giving up itself may come back to it at once: nobody else has it.
            if self.group.is_owned(topic, partition) && !member.revoking.contains(topic, partition) {
                unreleased = true;
            } else {
                assigned.insert(topic, partition, self.target_epoch);
            }
        }
        next.set_epoch(self.target_epoch);
        next.state = if unreleased { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        (next.assigned, next.revoking) = (Arc::new(assigned), Arc::default());
        next
    }

    /// Takes away what the member no longer subscribes to, in the epoch that it is in.
    fn drop_unsubscribed(&self, member: &ConsumerMember) -> ConsumerMember {
        let subscribed: BTreeSet<Uuid> = self.group.topic_ids(member, self.view);
        if member.assigned.topics().all(|topic| subscribed.contains(&topic)) {
            return member.clone();
        }
        let (kept, dropped): (Vec<_>, Vec<_>) =
            member.assigned.iter().partition(|(topic, _, _)| subscribed.contains(topic));
        let mut next = member.clone();
        next.set_epoch(member.epoch);
        next.assigned = Arc::new(kept.into_iter().collect());
        let revoking: Assigned = member.revoking.iter().chain(dropped).collect();
        if self.owns_any(&revoking) {
            next.state = MemberState::UnrevokedPartitions;
            next.revoking = Arc::new(revoking);
        }
        next
    }
}
