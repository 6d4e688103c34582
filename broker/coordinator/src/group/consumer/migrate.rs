//! Groups that change between the classic and the consumer protocol while they have members (KIP-848).

use std::sync::Arc;

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::messages::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol,
};
use strata_types::{ErrorCode, TimestampMs};

use super::member::Assigned;
use super::record::{epoch_record, target_epoch_record, target_record};
use super::{ConsumerGroup, ConsumerMember};
use crate::group::api::{GroupResponse, join_error, sync_error};
use crate::group::classic::{self, ClassicGroup, ClassicState};
use crate::group::kind::{Failure, Group, GroupType};
use crate::group::metadata::{MetadataView, group_hash};
use crate::group::modern::{ModernType, TopicPartitions};
use crate::group::timers::Timer;
use crate::group::{GroupOutcome, GroupShard, embedded};

impl GroupShard {
    /// A member of the consumer protocol joins a classic group: the group is a consumer group from here on, its members
    /// speak the classic protocol, and each has what it had.
    pub(super) fn upgrade(
        &mut self,
        now: TimestampMs,
        group_id: &Str,
        outcome: &mut GroupOutcome,
    ) -> Result<ConsumerGroup, Failure> {
        let refused = |why: &str| {
            let message = format!("Cannot upgrade classic group {group_id} to consumer group because {why}.");
            Failure::new(ErrorCode::GroupIdNotFound, message)
        };
        let Some(group) = self.state.classic(group_id) else {
            return Err(refused("it is none"));
        };
        if !self.config.consumer.migration_policy.allows_upgrade() {
            return Err(refused("online upgrade is disabled"));
        }
        if !group.uses_consumer_protocol() {
            return Err(refused("the group does not use the consumer embedded protocol"));
        }
        if group.members.len() > usize::try_from(self.config.consumer.max_size).unwrap_or(0) {
            return Err(refused("the group size exceeds the consumer group maximum size"));
        }
        let view = self.metadata.view();
        let consumers = upgraded(group, view).map_err(refused)?;
        tracing::info!(group = %group_id, "a classic group becomes a consumer group");
        // Whoever waits in a rebalance is sent to join again: it is a member of the new group then.
        let code = ErrorCode::RebalanceInProgress;
        for member in group.members.values() {
            if let Some(reply) = member.awaiting_join {
                outcome.reply(reply, GroupResponse::Join(join_error(code)));
            }
            if let Some(reply) = member.awaiting_sync {
                outcome.reply(reply, GroupResponse::Sync(sync_error(code)));
            }
        }
        group.tombstones(outcome);
        consumers.append_all(outcome);
        for member in consumers.members() {
            let timeout_ms = member.classic.as_ref().map_or(0, |classic| classic.session_timeout_ms);
            self.timers.set(
                &consumers.core.id,
                Timer::Session(member.id.clone()),
                now + i64::from(timeout_ms),
            );
        }
        Ok(consumers)
    }

    /// Whether the group is a classic one when these have gone.
    pub(super) fn downgrades_without(&self, group: &ConsumerGroup, leaving: &[Str]) -> bool {
        let left = group.core.members.len().saturating_sub(leaving.len());
        let stays_classic =
            |member: &ConsumerMember| member.uses_classic_protocol() || leaving.contains(&member.id);
        left > 0 && group.members().all(stays_classic) && self.may_downgrade(left)
    }

    /// Whether the group is a classic one when this member has been replaced by one of the classic protocol.
    pub(super) fn downgrades_with(&self, group: &ConsumerGroup, replaced: &ConsumerMember) -> bool {
        !replaced.uses_classic_protocol()
            && group.members().all(|member| member.uses_classic_protocol() || member.id == replaced.id)
            && self.may_downgrade(group.core.members.len())
    }

    fn may_downgrade(&self, size: usize) -> bool {
        self.config.consumer.migration_policy.allows_downgrade()
            && size <= usize::try_from(self.config.group_max_size).unwrap_or(0)
    }

    /// The last member of the consumer protocol has gone: what is left is a classic group, which rebalances where
    /// somebody left, or the one that came in its place (`joining`) subscribes to something else.
    pub(super) fn downgrade(
        &mut self,
        now: TimestampMs,
        group: &ConsumerGroup,
        leaving: &[Str],
        joining: Option<(&ConsumerMember, bool)>,
        outcome: &mut GroupOutcome,
    ) {
        let id = &group.core.id;
        tracing::info!(group = %id, "a consumer group becomes a classic group");
        let replaced =
            joining.and_then(|(member, _)| group.core.static_members.get(member.instance_id.as_ref()?));
        // The one that is replaced has its tombstones already.
        group.tombstones_with(outcome, |member| match joining {
            Some((joining, _)) if replaced == Some(member) => joining.id.clone(),
            _ => member.clone(),
        });
        let stays =
            group.members().filter(|member| !leaving.contains(&member.id) && replaced != Some(&member.id));
        let members = stays.chain(joining.map(|(member, _)| member));
        let classic = downgraded(group, members, now, self.metadata.view());
        outcome.append(classic::record::group_record(&classic));
        // Its members have timers and replies, which no record tells of.
        outcome.applied();
        for member in group.core.members.keys() {
            for timer in [Timer::Session, Timer::Rebalance, Timer::Join, Timer::Sync] {
                self.timers.cancel(id, timer(member.clone()));
            }
        }
        self.state.groups.insert(id.clone(), Arc::new(Group::Classic(classic)));
        let rebalances = joining.is_none_or(|(_, changed)| changed);
        self.with_classic(now, id, outcome, |group, cx| {
            group.member_ids().iter().for_each(|member| group.touch(cx, member));
            if rebalances {
                group.prepare_rebalance(cx);
            }
        });
    }
}

