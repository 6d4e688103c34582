use std::collections::{BTreeMap, BTreeSet};

use strata_types::{InvalidTopicName, TopicName};

/// The most nodes that a graph may have; it bounds what a plugin can make the runtime plan.
pub const NODES_MAX: usize = 1_000;

/// A node's place in its graph, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// Reads topics.
    Source { topics: Vec<TopicName> },
    /// Guest code without state. `keeps_key` is false where it may give a record another key.
    Stateless { keeps_key: bool },
    /// Guest code with state stores: sees every record of a key on one task.
    Keyed { stores: Vec<String> },
    /// Writes a topic.
    Sink { topic: TopicName },
}

/// One step of the graph, and the steps that feed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub operator: Operator,
    pub inputs: Vec<NodeId>,
}

/// A graph that can be executed: acyclic (inputs point to earlier nodes only), names unique, sources without inputs,
/// everything else with some, nothing behind a sink, and no topic that is both read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
}

/// Why nodes do not form a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("a topology needs at least one source")]
    NoSource,
    #[error("a topology has at most {NODES_MAX} nodes")]
    TooManyNodes,
    #[error("two nodes are named '{0}'")]
    DuplicateName(String),
    #[error("node '{0}' is a source: it cannot have inputs")]
    SourceWithInput(String),
    #[error("source '{0}' names no topic")]
    SourceWithoutTopic(String),
    #[error("node '{0}' has no input")]
    NoInput(String),
    #[error("node '{0}' names an input that does not stand before it")]
    InputNotBefore(String),
    #[error("node '{0}' reads from a sink")]
    InputIsSink(String),
    #[error("keyed node '{0}' names no store")]
    NoStore(String),
    #[error("'{0}' is not a store's name: use letters, digits, '.', '_' and '-'")]
    StoreName(String),
    #[error("topic '{0}' is both read and written: records would go round for ever")]
    Loop(TopicName),
    #[error("'{name}': {why}")]
    TopicName { name: String, why: InvalidTopicName },
}

impl Graph {
    /// The graph of these nodes; a node's id is its place in the list.
    pub fn new(nodes: Vec<Node>) -> Result<Self, GraphError> {
        if nodes.len() > NODES_MAX {
            return Err(GraphError::TooManyNodes);
        }
        let mut names = BTreeSet::new();
        for (index, node) in nodes.iter().enumerate() {
            if !names.insert(node.name.as_str()) {
                return Err(GraphError::DuplicateName(node.name.clone()));
            }
            check_inputs(&nodes, index)?;
            check_operator(node)?;
        }
        if !nodes.iter().any(|node| matches!(node.operator, Operator::Source { .. })) {
            return Err(GraphError::NoSource);
        }
        let graph = Self { nodes };
        match graph.source_topics().keys().find(|topic| graph.sink_topics().contains(*topic)) {
            Some(topic) => Err(GraphError::Loop((*topic).clone())),
            None => Ok(graph),
        }
    }

    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    /// Every node with its id, inputs before what they feed.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The nodes that `id` feeds.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.nodes().filter(move |(_, node)| node.inputs.contains(&id)).map(|(child, _)| child)
    }

    /// The topics that are read, each with the source nodes that read it.
    pub fn source_topics(&self) -> BTreeMap<&TopicName, Vec<NodeId>> {
        let mut topics: BTreeMap<&TopicName, Vec<NodeId>> = BTreeMap::new();
        for (id, node) in self.nodes() {
            if let Operator::Source { topics: read } = &node.operator {
                for topic in read {
                    topics.entry(topic).or_default().push(id);
                }
            }
        }
        topics
    }

    /// The topics that are written.
    pub fn sink_topics(&self) -> BTreeSet<&TopicName> {
        let sink = |node: &'_ Node| matches!(node.operator, Operator::Sink { .. });
        self.nodes.iter().filter(|node| sink(node)).filter_map(Node::sink_topic).collect()
    }
}

