//! AlterPartitionReassignments (45), versions 0–1 (KIP-455, KIP-860): other replicas for partitions, or none of those under way.
//!
//! What a partition has already is no move and succeeds. A move to other brokers is refused until brokers can replicate.

use strata_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use strata_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use strata_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use strata_types::ErrorCode;

use super::create_topics::check_manual;
use super::{ApiError, Decision, outcome};
use crate::Image;

/// Starts and cancels moves of partitions.
pub fn alter_partition_reassignments(
    image: &Image,
    request: &AlterPartitionReassignmentsRequest,
) -> Decision<AlterPartitionReassignmentsResponse> {
    let may_resize = request.allow_replication_factor_change;
    let topics = request.topics.iter().map(|topic| ReassignableTopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| {
                let (error_code, error_message) = outcome(alter(image, &topic.name, wanted, may_resize));
                let partition_index = wanted.partition_index;
                ReassignablePartitionResponse {
                    partition_index,
                    error_code,
                    error_message,
                    ..Default::default()
                }
            })
            .collect(),
        ..Default::default()
    });
    let response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_resize,
        error_message: None,
        responses: topics.collect(),
        ..Default::default()
    };
    (Vec::new(), response)
}

fn alter(
    image: &Image,
    topic: &str,
    wanted: &ReassignablePartition,
    may_resize: bool,
) -> Result<(), ApiError> {
    let index = wanted.partition_index;
    let unknown = |why: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, why);
    let found =
        image.topic(topic).ok_or_else(|| unknown(format!("Unable to find a topic named {topic}.")))?;
    let partition = found
        .partition(index)
        .ok_or_else(|| unknown(format!("Unable to find partition {topic}:{index}.")))?;
    let Some(replicas) = &wanted.replicas else {
        return match partition.adding_replicas.is_empty() && partition.removing_replicas.is_empty() {
            true => {
                let why = "No partition reassignment is in progress.";
                Err(ApiError::new(ErrorCode::NoReassignmentInProgress, why))
            }
            false => Err(refused()),
        };
    };
    check_manual(image, index, replicas, None)?;
    let (now, then) = (partition.replicas.len(), replicas.len());
    if !may_resize && now != then {
        let why = format!("The replication factor is changed from {now} to {then}");
        return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, why));
    }
    if *replicas == partition.replicas { Ok(()) } else { Err(refused()) }
}

fn refused() -> ApiError {
    ApiError::new(ErrorCode::InvalidReplicaAssignment, "Replicas cannot move between brokers yet.")
}
