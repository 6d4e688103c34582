//! Members of a consumer group that speak the classic protocol (KIP-848, online migration). Their rebalances are Kafka's
//! trick: JoinGroup is a heartbeat with the member's subscription, answered at once with the member's epoch as
//! generation and nobody to lead; SyncGroup hands out what the member has; Heartbeat sends it to join again when there
//! is something new for it.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol,
};
use strata_protocol::messages::leave_group_request::MemberIdentity;
use strata_protocol::messages::{
    ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use strata_types::{ErrorCode, TimestampMs, TopicId};

use super::heartbeat::{check_instance, replace_static_member, unknown_instance};
use super::reconcile::Step;
use super::{ConsumerGroup, ConsumerMember, MemberState};
use crate::group::api::{GroupResponse, join_error, sync_error};
use crate::group::classic::{self, Join, VERSION_WITH_REQUIRED_MEMBER_ID};
use crate::group::kind::{Failure, GroupType};
use crate::group::modern::TopicPartitions;
use crate::group::timers::Timer;
use crate::group::{GroupOutcome, GroupShard, MigrationPolicy, embedded};

impl GroupShard {
    /// JoinGroup for a consumer group.
    pub(in crate::group) fn join_consumer(
        &mut self,
        now: TimestampMs,
        join: Join,
        outcome: &mut GroupOutcome,
    ) {
        let Ok(group) = self.state.typed::<ConsumerGroup>(&join.request.group_id) else { return };
        let group = Arc::new(group.clone());
        if group.is_empty() {
            return self.become_classic(now, &group, join, outcome);
        }
        let reply = join.reply;
        let response = self.classic_joins(now, &group, &join, outcome).unwrap_or_else(|failure| {
            outcome.discard();
            JoinGroupResponse { member_id: join.request.member_id.clone(), ..join_error(failure.code) }
        });
        outcome.reply(reply, GroupResponse::Join(response));
    }

    /// Nobody is left in the consumer group: it goes, and a classic one takes its place.
    fn become_classic(
        &mut self,
        now: TimestampMs,
        group: &ConsumerGroup,
        join: Join,
        outcome: &mut GroupOutcome,
    ) {
        if join.request.member_id.is_empty() {
            group.tombstones(outcome);
            outcome.applied();
            self.state.groups.remove(&group.core.id);
        }
        self.join_classic(now, join, outcome);
    }

    fn classic_joins(
        &mut self,
        now: TimestampMs,
        group: &Arc<ConsumerGroup>,
        join: &Join,
        outcome: &mut GroupOutcome,
    ) -> Result<JoinGroupResponse, Failure> {
        let request = &join.request;
        if self.config.consumer.migration_policy == MigrationPolicy::Disabled {
            let message = "the group migration is disabled";
            return Err(Failure::new(ErrorCode::InconsistentGroupProtocol, message));
        }
        let is_new = request.member_id.is_empty();
        let member_id = match is_new {
            true => Str::from(TopicId(join.new_member).to_string()),
            false => request.member_id.detached(),
        };
        self.has_room(group, &member_id)?;
        let subscription = supported(group, join)?;
        if is_new
            && request.group_instance_id.is_none()
            && join.client.version >= VERSION_WITH_REQUIRED_MEMBER_ID
        {
            return Ok(JoinGroupResponse { member_id, ..join_error(ErrorCode::MemberIdRequired) });
        }
        let replaced =
            request.group_instance_id.as_ref().and_then(|id| group.core.member_of_instance(id)).cloned();
        let before = match (&request.group_instance_id, &replaced) {
            (None, _) => group.core.member(&member_id).map(|member| ConsumerMember::clone(member)),
            (Some(_), Some(existing)) if is_new => {
                Some(replace_static_member(group, existing, &member_id, outcome))
            }
            (Some(instance_id), Some(existing)) => {
                check_instance(existing, &member_id, instance_id)?;
                Some(ConsumerMember::clone(existing))
            }
            (Some(_), None) if is_new => None,
            (Some(instance_id), None) => return Err(unknown_instance(instance_id)),
        };
        let before = before.unwrap_or_else(|| ConsumerMember::new(member_id));
        let member = joined(&before, join, &subscription);
        let change = self.subscription_change(now, group, &before, &member, outcome)?;
        let changed = change.names || change.regex.is_change();
        let downgrades = replaced.is_some_and(|replaced| self.downgrades_with(group, &replaced));
        let owned = self.owned_by(&subscription);
        let target = if downgrades {
            super::target::Target { epoch: group.core.assignment_epoch, partitions: group.target_of(&member) }
        } else {
            self.consumer_epoch_and_target(now, group, &member, change, outcome)?
        };
        let after = if downgrades && changed {
            // The classic group rebalances anyway.
            member.clone()
        } else {
            let step = Step {
                group,
                view: self.metadata.view(),
                target_epoch: target.epoch,
                target: &target.partitions,
                subscription_changed: changed,
                owned: Some(&owned),
            };
            let after = step.take(&member)?;
            self.moved_on(now, group, &member, &after, outcome);
            after
        };
        self.timers.cancel(&group.core.id, Timer::Join(after.id.clone()));
        if downgrades {
            self.downgrade(now, group, &[], Some((&after, changed)), outcome);
        } else {
            let session_ends = now + i64::from(request.session_timeout_ms);
            self.timers.set(&group.core.id, Timer::Session(after.id.clone()), session_ends);
            let sync_ends = now + i64::from(after.rebalance_timeout_ms.max(0));
            self.timers.set(&group.core.id, Timer::Sync(after.id.clone()), sync_ends);
        }
        Ok(join_response(&after))
    }

    /// The partitions that a classic member says it has, of topics that there are.
    fn owned_by(&self, subscription: &ConsumerProtocolSubscription) -> TopicPartitions {
        let owned = subscription.owned_partitions.iter();
        owned
            .filter_map(|topic| {
                Some((self.metadata.view().topic(&topic.topic)?.id, topic.partitions.clone()))
            })
            .collect()
    }

    /// SyncGroup for a consumer group: what the member has.
    pub(in crate::group) fn sync_consumer(
        &mut self,
        now: TimestampMs,
        request: &SyncGroupRequest,
    ) -> SyncGroupResponse {
        let synced = self.classic_syncs(now, request);
        synced.unwrap_or_else(|failure| sync_error(failure.code))
    }

    fn classic_syncs(
        &mut self,
        now: TimestampMs,
        request: &SyncGroupRequest,
    ) -> Result<SyncGroupResponse, Failure> {
        let group = self.state.typed::<ConsumerGroup>(&request.group_id)?;
        let instance_id = request.group_instance_id.as_ref();
        let member = classic_member(group, &request.member_id, instance_id, request.generation_id)?.clone();
        let (epoch, group_id) = (group.core.assignment_epoch, group.core.id.clone());
        let protocol = protocol_of(&member).cloned().unwrap_or_default();
        let differs =
            |asked: &Option<Str>, own: &str| asked.as_ref().is_some_and(|asked| asked.as_str() != own);
        if differs(&request.protocol_type, classic::CONSUMER_PROTOCOL_TYPE)
            || differs(&request.protocol_name, &protocol.name)
        {
            return Err(Failure::new(ErrorCode::InconsistentGroupProtocol, "another protocol"));
        }
        if epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
            self.wait_for_join(now, &group_id, &member);
            return Err(Failure::new(ErrorCode::RebalanceInProgress, "a newer assignment"));
        }
        self.timers.cancel(&group_id, Timer::Sync(member.id.clone()));
        self.renew_classic_session(now, &group_id, &member);
        let version = embedded::version(&protocol.metadata).unwrap_or_default();
        Ok(SyncGroupResponse {
            protocol_type: Some(Str::from_static(classic::CONSUMER_PROTOCOL_TYPE)),
            protocol_name: Some(protocol.name),
            assignment: embedded::encode_assignment(
                &member.assigned.partitions(),
                self.metadata.view(),
                version,
            ),
            ..Default::default()
        })
    }

    /// Heartbeat for a consumer group.
    pub(in crate::group) fn classic_heartbeat_to_consumer(
        &mut self,
        now: TimestampMs,
        request: &HeartbeatRequest,
    ) -> ErrorCode {
        let found = self.state.typed::<ConsumerGroup>(&request.group_id).and_then(|group| {
            let instance_id = request.group_instance_id.as_ref();
            let member = classic_member(group, &request.member_id, instance_id, request.generation_id)?;
            Ok((group, member.clone()))
        });
        let (group, member) = match found {
            Ok(found) => found,
            Err(failure) => return failure.code,
        };
        let rejoins = member.epoch < group.core.assignment_epoch
            || member.state == MemberState::UnrevokedPartitions
            || member.state == MemberState::UnreleasedPartitions && !group.waits_for_others(&member);
        let group_id = group.core.id.clone();
        self.renew_classic_session(now, &group_id, &member);
        if !rejoins {
            return ErrorCode::None;
        }
        self.wait_for_join(now, &group_id, &member);
        ErrorCode::RebalanceInProgress
    }

    /// LeaveGroup for a consumer group: by members of either protocol, or by an administrator.
    pub(in crate::group) fn leave_consumer(
        &mut self,
        now: TimestampMs,
        request: &LeaveGroupRequest,
        version: i16,
        outcome: &mut GroupOutcome,
    ) -> LeaveGroupResponse {
        let Ok(group) = self.state.typed::<ConsumerGroup>(&request.group_id).cloned() else {
            return classic::leave_unknown_group(request, version);
        };
        let mut leaving: Vec<Str> = Vec::new();
        let answers = classic::leaving(request, version).into_iter().map(|identity| {
            let found = leaver(&group, &identity);
            let code = found.as_ref().map_or_else(|failure| failure.code, |_| ErrorCode::None);
            if let Ok(member) = found
                && !leaving.contains(&member)
            {
                leaving.push(member);
            }
            classic::leave_result(identity, code)
        });
        let answers = answers.collect();
        self.fence_consumers(now, &group, &leaving, outcome);
        classic::left(answers, version)
    }

    fn renew_classic_session(&mut self, now: TimestampMs, group_id: &Str, member: &ConsumerMember) {
        let timeout_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
        self.timers.set(group_id, Timer::Session(member.id.clone()), now + i64::from(timeout_ms));
    }

    /// Gives the member its rebalance timeout to join again, unless that time runs already.
    fn wait_for_join(&mut self, now: TimestampMs, group_id: &Str, member: &ConsumerMember) {
        if !self.timers.is_armed(group_id, Timer::Join(member.id.clone())) {
            let at = now + i64::from(member.rebalance_timeout_ms.max(0));
            self.timers.set(group_id, Timer::Join(member.id.clone()), at);
        }
    }
}

