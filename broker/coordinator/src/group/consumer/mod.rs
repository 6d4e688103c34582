//! Consumer groups of KIP-848: the coordinator assigns, and each member moves to its part at its own pace.
//!
//! ```text
//!                 ┌────────────────────────── nothing to give up ───────────────────────────┐
//!  target epoch ──┤                                                                          ▼
//!   is newer      └─▶ UnrevokedPartitions ── the member no longer owns them ──▶ Stable in the target epoch,
//!                                                                                or UnreleasedPartitions: others still
//!                                                                                own some of what it is to have
//! ```
//!
//! | file | what |
//! |---|---|
//! | `member`, `record` | members and their records; the group's records, and how they are replayed |
//! | `heartbeat`, `validate` | ConsumerGroupHeartbeat: joining, staying, changing |
//! | `reconcile`, `target` | one member's next step; the target assignment of all |
//! | `leave` | leaving, being fenced; what is due |
//! | `regex` | subscriptions by regular expression |
//! | `classic_member`, `migrate` | members that speak the classic protocol; groups that change type with members in them |
//! | `describe`, `settings` | ConsumerGroupDescribe; a group's own settings |

mod classic_member;
mod describe;
mod heartbeat;
mod leave;
mod member;
mod migrate;
mod reconcile;
mod record;
mod regex;
mod settings;
mod target;
mod validate;

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use strata_protocol::Str;
use strata_types::{ErrorCode, PartitionId};
use uuid::Uuid;

pub use member::{Assigned, ConsumerMember, MemberState};
pub(super) use record::replay;

use super::kind::{Committer, Group, GroupKind, GroupType, OffsetAge};
use super::modern::{ModernGroup, ModernType, TopicPartitions};
use super::{GroupOutcome, classic};
use regex::ResolvedRegex;

#[derive(Debug, Clone)]
pub struct ConsumerGroup {
    pub(super) core: ModernGroup<ConsumerMember>,
    /// Who owns each partition, those that are to be given up included.
    owners: OrdMap<(Uuid, PartitionId), Str>,
    /// How many members prefer each assignor.
    assignors: OrdMap<Str, usize>,
    /// How many members subscribe by each regular expression.
    regexes: OrdMap<Str, usize>,
    resolved: OrdMap<Str, Arc<ResolvedRegex>>,
    classic_members: usize,
    /// How many of the members that speak the classic protocol support each of its protocols.
    classic_protocols: OrdMap<Str, usize>,
}

impl ModernType for ConsumerGroup {
    const KIND: GroupKind = GroupKind::Consumer;

    fn new(id: Str) -> Self {
        Self {
            core: ModernGroup::new(id),
            owners: OrdMap::new(),
            assignors: OrdMap::new(),
            regexes: OrdMap::new(),
            resolved: OrdMap::new(),
            classic_members: 0,
            classic_protocols: OrdMap::new(),
        }
    }

    fn wrap(self) -> Group {
        Group::Consumer(self)
    }

    fn of(group: &Group) -> Option<&Self> {
        group.as_consumer()
    }

    fn of_mut(group: &mut Group) -> Option<&mut Self> {
        if let Group::Consumer(group) = group { Some(group) } else { None }
    }
}

impl GroupType for ConsumerGroup {
    fn kind(&self) -> GroupKind {
        GroupKind::Consumer
    }

