//! Offsets that transactions commit (KIP-98, KIP-447): TxnOffsetCommit, and what a transaction's end makes of them.
//!
//! ```text
//! TxnOffsetCommit ─▶ transactional batch ─▶ pending ─▶ commit marker ─▶ committed, unless a later commit is there
//!                                                 └──▶ abort marker  ─▶ gone
//! ```
//!
//! While an offset is pending, who asks for stable offsets is told to ask again (UNSTABLE_OFFSET_COMMIT), and neither it
//! nor its group expires.

use imbl::{OrdMap, OrdSet};
use strata_protocol::Str;
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions,
};
use strata_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use strata_protocol::messages::{OffsetCommitValue, TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use strata_types::{ErrorCode, PartitionId, ProducerEpoch, ProducerId, VerificationGuard};

use super::classic::Context;
use super::kind::Committer;
use super::record::GroupRecord;
use super::state::{CommittedOffset, GroupsState, OffsetKey};
use crate::shard::{TxnMarker, TxnProducer};

/// Offsets that may be pending in one shard; beyond, a transaction's commit gets `POLICY_VIOLATION`.
const PENDING_OFFSETS_MAX: usize = 1_000_000;

/// Offsets whose transactions are open.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingOffsets {
    by_producer: OrdMap<(ProducerId, OffsetKey), CommittedOffset>,
    /// The same, found by what they are offsets of.
    by_key: OrdSet<(OffsetKey, ProducerId)>,
}

impl PendingOffsets {
    pub(super) fn is_pending(&self, key: &OffsetKey) -> bool {
        self.producers_of(key).next().is_some()
    }

