//! ConsumerGroupHeartbeat: a member joins, shows that it lives, says what changed, and learns what it has.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions as Told};
use strata_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use strata_types::{ErrorCode, TimestampMs, TopicId};
use uuid::Uuid;

use super::reconcile::Step;
use super::record::{epoch_record, remove_member, target_record};
use super::regex::RegexChange;
use super::target::Target;
use super::{ConsumerGroup, ConsumerMember, MemberState, validate};
use crate::group::api::ClientContext;
use crate::group::kind::{Failure, Group, GroupType};
use crate::group::metadata::group_hash;
use crate::group::modern::{JOIN_EPOCH, LEAVE_EPOCH, ModernType, STATIC_LEAVE_EPOCH, TopicPartitions};
use crate::group::timers::Timer;
use crate::group::{GroupOutcome, GroupShard};

type Heartbeat = Result<ConsumerGroupHeartbeatResponse, Failure>;

impl GroupShard {
    pub(in crate::group) fn consumer_heartbeat(
        &mut self,
        now: TimestampMs,
        request: &ConsumerGroupHeartbeatRequest,
        client: &ClientContext,
        new_member: Uuid,
        outcome: &mut GroupOutcome,
    ) -> ConsumerGroupHeartbeatResponse {
        let mut handled = || -> Heartbeat {
            validate::validate(request, client.version, &self.config.consumer)?;
            match request.member_epoch {
                LEAVE_EPOCH | STATIC_LEAVE_EPOCH => self.consumer_leave(now, request, outcome),
                _ => self.consumer_stay(now, request, client, new_member, outcome),
            }
        };
        handled().unwrap_or_else(|failure| {
            // A refused request changes nothing.
            outcome.discard();
            ConsumerGroupHeartbeatResponse {
                error_code: failure.code as i16,
                error_message: Some(failure.message),
                ..Default::default()
            }
        })
    }

