//! How many partitions the topics of a topology must have, how many tasks that makes, and which topics are missing.
//!
//! ```text
//!  fixed repartition topics ─▶ the others, from what is upstream of them ─▶ copartition groups made equal ─▶ changelogs
//! ```
//!
//! It follows Kafka's `InternalTopicManager`, statuses and their words included. What only its hash tables decide there
//! (the order in which missing topics are named) is the order of the names here.

use std::collections::{BTreeMap, BTreeSet};

use strata_protocol::Str;
use strata_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use strata_protocol::messages::streams_group_describe_response as described;
use strata_protocol::messages::streams_group_topology_value::{Subtopology, TopicInfo};

use super::status::{Problem, StatusCode};
use super::topology::{Topology, copartitioned, describe_topic, sorted, source_topics};

/// How many missing topics are named in a status.
const NAMED_TOPICS_MAX: usize = 3;

/// A topology as the cluster's topics let it be.
#[derive(Debug, Clone)]
pub struct ConfiguredTopology {
    pub(super) epoch: i32,
    /// None if the topics do not even fit the topology.
    pub(super) subtopologies: Option<BTreeMap<Str, ConfiguredSubtopology>>,
    /// Internal topics that must be created before there can be tasks.
    pub(super) missing: Vec<CreatableTopic>,
    /// Why there can be no tasks yet.
    pub(super) problem: Option<Problem>,
}

#[derive(Debug, Clone)]
pub(super) struct ConfiguredSubtopology {
    /// One for each partition of the topic that has most; at least 1.
    pub(super) tasks: i32,
    pub(super) is_stateful: bool,
    /// What tasks read.
    pub(super) sources: Vec<Str>,
    described: described::Subtopology,
}

/// A topology that no topics could fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// It is wrong in itself.
    #[error("{0}")]
    Invalid(String),
    /// It is such that Kafka fails at it.
    #[error("{0}")]
    Unexpected(String),
}

/// Why a topology cannot be had: by itself, or with these topics.
enum Obstacle {
    Error(TopologyError),
    Problem(Problem),
}

impl From<TopologyError> for Obstacle {
    fn from(error: TopologyError) -> Self {
        Self::Error(error)
    }
}

impl ConfiguredTopology {
    /// `partitions` says how many a topic has, if there is such a topic.
    pub(super) fn new(
        topology: &Topology,
        partitions: &dyn Fn(&str) -> Option<i32>,
    ) -> Result<Self, TopologyError> {
        match Self::configure(topology, partitions) {
            Ok(configured) => Ok(configured),
            Err(Obstacle::Error(error)) => Err(error),
            Err(Obstacle::Problem(problem)) => Ok(Self {
                epoch: topology.epoch,
                subtopologies: None,
                missing: Vec::new(),
                problem: Some(problem),
            }),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.problem.is_none()
    }

    pub(super) fn describe(&self) -> described::Topology {
        let subtopologies =
            self.subtopologies.iter().flatten().map(|(_, subtopology)| subtopology.described.clone());
        described::Topology {
            epoch: self.epoch,
            subtopologies: Some(subtopologies.collect()),
            ..Default::default()
        }
    }

    fn configure(topology: &Topology, partitions: &dyn Fn(&str) -> Option<i32>) -> Result<Self, Obstacle> {
        let counts = Counts::decide(topology, partitions)?;
        let mut subtopologies = BTreeMap::new();
        for (id, subtopology) in &topology.subtopologies {
            subtopologies.insert(id.clone(), counts.configure(subtopology)?);
        }
        let missing = counts.missing(topology)?;
        let problem = (!missing.is_empty()).then(|| {
            let names = summary(missing.iter().map(|topic| &topic.name));
            Problem::new(StatusCode::MissingInternalTopics, format!("Internal topics are missing: {names}"))
        });
        Ok(Self { epoch: topology.epoch, subtopologies: Some(subtopologies), missing, problem })
    }
}

/// Partition counts: of the topics that exist, and those decided for internal ones.
struct Counts<'a> {
    existing: &'a dyn Fn(&str) -> Option<i32>,
    decided: BTreeMap<&'a Str, i32>,
}

impl<'a> Counts<'a> {
    fn decide(topology: &'a Topology, existing: &'a dyn Fn(&str) -> Option<i32>) -> Result<Self, Obstacle> {
        let subtopologies = || topology.subtopologies.values();
        let missing: BTreeSet<&Str> = subtopologies()
            .flat_map(|s| &s.source_topics)
            .filter(|topic| existing(topic).is_none())
            .collect();
        if !missing.is_empty() {
            let detail = format!("Source topics {} are missing.", summary(missing.into_iter()));
            return Err(Obstacle::Problem(Problem::new(StatusCode::MissingSourceTopics, detail)));
        }
        let mut counts = Self { existing, decided: BTreeMap::new() };
        counts.decide_repartition_topics(topology)?;
        counts.enforce_copartitioning(topology)?;
        for subtopology in subtopologies() {
            let count = counts.most_of_sources(subtopology)?;
            for changelog in &subtopology.state_changelog_topics {
                counts.decided.insert(&changelog.name, count);
            }
        }
        Ok(counts)
    }

