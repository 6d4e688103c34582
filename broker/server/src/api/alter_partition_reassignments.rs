//! AlterPartitionReassignments (45): moves partitions between brokers, or calls moves off (KIP-455).
//!
//! - Where a partition is already, it may be "moved" to. v1: the number of replicas may be kept from changing (KIP-860).

use std::ops::RangeInclusive;

use strata_metadata::controller;
use strata_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use strata_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use strata_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct AlterPartitionReassignments;

impl Handler for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<AlterPartitionReassignmentsResponse, Refusal> {
        if !cx.allows(Operation::Alter, Resource::Cluster) {
            return Ok(refused(&request, ErrorCode::ClusterAuthorizationFailed));
        }
        let decided =
            cx.broker.decide(|image| controller::alter_partition_reassignments(image, &request)).await;
        Ok(decided.unwrap_or_else(|code| refused(&request, code)))
    }
}

/// The code is that of the whole and of each partition: the Java client looks for it there.
fn refused(
    request: &AlterPartitionReassignmentsRequest,
    code: ErrorCode,
) -> AlterPartitionReassignmentsResponse {
    let partition = |partition: &ReassignablePartition| ReassignablePartitionResponse {
        partition_index: partition.partition_index,
        error_code: code.into(),
        error_message: None,
        ..Default::default()
    };
    let topic = |topic: &ReassignableTopic| ReassignableTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    };
    AlterPartitionReassignmentsResponse {
        error_code: code.into(),
        error_message: None,
        responses: request.topics.iter().map(topic).collect(),
        ..Default::default()
    }
}
