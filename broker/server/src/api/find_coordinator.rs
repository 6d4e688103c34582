//! FindCoordinator (10): which broker coordinates a group or a transactional id.
//!
//! - The first one makes the coordinators' internal topic. v4: several keys at once (KIP-699). Key types: group (0),
//!   transaction (1); share (2) is a share partition, `group:topicId:partition` (v6, KIP-932).

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_coordinator::share::persister::PersisterShard;
use strata_coordinator::{GroupShard, TransactionShard, partition_for};
use strata_protocol::Str;
use strata_protocol::messages::find_coordinator_response::Coordinator;
use strata_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use strata_types::ErrorCode;

use super::message;
use crate::broker::Broker;
use crate::coordinators::Hosted;
use crate::dispatch::{Context, Handler, Peer, Refusal};
use crate::internal;
use crate::security::{Operation, Resource};

pub(crate) struct FindCoordinator;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

impl Handler for FindCoordinator {
    type Request = FindCoordinatorRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    async fn handle(cx: Context, request: Self::Request) -> Result<FindCoordinatorResponse, Refusal> {
        let keys = if cx.version >= 4 { request.coordinator_keys } else { vec![request.key] };
        let mut coordinators = Vec::with_capacity(keys.len());
        for key in keys {
            let (operation, resource) = match request.key_type {
                GROUP => (Operation::Describe, Resource::Group(&key)),
                TRANSACTION => (Operation::Describe, Resource::TransactionalId(&key)),
                _ => (Operation::ClusterAction, Resource::Cluster),
            };
            let found = match cx.check(operation, resource) {
                Ok(()) => find(&cx.broker, &cx.peer, request.key_type, &key).await,
                Err(code) => Err((code, super::denial(code))),
            };
            coordinators.push(answer(key, found));
        }
        if cx.version >= 4 {
            return Ok(FindCoordinatorResponse { coordinators, ..Default::default() });
        }
        let only = coordinators.pop().unwrap_or_default();
        Ok(FindCoordinatorResponse {
            error_code: only.error_code,
            error_message: only.error_message,
            node_id: only.node_id,
            host: only.host,
            port: only.port,
            ..Default::default()
        })
    }
}

type Found = Result<(i32, Str, i32), (ErrorCode, &'static str)>;

fn answer(key: Str, found: Found) -> Coordinator {
    let mut coordinator =
        Coordinator { key, node_id: -1, port: -1, error_message: None, ..Default::default() };
    match found {
        Ok((node_id, host, port)) => {
            (coordinator.node_id, coordinator.host, coordinator.port) = (node_id, host, port);
        }
        Err((code, why)) => {
            coordinator.error_code = code.into();
            coordinator.error_message = message(why);
        }
    }
    coordinator
}

async fn find(broker: &Arc<Broker>, peer: &Peer, key_type: i8, key: &str) -> Found {
    let topic = match key_type {
        GROUP => GroupShard::TOPIC,
        TRANSACTION => TransactionShard::TOPIC,
        SHARE if is_share_partition(key) => PersisterShard::TOPIC,
        SHARE => return Err((ErrorCode::InvalidRequest, "Invalid format for share partition key.")),
        _ => return Err((ErrorCode::InvalidRequest, "there are no coordinators of this type")),
    };
    let not_available = (ErrorCode::CoordinatorNotAvailable, "the coordinator is not available");
    let count = internal::ensure(broker, topic).await.map_err(|code| {
        tracing::warn!(topic, %code, "the topic could not be made");
        not_available
    })?;
    let image = broker.image();
    let leader = image.partition(topic, partition_for(key, count)).and_then(|state| state.leader);
    let node = leader.and_then(|id| image.broker(id)).ok_or(not_available)?;
    let (host, port) = broker.endpoint(node, &peer.listener).ok_or(not_available)?;
    Ok((node.id, host, port))
}

/// Whether a key is `group:topicId:partition`; the group's name may have colons too.
fn is_share_partition(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().and_then(|partition| partition.parse::<i32>().ok());
    let topic_id = parts.next().is_some_and(|id| id.len() == 22);
    partition.is_some_and(|partition| partition >= 0)
        && topic_id
        && parts.next().is_some_and(|group| !group.is_empty())
}
