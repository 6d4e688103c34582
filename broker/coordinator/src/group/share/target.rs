//! The target assignment of a share group: what every member is to have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strata_protocol::Str;
use strata_types::TimestampMs;
use uuid::Uuid;

use super::record::{target_epoch_record, target_record};
use super::{ShareGroup, ShareMember};
use crate::group::assignor::{MemberSpec, simple};
use crate::group::modern::TopicPartitions;
use crate::group::{GroupOutcome, GroupShard};

/// What a member is to have, and as of which epoch of the group.
pub(super) struct Target {
    pub(super) epoch: i32,
    pub(super) partitions: Arc<TopicPartitions>,
}

impl GroupShard {
    /// What the member is to have: by a new target assignment if the group's epoch is newer than the last one, and that
    /// was not made less than the assignment interval ago (KIP-1263).
    pub(super) fn share_target(
        &self,
        now: TimestampMs,
        group: &ShareGroup,
        epoch: i32,
        member: &ShareMember,
        outcome: &mut GroupOutcome,
    ) -> Target {
        let last = group.core.assignment_timestamp;
        let interval_ms = i64::from(self.share_settings(&group.core.id).assignment_interval_ms);
        let too_soon = last != 0 && interval_ms > 0 && now < last + interval_ms;
        if epoch <= group.core.assignment_epoch || too_soon {
            let partitions = group.core.targets.get(&member.id).cloned().unwrap_or_default();
            return Target { epoch: group.core.assignment_epoch, partitions };
        }
        let view = self.metadata.view();
        let topics = group.subscribed_topics(Some(member), &[]);
        let partitions = group.assignable(&topics, view);
        let ids = |member: &ShareMember| -> BTreeSet<Uuid> {
            member.topics.iter().filter_map(|name| Some(view.topic(name)?.id)).collect()
        };
        let mut members: BTreeMap<&Str, &ShareMember> =
            group.core.members.iter().map(|(id, member)| (id, member.as_ref())).collect();
        members.insert(&member.id, member);
        let specs = members.into_values().map(|member| MemberSpec {
            id: member.id.clone(),
            subscribed: Arc::new(ids(member)),
            current: group.core.targets.get(&member.id).cloned().unwrap_or_default(),
        });
        let specs: Vec<MemberSpec> = specs.collect();
        let mut own = Arc::default();
        for (spec, assigned) in specs.iter().zip(simple::assign(&specs, &partitions)) {
            if group.core.targets.get(&spec.id).is_none_or(|before| **before != assigned) {
                outcome.append(target_record(&group.core.id, &spec.id, &assigned));
            }
            if spec.id == member.id {
                own = Arc::new(assigned);
            }
        }
        tracing::debug!(group = %group.core.id, epoch, "a new target assignment");
        outcome.append(target_epoch_record(&group.core.id, epoch, now));
        Target { epoch, partitions: own }
    }
}