impl Node {
    /// The topic that this node writes, if it is a sink.
    pub fn sink_topic(&self) -> Option<&TopicName> {
        match &self.operator {
            Operator::Sink { topic } => Some(topic),
            _ => None,
        }
    }
}

fn check_inputs(nodes: &[Node], index: usize) -> Result<(), GraphError> {
    let node = &nodes[index];
    let is_source = matches!(node.operator, Operator::Source { .. });
    match (is_source, node.inputs.is_empty()) {
        (true, false) => return Err(GraphError::SourceWithInput(node.name.clone())),
        (false, true) => return Err(GraphError::NoInput(node.name.clone())),
        _ => {}
    }
    for input in &node.inputs {
        match nodes[..index].get(input.0 as usize) {
            None => return Err(GraphError::InputNotBefore(node.name.clone())),
            Some(from) if from.sink_topic().is_some() => {
                return Err(GraphError::InputIsSink(node.name.clone()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_operator(node: &Node) -> Result<(), GraphError> {
    match &node.operator {
        Operator::Source { topics } if topics.is_empty() => {
            Err(GraphError::SourceWithoutTopic(node.name.clone()))
        }
        Operator::Keyed { stores } if stores.is_empty() => Err(GraphError::NoStore(node.name.clone())),
        // A store's name becomes part of its changelog's, so what a topic may not be called, a store may not either.
        Operator::Keyed { stores } => match stores.iter().find(|store| TopicName::new(store).is_err()) {
            Some(store) => Err(GraphError::StoreName(store.clone())),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).expect("a legal name")
    }

    fn node(name: &str, operator: Operator, inputs: &[u32]) -> Node {
        Node { name: name.to_owned(), operator, inputs: inputs.iter().copied().map(NodeId).collect() }
    }

    fn source(name: &str) -> Node {
        node(name, Operator::Source { topics: vec![topic("in")] }, &[])
    }

    #[test]
    fn a_graph_knows_what_it_reads_and_writes() {
        let map = node("map", Operator::Stateless { keeps_key: true }, &[0]);
        let sink = node("sink", Operator::Sink { topic: topic("out") }, &[1]);
        let graph = Graph::new(vec![source("source"), map, sink]).expect("a graph");
        assert_eq!(graph.source_topics().into_keys().collect::<Vec<_>>(), [&topic("in")]);
        assert_eq!(graph.sink_topics().into_iter().collect::<Vec<_>>(), [&topic("out")]);
        assert_eq!(graph.children(NodeId(0)).collect::<Vec<_>>(), [NodeId(1)]);
    }

    #[test]
    fn what_cannot_be_executed_is_refused_with_its_reason() {
        let sink =
            |name: &str, to: &str, inputs: &[u32]| node(name, Operator::Sink { topic: topic(to) }, inputs);
        let cases = [
            (vec![], GraphError::NoSource),
            (vec![source("a"), source("a")], GraphError::DuplicateName("a".into())),
            (vec![source("a"), sink("b", "out", &[])], GraphError::NoInput("b".into())),
            (vec![source("a"), sink("b", "out", &[1])], GraphError::InputNotBefore("b".into())),
            (vec![source("a"), sink("b", "out", &[7])], GraphError::InputNotBefore("b".into())),
            (
                vec![source("a"), sink("b", "out", &[0]), sink("c", "out", &[1])],
                GraphError::InputIsSink("c".into()),
            ),
            (vec![source("a"), sink("b", "in", &[0])], GraphError::Loop(topic("in"))),
            (
                vec![source("a"), node("k", Operator::Keyed { stores: vec![] }, &[0])],
                GraphError::NoStore("k".into()),
            ),
            (
                vec![source("a"), node("k", Operator::Keyed { stores: vec!["../x".into()] }, &[0])],
                GraphError::StoreName("../x".into()),
            ),
        ];
        for (nodes, why) in cases {
            assert_eq!(Graph::new(nodes), Err(why));
        }
    }
}
