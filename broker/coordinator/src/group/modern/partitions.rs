//! Sets of partitions, by topic.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::PartitionId;
use uuid::Uuid;

/// No topic in it is without partitions, so that equal sets are equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPartitions(BTreeMap<Uuid, BTreeSet<PartitionId>>);

impl TopicPartitions {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions, of all topics together.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    pub fn contains(&self, topic: Uuid, partition: PartitionId) -> bool {
        self.0.get(&topic).is_some_and(|partitions| partitions.contains(&partition))
    }

    pub fn insert(&mut self, topic: Uuid, partition: PartitionId) {
        self.0.entry(topic).or_default().insert(partition);
    }

    pub fn remove(&mut self, topic: Uuid, partition: PartitionId) {
        if let Some(partitions) = self.0.get_mut(&topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.0.remove(&topic);
            }
        }
    }

    /// By topic, in the order of the ids; the partitions in theirs.
    pub fn topics(&self) -> impl Iterator<Item = (Uuid, &BTreeSet<PartitionId>)> {
        self.0.iter().map(|(topic, partitions)| (*topic, partitions))
    }

    pub fn of_topic(&self, topic: Uuid) -> Option<&BTreeSet<PartitionId>> {
        self.0.get(&topic)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Uuid, PartitionId)> {
        self.topics()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |partition| (topic, *partition)))
    }
}

impl FromIterator<(Uuid, PartitionId)> for TopicPartitions {
    fn from_iter<I: IntoIterator<Item = (Uuid, PartitionId)>>(pairs: I) -> Self {
        let mut set = Self::default();
        pairs.into_iter().for_each(|(topic, partition)| set.insert(topic, partition));
        set
    }
}

impl FromIterator<(Uuid, Vec<PartitionId>)> for TopicPartitions {
    fn from_iter<I: IntoIterator<Item = (Uuid, Vec<PartitionId>)>>(topics: I) -> Self {
        topics
            .into_iter()
            .flat_map(|(topic, list)| list.into_iter().map(move |partition| (topic, partition)))
            .collect()
    }
}
