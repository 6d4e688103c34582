//! What a group coordinator is asked, and what it answers.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::consumer_group_describe_response::DescribedGroup as ConsumerDescribedGroup;
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::delete_groups_response::DeletableGroupResult;
use strata_protocol::messages::describe_groups_response::DescribedGroup;
use strata_protocol::messages::leave_group_response::MemberResponse;
use strata_protocol::messages::list_groups_response::ListedGroup;
use strata_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use strata_protocol::messages::streams_group_describe_response::DescribedGroup as StreamsDescribedGroup;
use strata_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse, SyncGroupRequest, SyncGroupResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use strata_types::{ErrorCode, PartitionId, VerificationGuard};
use uuid::Uuid;

use super::metadata::TopicAccess;
use super::share::{self, ShareRequest, ShareResponse};
use super::transactional::txn_commit_error;
use crate::shard::TxnMarker;

/// Who asks, for the requests where Kafka records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientContext {
    pub client_id: Str,
    /// As Java prints an address: `/127.0.0.1`.
    pub client_host: Str,
    /// The request's API version.
    pub version: i16,
}

/// A request to one shard. Authorisation, and finding the shard and the topics, are behind it.
#[derive(Debug, Clone)]
pub enum GroupRequest {
    /// `new_member` is a fresh random id each time: a new member's id is made of it.
    Join {
        request: JoinGroupRequest,
        client: ClientContext,
        new_member: Uuid,
    },
    Sync {
        request: SyncGroupRequest,
    },
    Heartbeat {
        request: HeartbeatRequest,
    },
    Leave {
        request: LeaveGroupRequest,
        version: i16,
    },
    /// `new_member` is a fresh random id, for a member that brings none (v0).
    ConsumerGroupHeartbeat {
        request: ConsumerGroupHeartbeatRequest,
        client: ClientContext,
        new_member: Uuid,
        /// Which topics the member may find by its regular expression; none for all.
        access: Option<Arc<dyn TopicAccess>>,
    },
    ConsumerGroupDescribe {
        group_ids: Vec<Str>,
    },
    StreamsGroupHeartbeat {
        request: StreamsGroupHeartbeatRequest,
        client: ClientContext,
    },
    StreamsGroupDescribe {
        group_ids: Vec<Str>,
    },
    /// Every topic has its name, whatever the version; its id too where that is known.
    OffsetCommit {
        request: OffsetCommitRequest,
        version: i16,
    },
    /// The transaction has been verified, under the guard unless it is known to be open in the shard's partition. Every
    /// topic has its name; its id too where that is known.
    TxnOffsetCommit {
        request: TxnOffsetCommitRequest,
        guard: Option<VerificationGuard>,
    },
    /// A transaction that may have committed offsets in this partition has ended.
    EndTransaction {
        marker: TxnMarker,
    },
    /// One group of an OffsetFetch; every topic has its name. See [`super::offset_fetch`].
    OffsetFetch {
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    },
    DescribeGroups {
        group_ids: Vec<Str>,
        version: i16,
    },
    ListGroups {
        request: ListGroupsRequest,
    },
    DeleteGroups {
        group_ids: Vec<Str>,
    },
    /// What concerns share groups alone.
    Share(ShareRequest),
    OffsetDelete {
        request: OffsetDeleteRequest,
    },
    /// Partitions are gone with their topics: so go their offsets, in every group.
    PartitionsDeleted {
        partitions: Vec<(Str, PartitionId)>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum GroupResponse {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    ConsumerGroupDescribe(Vec<ConsumerDescribedGroup>),
    StreamsGroupHeartbeat(Box<StreamsHeartbeat>),
    StreamsGroupDescribe(Vec<StreamsDescribedGroup>),
    OffsetCommit(OffsetCommitResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    EndTransaction(ErrorCode),
    OffsetFetch(OffsetFetchResponseGroup),
    DescribeGroups(Vec<DescribedGroup>),
    ListGroups(Result<Vec<ListedGroup>, ErrorCode>),
    DeleteGroups(Vec<DeletableGroupResult>),
    Share(ShareResponse),
    OffsetDelete(OffsetDeleteResponse),
    PartitionsDeleted(ErrorCode),
}

/// The answer to a StreamsGroupHeartbeat, and what the shell does beside.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamsHeartbeat {
    pub response: StreamsGroupHeartbeatResponse,
    /// The application's internal topics that are to be created.
    pub missing_topics: Vec<CreatableTopic>,
}

impl StreamsHeartbeat {
    pub(super) fn refused(code: ErrorCode, message: Option<Str>) -> Self {
        let response = StreamsGroupHeartbeatResponse {
            error_code: code as i16,
            error_message: message,
            ..Default::default()
        };
        Self { response, missing_topics: Vec::new() }
    }
}

/// The answer `code` in the shape that `request` asks for.
pub fn refusal(request: &GroupRequest, code: ErrorCode) -> GroupResponse {
    match request {
        GroupRequest::Join { request, .. } => GroupResponse::Join(JoinGroupResponse {
            member_id: request.member_id.clone(),
            ..join_error(code)
        }),
        GroupRequest::Sync { .. } => GroupResponse::Sync(sync_error(code)),
        GroupRequest::Heartbeat { .. } => {
            // A member of a group that is being loaded is believed: it could do nothing better than ask again.
            let code = if code == ErrorCode::CoordinatorLoadInProgress { ErrorCode::None } else { code };
            GroupResponse::Heartbeat(heartbeat_reply(code))
        }
        GroupRequest::Leave { .. } => GroupResponse::Leave(leave_reply(code, Vec::new())),
        GroupRequest::ConsumerGroupHeartbeat { .. } => {
            GroupResponse::ConsumerGroupHeartbeat(consumer_heartbeat_error(code))
        }
        GroupRequest::ConsumerGroupDescribe { group_ids } => GroupResponse::ConsumerGroupDescribe(
            group_ids.iter().map(|group_id| consumer_describe_error(group_id.clone(), code)).collect(),
        ),
        GroupRequest::StreamsGroupHeartbeat { .. } => {
            GroupResponse::StreamsGroupHeartbeat(Box::new(StreamsHeartbeat::refused(code, None)))
        }
        GroupRequest::StreamsGroupDescribe { group_ids } => GroupResponse::StreamsGroupDescribe(
            group_ids.iter().map(|group_id| streams_describe_error(group_id.clone(), code, None)).collect(),
        ),
        GroupRequest::OffsetCommit { request, .. } => {
            GroupResponse::OffsetCommit(commit_error(request, code))
        }
        GroupRequest::TxnOffsetCommit { request, .. } => {
            GroupResponse::TxnOffsetCommit(txn_commit_error(request, code))
        }
        GroupRequest::EndTransaction { .. } => GroupResponse::EndTransaction(code),
        GroupRequest::OffsetFetch { group, .. } => {
            GroupResponse::OffsetFetch(fetch_error(group.group_id.clone(), code))
        }
        GroupRequest::DescribeGroups { group_ids, .. } => GroupResponse::DescribeGroups(
            group_ids.iter().map(|group_id| describe_error(group_id.clone(), code)).collect(),
        ),
        GroupRequest::ListGroups { .. } => GroupResponse::ListGroups(Err(code)),
        GroupRequest::DeleteGroups { group_ids } => GroupResponse::DeleteGroups(
            group_ids.iter().map(|group_id| delete_result(group_id.clone(), code)).collect(),
        ),
        GroupRequest::Share(request) => GroupResponse::Share(share::refusal(request, code)),
        GroupRequest::OffsetDelete { .. } => GroupResponse::OffsetDelete(offset_delete_error(code)),
        GroupRequest::PartitionsDeleted { .. } => GroupResponse::PartitionsDeleted(code),
    }
}

/// What becomes of an answer whose records did not make it into the log.
pub(super) fn failed(response: GroupResponse, code: ErrorCode) -> GroupResponse {
    match response {
        GroupResponse::Join(_) => GroupResponse::Join(join_error(code)),
        GroupResponse::Sync(_) => GroupResponse::Sync(sync_error(code)),
        GroupResponse::Heartbeat(_) => GroupResponse::Heartbeat(heartbeat_reply(code)),
        GroupResponse::Leave(_) => GroupResponse::Leave(leave_reply(code, Vec::new())),
        GroupResponse::ConsumerGroupHeartbeat(_) => {
            GroupResponse::ConsumerGroupHeartbeat(consumer_heartbeat_error(code))
        }
        GroupResponse::ConsumerGroupDescribe(groups) => GroupResponse::ConsumerGroupDescribe(
            groups.into_iter().map(|group| consumer_describe_error(group.group_id, code)).collect(),
        ),
        GroupResponse::StreamsGroupHeartbeat(_) => {
            GroupResponse::StreamsGroupHeartbeat(Box::new(StreamsHeartbeat::refused(code, None)))
        }
        GroupResponse::StreamsGroupDescribe(groups) => GroupResponse::StreamsGroupDescribe(
            groups.into_iter().map(|group| streams_describe_error(group.group_id, code, None)).collect(),
        ),
        GroupResponse::OffsetCommit(mut response) => {
            for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.error_code = code as i16;
            }
            GroupResponse::OffsetCommit(response)
        }
        GroupResponse::TxnOffsetCommit(mut response) => {
            for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                partition.error_code = code as i16;
            }
            GroupResponse::TxnOffsetCommit(response)
        }
        GroupResponse::EndTransaction(_) => GroupResponse::EndTransaction(code),
        GroupResponse::OffsetFetch(response) => {
            GroupResponse::OffsetFetch(fetch_error(response.group_id, code))
        }
        GroupResponse::DescribeGroups(groups) => GroupResponse::DescribeGroups(
            groups.into_iter().map(|group| describe_error(group.group_id, code)).collect(),
        ),
        GroupResponse::ListGroups(_) => GroupResponse::ListGroups(Err(code)),
        GroupResponse::DeleteGroups(groups) => GroupResponse::DeleteGroups(
            groups.into_iter().map(|group| delete_result(group.group_id, code)).collect(),
        ),
        GroupResponse::Share(response) => GroupResponse::Share(share::failed(response, code)),
        GroupResponse::OffsetDelete(_) => GroupResponse::OffsetDelete(offset_delete_error(code)),
        GroupResponse::PartitionsDeleted(_) => GroupResponse::PartitionsDeleted(code),
    }
}