impl ConsumerGroup {
    /// Whether others still have something of what the member is to have.
    fn waits_for_others(&self, member: &ConsumerMember) -> bool {
        self.target(&member.id).is_some_and(|target| {
            target.iter().any(|(topic, partition)| {
                !member.assigned.contains(topic, partition) && self.is_owned(topic, partition)
            })
        })
    }

    /// Whether all its members that speak the classic protocol support one of these.
    fn supports_classic(&self, names: impl Iterator<Item = impl AsRef<str>>) -> bool {
        let mut names = names;
        self.classic_members == 0
            || names.any(|name| self.classic_protocols.get(name.as_ref()) == Some(&self.classic_members))
    }
}

/// The subscription of a joining member, if the group has room for its protocols.
fn supported(group: &ConsumerGroup, join: &Join) -> Result<ConsumerProtocolSubscription, Failure> {
    let refused =
        || Failure::new(ErrorCode::InconsistentGroupProtocol, "the member's protocols are not supported");
    let request = &join.request;
    let first = request.protocols.first().ok_or_else(refused)?;
    let names = request.protocols.iter().map(|protocol| protocol.name.as_str());
    if request.protocol_type.as_str() != classic::CONSUMER_PROTOCOL_TYPE || !group.supports_classic(names) {
        return Err(refused());
    }
    // All protocols of a consumer carry the same subscription.
    embedded::subscription(&first.metadata).ok_or_else(refused)
}

