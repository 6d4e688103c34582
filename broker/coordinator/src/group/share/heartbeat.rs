//! ShareGroupHeartbeat: a member joins, shows that it lives, says what it subscribes to, and learns what it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::share_group_heartbeat_response::{Assignment, TopicPartitions as Told};
use strata_protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use strata_types::{ErrorCode, TimestampMs};

use super::api::{GroupAction, ShareRequest, ShareResponse};
use super::record::{epoch_record, remove_member};
use super::{ShareGroup, ShareMember, partitions};
use crate::group::api::ClientContext;
use crate::group::kind::{Failure, Group};
use crate::group::metadata::group_hash;
use crate::group::modern::{JOIN_EPOCH, LEAVE_EPOCH, ModernType};
use crate::group::timers::{Timer, TimerKey};
use crate::group::{GroupOutcome, GroupShard, GroupsState};

type Heartbeat = Result<ShareGroupHeartbeatResponse, Failure>;

/// What counts for one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShareSettings {
    session_timeout_ms: i32,
    heartbeat_interval_ms: i32,
    pub(super) assignment_interval_ms: i32,
}

impl GroupShard {
    /// Answers what only looks.
    pub(in crate::group) fn share_query(
        &self,
        state: &GroupsState,
        request: &ShareRequest,
    ) -> Option<ShareResponse> {
        match request {
            ShareRequest::Describe { group_ids } => {
                let described = group_ids.iter().map(|id| self.describe_share(state, id));
                Some(ShareResponse::Describe(described.collect()))
            }
            ShareRequest::State { group_id, if_empty } => {
                Some(ShareResponse::State(partitions::known(state, group_id, *if_empty)))
            }
            _ => None,
        }
    }

    pub(in crate::group) fn share(
        &mut self,
        now: TimestampMs,
        request: ShareRequest,
        outcome: &mut GroupOutcome,
    ) -> ShareResponse {
        match request {
            ShareRequest::Heartbeat { request, client } => {
                ShareResponse::Heartbeat(self.share_heartbeat(now, &request, &client, outcome))
            }
            ShareRequest::Initialized { group_id, done, failed } => {
                ShareResponse::Done(self.share_state_initialized(&group_id, &done, &failed, outcome))
            }
            ShareRequest::Alter { group_id, topics } => {
                ShareResponse::Alter(self.alter_share_state(&group_id, &topics, outcome))
            }
            ShareRequest::Delete { group_id, topics } => {
                ShareResponse::State(self.delete_share_state(&group_id, &topics, outcome))
            }
            ShareRequest::Deleted { group_id, topic_ids } => {
                ShareResponse::Done(self.share_state_deleted(&group_id, &topic_ids, outcome))
            }
            ShareRequest::Describe { group_ids } => {
                let described = group_ids.iter().map(|id| self.describe_share(&self.state, id));
                ShareResponse::Describe(described.collect())
            }
            ShareRequest::State { group_id, if_empty } => {
                ShareResponse::State(partitions::known(&self.state, &group_id, if_empty))
            }
        }
    }

    fn share_heartbeat(
        &mut self,
        now: TimestampMs,
        request: &ShareGroupHeartbeatRequest,
        client: &ClientContext,
        outcome: &mut GroupOutcome,
    ) -> ShareGroupHeartbeatResponse {
        let mut handled = || -> Heartbeat {
            self.validate_share(request)?;
            match request.member_epoch {
                LEAVE_EPOCH => self.share_leave(request, outcome),
                _ => self.share_stay(now, request, client, outcome),
            }
        };
        handled().unwrap_or_else(|failure| {
            // A refused request changes nothing.
            outcome.discard();
            ShareGroupHeartbeatResponse {
                error_code: failure.code as i16,
                error_message: Some(failure.message),
                ..Default::default()
            }
        })
    }

    fn validate_share(&self, request: &ShareGroupHeartbeatRequest) -> Result<(), Failure> {
        let invalid = |words: &str| Err(Failure::new(ErrorCode::InvalidRequest, words));
        let names = request.subscribed_topic_names.as_deref();
        let bytes = names.unwrap_or_default().iter().map(|name| name.len() + 2).sum::<usize>();
        if request.group_id.trim().is_empty() {
            return invalid("GroupId can't be empty.");
        }
        if request.member_id.trim().is_empty() {
            return invalid("MemberId can't be empty.");
        }
        if request.rack_id.as_ref().is_some_and(|rack| rack.trim().is_empty()) {
            return invalid("RackId can't be empty.");
        }
        if request.member_epoch == JOIN_EPOCH && names.is_none_or(<[Str]>::is_empty) {
            return invalid("SubscribedTopicNames must be set in first request.");
        }
        if request.member_epoch < LEAVE_EPOCH {
            return invalid("MemberEpoch is invalid.");
        }
        if bytes + request.member_id.len() > self.config.share.member_bytes_max {
            return invalid("The member says more of itself than there is room for.");
        }
        Ok(())
    }

