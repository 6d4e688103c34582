use std::sync::Arc;

use strata_protocol::messages::{PartitionChangeRecord, PartitionRecord};
use strata_types::{LeaderEpoch, NodeId, PartitionId, TopicId, TopicName};
use uuid::Uuid;

/// `leader` in a record: nobody leads.
pub(crate) const NO_LEADER: i32 = -1;
/// `leader` in a change record: as before, and so is the leader epoch.
pub(crate) const NO_LEADER_CHANGE: i32 = -2;
/// Kafka's id for the directory of a replica whose directory has failed (KIP-858).
pub(crate) const LOST_DIRECTORY: Uuid = Uuid::from_u128(1);
/// `leader_recovery_state`: the leader has all that was committed.
pub(crate) const RECOVERED: i8 = 0;
/// `leader_recovery_state`: the leader was elected uncleanly and is still making up for it (KIP-704).
pub(crate) const RECOVERING: i8 = 1;
/// `leader_recovery_state` in a change record: as before.
pub(crate) const NO_RECOVERY_CHANGE: i8 = -1;

/// A topic and its partitions; a partition's id is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub id: TopicId,
    pub name: TopicName,
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// The partition with this id, if the topic has one.
    pub fn partition(&self, partition: PartitionId) -> Option<&Partition> {
        usize::try_from(partition).ok().and_then(|index| self.partitions.get(index)).map(Arc::as_ref)
    }

    /// Partitions with their ids.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        (0..).zip(self.partitions.iter().map(Arc::as_ref))
    }
}

/// What the cluster has agreed on about one partition.
///
/// Always true of a partition in an image: the replicas are distinct and at least one; the ISR is not empty and part of
/// the replicas; the leader, if any, is in the ISR; there is a directory for each replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// In order of preference: the first is the preferred leader.
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas, out of the ISR but known to hold all that was committed (KIP-966).
    pub elr: Vec<NodeId>,
    pub last_known_elr: Vec<NodeId>,
    pub adding_replicas: Vec<NodeId>,
    pub removing_replicas: Vec<NodeId>,
    pub leader: Option<NodeId>,
    /// Rises whenever a leader is chosen, even if it is the same one.
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change of the partition.
    pub partition_epoch: i32,
    /// Whether the leader was elected uncleanly and has not made up for it yet (KIP-704).
    pub recovering: bool,
    /// The log directory of each replica, nil while unassigned (KIP-858).
    pub directories: Vec<Uuid>,
}

/// Which rule of [`Partition`] a record would break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenPartition {
    #[error("it would have no replicas")]
    NoReplicas,
    #[error("a replica is listed twice")]
    DuplicateReplica,
    #[error("its ISR would be empty")]
    EmptyIsr,
    #[error("its ISR is not part of its replicas")]
    IsrOutsideReplicas,
    #[error("its leader is not in the ISR")]
    LeaderOutsideIsr,
    #[error("it would not have one directory for each replica")]
    Directories,
    #[error("an epoch is negative or has run out")]
    Epoch,
    #[error("its recovery state is neither recovered nor recovering")]
    RecoveryState,
}

impl Partition {
    pub(crate) fn from_record(record: &PartitionRecord) -> Result<Self, BrokenPartition> {
        let directories = match record.directories.is_empty() {
            // Version 0 has none.
            true => vec![Uuid::nil(); record.replicas.len()],
            false => record.directories.clone(),
        };
        let partition = Self {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
            adding_replicas: record.adding_replicas.clone(),
            removing_replicas: record.removing_replicas.clone(),
            leader: leader(record.leader),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: record.partition_epoch,
            recovering: recovering(record.leader_recovery_state)?,
            directories,
        };
        partition.checked()
    }

