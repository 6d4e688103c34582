//! AlterPartition (56), versions 2–3 (KIP-497, KIP-704, KIP-903): a leader tells who is in sync.
//!
//! The leader's view may be stale. Its request is taken only at the leader epoch and the partition epoch that the controller
//! has, and only brokers that may lead get into the ISR.

use strata_protocol::messages::alter_partition_request::{PartitionData as Wanted, TopicData as WantedTopic};
use strata_protocol::messages::alter_partition_response::{PartitionData, TopicData};
use strata_protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use strata_types::{ErrorCode, NodeId, TopicId};

use super::{Decision, duplicates, election};
use crate::image::{NO_LEADER, NO_RECOVERY_CHANGE, RECOVERED, RECOVERING};
use crate::{Image, MetadataRecord, Partition};

/// Changes the ISR and the recovery state of partitions on their leader's word.
pub fn alter_partition(image: &Image, request: &AlterPartitionRequest) -> Decision<AlterPartitionResponse> {
    let refuse = |code: ErrorCode| {
        (Vec::new(), AlterPartitionResponse { error_code: code.code(), ..Default::default() })
    };
    match image.broker(request.broker_id) {
        None => return refuse(ErrorCode::BrokerIdNotRegistered),
        Some(broker) if broker.epoch != request.broker_epoch => return refuse(ErrorCode::StaleBrokerEpoch),
        Some(_) => {}
    }
    let mut records = Vec::new();
    let topics =
        request.topics.iter().map(|topic| alter_topic(image, request.broker_id, topic, &mut records));
    let response = AlterPartitionResponse { topics: topics.collect(), ..Default::default() };
    (records, response)
}

fn alter_topic(
    image: &Image,
    sender: NodeId,
    request: &WantedTopic,
    records: &mut Vec<MetadataRecord>,
) -> TopicData {
    let topic = image.topic_by_id(TopicId(request.topic_id));
    let twice = duplicates(request.partitions.iter().map(|partition| partition.partition_index));
    let mut partitions = Vec::with_capacity(request.partitions.len());
    for wanted in &request.partitions {
        let partition = topic.map(|topic| topic.partition(wanted.partition_index));
        let result = match partition {
            _ if twice.contains(&wanted.partition_index) => Err(ErrorCode::InvalidRequest),
            None => Err(ErrorCode::UnknownTopicId),
            Some(None) => Err(ErrorCode::UnknownTopicOrPartition),
            Some(Some(partition)) => {
                alter(image, sender, TopicId(request.topic_id), wanted, partition, records)
            }
        };
        partitions.push(match result {
            Ok(after) => PartitionData {
                partition_index: wanted.partition_index,
                leader_id: after.leader.unwrap_or(NO_LEADER),
                leader_epoch: after.leader_epoch.0,
                leader_recovery_state: election::recovery_state(&after),
                partition_epoch: after.partition_epoch,
                isr: after.isr,
                ..Default::default()
            },
            Err(code) => PartitionData {
                partition_index: wanted.partition_index,
                error_code: code.code(),
                ..Default::default()
            },
        });
    }
    TopicData { topic_id: request.topic_id, partitions, ..Default::default() }
}

fn alter(
    image: &Image,
    sender: NodeId,
    topic: TopicId,
    wanted: &Wanted,
    partition: &Partition,
    records: &mut Vec<MetadataRecord>,
) -> Result<Partition, ErrorCode> {
    let isr = wanted_isr(wanted);
    check(image, sender, wanted, &isr, partition)?;
    let mut record = election::change(topic, wanted.partition_index);
    record.leader_recovery_state = match (partition.recovering, wanted.leader_recovery_state) {
        (true, RECOVERED) => RECOVERED,
        _ => NO_RECOVERY_CHANGE,
    };
    if isr != partition.isr {
        record.isr = Some(isr);
    }
    if record.isr.is_none() && record.leader_recovery_state == NO_RECOVERY_CHANGE {
        return Ok(partition.clone());
    }
    let after = partition.changed(&record).map_err(|_| ErrorCode::InvalidRequest)?;
    records.push(record.into());
    Ok(after)
}

fn check(
    image: &Image,
    sender: NodeId,
    wanted: &Wanted,
    isr: &[NodeId],
    partition: &Partition,
) -> Result<(), ErrorCode> {
    // A request from the future: this controller is not the newest.
    if wanted.leader_epoch > partition.leader_epoch.0 || wanted.partition_epoch > partition.partition_epoch {
        return Err(ErrorCode::NotController);
    }
    if wanted.leader_epoch < partition.leader_epoch.0 {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    if wanted.partition_epoch < partition.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let is_part = isr.iter().all(|node| partition.replicas.contains(node));
    if !is_part || !duplicates(isr.iter()).is_empty() || !isr.contains(&sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    match wanted.leader_recovery_state {
        RECOVERING if !partition.recovering || isr.len() > 1 => return Err(ErrorCode::InvalidRequest),
        RECOVERING | RECOVERED => {}
        _ => return Err(ErrorCode::InvalidRequest),
    }
    match isr.iter().all(|&node| is_eligible(image, wanted, node)) {
        true => Ok(()),
        false => Err(ErrorCode::IneligibleReplica),
    }
}

/// Version 3 names each member's broker epoch (KIP-903); older ones, and −1, vouch for any incarnation.
fn is_eligible(image: &Image, wanted: &Wanted, node: NodeId) -> bool {
    let claimed = wanted.new_isr_with_epochs.iter().find(|state| state.broker_id == node);
    let Some(broker) = image.broker(node).filter(|broker| broker.is_active()) else { return false };
    claimed.is_none_or(|state| state.broker_epoch == -1 || state.broker_epoch == broker.epoch)
}

fn wanted_isr(wanted: &Wanted) -> Vec<NodeId> {
    match wanted.new_isr_with_epochs.is_empty() {
        true => wanted.new_isr.clone(),
        false => wanted.new_isr_with_epochs.iter().map(|state| state.broker_id).collect(),
    }
}