    fn share_stay(
        &mut self,
        now: TimestampMs,
        request: &ShareGroupHeartbeatRequest,
        client: &ClientContext,
        outcome: &mut GroupOutcome,
    ) -> Heartbeat {
        let joins = request.member_epoch == JOIN_EPOCH;
        let group = self.share_group_for(&request.group_id, joins)?;
        let before = self.share_member(&group, request, joins)?;
        let member = updated(&before, request, client);
        let group_id = &group.core.id;
        if member != before || group.core.member(&member.id).is_none() {
            outcome.append(member.metadata_record(group_id));
        }
        let epoch = self.share_epoch(&group, &before, &member, outcome);
        let target = self.share_target(now, &group, epoch, &member, outcome);
        let mut after = member.clone();
        if member.epoch != target.epoch || member.assigned != target.partitions {
            after.previous_epoch = member.epoch;
            after.epoch = target.epoch;
            after.assigned = target.partitions;
        }
        if after != member || group.core.member(&member.id).is_none() {
            outcome.append(after.assignment_record(group_id));
        }
        self.initialize_share_state(now, &group, &after, epoch, outcome);
        let settings = self.share_settings(group_id);
        let session_ends = now + i64::from(settings.session_timeout_ms);
        self.timers.set(group_id, Timer::Session(after.id.clone()), session_ends);
        // A full request is sent when joining, and after any error: the answer may be all that the client knows.
        let tell = joins || request.subscribed_topic_names.is_some() || before.assigned != after.assigned;
        Ok(ShareGroupHeartbeatResponse {
            member_id: Some(after.id.clone()),
            member_epoch: after.epoch,
            heartbeat_interval_ms: settings.heartbeat_interval_ms,
            assignment: tell.then(|| told(&after)),
            ..Default::default()
        })
    }

    pub(super) fn share_group_for(&self, group_id: &Str, joins: bool) -> Result<Arc<ShareGroup>, Failure> {
        let not_found = |words: String| Err(Failure::new(ErrorCode::GroupIdNotFound, words));
        match self.state.groups.get(group_id).map(Arc::as_ref) {
            Some(Group::Share(group)) => Ok(Arc::new(group.clone())),
            Some(_) => not_found(format!("Group {group_id} is not a share group.")),
            None if !joins => not_found(format!("Share group {group_id} not found.")),
            None if self.state.groups.len() >= self.config.groups_max => {
                Err(Failure::new(ErrorCode::PolicyViolation, "There are too many groups."))
            }
            None => Ok(Arc::new(ShareGroup::new(group_id.detached()))),
        }
    }

    fn share_member(
        &self,
        group: &ShareGroup,
        request: &ShareGroupHeartbeatRequest,
        joins: bool,
    ) -> Result<ShareMember, Failure> {
        let id = &request.member_id;
        if let Some(member) = group.core.member(id) {
            if !joins {
                group.core.check_epoch(member, request.member_epoch, || true)?;
            }
            return Ok(ShareMember::clone(member));
        }
        if !joins {
            return Err(group.core.expect_member(id).err().unwrap_or_else(|| {
                Failure::new(ErrorCode::UnknownMemberId, format!("Member {id} is not known."))
            }));
        }
        let max = self.config.share.max_size;
        if group.core.members.len() >= usize::try_from(max).unwrap_or(0) {
            let words = format!("The share group has reached its maximum capacity of {max} members.");
            return Err(Failure::new(ErrorCode::GroupMaxSizeReached, words));
        }
        Ok(ShareMember::new(id.detached()))
    }

    /// Raises the group's epoch where subscriptions, topics or what can be assigned have changed.
    fn share_epoch(
        &mut self,
        group: &ShareGroup,
        before: &ShareMember,
        member: &ShareMember,
        outcome: &mut GroupOutcome,
    ) -> i32 {
        let topics = group.subscribed_topics(Some(member), &[]);
        let is_new = group.core.epoch == 0 || member.topics != before.topics;
        let bump = is_new || self.share_assignment_is_behind(group, &topics);
        let mut epoch = group.core.epoch;
        if bump || self.metadata.is_stale(&group.core.id) {
            let hash = group_hash(self.metadata.view(), topics.iter());
            if bump || hash != group.core.metadata_hash {
                epoch += 1;
                tracing::debug!(group = %group.core.id, member = %member.id, epoch, "a new group epoch");
                outcome.append(epoch_record(&group.core.id, epoch, hash));
            }
            self.metadata.refreshed(&group.core.id);
        }
        epoch
    }

