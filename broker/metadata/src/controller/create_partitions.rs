//! CreatePartitions (37), versions 0–3: more partitions for a topic that exists. There is no way to have fewer.

use std::collections::BTreeSet;

use strata_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use strata_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use strata_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use strata_types::{ErrorCode, NodeId};

use super::create_topics::{check_manual, new_partition};
use super::placement::Placer;
use super::{ApiError, Decision, PARTITIONS_PER_REQUEST_MAX, duplicates, outcome};
use crate::{Image, MetadataRecord};

/// Adds partitions. `count` in the request is the total that the topic shall have. `seed` decides where replicas go.
pub fn create_partitions(
    image: &Image,
    request: &CreatePartitionsRequest,
    seed: u64,
) -> Decision<CreatePartitionsResponse> {
    let twice = duplicates(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut answered = BTreeSet::new();
    let mut placer = Placer::new(image, seed);
    let mut records = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    let mut room = PARTITIONS_PER_REQUEST_MAX;
    for topic in &request.topics {
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let result = match twice.contains(topic.name.as_str()) {
            true => Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.")),
            false => grow(image, topic, &mut placer, &mut room),
        };
        let (error_code, error_message) = outcome(result.map(|more| {
            if !request.validate_only {
                records.extend(more);
            }
        }));
        results.push(CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code,
            error_message,
            ..Default::default()
        });
    }
    (records, CreatePartitionsResponse { results, ..Default::default() })
}

fn grow(
    image: &Image,
    request: &CreatePartitionsTopic,
    placer: &mut Placer,
    room: &mut i64,
) -> Result<Vec<MetadataRecord>, ApiError> {
    // Kafka leaves this error without a text.
    let unknown = ApiError { code: ErrorCode::UnknownTopicOrPartition, message: None };
    let topic = image.topic(&request.name).ok_or(unknown)?;
    let before = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    if request.count == before {
        let message = format!("Topic already has {before} partition(s).");
        return Err(ApiError::new(ErrorCode::InvalidPartitions, message));
    }
    if request.count < before {
        let message = format!(
            "The topic {} currently has {before} partition(s); {} would not be an increase.",
            request.name, request.count
        );
        return Err(ApiError::new(ErrorCode::InvalidPartitions, message));
    }
    let additional = request.count - before;
    if let Some(manual) = &request.assignments
        && i32::try_from(manual.len()) != Ok(additional)
    {
        let message = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            manual.len()
        );
        return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    if i64::from(additional) > *room {
        return Err(ApiError::too_many("Unable to perform excessively large batch operation."));
    }
    // New partitions have as many replicas as the first one.
    let replication_factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let assignment: Vec<Vec<NodeId>> = match &request.assignments {
        Some(manual) => {
            for (partition, assignment) in (before..).zip(manual) {
                check_manual(image, partition, &assignment.broker_ids, Some(replication_factor))?;
            }
            manual.iter().map(|assignment| assignment.broker_ids.clone()).collect()
        }
        None => {
            let factor = i16::try_from(replication_factor).unwrap_or(i16::MAX);
            placer.check(factor)?;
            (0..additional).map(|_| placer.place(factor)).collect()
        }
    };
    *room -= i64::from(additional);
    let records = (before..).zip(assignment);
    Ok(records.map(|(id, replicas)| new_partition(image, replicas).to_record(topic.id, id).into()).collect())
}
