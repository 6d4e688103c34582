use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use strata_types::{InvalidTopicName, PartitionId, TopicName};

use crate::graph::{Graph, GraphError, NodeId, Operator};

/// An application's name (`application.id`): its consumer group, and the prefix of its internal topics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationId(TopicName);

/// Why a name cannot be an application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an application's name is a legal topic name, since its topics' names begin with it: {0}")]
pub struct InvalidApplicationId(#[from] InvalidTopicName);

impl ApplicationId {
    pub fn new(name: &str) -> Result<Self, InvalidApplicationId> {
        Ok(Self(TopicName::new(name)?))
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A graph, cut where records must be partitioned anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    pub application: ApplicationId,
    pub graph: Graph,
    /// The topics in front of keyed nodes whose input may have changed its keys.
    repartition: BTreeMap<NodeId, TopicName>,
    pub sub_topologies: Vec<SubTopology>,
}

/// What is executed a partition at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubTopology {
    pub id: u32,
    pub nodes: BTreeSet<NodeId>,
    pub sources: Vec<Source>,
    pub stores: Vec<Store>,
}

/// A topic that a sub-topology reads, and the nodes that its records go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub topic: TopicName,
    pub into: Vec<NodeId>,
    /// Whether the runtime makes this topic itself.
    pub is_repartition: bool,
}

/// A state store and the compacted topic that it can be rebuilt from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Store {
    pub name: String,
    pub changelog: TopicName,
}

/// One sub-topology on one partition, printed as Kafka Streams prints it: `1_3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pub sub_topology: u32,
    pub partition: PartitionId,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.sub_topology, self.partition)
    }
}

/// Where records that are meant for a node go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// The node is guest code of this task: call it.
    Process(NodeId),
    /// Through a topic of ours, partitioned by key, to the task that owns the key.
    Repartition(&'a TopicName),
    /// To a topic that the plugin named.
    Produce(&'a TopicName),
}

impl Topology {
    /// Cuts `graph` into sub-topologies, numbered by their first node, so that the same graph always gives the same
    /// numbers and topic names: state and offsets of an earlier run are found again.
    pub fn new(application: ApplicationId, graph: Graph) -> Result<Self, GraphError> {
        let repartition = repartition_topics(&application, &graph)?;
        let mut sub_topologies = Vec::new();
        for (id, nodes) in (0..).zip(components(&graph, &repartition)) {
            let sources = sources(&graph, &repartition, &nodes);
            let stores = stores(&application, &graph, &nodes)?;
            sub_topologies.push(SubTopology { id, nodes, sources, stores });
        }
        Ok(Self { application, graph, repartition, sub_topologies })
    }

    /// Where records for `target` go, when a node feeds them to it. `None`: there is no such node, or it takes no input.
    pub fn route(&self, target: NodeId) -> Option<Route<'_>> {
        if let Some(topic) = self.repartition.get(&target) {
            return Some(Route::Repartition(topic));
        }
        match &self.graph.node(target)?.operator {
            Operator::Source { .. } => None,
            Operator::Sink { topic } => Some(Route::Produce(topic)),
            Operator::Stateless { .. } | Operator::Keyed { .. } => Some(Route::Process(target)),
        }
    }

    /// The repartition topics, which the runtime makes before it starts.
    pub fn repartition_topics(&self) -> impl Iterator<Item = &TopicName> {
        self.repartition.values()
    }
}

fn internal_topic(application: &ApplicationId, middle: &str, kind: &str) -> Result<TopicName, GraphError> {
    let name = format!("{application}-{middle}-{kind}");
    TopicName::new(&name).map_err(|why| GraphError::TopicName { name, why })
}

fn repartition_topics(
    application: &ApplicationId,
    graph: &Graph,
) -> Result<BTreeMap<NodeId, TopicName>, GraphError> {
    // Inputs stand before what they feed, so one pass knows of each node whether keys may have changed on the way.
    let mut changed = BTreeSet::new();
    let mut topics = BTreeMap::new();
    for (id, node) in graph.nodes() {
        let input_changed = node.inputs.iter().any(|input| changed.contains(input));
        let is_keyed = matches!(node.operator, Operator::Keyed { .. });
        if is_keyed && input_changed {
            topics.insert(id, internal_topic(application, &node.name, "repartition")?);
        }
        // A keyed node is guest code as well: what it emits may have another key.
        let changes_key = is_keyed || matches!(node.operator, Operator::Stateless { keeps_key: false });
        if changes_key || input_changed {
            changed.insert(id);
        }
    }
    Ok(topics)
}

/// The nodes that must run together: joined by an edge that no repartition topic cuts, or by a common store or source topic.
fn components(graph: &Graph, repartition: &BTreeMap<NodeId, TopicName>) -> Vec<BTreeSet<NodeId>> {
    let mut sets: Vec<BTreeSet<NodeId>> = Vec::new();
    for (id, node) in graph.nodes() {
        let mut joined = BTreeSet::from([id]);
        if !repartition.contains_key(&id) {
            joined.extend(node.inputs.iter().copied());
        }
        let shares_with_it =
            |other: &NodeId| graph.node(*other).is_some_and(|other| shares(&node.operator, &other.operator));
        let (touched, mut apart): (Vec<_>, Vec<_>) = sets
            .into_iter()
            .partition(|set: &BTreeSet<NodeId>| !set.is_disjoint(&joined) || set.iter().any(shares_with_it));
        joined.extend(touched.into_iter().flatten());
        apart.push(joined);
        sets = apart;
    }
    sets.sort_by_key(|set| set.first().copied());
    sets
}