impl ConsumerGroup {
    /// All the group's records, as if it were new.
    fn append_all(&self, outcome: &mut GroupOutcome) {
        let id = &self.core.id;
        self.members().for_each(|member| outcome.append(member.metadata_record(id)));
        outcome.append(epoch_record(id, self.core.epoch, self.core.metadata_hash));
        self.core
            .targets
            .iter()
            .for_each(|(member, target)| outcome.append(target_record(id, member, target)));
        outcome.append(target_epoch_record(id, self.core.assignment_epoch, self.core.assignment_timestamp));
        self.members().for_each(|member| outcome.append(member.assignment_record(id)));
    }
}

fn upgraded(group: &ClassicGroup, view: &dyn MetadataView) -> Result<ConsumerGroup, &'static str> {
    const MALFORMED: &str = "the embedded consumer protocol is malformed";
    const CUSTOM: &str = "an unsupported custom assignor is in use. Please refer to the documentation or switch to a \
                          default assignor before re-attempting the upgrade";
    let mut consumers = ConsumerGroup::new(group.id.clone());
    (consumers.core.epoch, consumers.core.assignment_epoch) = (group.generation, group.generation);
    for member in group.members.values() {
        // A group in its first rebalance has chosen no protocol yet; they all carry the same subscription.
        let chosen =
            group.protocol_name.as_deref().map(|name| member.metadata(name)).filter(|data| !data.is_empty());
        let metadata =
            chosen.or_else(|| member.protocols.first().map(|(_, data)| data.clone())).ok_or(MALFORMED)?;
        let subscription = embedded::subscription(&metadata).ok_or(MALFORMED)?;
        let assignment = embedded::assignment(&member.assignment).ok_or(MALFORMED)?;
        if assignment.user_data.is_some_and(|data| !data.is_empty()) {
            return Err(CUSTOM);
        }
        let target: TopicPartitions = assignment
            .assigned_partitions
            .iter()
            .filter_map(|topic| Some((view.topic(&topic.topic)?.id, topic.partitions.clone())))
            .collect();
        let assigned: Assigned =
            target.iter().map(|(topic, partition)| (topic, partition, group.generation)).collect();
        let mut topics = subscription.topics.clone();
        topics.sort();
        topics.dedup();
        let protocols = member.protocols.iter().map(|(name, metadata)| ClassicProtocol {
            name: name.clone(),
            metadata: metadata.clone(),
            ..Default::default()
        });
        let classic = ClassicMemberMetadata {
            session_timeout_ms: member.session_timeout_ms,
            supported_protocols: protocols.collect(),
            ..Default::default()
        };
        consumers.core.targets.insert(member.id.clone(), Arc::new(target));
        consumers.put(ConsumerMember {
            epoch: group.generation,
            previous_epoch: group.generation,
            instance_id: member.instance_id.clone(),
            rack_id: subscription.rack_id.filter(|rack| !rack.is_empty()),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            topics: topics.iter().map(Str::detached).collect(),
            classic: Some(Arc::new(classic)),
            assigned: Arc::new(assigned),
            ..ConsumerMember::new(member.id.clone())
        });
    }
    consumers.core.metadata_hash = group_hash(view, consumers.core.subscribers.keys());
    Ok(consumers)
}

fn downgraded<'a>(
    group: &ConsumerGroup,
    members: impl Iterator<Item = &'a ConsumerMember>,
    now: TimestampMs,
    view: &dyn MetadataView,
) -> ClassicGroup {
    let mut classic = ClassicGroup::new(group.core.id.clone(), Some(now));
    classic.state = ClassicState::Stable;
    classic.generation = group.core.epoch;
    let mut assigned = Vec::new();
    for member in members {
        let Some(metadata) = &member.classic else { continue };
        let protocols = metadata.supported_protocols.iter().map(|p| (p.name.clone(), p.metadata.clone()));
        classic.add(
            classic::Member {
                id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: metadata.session_timeout_ms,
                protocols: protocols.collect(),
                assignment: Bytes::new(),
                is_new: false,
                awaiting_join: None,
                awaiting_sync: None,
                deadline: None,
            },
            Str::from_static(classic::CONSUMER_PROTOCOL_TYPE),
        );
        assigned.push((member.id.clone(), member.assigned.partitions()));
    }
    classic.protocol_name = classic.select_protocol();
    let protocol = classic.protocol_name.clone().unwrap_or_default();
    for (member_id, partitions) in assigned {
        if let Some(member) = classic.member_mut(&member_id) {
            let version = embedded::version(&member.metadata(&protocol)).unwrap_or_default();
            member.assignment = embedded::encode_assignment(&partitions, view, version);
        }
    }
    classic
}