    /// An existing topic's count wins over a decided one: tasks are made for what is there.
    fn of(&self, topic: &Str) -> Option<i32> {
        (self.existing)(topic).or_else(|| self.decided.get(topic).copied())
    }

    fn expect(&self, topic: &Str) -> Result<i32, TopologyError> {
        let message =
            || TopologyError::Unexpected(format!("Number of partitions is not set for topic: {topic}"));
        self.of(topic).ok_or_else(message)
    }

    /// A repartition topic has as many partitions as its application says, or else as the most of what is upstream of it.
    fn decide_repartition_topics(&mut self, topology: &'a Topology) -> Result<(), TopologyError> {
        let repartition_sources =
            || topology.subtopologies.values().flat_map(|s| &s.repartition_source_topics);
        for topic in repartition_sources().filter(|topic| topic.partitions != 0) {
            self.decided.insert(&topic.name, topic.partitions);
        }
        loop {
            let (mut undecided, mut progress) = (false, false);
            for subtopology in topology.subtopologies.values() {
                for sink in &subtopology.repartition_sink_topics {
                    if self.decided.contains_key(sink) {
                        continue;
                    }
                    match self.upstream_count(subtopology) {
                        Some(count) => {
                            self.decided.insert(sink, count);
                            progress = true;
                        }
                        None => undecided = true,
                    }
                }
            }
            if !undecided {
                break;
            }
            if !progress {
                return Err(TopologyError::Invalid(
                    "Failed to compute number of partitions for all repartition topics. There may be loops in the \
                     topology that cannot be resolved."
                        .to_owned(),
                ));
            }
        }
        if repartition_sources().any(|topic| !self.decided.contains_key(&topic.name)) {
            return Err(TopologyError::Invalid(
                "Failed to compute number of partitions for all repartition topics, because a repartition source topic \
                 is never used as a sink topic."
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// The most of the subtopology's sources whose count is known; repartition topics count as decided.
    fn upstream_count(&self, subtopology: &Subtopology) -> Option<i32> {
        let repartition = subtopology
            .repartition_source_topics
            .iter()
            .filter_map(|topic| self.decided.get(&topic.name).copied());
        let external = subtopology.source_topics.iter().filter_map(|topic| self.of(topic));
        repartition.chain(external).max()
    }

    fn enforce_copartitioning(&mut self, topology: &'a Topology) -> Result<(), Obstacle> {
        let of_kind = |fixed: bool| -> BTreeSet<&'a Str> {
            let topics = topology.subtopologies.values().flat_map(|s| &s.repartition_source_topics);
            topics.filter(|topic| (topic.partitions != 0) == fixed).map(|topic| &topic.name).collect()
        };
        let (fixed, flexible) = (of_kind(true), of_kind(false));
        for subtopology in topology.subtopologies.values() {
            for group in &subtopology.copartition_groups {
                let topics = copartitioned(subtopology, group)?;
                self.make_equal(&topics, &fixed, &flexible)?;
            }
        }
        Ok(())
    }

    /// Gives the repartition topics of a copartition group the count that the others have.
    fn make_equal(
        &mut self,
        topics: &BTreeSet<&'a Str>,
        fixed: &BTreeSet<&'a Str>,
        flexible: &BTreeSet<&'a Str>,
    ) -> Result<(), Obstacle> {
        let (mut repartition, mut external) = (BTreeMap::new(), BTreeMap::new());
        for topic in topics {
            let is_repartition = fixed.contains(topic) || flexible.contains(topic);
            let counts = if is_repartition { &mut repartition } else { &mut external };
            counts.insert(*topic, self.expect(topic)?);
        }
        let count = if !external.is_empty() {
            same_count(&external, &external)?
        } else if repartition.is_empty() {
            return Ok(());
        } else if !fixed.is_empty() {
            // All fixed topics of the topology, as Kafka has it, not only those of this group.
            let all = fixed.iter().map(|topic| Ok((*topic, self.expect(topic)?)));
            same_count(&all.collect::<Result<_, TopologyError>>()?, &repartition)?
        } else {
            repartition.values().copied().max().unwrap_or(0)
        };
        for (topic, own) in repartition {
            if fixed.contains(topic) && own != count {
                return Err(incorrectly_partitioned(format!(
                    "Number of partitions [{own}] of repartition topic [{topic}] doesn't match number of partitions \
                     [{count}] of the source topic."
                )));
            }
            self.decided.insert(topic, count);
        }
        Ok(())
    }

    fn most_of_sources(&self, subtopology: &Subtopology) -> Result<i32, TopologyError> {
        let mut most = None;
        for topic in source_topics(subtopology) {
            most = most.max(Some(self.expect(topic)?));
        }
        most.ok_or_else(|| {
            let id = &subtopology.subtopology_id;
            TopologyError::Invalid(format!("No source topics found for subtopology {id}"))
        })
    }

    fn configure(&self, subtopology: &Subtopology) -> Result<ConfiguredSubtopology, TopologyError> {
        let tasks = self.most_of_sources(subtopology)?;
        if tasks <= 0 {
            return Err(TopologyError::Unexpected("Number of tasks must be positive".to_owned()));
        }
        let describe = |topics: &[TopicInfo]| -> Result<Vec<described::TopicInfo>, TopologyError> {
            let mut topics = topics
                .iter()
                .map(|t| Ok(describe_topic(t, self.internal(t)?)))
                .collect::<Result<Vec<_>, _>>()?;
            topics.sort_by(|a: &described::TopicInfo, b| a.name.cmp(&b.name));
            Ok(topics)
        };
        Ok(ConfiguredSubtopology {
            tasks,
            is_stateful: !subtopology.state_changelog_topics.is_empty(),
            sources: source_topics(subtopology).cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            described: described::Subtopology {
                subtopology_id: subtopology.subtopology_id.clone(),
                source_topics: sorted(&subtopology.source_topics),
                repartition_sink_topics: sorted(&subtopology.repartition_sink_topics),
                repartition_source_topics: describe(&subtopology.repartition_source_topics)?,
                state_changelog_topics: describe(&subtopology.state_changelog_topics)?,
                ..Default::default()
            },
        })
    }

    /// How many partitions an internal topic is to have.
    fn internal(&self, topic: &TopicInfo) -> Result<i32, TopologyError> {
        let decided = self.decided.get(&topic.name).copied().filter(|_| topic.partitions == 0);
        let count = decided.unwrap_or(topic.partitions);
        if count < 1 {
            return Err(TopologyError::Unexpected("Number of partitions must be at least 1.".to_owned()));
        }
        Ok(count)
    }

    /// The internal topics that do not exist. Those that do must have the right number of partitions.
    fn missing(&self, topology: &Topology) -> Result<Vec<CreatableTopic>, Obstacle> {
        let internal = topology
            .subtopologies
            .values()
            .flat_map(|s| s.repartition_source_topics.iter().chain(&s.state_changelog_topics));
        let mut missing = BTreeMap::new();
        for topic in internal {
            let expected = self.internal(topic)?;
            match (self.existing)(&topic.name) {
                None => {
                    missing.insert(&topic.name, creatable(topic, expected));
                }
                Some(found) if found != expected => {
                    return Err(incorrectly_partitioned(format!(
                        "Existing topic {} has different number of partitions: expected {expected}, found {found}",
                        topic.name
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(missing.into_values().collect())
    }
}

fn creatable(topic: &TopicInfo, partitions: i32) -> CreatableTopic {
    let configs = topic.topic_configs.iter().map(|config| CreatableTopicConfig {
        name: config.key.clone(),
        value: Some(config.value.clone()),
        ..Default::default()
    });
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: partitions,
        replication_factor: if topic.replication_factor == 0 { -1 } else { topic.replication_factor },
        configs: configs.collect(),
        ..Default::default()
    }
}

/// The one count that all have; `named` are the topics that the error tells of.
fn same_count(topics: &BTreeMap<&Str, i32>, named: &BTreeMap<&Str, i32>) -> Result<i32, Obstacle> {
    let mut counts = topics.values().copied();
    let first = counts.next().unwrap_or(0);
    if counts.all(|count| count == first) {
        return Ok(first);
    }
    let named: Vec<String> = named.iter().map(|(topic, count)| format!("{topic}={count}")).collect();
    Err(incorrectly_partitioned(format!(
        "Following topics do not have the same number of partitions: [{{{}}}]",
        named.join(", ")
    )))
}

fn incorrectly_partitioned(detail: String) -> Obstacle {
    Obstacle::Problem(Problem::new(StatusCode::IncorrectlyPartitionedTopics, detail))
}

fn summary<'a>(topics: impl ExactSizeIterator<Item = &'a Str>) -> String {
    let more = topics.len().saturating_sub(NAMED_TOPICS_MAX);
    let named: Vec<&str> = topics.take(NAMED_TOPICS_MAX).map(Str::as_str).collect();
    let named = named.join(", ");
    if more > 0 { format!("{named} and {more} additional topics") } else { named }
}

#[cfg(test)]
mod tests;
