//! The topology that an application's members bring: its subtopologies, and the topics between them.

use std::collections::{BTreeMap, BTreeSet};

use strata_protocol::Str;
use strata_protocol::messages::StreamsGroupTopologyValue;
use strata_protocol::messages::streams_group_describe_response as described;
use strata_protocol::messages::streams_group_heartbeat_request as requested;
use strata_protocol::messages::streams_group_topology_value::{
    CopartitionGroup, Subtopology, TopicConfig, TopicInfo,
};

use super::configure::TopologyError;

#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// The application's version of it; never negative.
    pub epoch: i32,
    pub(super) subtopologies: BTreeMap<Str, Subtopology>,
    /// Which subtopology reads a topic, the application's own topics and repartition topics alike.
    readers: BTreeMap<Str, Str>,
}

impl Topology {
    /// Fails if a subtopology appears twice, or a copartition group names a topic that the subtopology does not read.
    pub(super) fn new(value: &StreamsGroupTopologyValue) -> Result<Self, TopologyError> {
        let (mut subtopologies, mut readers) = (BTreeMap::new(), BTreeMap::new());
        for subtopology in &value.subtopologies {
            let id = &subtopology.subtopology_id;
            for group in &subtopology.copartition_groups {
                copartitioned(subtopology, group)?;
            }
            for topic in source_topics(subtopology) {
                readers.insert(topic.clone(), id.clone());
            }
            if subtopologies.insert(id.clone(), subtopology.clone()).is_some() {
                return Err(TopologyError::Invalid(format!("Subtopology {id} is there more than once.")));
            }
        }
        Ok(Self { epoch: value.epoch, subtopologies, readers })
    }

    /// Every topic that tasks read, write state to, or repartition through, apart from sinks.
    pub(super) fn required_topics(&self) -> BTreeSet<&Str> {
        let topics = self.subtopologies.values().flat_map(|subtopology| {
            source_topics(subtopology)
                .chain(subtopology.state_changelog_topics.iter().map(|topic| &topic.name))
        });
        topics.collect()
    }

    pub(super) fn reader_of(&self, topic: &str) -> Option<&Str> {
        self.readers.get(topic)
    }

    pub(super) fn describe(&self) -> described::Topology {
        let subtopologies = self.subtopologies.values().map(|subtopology| described::Subtopology {
            subtopology_id: subtopology.subtopology_id.clone(),
            source_topics: sorted(&subtopology.source_topics),
            repartition_sink_topics: sorted(&subtopology.repartition_sink_topics),
            repartition_source_topics: describe_topics(&subtopology.repartition_source_topics),
            state_changelog_topics: describe_topics(&subtopology.state_changelog_topics),
            ..Default::default()
        });
        described::Topology {
            epoch: self.epoch,
            subtopologies: Some(subtopologies.collect()),
            ..Default::default()
        }
    }
}

/// What a subtopology's tasks read: topics of others first, then repartition topics.
pub(super) fn source_topics(subtopology: &Subtopology) -> impl Iterator<Item = &Str> {
    subtopology
        .source_topics
        .iter()
        .chain(subtopology.repartition_source_topics.iter().map(|topic| &topic.name))
}

/// The topics whose partitions must match.
pub(super) fn copartitioned<'a>(
    subtopology: &'a Subtopology,
    group: &CopartitionGroup,
) -> Result<BTreeSet<&'a Str>, TopologyError> {
    let external = group
        .source_topics
        .iter()
        .map(|at| usize::try_from(*at).ok().and_then(|at| subtopology.source_topics.get(at)));
    let repartition = group.repartition_source_topics.iter().map(|at| {
        usize::try_from(*at)
            .ok()
            .and_then(|at| subtopology.repartition_source_topics.get(at))
            .map(|topic| &topic.name)
    });
    external.chain(repartition).collect::<Option<BTreeSet<_>>>().ok_or_else(|| {
        let id = &subtopology.subtopology_id;
        TopologyError::Invalid(format!(
            "A copartition group of subtopology {id} names a topic that it does not read."
        ))
    })
}

/// The record that keeps the topology of a request.
pub(super) fn to_record(topology: &requested::Topology) -> StreamsGroupTopologyValue {
    let subtopologies = topology.subtopologies.iter().map(|subtopology| Subtopology {
        subtopology_id: subtopology.subtopology_id.clone(),
        source_topics: subtopology.source_topics.clone(),
        source_topic_regex: subtopology.source_topic_regex.clone(),
        state_changelog_topics: record_topics(&subtopology.state_changelog_topics),
        repartition_sink_topics: subtopology.repartition_sink_topics.clone(),
        repartition_source_topics: record_topics(&subtopology.repartition_source_topics),
        copartition_groups: subtopology.copartition_groups.iter().map(record_copartition_group).collect(),
        ..Default::default()
    });
    StreamsGroupTopologyValue {
        epoch: topology.epoch,
        subtopologies: subtopologies.collect(),
        ..Default::default()
    }
}

fn record_topics(topics: &[requested::TopicInfo]) -> Vec<TopicInfo> {
    let topics = topics.iter().map(|topic| TopicInfo {
        name: topic.name.clone(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        topic_configs: topic
            .topic_configs
            .iter()
            .map(|config| TopicConfig {
                key: config.key.clone(),
                value: config.value.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    topics.collect()
}

fn record_copartition_group(group: &requested::CopartitionGroup) -> CopartitionGroup {
    CopartitionGroup {
        source_topics: group.source_topics.clone(),
        source_topic_regex: group.source_topic_regex.clone(),
        repartition_source_topics: group.repartition_source_topics.clone(),
        ..Default::default()
    }
}

fn describe_topics(topics: &[TopicInfo]) -> Vec<described::TopicInfo> {
    let mut topics: Vec<_> = topics.iter().map(|topic| describe_topic(topic, topic.partitions)).collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics
}

pub(super) fn describe_topic(topic: &TopicInfo, partitions: i32) -> described::TopicInfo {
    let configs = topic.topic_configs.iter().map(|config| described::KeyValue {
        key: config.key.clone(),
        value: config.value.clone(),
        ..Default::default()
    });
    described::TopicInfo {
        name: topic.name.clone(),
        partitions,
        replication_factor: topic.replication_factor,
        topic_configs: configs.collect(),
        ..Default::default()
    }
}

pub(super) fn sorted(names: &[Str]) -> Vec<Str> {
    let mut names = names.to_vec();
    names.sort();
    names
}