fn shares(a: &Operator, b: &Operator) -> bool {
    match (a, b) {
        (Operator::Keyed { stores: a }, Operator::Keyed { stores: b }) => {
            a.iter().any(|store| b.contains(store))
        }
        (Operator::Source { topics: a }, Operator::Source { topics: b }) => {
            a.iter().any(|topic| b.contains(topic))
        }
        _ => false,
    }
}

fn sources(
    graph: &Graph,
    repartition: &BTreeMap<NodeId, TopicName>,
    nodes: &BTreeSet<NodeId>,
) -> Vec<Source> {
    let mut sources = Vec::new();
    for (topic, readers) in graph.source_topics() {
        let readers: Vec<_> = readers.into_iter().filter(|reader| nodes.contains(reader)).collect();
        if !readers.is_empty() {
            let into = readers.into_iter().flat_map(|reader| graph.children(reader)).collect();
            sources.push(Source { topic: topic.clone(), into, is_repartition: false });
        }
    }
    for (node, topic) in repartition.iter().filter(|(node, _)| nodes.contains(node)) {
        sources.push(Source { topic: topic.clone(), into: vec![*node], is_repartition: true });
    }
    sources
}

fn stores(
    application: &ApplicationId,
    graph: &Graph,
    nodes: &BTreeSet<NodeId>,
) -> Result<Vec<Store>, GraphError> {
    let mut names = BTreeSet::new();
    for node in nodes.iter().filter_map(|id| graph.node(*id)) {
        if let Operator::Keyed { stores } = &node.operator {
            names.extend(stores);
        }
    }
    let store = |name: &String| {
        Ok(Store { name: name.clone(), changelog: internal_topic(application, name, "changelog")? })
    };
    names.into_iter().map(store).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Node;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).expect("a legal name")
    }

    fn node(name: &str, operator: Operator, inputs: &[u32]) -> Node {
        Node { name: name.to_owned(), operator, inputs: inputs.iter().copied().map(NodeId).collect() }
    }

    fn topology(nodes: Vec<Node>) -> Topology {
        let application = ApplicationId::new("app").expect("a legal name");
        Topology::new(application, Graph::new(nodes).expect("a graph")).expect("a topology")
    }

    fn word_count(keeps_key: bool) -> Topology {
        topology(vec![
            node("lines", Operator::Source { topics: vec![topic("in")] }, &[]),
            node("split", Operator::Stateless { keeps_key }, &[0]),
            node("count", Operator::Keyed { stores: vec!["counts".into()] }, &[1]),
            node("out", Operator::Sink { topic: topic("out") }, &[2]),
        ])
    }

    #[test]
    fn a_changed_key_goes_through_a_repartition_topic() {
        let topology = word_count(false);
        let repartition = topic("app-count-repartition");
        assert_eq!(topology.sub_topologies.len(), 2);
        assert_eq!(topology.sub_topologies[0].sources[0].topic, topic("in"));
        let second = &topology.sub_topologies[1];
        assert_eq!(
            second.sources,
            [Source { topic: repartition.clone(), into: vec![NodeId(2)], is_repartition: true }]
        );
        assert_eq!(
            second.stores,
            [Store { name: "counts".into(), changelog: topic("app-counts-changelog") }]
        );
        assert_eq!(topology.route(NodeId(2)), Some(Route::Repartition(&repartition)));
        assert_eq!(topology.route(NodeId(3)), Some(Route::Produce(&topic("out"))));
    }

    #[test]
    fn a_kept_key_needs_no_repartition_topic() {
        let topology = word_count(true);
        assert_eq!(topology.sub_topologies.len(), 1);
        assert_eq!(topology.repartition_topics().count(), 0);
        assert_eq!(topology.route(NodeId(2)), Some(Route::Process(NodeId(2))));
    }

    #[test]
    fn nodes_with_a_common_store_run_on_one_task() {
        let keyed =
            |name: &str, input| node(name, Operator::Keyed { stores: vec!["shared".into()] }, &[input]);
        let topology = topology(vec![
            node("a", Operator::Source { topics: vec![topic("a")] }, &[]),
            node("b", Operator::Source { topics: vec![topic("b")] }, &[]),
            keyed("left", 0),
            keyed("right", 1),
        ]);
        assert_eq!(topology.sub_topologies.len(), 1);
        assert_eq!(topology.sub_topologies[0].sources.len(), 2);
    }

    #[test]
    fn separate_flows_are_separate_sub_topologies() {
        let sink = |name: &str, input| node(name, Operator::Sink { topic: topic("out") }, &[input]);
        let topology = topology(vec![
            node("a", Operator::Source { topics: vec![topic("a")] }, &[]),
            node("b", Operator::Source { topics: vec![topic("b")] }, &[]),
            sink("to", 1),
            sink("too", 0),
        ]);
        let read: Vec<_> = topology.sub_topologies.iter().map(|sub| sub.sources[0].topic.as_str()).collect();
        assert_eq!(read, ["a", "b"]);
    }

    #[test]
    fn a_source_is_no_target() {
        assert_eq!(word_count(false).route(NodeId(0)), None);
        assert_eq!(word_count(false).route(NodeId(9)), None);
    }
}
