//! Committed offsets: OffsetCommit, OffsetFetch, OffsetDelete, and their expiry.

use std::collections::BTreeSet;

use strata_protocol::Str;
use strata_protocol::messages::offset_commit_response::OffsetCommitResponseTopic;
use strata_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use strata_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue, OffsetDeleteRequest, OffsetDeleteResponse,
};
use strata_types::{ErrorCode, PartitionId, TimestampMs};

use super::GroupOutcome;
use super::api::{commit_error, commit_result, fetch_error, offset_delete_error};
use super::classic::{ClassicState, Context};
use super::config::GroupConfig;
use super::kind::{Committer, Group, OffsetAge};
use super::record::GroupRecord;
use super::state::{CommittedOffset, GroupsState};

/// From here on a client knows GROUP_ID_NOT_FOUND in an OffsetCommit.
const COMMIT_VERSION_WITH_GROUP_ID_NOT_FOUND: i16 = 9;

impl GroupsState {
    pub(super) fn commit_offsets(
        &mut self,
        cx: &mut Context<'_>,
        request: &OffsetCommitRequest,
        version: i16,
    ) -> OffsetCommitResponse {
        let by = Committer {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_ref(),
            epoch: request.generation_id_or_member_epoch,
            version,
            transactional: false,
        };
        if let Err(code) = self.admit_commit(cx, &request.group_id, &by) {
            return commit_error(request, code);
        }
        let group = self.group(&request.group_id);
        let metadata_max = cx.config.offset_metadata_max_bytes;
        let expire_timestamp = match request.retention_time_ms {
            -1 => -1,
            retention_ms => cx.now.saturating_add(retention_ms),
        };
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let metadata = partition.committed_metadata.clone().unwrap_or_default();
                if metadata.encode_utf16().count() > metadata_max {
                    return commit_result(partition.partition_index, ErrorCode::OffsetMetadataTooLarge);
                }
                let checked = group.map_or(Ok(()), |group| {
                    group.rules().check_commit_of(&by, &topic.name, topic.topic_id, partition.partition_index)
                });
                if let Err(code) = checked {
                    return commit_result(partition.partition_index, code);
                }
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata,
                    commit_timestamp: cx.now,
                    expire_timestamp,
                    topic_id: topic.topic_id,
                    ..Default::default()
                };
                let (group, at) = (&request.group_id, partition.partition_index);
                cx.outcome.append(GroupRecord::offset(group, &topic.name, at, Some(value)));
                commit_result(at, ErrorCode::None)
            });
            OffsetCommitResponseTopic {
                partitions: partitions.collect(),
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                ..Default::default()
            }
        });
        OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
    }

    /// Whether the group takes commits from this member. A commit shows that a classic member lives.
    fn admit_commit(
        &mut self,
        cx: &mut Context<'_>,
        group_id: &Str,
        by: &Committer<'_>,
    ) -> Result<(), ErrorCode> {
        let full = self.groups.len() >= cx.config.groups_max;
        let Some(group) = self.group(group_id) else {
            return match (by.epoch < 0, by.version >= COMMIT_VERSION_WITH_GROUP_ID_NOT_FOUND) {
                // Not a member of anything: a simple group comes to be with its first offset.
                (true, _) if full => Err(ErrorCode::PolicyViolation),
                (true, _) => Ok(()),
                (false, true) => Err(ErrorCode::GroupIdNotFound),
                (false, false) => Err(ErrorCode::IllegalGeneration),
            };
        };
        group.rules().check_commit(by)?;
        if let Some(group) = self.classic_mut(group_id)
            && matches!(group.state, ClassicState::Stable | ClassicState::PreparingRebalance)
        {
            group.touch(cx, by.member_id);
        }
        Ok(())
    }

    pub(super) fn fetch_offsets(&self, request: &OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
        let group_id = request.group_id.clone();
        let group = self.group(&group_id);
        let checked = group.map_or(Ok(()), |group| {
            group.rules().check_fetch(request.member_id.as_ref(), request.member_epoch)
        });
        if let Err(code) = checked {
            return fetch_error(group_id, code);
        }
        // Without its group, an offset that is still there does not count.
        let known = group.is_some();
        let topics = match &request.topics {
            None if known => self.fetch_all(&group_id),
            None => Vec::new(),
            Some(topics) => topics
                .iter()
                .map(|topic| {
                    let partitions = topic.partition_indexes.iter().map(|&partition| {
                        let found = if known { self.offset(&group_id, &topic.name, partition) } else { None };
                        fetched(partition, found)
                    });
                    OffsetFetchResponseTopics {
                        partitions: partitions.collect(),
                        name: topic.name.clone(),
                        topic_id: topic.topic_id,
                        ..Default::default()
                    }
                })
                .collect(),
        };
        OffsetFetchResponseGroup { group_id, topics, ..Default::default() }
    }

    fn fetch_all(&self, group_id: &Str) -> Vec<OffsetFetchResponseTopics> {
        let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
        for (key, committed) in self.offsets_of(group_id) {
            if topics.last().is_none_or(|topic| topic.name != key.topic) {
                let (name, topic_id) = (key.topic.clone(), committed.topic_id);
                topics.push(OffsetFetchResponseTopics { name, topic_id, ..Default::default() });
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(fetched(key.partition, Some(committed)));
            }
        }
        topics
    }

    pub(super) fn delete_offsets(
        &self,
        outcome: &mut GroupOutcome,
        request: &OffsetDeleteRequest,
    ) -> OffsetDeleteResponse {
        let Some(group) = self.group(&request.group_id) else {
            return offset_delete_error(ErrorCode::GroupIdNotFound);
        };
        if let Err(code) = group.rules().check_offset_delete() {
            return offset_delete_error(code);
        }
        let topics = request.topics.iter().map(|topic| {
            let is_read = group.rules().is_subscribed_to(&topic.name);
            let partitions = topic.partitions.iter().map(|partition| {
                let partition_index = partition.partition_index;
                if !is_read && self.offset(&request.group_id, &topic.name, partition_index).is_some() {
                    let tombstone =
                        GroupRecord::offset(&request.group_id, &topic.name, partition_index, None);
                    outcome.append(tombstone);
                }
                let code = if is_read { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
                OffsetDeleteResponsePartition {
                    partition_index,
                    error_code: code as i16,
                    ..Default::default()
                }
            });
            OffsetDeleteResponseTopic {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..Default::default()
            }
        });
        OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
    }

    /// Tombstones for all that has to do with an (empty) group.
    pub(super) fn delete_group(&self, outcome: &mut GroupOutcome, group_id: &Str) {
        for (key, _) in self.offsets_of(group_id) {
            outcome.append(GroupRecord::offset(group_id, &key.topic, key.partition, None));
        }
        for key in self.pending.keys_of(group_id).filter(|key| !self.offsets.contains_key(*key)) {
            outcome.append(GroupRecord::offset(group_id, &key.topic, key.partition, None));
        }
        if let Some(group) = self.group(group_id) {
            group.rules().tombstones(outcome);
        }
    }

    /// Tombstones for the offsets of partitions that are gone.
    pub(super) fn delete_partitions(&self, outcome: &mut GroupOutcome, partitions: &[(Str, PartitionId)]) {
        let gone: BTreeSet<_> = partitions.iter().map(|(topic, partition)| (topic, *partition)).collect();
        let pending = self.pending.keys().filter(|key| !self.offsets.contains_key(*key));
        let keys = self.offsets.keys().chain(pending);
        for key in keys.filter(|key| gone.contains(&(&key.topic, key.partition))) {
            outcome.append(GroupRecord::offset(&key.group, &key.topic, key.partition, None));
        }
    }

    /// Tombstones for offsets past their retention, and for empty groups that have no offsets left.
    pub(super) fn expire_offsets(&self, now: TimestampMs, config: &GroupConfig, outcome: &mut GroupOutcome) {
        for (group_id, group) in self.groups() {
            let mut kept = self.pending.keys_of(group_id).next().is_some();
            for (key, committed) in self.offsets_of(group_id) {
                let is_pending = self.pending.is_pending(key);
                if !is_pending
                    && expires(group, key.topic.as_str(), committed, now, config.offsets_retention_ms)
                {
                    outcome.append(GroupRecord::offset(group_id, &key.topic, key.partition, None));
                } else {
                    kept = true;
                }
            }
            if !kept && group.rules().is_empty() {
                group.rules().tombstones(outcome);
            }
        }
    }
}

/// KIP-211: offsets of topics that a group reads do not expire; those of an empty one do, a while after it became empty;
/// those of a simple group, and of topics that are no longer read, a while after their commit.
fn expires(
    group: &Group,
    topic: &str,
    committed: &CommittedOffset,
    now: TimestampMs,
    retention_ms: i64,
) -> bool {
    let since = match group.rules().offset_age() {
        OffsetAge::Never => return false,
        OffsetAge::SinceCommit => committed.commit_timestamp,
        OffsetAge::Since(since) => since.unwrap_or(committed.commit_timestamp),
    };
    let expired = match committed.expire_timestamp {
        Some(at) => now >= at,
        None => now - since >= retention_ms,
    };
    expired && !group.rules().is_subscribed_to(topic)
}

fn fetched(
    partition_index: PartitionId,
    committed: Option<&CommittedOffset>,
) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.map_or(-1, |committed| committed.offset),
        committed_leader_epoch: committed.map_or(-1, |committed| committed.leader_epoch),
        metadata: Some(committed.map(|committed| committed.metadata.clone()).unwrap_or_default()),
        ..Default::default()
    }
}