    /// Whether partitions can be assigned by now that nobody is to have.
    fn share_assignment_is_behind(&self, group: &ShareGroup, topics: &BTreeSet<Str>) -> bool {
        if group.core.epoch > group.core.assignment_epoch {
            return false;
        }
        let assignable = group.assignable(topics, self.metadata.view());
        let is_assigned =
            |(topic, partition)| group.core.targets.values().any(|target| target.contains(topic, partition));
        !assignable.iter().all(is_assigned)
    }

    fn share_leave(&mut self, request: &ShareGroupHeartbeatRequest, outcome: &mut GroupOutcome) -> Heartbeat {
        let group = self.share_group_for(&request.group_id, false)?;
        let member = group.core.expect_member(&request.member_id)?;
        tracing::debug!(group = %group.core.id, member = %member.id, "a member leaves");
        self.fence_share(&group, &member.id, outcome);
        Ok(ShareGroupHeartbeatResponse {
            member_id: Some(member.id.clone()),
            member_epoch: LEAVE_EPOCH,
            ..Default::default()
        })
    }

    /// Puts a member out.
    fn fence_share(&mut self, group: &ShareGroup, member: &Str, outcome: &mut GroupOutcome) {
        let id = &group.core.id;
        remove_member(outcome, id, member);
        let topics = group.subscribed_topics(None, std::slice::from_ref(member));
        let hash = group_hash(self.metadata.view(), topics.iter());
        outcome.append(epoch_record(id, group.core.epoch + 1, hash));
        self.timers.cancel(id, Timer::Session(member.clone()));
        outcome.act(GroupAction::ShareMembersLeft { group_id: id.clone(), members: vec![member.clone()] });
    }

    pub(in crate::group) fn share_timer_fired(&mut self, key: &TimerKey, outcome: &mut GroupOutcome) {
        let Ok(group) = self.state.typed::<ShareGroup>(&key.group).cloned() else { return };
        if let Timer::Session(member) = &key.timer
            && group.core.member(member).is_some()
        {
            tracing::info!(group = %key.group, %member, "a member is fenced: its session has ended");
            self.fence_share(&group, member, outcome);
        }
    }

    /// Sessions start now.
    pub(in crate::group) fn arm_share(&mut self, now: TimestampMs, group: &ShareGroup) {
        let id = &group.core.id;
        let ends = now + i64::from(self.share_settings(id).session_timeout_ms);
        for member in group.members() {
            self.timers.set(id, Timer::Session(member.id.clone()), ends);
        }
    }

    /// The broker's settings, unless the group has others (resource type 32), within the broker's bounds.
    pub(super) fn share_settings(&self, group_id: &Str) -> ShareSettings {
        let config = &self.config.share;
        let own = self.metadata.view().group_config(group_id);
        let setting = |name: &str, otherwise: i32, (min, max): (i32, i32)| {
            let own = own.as_ref().and_then(|own| own.get(name)?.parse::<i32>().ok());
            own.map_or(otherwise, |own| own.max(min).min(max))
        };
        ShareSettings {
            session_timeout_ms: setting(
                "share.session.timeout.ms",
                config.session_timeout_ms,
                config.session_timeout_bounds_ms,
            ),
            heartbeat_interval_ms: setting(
                "share.heartbeat.interval.ms",
                config.heartbeat_interval_ms,
                config.heartbeat_interval_bounds_ms,
            ),
            assignment_interval_ms: setting(
                "share.assignment.interval.ms",
                config.assignment_interval_ms,
                config.assignment_interval_bounds_ms,
            ),
        }
    }
}

/// The member with what the request says of it; what it leaves out stays.
fn updated(
    before: &ShareMember,
    request: &ShareGroupHeartbeatRequest,
    client: &ClientContext,
) -> ShareMember {
    let mut member = before.clone();
    if let Some(rack) = &request.rack_id {
        member.rack_id = Some(rack.detached());
    }
    if let Some(names) = &request.subscribed_topic_names {
        let names: BTreeSet<Str> = names.iter().map(Str::detached).collect();
        member.topics = names.into_iter().collect();
    }
    member.client_id = client.client_id.detached();
    member.client_host = client.client_host.detached();
    member
}

fn told(member: &ShareMember) -> Assignment {
    let topics = member.assigned.topics().map(|(topic_id, partitions)| Told {
        topic_id,
        partitions: partitions.iter().copied().collect(),
        ..Default::default()
    });
    Assignment { topic_partitions: topics.collect(), ..Default::default() }
}
