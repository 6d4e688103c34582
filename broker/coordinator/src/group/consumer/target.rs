//! The target assignment: what every member is to have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use strata_protocol::Str;
use strata_types::{ErrorCode, TimestampMs};
use uuid::Uuid;

use super::record::{target_epoch_record, target_record};
use super::{ConsumerGroup, ConsumerMember};
use crate::group::assignor::{self, GroupSpec, MemberSpec};
use crate::group::kind::Failure;
use crate::group::metadata::MetadataView;
use crate::group::modern::TopicPartitions;
use crate::group::{GroupOutcome, GroupShard};

/// What a member is to have, and as of which epoch of the group.
pub(super) struct Target {
    pub(super) epoch: i32,
    pub(super) partitions: Arc<TopicPartitions>,
}

/// The topics of each different subscription: names, and the regular expression.
type Subscriptions<'a> = HashMap<(&'a [Str], Option<&'a Str>), Arc<BTreeSet<Uuid>>>;

impl GroupShard {
    /// What the member is to have: by a new target assignment if the group's epoch is newer than the last one, and that
    /// was not made less than the assignment interval ago (KIP-1263): members that come at once are then one assignment.
    pub(super) fn consumer_target(
        &self,
        now: TimestampMs,
        group: &ConsumerGroup,
        epoch: i32,
        member: &ConsumerMember,
        outcome: &mut GroupOutcome,
    ) -> Result<Target, Failure> {
        let last = group.core.assignment_timestamp;
        let interval_ms = i64::from(self.consumer_settings(&group.core.id).assignment_interval_ms);
        let too_soon = last != 0 && interval_ms > 0 && now < last + interval_ms;
        if epoch <= group.core.assignment_epoch || too_soon {
            let epoch = group.core.assignment_epoch;
            return Ok(Target { epoch, partitions: group.target_of(member) });
        }
        let preferred = group.preferred_assignor(Some(member));
        let default = self.config.consumer.assignors.first().map(String::as_str).unwrap_or_default();
        let name = preferred.as_deref().unwrap_or(default);
        let Some(assign) = assignor::by_name(name) else {
            let message =
                format!("Failed to compute a new target assignment for epoch {epoch}: no assignor {name}");
            return Err(Failure::new(ErrorCode::UnknownServerError, message));
        };
        tracing::debug!(group = %group.core.id, epoch, assignor = name, "a new target assignment");
        let spec = group.spec(member, self.metadata.view());
        let partitions = group.record_targets(&spec, assign(&spec), member, outcome);
        outcome.append(target_epoch_record(&group.core.id, epoch, now));
        Ok(Target { epoch, partitions })
    }
}

impl ConsumerGroup {
    /// Records what differs from the last target assignment; answers the member's part.
    fn record_targets(
        &self,
        spec: &GroupSpec,
        assigned: Vec<TopicPartitions>,
        member: &ConsumerMember,
        outcome: &mut GroupOutcome,
    ) -> Arc<TopicPartitions> {
        let mut own = Arc::default();
        for (spec, assigned) in spec.members.iter().zip(assigned) {
            if self.core.targets.get(&spec.id).is_none_or(|before| **before != assigned) {
                outcome.append(target_record(&self.core.id, &spec.id, &assigned));
            }
            if spec.id == member.id {
                own = Arc::new(assigned);
            }
        }
        own
    }

    /// The group as the assignors see it, with `member` in place of what it was, or of whom it replaces.
    fn spec(&self, member: &ConsumerMember, view: &dyn MetadataView) -> GroupSpec {
        let replaced = member.instance_id.as_ref().and_then(|id| self.core.static_members.get(id));
        let mut members: BTreeMap<&Str, &ConsumerMember> = self
            .core
            .members
            .iter()
            .filter(|(id, _)| replaced != Some(*id))
            .map(|(id, member)| (id, member.as_ref()))
            .collect();
        members.insert(&member.id, member);
        let mut sets = Subscriptions::new();
        let mut topics = BTreeMap::new();
        let members = members.into_values().map(|member| {
            let subscribed = sets.entry((&member.topics, member.regex())).or_insert_with(|| {
                let ids = self.topic_ids(member, view);
                let known = ids.iter().filter_map(|id| view.topic_by_id(*id));
                topics.extend(known.map(|topic| (topic.id, topic.partitions)));
                Arc::new(ids)
            });
            MemberSpec {
                id: member.id.clone(),
                subscribed: subscribed.clone(),
                current: self.target_of(member),
            }
        });
        let members = members.collect();
        GroupSpec { members, topics }
    }
}