fn joined(
    before: &ConsumerMember,
    join: &Join,
    subscription: &ConsumerProtocolSubscription,
) -> ConsumerMember {
    let request = &join.request;
    let mut topics: Vec<Str> = subscription.topics.iter().map(Str::detached).collect();
    topics.sort();
    topics.dedup();
    let protocols = request.protocols.iter().map(|protocol| ClassicProtocol {
        name: protocol.name.detached(),
        metadata: bytes::Bytes::copy_from_slice(&protocol.metadata),
        ..Default::default()
    });
    let classic = ClassicMemberMetadata {
        session_timeout_ms: request.session_timeout_ms,
        supported_protocols: protocols.collect(),
        ..Default::default()
    };
    let rack_id = subscription.rack_id.as_ref().filter(|rack| !rack.is_empty()).map(Str::detached);
    let mut member = before.clone();
    member.instance_id = request.group_instance_id.as_ref().map(Str::detached).or(before.instance_id.clone());
    member.rack_id = rack_id.or(before.rack_id.clone());
    if request.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    member.topics = topics.into();
    // The classic protocol has no such subscriptions.
    member.regex = Str::default();
    member.client_id = join.client.client_id.detached();
    member.client_host = join.client.client_host.detached();
    member.classic = Some(Arc::new(classic));
    member
}