pub(super) fn join_error(code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse { error_code: code as i16, ..Default::default() }
}

pub(super) fn sync_error(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: code as i16, ..Default::default() }
}

pub(super) fn heartbeat_reply(code: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse { error_code: code as i16, ..Default::default() }
}

pub(super) fn leave_reply(code: ErrorCode, members: Vec<MemberResponse>) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: code as i16, members, ..Default::default() }
}

pub(super) fn commit_error(request: &OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|p| commit_result(p.partition_index, code)).collect(),
        ..Default::default()
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

pub(super) fn commit_result(partition_index: PartitionId, code: ErrorCode) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition { partition_index, error_code: code as i16, ..Default::default() }
}

pub(super) fn delete_result(group_id: Str, code: ErrorCode) -> DeletableGroupResult {
    DeletableGroupResult { group_id, error_code: code as i16, ..Default::default() }
}

pub(super) fn offset_delete_error(code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: code as i16, ..Default::default() }
}

pub(super) fn fetch_error(group_id: Str, code: ErrorCode) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup { group_id, error_code: code as i16, ..Default::default() }
}

fn describe_error(group_id: Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: code as i16, ..Default::default() }
}

fn consumer_heartbeat_error(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: code as i16, ..Default::default() }
}

fn consumer_describe_error(group_id: Str, code: ErrorCode) -> ConsumerDescribedGroup {
    ConsumerDescribedGroup { group_id, error_code: code as i16, ..Default::default() }
}

pub(super) fn streams_describe_error(
    group_id: Str,
    code: ErrorCode,
    message: Option<Str>,
) -> StreamsDescribedGroup {
    StreamsDescribedGroup { group_id, error_code: code as i16, error_message: message, ..Default::default() }
}
