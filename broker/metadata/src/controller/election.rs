//! Who leads a partition, and what changes when brokers come and go.
//!
//! A clean leader is always a member of the ISR. The last member stays in the ISR when it goes, without leading: it is the
//! only one known to have everything, so that the partition waits for it instead of losing records.

use strata_protocol::messages::PartitionChangeRecord;
use strata_types::{NodeId, PartitionId, TopicId};
use uuid::Uuid;

use super::Decision;
use crate::image::{LOST_DIRECTORY, NO_LEADER, NO_LEADER_CHANGE, RECOVERED, RECOVERING};
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
        for (id, partition) in topic.partitions() {
            let is_awaited = partition.leader.is_none() && partition.isr.contains(&back);
            let is_found = partition.is_lost(back);
            if is_awaited || is_found {
                let leader = if is_awaited { back } else { NO_LEADER_CHANGE };
                // Where its log is now, it will say if that is nowhere.
                let directories = is_found.then(|| partition.directories_with(back, Uuid::nil()));
                records.push(PartitionChangeRecord { leader, directories, ..change(topic.id, id) }.into());
            }
        }
    }
    records
}

/// The changes that follow where a broker cannot use the logs of these partitions, as when it tells of a directory that is
/// offline in Kafka. It stays in the ISR where it is the last one: its log may be whole, and come back.
pub fn logs_lost(image: &Image, broker: NodeId, lost: &[(TopicId, PartitionId)]) -> Decision<()> {
    let records = lost.iter().filter_map(|&(topic, id)| {
        let partition = image.topic_by_id(topic)?.partitions.get(usize::try_from(id).ok()?)?;
        if !partition.replicas.contains(&broker) || partition.is_lost(broker) {
            return None;
        }
        let left =
            partition.isr.contains(&broker).then(|| without(image, topic, id, partition, broker)).flatten();
        let directories = Some(partition.directories_with(broker, LOST_DIRECTORY));
        Some(PartitionChangeRecord { directories, ..left.unwrap_or_else(|| change(topic, id)) }.into())
    });
    (records.collect(), ())
}

/// The replica that leads by preference, if it may lead.
pub(super) fn preferred_leader(image: &Image, partition: &Partition) -> Option<NodeId> {
    let preferred = partition.replicas.first().copied()?;
    (partition.isr.contains(&preferred) && may_lead(image, partition, preferred)).then_some(preferred)
}

/// The first replica, in order of preference, that is in sync and may lead.
pub(super) fn clean_leader(image: &Image, partition: &Partition) -> Option<NodeId> {
    let is_clean = |node: &NodeId| partition.isr.contains(node) && may_lead(image, partition, *node);
    partition.replicas.iter().copied().find(is_clean)
}

/// Whether a replica's broker is there, and its log.
fn may_lead(image: &Image, partition: &Partition, node: NodeId) -> bool {
    image.is_active(node) && !partition.is_lost(node)
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
    let leader = partition.replicas.iter().copied().find(|&node| may_lead(image, partition, node))?;
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
        let is_next = |node: &NodeId| rest.contains(node) && may_lead(image, partition, *node);
        record.leader = partition.replicas.iter().copied().find(is_next).unwrap_or(NO_LEADER);
    }
    if !rest.is_empty() {
        record.isr = Some(rest);
    }
    (record.isr.is_some() || record.leader != NO_LEADER_CHANGE).then_some(record)
}