/// The answer to a member that has joined.
fn join_response(member: &ConsumerMember) -> JoinGroupResponse {
    JoinGroupResponse {
        member_id: member.id.clone(),
        generation_id: member.epoch,
        protocol_type: Some(Str::from_static(classic::CONSUMER_PROTOCOL_TYPE)),
        protocol_name: Some(protocol_of(member).map(|protocol| protocol.name.clone()).unwrap_or_default()),
        ..Default::default()
    }
}

fn protocol_of(member: &ConsumerMember) -> Option<&ClassicProtocol> {
    member.classic.as_ref()?.supported_protocols.first()
}

/// The member that sends a SyncGroup or Heartbeat.
fn classic_member<'a>(
    group: &'a ConsumerGroup,
    member_id: &Str,
    instance_id: Option<&Str>,
    generation: i32,
) -> Result<&'a ConsumerMember, Failure> {
    let member = match instance_id {
        None => group.core.expect_member(member_id)?,
        Some(instance_id) => {
            let member = group.core.member_of_instance(instance_id);
            let member = member.ok_or_else(|| unknown_instance(instance_id))?;
            check_instance(member, member_id, instance_id)?;
            member
        }
    };
    if !member.uses_classic_protocol() {
        let message = format!("Member {member_id} does not use the classic protocol.");
        return Err(Failure::new(ErrorCode::UnknownMemberId, message));
    }
    if member.epoch != generation {
        return Err(Failure::new(ErrorCode::IllegalGeneration, "another generation"));
    }
    Ok(member)
}

fn leaver(group: &ConsumerGroup, identity: &MemberIdentity) -> Result<Str, Failure> {
    let Some(instance_id) = &identity.group_instance_id else {
        return group.core.expect_member(&identity.member_id).map(|member| member.id.clone());
    };
    let member = group.core.member_of_instance(instance_id).ok_or_else(|| unknown_instance(instance_id))?;
    if !identity.member_id.is_empty() {
        check_instance(member, &identity.member_id, instance_id)?;
    }
    Ok(member.id.clone())
}
