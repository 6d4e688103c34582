//! Who leads a partition, and what changes when brokers come and go.
//!
//! A clean leader is always a member of the ISR. The last member stays in the ISR when it goes, without leading: it is the
//! only one known to have everything, so that the partition waits for it instead of losing records.

use strata_protocol::messages::PartitionChangeRecord;
use strata_types::{NodeId, PartitionId, TopicId};

use crate::image::{NO_LEADER, NO_LEADER_CHANGE, RECOVERED, RECOVERING};
use crate::{Image, MetadataRecord, Partition};

/// The changes that follow from a broker's going (fenced, shutting down, unregistered or restarted).
pub(super) fn broker_gone(image: &Image, gone: NodeId) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in image.topics() {
        for (id, partition) in topic.partitions().filter(|(_, partition)| partition.isr.contains(&gone)) {
            if let Some(change) = without(image, topic.id, id, partition, gone) {
                records.push(change.into());
            }
        }
    }
    records
}

/// The changes that follow from a broker's becoming active: partitions that waited for it get it as leader.
pub(super) fn broker_back(image: &Image, back: NodeId) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for topic in image.topics() {
        let waiting = |partition: &Partition| partition.leader.is_none() && partition.isr.contains(&back);
        for (id, _) in topic.partitions().filter(|(_, partition)| waiting(partition)) {
            records.push(PartitionChangeRecord { leader: back, ..change(topic.id, id) }.into());
        }
    }
    records
}

/// The replica that leads by preference, if it may lead.
pub(super) fn preferred_leader(image: &Image, partition: &Partition) -> Option<NodeId> {
    let preferred = partition.replicas.first().copied()?;
    (partition.isr.contains(&preferred) && image.is_active(preferred)).then_some(preferred)
}

/// The first replica, in order of preference, that is in sync and may lead.
pub(super) fn clean_leader(image: &Image, partition: &Partition) -> Option<NodeId> {
    let may_lead = |node: &NodeId| partition.isr.contains(node) && image.is_active(*node);
    partition.replicas.iter().copied().find(may_lead)
}

/// Makes `leader`, a member of the ISR, the leader.
pub(super) fn elect(topic: TopicId, id: PartitionId, leader: NodeId) -> PartitionChangeRecord {
    PartitionChangeRecord { leader, ..change(topic, id) }
}

/// Makes any active replica the leader. What only the old ISR had is lost; the new leader knows that it recovers.
pub(super) fn elect_uncleanly(
    image: &Image,
    topic: TopicId,
    id: PartitionId,
    partition: &Partition,
) -> Option<PartitionChangeRecord> {
    let leader = partition.replicas.iter().copied().find(|&node| image.is_active(node))?;
    Some(PartitionChangeRecord {
        leader,
        isr: Some(vec![leader]),
        leader_recovery_state: RECOVERING,
        ..change(topic, id)
    })
}

/// A record that changes nothing yet.
pub(super) fn change(topic: TopicId, id: PartitionId) -> PartitionChangeRecord {
    PartitionChangeRecord {
        partition_id: id,
        topic_id: topic.0,
        leader: NO_LEADER_CHANGE,
        ..Default::default()
    }
}

/// The state in which a record's reader finds the leader.
pub(super) fn recovery_state(partition: &Partition) -> i8 {
    if partition.recovering { RECOVERING } else { RECOVERED }
}

fn without(
    image: &Image,
    topic: TopicId,
    id: PartitionId,
    partition: &Partition,
    gone: NodeId,
) -> Option<PartitionChangeRecord> {
    let rest: Vec<NodeId> = partition.isr.iter().copied().filter(|&node| node != gone).collect();
    let mut record = change(topic, id);
    if partition.leader == Some(gone) {
        let may_lead = |node: &NodeId| rest.contains(node) && image.is_active(*node);
        record.leader = partition.replicas.iter().copied().find(may_lead).unwrap_or(NO_LEADER);
    }
    if !rest.is_empty() {
        record.isr = Some(rest);
    }
    (record.isr.is_some() || record.leader != NO_LEADER_CHANGE).then_some(record)
}
