//! ElectLeaders (43), versions 0–2 (KIP-183, KIP-460): an operator asks for the preferred leader, or for any leader at all.
//!
//! Without a list of partitions all are meant; every topic is answered, with those partitions that an election changes or
//! that fail.

use strata_protocol::Str;
use strata_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use strata_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use strata_types::{ErrorCode, PartitionId};

use super::{ApiError, Decision, election, outcome};
use crate::{Image, MetadataRecord, Topic};

/// What kind of leader is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Election {
    /// The first of the replicas.
    Preferred,
    /// Any replica, even one that lacks records, where no member of the ISR can lead.
    Unclean,
}

/// Elects leaders.
pub fn elect_leaders(image: &Image, request: &ElectLeadersRequest) -> Decision<ElectLeadersResponse> {
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        other => return (Vec::new(), unknown_election(request, other)),
    };
    let mut records = Vec::new();
    let replica_election_results = match &request.topic_partitions {
        Some(wanted) => wanted
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter();
                let results =
                    partitions.map(|&id| (id, elect(image, &topic.topic, id, election, &mut records)));
                results_of(topic.topic.clone(), results)
            })
            .collect(),
        None => image.topics().map(|topic| elect_all(image, topic, election, &mut records)).collect(),
    };
    (records, ElectLeadersResponse { replica_election_results, ..Default::default() })
}

fn unknown_election(request: &ElectLeadersRequest, election_type: i8) -> ElectLeadersResponse {
    let message = format!("Unknown election type {election_type}");
    let refuse = |&id: &PartitionId| (id, Err(ApiError::new(ErrorCode::InvalidRequest, message.as_str())));
    let wanted = request.topic_partitions.iter().flatten();
    ElectLeadersResponse {
        error_code: ErrorCode::InvalidRequest.code(),
        replica_election_results: wanted
            .map(|topic| results_of(topic.topic.clone(), topic.partitions.iter().map(refuse)))
            .collect(),
        ..Default::default()
    }
}

fn elect_all(
    image: &Image,
    topic: &Topic,
    election: Election,
    records: &mut Vec<MetadataRecord>,
) -> ReplicaElectionResult {
    let name: Str = topic.name.as_str().into();
    let ids = topic.partitions().map(|(id, _)| id);
    let results = ids.map(|id| (id, elect(image, &topic.name.to_string(), id, election, records)));
    let needed = results
        .filter(|(_, result)| !matches!(result, Err(error) if error.code == ErrorCode::ElectionNotNeeded));
    results_of(name, needed)
}

fn results_of(
    topic: Str,
    results: impl Iterator<Item = (PartitionId, Result<(), ApiError>)>,
) -> ReplicaElectionResult {
    let partition_result = results.map(|(partition_id, result)| {
        let (error_code, error_message) = outcome(result);
        PartitionResult { partition_id, error_code, error_message, ..Default::default() }
    });
    ReplicaElectionResult { topic, partition_result: partition_result.collect(), ..Default::default() }
}

fn elect(
    image: &Image,
    topic: &str,
    id: PartitionId,
    election: Election,
    records: &mut Vec<MetadataRecord>,
) -> Result<(), ApiError> {
    let unknown = |message: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, message);
    let found = image.topic(topic).ok_or_else(|| unknown(format!("No such topic as {topic}")))?;
    let partition =
        found.partition(id).ok_or_else(|| unknown(format!("No such partition as {topic}-{id}")))?;
    let not_needed =
        || ApiError::new(ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition.");
    let record = match election {
        Election::Preferred if partition.leader == partition.replicas.first().copied() => {
            return Err(not_needed());
        }
        Election::Preferred => match election::preferred_leader(image, partition) {
            Some(leader) => election::elect(found.id, id, leader),
            None => {
                let message = "The preferred leader was not available.";
                return Err(ApiError::new(ErrorCode::PreferredLeaderNotAvailable, message));
            }
        },
        Election::Unclean if partition.leader.is_some() => return Err(not_needed()),
        Election::Unclean => {
            let clean =
                election::clean_leader(image, partition).map(|leader| election::elect(found.id, id, leader));
            let any = clean.or_else(|| election::elect_uncleanly(image, found.id, id, partition));
            any.ok_or_else(|| {
                let message = "Eligible topic partition leaders are not available.";
                ApiError::new(ErrorCode::EligibleLeadersNotAvailable, message)
            })?
        }
    };
    records.push(record.into());
    Ok(())
}
