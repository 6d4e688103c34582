//! What the group coordinator wants done for share groups.

use std::sync::Arc;

use futures::{StreamExt, stream};
use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse};
use strata_coordinator::{GroupAction, GroupRequest, ShareRequest, ShareTopic};
use strata_protocol::Str;
use strata_types::{ErrorCode, PartitionId, TopicId};
use uuid::Uuid;

use super::{key, persister};
use crate::broker::Broker;

/// Partitions of one group that are initialized at the same time.
const INITIALIZE_AT_ONCE_MAX: usize = 32;

/// Does it, in a task of its own where that takes time.
pub(crate) fn act(broker: &Arc<Broker>, action: GroupAction) {
    match action {
        GroupAction::ShareMembersLeft { group_id, members } => {
            members.iter().for_each(|member| broker.share.member_left(&group_id, member));
        }
        GroupAction::InitializeShareState { group_id, state_epoch, partitions } => {
            broker.tasks.spawn(initialize(broker.clone(), group_id, state_epoch, partitions));
        }
    }
}

/// Has the share coordinators keep partitions' state, and tells the group coordinator.
async fn initialize(
    broker: Arc<Broker>,
    group_id: Str,
    state_epoch: i32,
    partitions: Vec<(Uuid, PartitionId)>,
) {
    let outcomes = partitions.into_iter().map(|(topic, partition)| {
        let (broker, group_id) = (broker.clone(), group_id.clone());
        async move {
            let outcome = persister::initialize(&broker, &group_id, topic, partition, state_epoch).await;
            ((topic, partition), outcome)
        }
    });
    let outcomes: Vec<_> = stream::iter(outcomes).buffer_unordered(INITIALIZE_AT_ONCE_MAX).collect().await;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (partition, outcome) in outcomes {
        match outcome {
            Ok(()) => done.push(partition),
            Err(code) => {
                tracing::warn!(group = %group_id, topic = %partition.0, partition = partition.1, %code, "a share partition could not be initialized");
                failed.push(partition);
            }
        }
    }
    let ask = GroupRequest::Share(ShareRequest::Initialized { group_id: group_id.clone(), done, failed });
    broker.groups.ask(&broker, &group_id, ask).await;
}

/// Deletes what is stored of a topic for a group.
pub(crate) async fn delete_state(
    broker: &Arc<Broker>,
    group: &Str,
    topic: &ShareTopic,
) -> Result<(), ErrorCode> {
    for partition in &topic.partitions {
        let key = key(group, (TopicId(topic.id), *partition));
        let ask = PersisterRequest::Delete { key: key.clone() };
        match persister::ask(broker, &key, ask).await {
            // A topic that is gone has taken its state with it.
            PersisterResponse::Done(Err(error)) if error.code != ErrorCode::UnknownTopicOrPartition => {
                return Err(error.code);
            }
            _ => {}
        }
    }
    Ok(())
}