    /// The partition after a change. Lists that the record leaves out stay.
    pub(crate) fn changed(&self, record: &PartitionChangeRecord) -> Result<Self, BrokenPartition> {
        let mut next = self.clone();
        for (list, change) in [
            (&mut next.replicas, &record.replicas),
            (&mut next.isr, &record.isr),
            (&mut next.elr, &record.eligible_leader_replicas),
            (&mut next.last_known_elr, &record.last_known_elr),
            (&mut next.adding_replicas, &record.adding_replicas),
            (&mut next.removing_replicas, &record.removing_replicas),
        ] {
            if let Some(change) = change {
                list.clone_from(change);
            }
        }
        if let Some(directories) = &record.directories {
            next.directories.clone_from(directories);
        } else if record.replicas.is_some() {
            next.directories = next.replicas.iter().map(|&replica| self.directory(replica)).collect();
        }
        if record.leader != NO_LEADER_CHANGE {
            next.leader = leader(record.leader);
            next.leader_epoch =
                LeaderEpoch(self.leader_epoch.0.checked_add(1).ok_or(BrokenPartition::Epoch)?);
        }
        if record.leader_recovery_state != NO_RECOVERY_CHANGE {
            next.recovering = recovering(record.leader_recovery_state)?;
        }
        next.partition_epoch = self.partition_epoch.checked_add(1).ok_or(BrokenPartition::Epoch)?;
        next.checked()
    }

    pub(crate) fn to_record(&self, topic_id: TopicId, partition_id: PartitionId) -> PartitionRecord {
        PartitionRecord {
            partition_id,
            topic_id: topic_id.0,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing_replicas.clone(),
            adding_replicas: self.adding_replicas.clone(),
            leader: self.leader.unwrap_or(NO_LEADER),
            leader_recovery_state: if self.recovering { RECOVERING } else { RECOVERED },
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch,
            directories: self.directories.clone(),
            // Kafka leaves the tagged lists out where they are empty.
            eligible_leader_replicas: (!self.elr.is_empty()).then(|| self.elr.clone()),
            last_known_elr: (!self.last_known_elr.is_empty()).then(|| self.last_known_elr.clone()),
            ..Default::default()
        }
    }

    /// Whether a replica's log cannot be used: it is in a directory that has failed.
    pub fn is_lost(&self, replica: NodeId) -> bool {
        self.directory(replica) == LOST_DIRECTORY
    }

    /// The same directories, but this one for a replica.
    pub(crate) fn directories_with(&self, replica: NodeId, directory: Uuid) -> Vec<Uuid> {
        let each = self.replicas.iter().zip(&self.directories);
        each.map(|(&node, &known)| if node == replica { directory } else { known }).collect()
    }

    /// The log directory of a replica; nil if unassigned.
    pub fn directory(&self, replica: NodeId) -> Uuid {
        let index = self.replicas.iter().position(|&r| r == replica);
        index.and_then(|index| self.directories.get(index)).copied().unwrap_or_default()
    }

    fn checked(self) -> Result<Self, BrokenPartition> {
        let distinct = |list: &[NodeId]| list.iter().enumerate().all(|(i, node)| !list[..i].contains(node));
        if self.replicas.is_empty() {
            Err(BrokenPartition::NoReplicas)
        } else if !distinct(&self.replicas) || !distinct(&self.isr) {
            Err(BrokenPartition::DuplicateReplica)
        } else if self.isr.is_empty() {
            Err(BrokenPartition::EmptyIsr)
        } else if !self.isr.iter().all(|node| self.replicas.contains(node)) {
            Err(BrokenPartition::IsrOutsideReplicas)
        } else if self.leader.is_some_and(|leader| !self.isr.contains(&leader)) {
            Err(BrokenPartition::LeaderOutsideIsr)
        } else if self.directories.len() != self.replicas.len() {
            Err(BrokenPartition::Directories)
        } else if self.leader_epoch.0 < 0 || self.partition_epoch < 0 {
            Err(BrokenPartition::Epoch)
        } else {
            Ok(self)
        }
    }
}

fn leader(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(id)
}

fn recovering(state: i8) -> Result<bool, BrokenPartition> {
    match state {
        RECOVERED => Ok(false),
        RECOVERING => Ok(true),
        _ => Err(BrokenPartition::RecoveryState),
    }
}
