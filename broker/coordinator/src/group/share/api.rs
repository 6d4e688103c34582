//! What a group coordinator is asked of share groups, and what it answers.

use strata_protocol::Str;
use strata_protocol::messages::share_group_describe_response::DescribedGroup;
use strata_protocol::messages::{ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse};
use strata_types::{ErrorCode, PartitionId};
use uuid::Uuid;

use crate::group::api::ClientContext;
use crate::group::kind::Failure;

/// Partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareTopic {
    pub id: Uuid,
    pub name: Str,
    pub partitions: Vec<PartitionId>,
}

#[derive(Debug, Clone)]
pub enum ShareRequest {
    Heartbeat {
        request: ShareGroupHeartbeatRequest,
        client: ClientContext,
    },
    Describe {
        group_ids: Vec<Str>,
    },
    /// Which partitions' state is kept for a group; with `if_empty`, of one without members only.
    State {
        group_id: Str,
        if_empty: bool,
    },
    /// The share coordinator keeps the state of `done` from now on, and does not of `failed`.
    Initialized {
        group_id: Str,
        done: Vec<(Uuid, PartitionId)>,
        failed: Vec<(Uuid, PartitionId)>,
    },
    /// These partitions' state is to be made anew. Answers the state epoch to do so with.
    Alter {
        group_id: Str,
        topics: Vec<ShareTopic>,
    },
    /// These topics' state is to be deleted. Answers the partitions that have any.
    Delete {
        group_id: Str,
        topics: Vec<(Uuid, Str)>,
    },
    /// These topics' state is deleted.
    Deleted {
        group_id: Str,
        topic_ids: Vec<Uuid>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum ShareResponse {
    Heartbeat(ShareGroupHeartbeatResponse),
    Describe(Vec<DescribedGroup>),
    State(Result<Vec<ShareTopic>, Failure>),
    Alter(Result<i32, Failure>),
    Done(ErrorCode),
}

/// What a group coordinator wants done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAction {
    /// The share coordinator is to keep these partitions' state; [`ShareRequest::Initialized`] tells of it.
    InitializeShareState { group_id: Str, state_epoch: i32, partitions: Vec<(Uuid, PartitionId)> },
    /// Members have left a share group: what they have acquired is free again.
    ShareMembersLeft { group_id: Str, members: Vec<Str> },
}

pub(in crate::group) fn refusal(request: &ShareRequest, code: ErrorCode) -> ShareResponse {
    let failure = || Failure { code, message: Str::default() };
    match request {
        ShareRequest::Heartbeat { .. } => ShareResponse::Heartbeat(heartbeat_error(code)),
        ShareRequest::Describe { group_ids } => {
            let error = |id: &Str| describe_error(id.clone(), code);
            ShareResponse::Describe(group_ids.iter().map(error).collect())
        }
        ShareRequest::State { .. } | ShareRequest::Delete { .. } => ShareResponse::State(Err(failure())),
        ShareRequest::Alter { .. } => ShareResponse::Alter(Err(failure())),
        ShareRequest::Initialized { .. } | ShareRequest::Deleted { .. } => ShareResponse::Done(code),
    }
}

pub(in crate::group) fn failed(response: ShareResponse, code: ErrorCode) -> ShareResponse {
    let failure = || Failure { code, message: Str::default() };
    match response {
        ShareResponse::Heartbeat(_) => ShareResponse::Heartbeat(heartbeat_error(code)),
        ShareResponse::Describe(groups) => {
            let error = |group: DescribedGroup| describe_error(group.group_id, code);
            ShareResponse::Describe(groups.into_iter().map(error).collect())
        }
        ShareResponse::State(_) => ShareResponse::State(Err(failure())),
        ShareResponse::Alter(_) => ShareResponse::Alter(Err(failure())),
        ShareResponse::Done(_) => ShareResponse::Done(code),
    }
}

fn heartbeat_error(code: ErrorCode) -> ShareGroupHeartbeatResponse {
    ShareGroupHeartbeatResponse { error_code: code as i16, ..Default::default() }
}

fn describe_error(group_id: Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: code as i16, ..Default::default() }
}