    /// What has a pending offset in the group, in the order of topics and partitions.
    pub(super) fn keys_of<'a>(&'a self, group: &'a Str) -> impl Iterator<Item = &'a OffsetKey> {
        let first = (first_key(group.clone()), ProducerId(i64::MIN));
        let of_group = self.by_key.range(first..).map(|(key, _)| key).take_while(|key| key.group == *group);
        let mut last = None;
        of_group.filter(move |key| last.replace(*key) != Some(*key))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &OffsetKey> {
        self.by_key.iter().map(|(key, _)| key)
    }

    /// The offset is deleted, whoever has yet to decide on it.
    pub(super) fn forget(&mut self, key: &OffsetKey) {
        let producers: Vec<_> = self.producers_of(key).collect();
        for producer in producers {
            self.by_producer.remove(&(producer, key.clone()));
            self.by_key.remove(&(key.clone(), producer));
        }
    }

    fn insert(&mut self, producer: ProducerId, key: OffsetKey, offset: CommittedOffset) {
        self.by_key.insert((key.clone(), producer));
        self.by_producer.insert((producer, key), offset);
    }

    /// Takes out what a producer's transaction has committed.
    fn take(&mut self, producer: ProducerId) -> Vec<(OffsetKey, CommittedOffset)> {
        let first = (producer, first_key(Str::default()));
        let of_producer = self.by_producer.range(first..).take_while(|((id, _), _)| *id == producer);
        let taken: Vec<_> = of_producer.map(|((_, key), offset)| (key.clone(), offset.clone())).collect();
        for (key, _) in &taken {
            self.by_producer.remove(&(producer, key.clone()));
            self.by_key.remove(&(key.clone(), producer));
        }
        taken
    }

    fn producers_of<'a>(&'a self, key: &'a OffsetKey) -> impl Iterator<Item = ProducerId> + 'a {
        let first = (key.clone(), ProducerId(i64::MIN));
        self.by_key.range(first..).take_while(move |(of, _)| of == key).map(|(_, producer)| *producer)
    }
}

fn first_key(group: Str) -> OffsetKey {
    OffsetKey { group, topic: Str::default(), partition: PartitionId::MIN }
}

impl GroupsState {
    pub(super) fn commit_txn_offsets(
        &self,
        cx: &mut Context<'_>,
        request: &TxnOffsetCommitRequest,
        guard: Option<VerificationGuard>,
    ) -> TxnOffsetCommitResponse {
        if let Err(code) = self.admit_txn_commit(cx, request) {
            return txn_commit_error(request, code);
        }
        let group = self.group(&request.group_id);
        let (id, epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
        cx.outcome.in_transaction(TxnProducer { id, epoch }, guard);
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let metadata = partition.committed_metadata.clone().unwrap_or_default();
                let at = partition.partition_index;
                if metadata.encode_utf16().count() > cx.config.offset_metadata_max_bytes {
                    return txn_commit_result(at, ErrorCode::OffsetMetadataTooLarge);
                }
                let checked = group.map_or(Ok(()), |group| {
                    group
                        .rules()
                        .check_commit_of(&committer(request), &topic.name, topic.topic_id, at)
                        .map_err(fenced)
                });
                if let Err(code) = checked {
                    return txn_commit_result(at, code);
                }
                let value = OffsetCommitValue {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata,
                    commit_timestamp: cx.now,
                    expire_timestamp: -1,
                    topic_id: topic.topic_id,
                    ..Default::default()
                };
                cx.outcome.append(GroupRecord::offset(&request.group_id, &topic.name, at, Some(value)));
                txn_commit_result(at, ErrorCode::None)
            });
            TxnOffsetCommitResponseTopic {
                partitions: partitions.collect(),
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                ..Default::default()
            }
        });
        TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
    }

    /// Whether the group takes these commits from this member.
    fn admit_txn_commit(&self, cx: &Context<'_>, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
        let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        if self.pending.by_producer.len() + partitions > PENDING_OFFSETS_MAX {
            return Err(ErrorCode::PolicyViolation);
        }
        match self.group(&request.group_id) {
            Some(group) => group.rules().check_commit(&committer(request)).map_err(fenced),
            None if request.generation_id_or_member_epoch >= 0 => Err(ErrorCode::IllegalGeneration),
            None if self.groups.len() >= cx.config.groups_max => Err(ErrorCode::PolicyViolation),
            None => Ok(()),
        }
    }

    /// OffsetFetch with `require_stable`.
    pub(super) fn fetch_stable_offsets(&self, request: &OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
        let mut response = self.fetch_offsets(request);
        for topic in &mut response.topics {
            for partition in &mut topic.partitions {
                let (group, topic) = (request.group_id.clone(), topic.name.clone());
                let key = OffsetKey { group, topic, partition: partition.partition_index };
                if self.pending.is_pending(&key) {
                    *partition = OffsetFetchResponsePartitions {
                        partition_index: key.partition,
                        committed_offset: -1,
                        committed_leader_epoch: -1,
                        metadata: Some(Str::default()),
                        error_code: ErrorCode::UnstableOffsetCommit.into(),
                        ..Default::default()
                    };
                }
            }
        }
        response
    }

    /// Applies a record that a transaction wrote.
    pub(super) fn replay_transactional(&mut self, producer: TxnProducer, record: &GroupRecord) {
        let GroupRecord::Offset { key, value: Some(value) } = record else {
            // Transactions commit offsets, and nothing else.
            return self.replay(record);
        };
        let (key, offset) = self.offset_of_record(key, value);
        self.pending.insert(producer.id, key, offset);
    }

    /// Applies a transaction's end. A commit that came after a pending one, outside of the transaction, stands.
    pub(super) fn replay_marker(&mut self, marker: &TxnMarker) {
        let taken = self.pending.take(marker.producer.id);
        if !marker.commit {
            return;
        }
        for (key, offset) in taken {
            if self.offsets.get(&key).is_none_or(|committed| committed.written < offset.written) {
                self.offsets.insert(key, offset);
            }
        }
    }
}

fn committer(request: &TxnOffsetCommitRequest) -> Committer<'_> {
    Committer {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_ref(),
        epoch: request.generation_id_or_member_epoch,
        // What versions differ in does not concern transactions.
        version: i16::MAX,
        transactional: true,
    }
}

/// Clients know no other word for it here.
fn fenced(code: ErrorCode) -> ErrorCode {
    if code == ErrorCode::StaleMemberEpoch { ErrorCode::IllegalGeneration } else { code }
}

pub(super) fn txn_commit_error(request: &TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| TxnOffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|p| txn_commit_result(p.partition_index, code)).collect(),
        ..Default::default()
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

fn txn_commit_result(partition_index: PartitionId, code: ErrorCode) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition { partition_index, error_code: code as i16, ..Default::default() }
}