    fn state_name(&self) -> &'static str {
        if self.core.members.is_empty() {
            "Empty"
        } else if self.core.epoch > self.core.assignment_epoch {
            "Assigning"
        } else if self.members().all(|member| member.is_reconciled_to(self.core.assignment_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    fn protocol_type(&self) -> Str {
        Str::from_static(classic::CONSUMER_PROTOCOL_TYPE)
    }

    fn is_empty(&self) -> bool {
        self.core.members.is_empty()
    }

    fn tombstones(&self, outcome: &mut GroupOutcome) {
        self.tombstones_with(outcome, |id| id.clone());
    }

    fn check_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        if by.epoch < 0 && self.core.members.is_empty() {
            // An administrator, or a consumer that assigns partitions to itself.
            return Ok(());
        }
        if by.transactional && by.epoch == -1 && by.member_id.is_empty() && by.instance_id.is_none() {
            // TxnOffsetCommit need not say who sends it.
            return Ok(());
        }
        let member = self.core.member(by.member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !by.transactional && !member.uses_classic_protocol() && by.version < COMMIT_VERSION_OF_MEMBERS {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if by.epoch > member.epoch { Err(stale(member)) } else { Ok(()) }
    }

    /// A member may be an epoch or more behind, as long as it has had the partition since (KIP-1251).
    fn check_commit_of(
        &self,
        by: &Committer<'_>,
        _name: &str,
        topic: Uuid,
        partition: PartitionId,
    ) -> Result<(), ErrorCode> {
        let Some(member) = self.core.member(by.member_id) else { return Ok(()) };
        if by.epoch == member.epoch {
            return Ok(());
        }
        let assigned = member.assigned.epoch_of(topic, partition);
        match assigned.or_else(|| member.revoking.epoch_of(topic, partition)) {
            Some(epoch) if by.epoch >= epoch => Ok(()),
            _ => Err(stale(member)),
        }
    }

    fn check_fetch(&self, member_id: Option<&Str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member_id = member_id.map(Str::as_str).unwrap_or_default();
        let member = self.core.member(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if epoch == member.epoch { Ok(()) } else { Err(stale(member)) }
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        self.core.subscribers.contains_key(topic)
            || self.resolved.values().any(|resolved| resolved.topics.contains(topic))
    }

    fn offset_age(&self) -> OffsetAge {
        OffsetAge::SinceCommit
    }
}

/// From here on members of these groups can commit.
const COMMIT_VERSION_OF_MEMBERS: i16 = 9;

/// What a member is told that commits or fetches with another epoch than its own.
fn stale(member: &ConsumerMember) -> ErrorCode {
    if member.uses_classic_protocol() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}

impl ConsumerGroup {
    pub fn epoch(&self) -> i32 {
        self.core.epoch
    }

    pub fn assignment_epoch(&self) -> i32 {
        self.core.assignment_epoch
    }

    pub fn members(&self) -> impl Iterator<Item = &ConsumerMember> {
        self.core.members.values().map(Arc::as_ref)
    }

    /// The partitions that a member is to have.
    pub fn target(&self, member_id: &str) -> Option<&TopicPartitions> {
        self.core.targets.get(member_id).map(Arc::as_ref)
    }

    /// What a member is to have. One that takes the place of another has what that one was to have.
    fn target_of(&self, member: &ConsumerMember) -> Arc<TopicPartitions> {
        let replaced = || self.core.static_members.get(member.instance_id.as_ref()?);
        let target = self.core.targets.get(&member.id).or_else(|| self.core.targets.get(replaced()?));
        target.cloned().unwrap_or_default()
    }

    /// Every topic that a member names, or that a regular expression found, with `member` instead of those in `without`.
    fn subscribed_topics(&self, member: Option<&ConsumerMember>, without: &[Str]) -> BTreeSet<Str> {
        let mut left: OrdMap<Str, usize> = self.core.subscribers.clone();
        let mut regexes = self.regexes.clone();
        let replaced = member.and_then(|member| {
            let by_instance = member.instance_id.as_ref().and_then(|id| self.core.member_of_instance(id));
            self.core.member(&member.id).or(by_instance)
        });
        let gone = without.iter().filter_map(|id| self.core.member(id)).chain(replaced);
        for member in gone {
            member.topics.iter().for_each(|topic| decrement(&mut left, topic));
            member.regex().into_iter().for_each(|regex| decrement(&mut regexes, regex));
        }
        let mut topics: BTreeSet<Str> = left.keys().cloned().collect();
        if let Some(member) = member {
            topics.extend(member.topics.iter().cloned());
            member.regex().into_iter().for_each(|regex| increment(&mut regexes, regex));
        }
        for (_, resolved) in self.resolved.iter().filter(|(regex, _)| regexes.contains_key(*regex)) {
            topics.extend(resolved.topics.iter().cloned());
        }
        topics
    }

    /// The ids of the topics that a member subscribes to and that exist.
    fn topic_ids(&self, member: &ConsumerMember, view: &dyn super::MetadataView) -> BTreeSet<Uuid> {
        let by_regex = member.regex().and_then(|regex| self.resolved.get(regex));
        let by_regex = by_regex.into_iter().flat_map(|resolved| resolved.topics.iter());
        member
            .topics
            .iter()
            .chain(by_regex)
            .filter_map(|name| view.topic(name))
            .map(|topic| topic.id)
            .collect()
    }

    fn is_owned(&self, topic: Uuid, partition: PartitionId) -> bool {
        self.owners.contains_key(&(topic, partition))
    }

    /// The assignor that most members prefer, if any does. On a tie, the first by name.
    fn preferred_assignor(&self, member: Option<&ConsumerMember>) -> Option<Str> {
        let mut votes = self.assignors.clone();
        if let Some(member) = member {
            let before = self.core.member(&member.id).and_then(|before| before.assignor.clone());
            before.iter().for_each(|name| decrement(&mut votes, name));
            member.assignor.iter().for_each(|name| increment(&mut votes, name));
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
    }

    fn put(&mut self, member: ConsumerMember) {
        let after = member.clone();
        let before = self.core.put_member(member);
        if let Some(before) = &before {
            self.uncount(before);
        }
        self.count(&after);
    }

    fn remove(&mut self, member_id: &str) {
        if let Some(member) = self.core.remove_member(member_id) {
            self.uncount(&member);
        }
    }

    fn count(&mut self, member: &ConsumerMember) {
        for (topic, partition, _) in member.assigned.iter().chain(member.revoking.iter()) {
            self.owners.insert((topic, partition), member.id.clone());
        }
        member.assignor.iter().for_each(|name| increment(&mut self.assignors, name));
        member.regex().into_iter().for_each(|regex| increment(&mut self.regexes, regex));
        if let Some(classic) = &member.classic {
            self.classic_members += 1;
            classic.supported_protocols.iter().for_each(|p| increment(&mut self.classic_protocols, &p.name));
        }
    }

    fn uncount(&mut self, member: &ConsumerMember) {
        for (topic, partition, _) in member.assigned.iter().chain(member.revoking.iter()) {
            // Somebody else may have it already: a log that was compacted tells of the past in gaps.
            if self.owners.get(&(topic, partition)) == Some(&member.id) {
                self.owners.remove(&(topic, partition));
            }
        }
        member.assignor.iter().for_each(|name| decrement(&mut self.assignors, name));
        member.regex().into_iter().for_each(|regex| decrement(&mut self.regexes, regex));
        if let Some(classic) = &member.classic {
            self.classic_members -= 1;
            classic.supported_protocols.iter().for_each(|p| decrement(&mut self.classic_protocols, &p.name));
        }
    }
}

fn increment(counts: &mut OrdMap<Str, usize>, key: &Str) {
    let count = counts.get(key).copied().unwrap_or(0) + 1;
    counts.insert(key.clone(), count);
}

fn decrement(counts: &mut OrdMap<Str, usize>, key: &Str) {
    match counts.get(key).copied() {
        Some(count) if count > 1 => drop(counts.insert(key.clone(), count - 1)),
        _ => drop(counts.remove(key)),
    }
}