    fn consumer_stay(
        &mut self,
        now: TimestampMs,
        request: &ConsumerGroupHeartbeatRequest,
        client: &ClientContext,
        new_member: Uuid,
        outcome: &mut GroupOutcome,
    ) -> Heartbeat {
        let joins = request.member_epoch == JOIN_EPOCH;
        let group = self.consumer_group_for(now, &request.group_id, joins, outcome)?;
        self.has_room(&group, &request.member_id)?;
        let member_id = if request.member_id.is_empty() {
            Str::from(TopicId(new_member).to_string())
        } else {
            request.member_id.detached()
        };
        let owned = request.topic_partitions.as_ref().map(|topics| {
            let topics = topics.iter().map(|topic| (topic.topic_id, topic.partitions.clone()));
            topics.collect::<TopicPartitions>()
        });
        let before = match &request.instance_id {
            None => dynamic_member(&group, &member_id, request.member_epoch, owned.as_ref(), joins)?,
            Some(instance_id) => {
                let epoch = request.member_epoch;
                static_member(&group, &member_id, instance_id, epoch, owned.as_ref(), joins, outcome)?
            }
        };
        let member = updated(&before, request, client);
        let change = self.subscription_change(now, &group, &before, &member, outcome)?;
        let target = self.consumer_epoch_and_target(now, &group, &member, change, outcome)?;
        let step = Step {
            group: &group,
            view: self.metadata.view(),
            target_epoch: target.epoch,
            target: &target.partitions,
            subscription_changed: change.names || change.regex.is_change(),
            owned: owned.as_ref(),
        };
        let after = step.take(&member)?;
        self.moved_on(now, &group, &member, &after, outcome);
        let settings = self.consumer_settings(&request.group_id);
        self.timers.set(
            &group.core.id,
            Timer::Session(member_id),
            now + i64::from(settings.session_timeout_ms),
        );
        // A full request is sent when joining, and after any error: the answer may be all that the client knows.
        let is_full = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let tell = joins || is_full || before.assigned.partitions() != after.assigned.partitions();
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(after.id.clone()),
            member_epoch: after.epoch,
            heartbeat_interval_ms: settings.heartbeat_interval_ms,
            assignment: tell.then(|| told(&after)),
            ..Default::default()
        })
    }

    /// The group as it is, or as it is going to be: one that is new, or that a classic group turns into.
    fn consumer_group_for(
        &mut self,
        now: TimestampMs,
        group_id: &Str,
        joins: bool,
        outcome: &mut GroupOutcome,
    ) -> Result<Arc<ConsumerGroup>, Failure> {
        let not_found = |words: String| Err(Failure::new(ErrorCode::GroupIdNotFound, words));
        match self.state.groups.get(group_id).map(Arc::as_ref) {
            Some(Group::Consumer(group)) => Ok(Arc::new(group.clone())),
            Some(Group::Classic(group)) if joins && group.is_empty() => {
                group.tombstones(outcome);
                Ok(Arc::new(ConsumerGroup::new(group_id.detached())))
            }
            Some(Group::Classic(_)) if joins => self.upgrade(now, group_id, outcome).map(Arc::new),
            Some(_) => not_found(format!("Group {group_id} is not a consumer group.")),
            None if !joins => not_found(format!("Consumer group {group_id} not found.")),
            None if self.state.groups.len() >= self.config.groups_max => {
                Err(Failure::new(ErrorCode::PolicyViolation, "There are too many groups."))
            }
            None => Ok(Arc::new(ConsumerGroup::new(group_id.detached()))),
        }
    }

    pub(super) fn has_room(&self, group: &ConsumerGroup, member_id: &Str) -> Result<(), Failure> {
        let max = self.config.consumer.max_size;
        let full = group.core.members.len() >= usize::try_from(max).unwrap_or(0);
        if full && group.core.member(member_id).is_none() {
            let message = format!("The consumer group has reached its maximum capacity of {max} members.");
            return Err(Failure::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    /// Records what the member says of itself, if it is new, and what became of its subscription.
    pub(super) fn subscription_change(
        &mut self,
        now: TimestampMs,
        group: &ConsumerGroup,
        before: &ConsumerMember,
        member: &ConsumerMember,
        outcome: &mut GroupOutcome,
    ) -> Result<SubscriptionChange, Failure> {
        if member != before {
            outcome.append(member.metadata_record(&group.core.id));
        }
        let names = member.topics != before.topics;
        let regex = self.update_regexes(now, group, before, member, outcome)?;
        Ok(SubscriptionChange { names, regex })
    }

    /// Raises the group's epoch where subscriptions or topics changed, and has everything assigned anew where it is due.
    pub(super) fn consumer_epoch_and_target(
        &mut self,
        now: TimestampMs,
        group: &ConsumerGroup,
        member: &ConsumerMember,
        change: SubscriptionChange,
        outcome: &mut GroupOutcome,
    ) -> Result<Target, Failure> {
        let mut bump = change.names || change.regex == RegexChange::Resolved;
        if member.uses_classic_protocol() {
            bump |= change.regex.is_change();
        }
        let mut epoch = group.core.epoch;
        if bump || self.metadata.is_stale(&group.core.id) {
            let topics = group.subscribed_topics(Some(member), &[]);
            let hash = group_hash(self.metadata.view(), topics.iter());
            if bump || hash != group.core.metadata_hash {
                epoch += 1;
                tracing::debug!(group = %group.core.id, member = %member.id, epoch, "a new group epoch");
                outcome.append(epoch_record(&group.core.id, epoch, hash));
            }
            self.metadata.refreshed(&group.core.id);
        }
        self.consumer_target(now, group, epoch, member, outcome)
    }

    /// Records a member's step, and watches over it where it has to give up partitions.
    pub(super) fn moved_on(
        &mut self,
        now: TimestampMs,
        group: &ConsumerGroup,
        before: &ConsumerMember,
        after: &ConsumerMember,
        outcome: &mut GroupOutcome,
    ) {
        if before == after {
            return;
        }
        let id = &group.core.id;
        outcome.append(after.assignment_record(id));
        if !after.uses_classic_protocol() {
            // Members of the classic protocol have other timers.
            let timer = Timer::Rebalance(after.id.clone());
            if after.state == MemberState::UnrevokedPartitions {
                self.timers.set(id, timer, now + i64::from(after.rebalance_timeout_ms.max(0)));
            } else {
                self.timers.cancel(id, timer);
            }
        }
    }
}

/// What a heartbeat or a join changed in a member's subscription.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubscriptionChange {
    pub(super) names: bool,
    pub(super) regex: RegexChange,
}

fn dynamic_member(
    group: &ConsumerGroup,
    id: &Str,
    epoch: i32,
    owned: Option<&TopicPartitions>,
    joins: bool,
) -> Result<ConsumerMember, Failure> {
    match group.core.member(id) {
        None if joins => Ok(ConsumerMember::new(id.clone())),
        _ => {
            let member = group.core.expect_member(id)?;
            check_epoch(group, member, epoch, owned)?;
            Ok(ConsumerMember::clone(member))
        }
    }
}

fn static_member(
    group: &ConsumerGroup,
    id: &Str,
    instance_id: &Str,
    epoch: i32,
    owned: Option<&TopicPartitions>,
    joins: bool,
    outcome: &mut GroupOutcome,
) -> Result<ConsumerMember, Failure> {
    let existing = group.core.member_of_instance(instance_id);
    if joins {
        let Some(existing) = existing else { return dynamic_member(group, id, epoch, owned, joins) };
        if !existing.uses_classic_protocol() && existing.epoch != STATIC_LEAVE_EPOCH {
            let message = format!(
                "Static member {id} with instance id {instance_id} cannot join the group because the instance id is \
                 owned by {} member.",
                existing.id
            );
            return Err(Failure::new(ErrorCode::UnreleasedInstanceId, message));
        }
        return Ok(replace_static_member(group, existing, id, outcome));
    }
    let existing = existing.ok_or_else(|| unknown_instance(instance_id))?;
    check_instance(existing, id, instance_id)?;
    check_epoch(group, existing, epoch, owned)?;
    Ok(ConsumerMember::clone(existing))
}

/// A static member is back under another id: it has what it had, and starts from epoch 0.
pub(super) fn replace_static_member(
    group: &ConsumerGroup,
    existing: &ConsumerMember,
    id: &Str,
    outcome: &mut GroupOutcome,
) -> ConsumerMember {
    let member = ConsumerMember { id: id.clone(), epoch: 0, previous_epoch: 0, ..existing.clone() };
    let group_id = &group.core.id;
    remove_member(outcome, group_id, &existing.id);
    outcome.append(member.metadata_record(group_id));
    outcome.append(target_record(group_id, id, &group.target_of(existing)));
    outcome.append(member.assignment_record(group_id));
    member
}

pub(super) fn unknown_instance(instance_id: &Str) -> Failure {
    Failure::new(ErrorCode::UnknownMemberId, format!("Instance id {instance_id} is unknown."))
}

/// Whether it is this member that has the instance id.
pub(super) fn check_instance(existing: &ConsumerMember, id: &str, instance_id: &Str) -> Result<(), Failure> {
    if existing.id.as_str() == id {
        return Ok(());
    }
    let message =
        format!("Static member {id} with instance id {instance_id} was fenced by member {}.", existing.id);
    Err(Failure::new(ErrorCode::FencedInstanceId, message))
}

/// Joining is always possible. Otherwise the epoch is the current one, or the one before, if the answer with the current
/// one may have been lost and the member has nothing that it should not.
fn check_epoch(
    group: &ConsumerGroup,
    member: &ConsumerMember,
    epoch: i32,
    owned: Option<&TopicPartitions>,
) -> Result<(), Failure> {
    if epoch == JOIN_EPOCH {
        return Ok(());
    }
    group.core.check_epoch(member, epoch, || {
        owned.is_some_and(|owned| {
            owned.iter().all(|(topic, partition)| member.assigned.contains(topic, partition))
        })
    })
}

/// The member with what the request says of it; what it leaves out stays.
fn updated(
    before: &ConsumerMember,
    request: &ConsumerGroupHeartbeatRequest,
    client: &ClientContext,
) -> ConsumerMember {
    let mut member = before.clone();
    let said =
        |text: &Option<Str>, kept: &Option<Str>| text.as_ref().map(Str::detached).or_else(|| kept.clone());
    member.instance_id = said(&request.instance_id, &before.instance_id);
    member.rack_id = said(&request.rack_id, &before.rack_id);
    member.assignor = said(&request.server_assignor, &before.assignor);
    if let Some(regex) = &request.subscribed_topic_regex {
        member.regex = regex.detached();
    }
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(names) = &request.subscribed_topic_names {
        let mut names: Vec<Str> = names.iter().map(Str::detached).collect();
        names.sort();
        names.dedup();
        member.topics = names.into();
    }
    member.client_id = client.client_id.detached();
    member.client_host = client.client_host.detached();
    member.classic = None;
    member
}

fn told(member: &ConsumerMember) -> Assignment {
    let partitions = member.assigned.partitions();
    let topics = partitions.topics().map(|(topic_id, partitions)| Told {
        topic_id,
        partitions: partitions.iter().copied().collect(),
        ..Default::default()
    });
    Assignment { topic_partitions: topics.collect(), ..Default::default() }
}
