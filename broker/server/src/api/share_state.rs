//! What the keys 83 to 87 have in common: brokers ask the share coordinator for one partition after the other (KIP-932).

use strata_coordinator::Shard;
use strata_coordinator::share::persister::{
    PersisterError, PersisterRequest, PersisterResponse, PersisterShard, SharePartitionKey,
};
use strata_protocol::Str;
use strata_types::ErrorCode;
use uuid::Uuid;

use crate::dispatch::{Context, Refusal};
use crate::security::{Operation, Resource};
use crate::share;

/// The stored state of a group's share partitions, for one request.
pub(super) struct ShareState<'a> {
    cx: &'a Context,
    group: &'a Str,
    /// These requests are the brokers' own.
    is_allowed: bool,
}

impl<'a> ShareState<'a> {
    pub(super) fn of(cx: &'a Context, group: &'a Str) -> Self {
        Self { cx, group, is_allowed: cx.allows(Operation::ClusterAction, Resource::Cluster) }
    }

    pub(super) fn key(&self, topic_id: Uuid, partition: i32) -> SharePartitionKey {
        SharePartitionKey { group: self.group.detached(), topic_id, partition }
    }

    /// Asks about the partition that the request names.
    pub(super) async fn ask(&self, key: &SharePartitionKey, request: PersisterRequest) -> PersisterResponse {
        if self.is_allowed {
            share::ask(&self.cx.broker, key, request).await
        } else {
            PersisterShard::refuse(&request, ErrorCode::ClusterAuthorizationFailed)
        }
    }

    /// The code and message of what is answered by no more than that. `None` makes no sense, and is not asked.
    pub(super) async fn done(
        &self,
        name: &'static str,
        key: &SharePartitionKey,
        request: Option<PersisterRequest>,
    ) -> Result<(i16, Option<Str>), Refusal> {
        let answer = match request {
            Some(request) => self.ask(key, request).await,
            None if self.is_allowed => PersisterResponse::Done(Err(ErrorCode::InvalidRequest.into())),
            None => PersisterResponse::Done(Err(ErrorCode::ClusterAuthorizationFailed.into())),
        };
        match answer {
            PersisterResponse::Done(done) => Ok(said_of(done.err())),
            other => Err(Refusal::not_an_answer_to(name, &other)),
        }
    }
}

/// The code and message of an answer.
pub(super) fn said_of(error: Option<PersisterError>) -> (i16, Option<Str>) {
    let Some(error) = error else { return (ErrorCode::None.into(), None) };
    (error.code.into(), error.message.map(Str::from_static))
}
