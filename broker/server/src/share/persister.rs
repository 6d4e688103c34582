//! Asking the share coordinator.

use std::sync::Arc;
use std::time::Duration;

use strata_coordinator::Shard;
use strata_coordinator::share::persister::{
    PersisterError, PersisterRequest, PersisterResponse, PersisterShard, ReadState, SharePartitionKey,
    StateSummary, UNINITIALIZED_START_OFFSET,
};
use strata_protocol::Str;
use strata_types::{ErrorCode, PartitionId, TopicId};
use uuid::Uuid;

use crate::broker::Broker;
use crate::internal::{self, SHARE_GROUP_STATE};

/// How often a coordinator that is just being loaded is asked, and how long is waited before the second time; then twice
/// as long each time.
const ATTEMPTS_MAX: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(25);

/// Asks the coordinator of a share partition, whose topic must be there.
pub(crate) async fn ask(
    broker: &Arc<Broker>,
    key: &SharePartitionKey,
    request: PersisterRequest,
) -> PersisterResponse {
    if let Err(code) = check(broker, key).await {
        return PersisterShard::refuse(&request, code);
    }
    // State that is made anew or goes: what is in memory of it counts no more.
    if matches!(request, PersisterRequest::Initialize { .. } | PersisterRequest::Delete { .. }) {
        let response = broker.persister.ask(broker, &key.coordinator_key(), request).await;
        broker.share.reset(key);
        return response;
    }
    broker.persister.ask(broker, &key.coordinator_key(), request).await
}

async fn check(broker: &Arc<Broker>, key: &SharePartitionKey) -> Result<(), ErrorCode> {
    if key.topic_id.is_nil() || key.partition < 0 {
        return Err(ErrorCode::InvalidRequest);
    }
    let image = broker.image();
    let topic = image.topic_by_id(TopicId(key.topic_id));
    if topic.is_none_or(|topic| key.partition as usize >= topic.partitions.len()) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    internal::ensure(broker, SHARE_GROUP_STATE).await.map(|_| ()).map_err(|code| {
        tracing::warn!(topic = SHARE_GROUP_STATE, %code, "the topic could not be made");
        ErrorCode::CoordinatorNotAvailable
    })
}

/// Asks again as long as the coordinator is being loaded or looked for.
async fn ask_until_there(
    broker: &Arc<Broker>,
    key: &SharePartitionKey,
    request: impl Fn() -> PersisterRequest,
) -> PersisterResponse {
    let mut backoff = FIRST_BACKOFF;
    for _ in 1..ATTEMPTS_MAX {
        let response = ask(broker, key, request()).await;
        let is_passing = error_of(&response).is_some_and(|error| {
            matches!(
                error.code,
                ErrorCode::CoordinatorLoadInProgress
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::NotCoordinator
            )
        });
        if !is_passing {
            return response;
        }
        if broker.stopping.run_until_cancelled(tokio::time::sleep(backoff)).await.is_none() {
            return response;
        }
        backoff *= 2;
    }
    ask(broker, key, request()).await
}

fn error_of(response: &PersisterResponse) -> Option<PersisterError> {
    match response {
        PersisterResponse::Done(done) => done.err(),
        PersisterResponse::Read(read) => read.as_ref().err().copied(),
        PersisterResponse::Summary(summary) => summary.err(),
    }
}

/// What is stored of a share partition, for its new leader.
pub(super) async fn read(
    broker: &Arc<Broker>,
    key: &SharePartitionKey,
    leader_epoch: i32,
) -> Result<ReadState, ErrorCode> {
    let request = || PersisterRequest::Read { key: key.clone(), leader_epoch };
    match ask_until_there(broker, key, request).await {
        PersisterResponse::Read(read) => read.map_err(|error| leaders_code(error.code)),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// Stores changes.
pub(super) async fn write(
    broker: Arc<Broker>,
    key: SharePartitionKey,
    request: PersisterRequest,
) -> Result<(), ErrorCode> {
    match ask_until_there(&broker, &key, || request.clone()).await {
        PersisterResponse::Done(done) => done.map_err(|error| leaders_code(error.code)),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// A summary of what is stored, for who describes offsets.
pub(crate) async fn summary(
    broker: &Arc<Broker>,
    key: &SharePartitionKey,
) -> Result<StateSummary, PersisterError> {
    let request = || PersisterRequest::ReadSummary { key: key.clone() };
    match ask_until_there(broker, key, request).await {
        PersisterResponse::Summary(summary) => summary,
        _ => Err(ErrorCode::UnknownServerError.into()),
    }
}

/// Begins a life of a share partition's state that nobody has read: its group's settings say where it starts.
pub(super) async fn initialize(
    broker: &Arc<Broker>,
    group: &Str,
    topic: Uuid,
    partition: PartitionId,
    state_epoch: i32,
) -> Result<(), ErrorCode> {
    let key = SharePartitionKey { group: group.clone(), topic_id: topic, partition };
    let request = || PersisterRequest::Initialize {
        key: key.clone(),
        state_epoch,
        start_offset: UNINITIALIZED_START_OFFSET,
    };
    match ask_until_there(broker, &key, request).await {
        PersisterResponse::Done(done) => done.map_err(|error| error.code),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

/// What a member is told when the share coordinator says `code` to the partition's leader, as Kafka translates it.
fn leaders_code(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::GroupIdNotFound | ErrorCode::UnknownTopicOrPartition => code,
        ErrorCode::FencedLeaderEpoch | ErrorCode::FencedStateEpoch => ErrorCode::NotLeaderOrFollower,
        _ => ErrorCode::UnknownServerError,
    }
}
