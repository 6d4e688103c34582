//! Topologies: their graph, checked, and their nodes' work.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use strata_types::TopicName;

use crate::bindings::topology::Topology;
use crate::bindings::topology::exports::strata::plugin::processor as wit;
use crate::imports::Usage;
use crate::instance::{Instance, returned};
use crate::limits::GRAPH_NODES_MAX;
use crate::records;
use crate::state::StateAccess;
use crate::{BatchHeader, PluginError};

/// A topology as its plugin drew it. A node's index is its number; inputs stand before the node that they feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Graph {
    pub nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    pub name: String,
    #[serde(flatten)]
    pub operator: Operator,
    pub inputs: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "operator", rename_all = "kebab-case")]
pub enum Operator {
    /// Reads topics.
    Source { topics: Vec<String> },
    /// Runs in the plugin and keeps nothing. `keeps_key`: records leave with the key that they came with.
    Stateless { keeps_key: bool },
    /// Runs in the plugin with these stores; its input must be partitioned by key.
    Keyed { stores: Vec<String> },
    /// Writes to a topic.
    Sink { topic: String },
}

/// Records for the node `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub target: u32,
    /// How many records there are; they are well-formed.
    pub count: u32,
    /// Timestamps count from the call's base timestamp.
    pub records: Bytes,
}

/// A running topology.
pub struct TopologyInstance {
    instance: Instance<Topology>,
    graph: Graph,
    /// By node: what `process` may use and where it may send.
    stores: Vec<Arc<[String]>>,
    targets: Vec<BTreeSet<u32>>,
}

impl TopologyInstance {
    pub(crate) async fn start(
        mut instance: Instance<Topology>,
        config: Vec<(String, String)>,
    ) -> Result<Self, PluginError> {
        let init = instance
            .call(async |exports, store| exports.strata_plugin_processor().call_init(store, &config).await);
        let graph = Graph::checked(init.await?.map_err(returned)?).map_err(PluginError::Malformed)?;
        let stores = graph.nodes.iter().map(|node| match &node.operator {
            Operator::Keyed { stores } => stores.as_slice().into(),
            _ => Arc::default(),
        });
        let (stores, targets) = (stores.collect(), graph.targets());
        Ok(TopologyInstance { instance, graph, stores, targets })
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What the last call used.
    pub fn usage(&self) -> Usage {
        self.instance.usage()
    }

    /// Hands one batch to a stateless or keyed node. Each output's target is reached from `node` over stateless nodes at
    /// most: the plugin may have run those too.
    pub async fn process(
        &mut self,
        node: u32,
        header: &BatchHeader,
        records: Bytes,
        state: Arc<dyn StateAccess>,
    ) -> Result<Vec<Output>, PluginError> {
        let operator = self.graph.nodes.get(node as usize).map(|node| &node.operator);
        if !matches!(operator, Some(Operator::Stateless { .. } | Operator::Keyed { .. })) {
            return Err(PluginError::Host(format!("node {node} does not run in the plugin")));
        }
        let stores = self.stores[node as usize].clone();
        let header = header.into();
        let process = self.instance.call_with_state(stores, state, async |exports, store| {
            exports.strata_plugin_processor().call_process(store, node, &header, &records).await
        });
        let outputs = process.await?.map_err(returned)?;
        let targets = &self.targets[node as usize];
        let checked: Result<_, _> = outputs.into_iter().map(|output| check(output, targets)).collect();
        if checked.is_err() {
            self.instance.discard();
        }
        checked
    }
}

fn check(output: wit::Output, targets: &BTreeSet<u32>) -> Result<Output, PluginError> {
    let wit::Output { target, records } = output;
    if !targets.contains(&target) {
        return Err(PluginError::Malformed(format!(
            "records for node {target}, which this node does not reach"
        )));
    }
    let records = records.into();
    let count = records::count(&records).map_err(|why| PluginError::Malformed(why.to_string()))?;
    Ok(Output { target, count, records })
}

impl Graph {
    fn checked(graph: wit::Graph) -> Result<Self, String> {
        let graph = Graph { nodes: graph.nodes.into_iter().map(Into::into).collect() };
        if graph.nodes.is_empty() || graph.nodes.len() > GRAPH_NODES_MAX {
            return Err(format!(
                "a graph of {} nodes; 1 to {GRAPH_NODES_MAX} are possible",
                graph.nodes.len()
            ));
        }
        let (mut names, mut stores) = (HashSet::new(), HashSet::new());
        for (number, node) in graph.nodes.iter().enumerate() {
            let wrong = |what: String| Err(format!("node {number} (`{}`) {what}", node.name.escape_debug()));
            if node.name.is_empty() || !names.insert(&node.name) {
                return wrong("has no name of its own".into());
            }
            for input in &node.inputs {
                match graph.nodes[..number].get(*input as usize).map(|node| &node.operator) {
                    None => return wrong(format!("reads node {input}, which does not stand before it")),
                    Some(Operator::Sink { .. }) => return wrong(format!("reads node {input}, a sink")),
                    Some(_) => {}
                }
            }
            if matches!(node.operator, Operator::Source { .. }) != node.inputs.is_empty() {
                return wrong("is a source with inputs, or none and has no input".into());
            }
            let own_stores = match &node.operator {
                Operator::Keyed { stores } => stores.as_slice(),
                _ => &[],
            };
            if let Some(store) = own_stores.iter().find(|store| !is_topic(store) || !stores.insert(*store)) {
                return wrong(format!("names the store `{}`: taken, or no name", store.escape_debug()));
            }
            let topics = match &node.operator {
                Operator::Source { topics } if topics.is_empty() => return wrong("has no topic".into()),
                Operator::Source { topics } => topics.as_slice(),
                Operator::Sink { topic } => std::slice::from_ref(topic),
                _ => &[],
            };
            if let Some(topic) = topics.iter().find(|topic| !is_topic(topic)) {
                return wrong(format!("has a topic `{}`", topic.escape_debug()));
            }
        }
        Ok(graph)
    }

    /// By node: the nodes that records may go to when it runs. Nodes behind stateless ones count, as those may run in the
    /// same call.
    fn targets(&self) -> Vec<BTreeSet<u32>> {
        let mut targets = vec![BTreeSet::new(); self.nodes.len()];
        for (number, node) in self.nodes.iter().enumerate().rev() {
            let mut beyond = BTreeSet::from([number as u32]);
            if matches!(node.operator, Operator::Stateless { .. }) {
                beyond.extend(&targets[number]);
            }
            for input in &node.inputs {
                targets[*input as usize].extend(&beyond);
            }
        }
        targets
    }
}

fn is_topic(name: &str) -> bool {
    TopicName::new(name).is_ok()
}

impl From<wit::Node> for Node {
    fn from(node: wit::Node) -> Self {
        let operator = match node.operator {
            wit::Operator::Source(topics) => Operator::Source { topics },
            wit::Operator::Stateless(wit::Stateless { keeps_key }) => Operator::Stateless { keeps_key },
            wit::Operator::Keyed(wit::Keyed { stores }) => Operator::Keyed { stores },
            wit::Operator::Sink(topic) => Operator::Sink { topic },
        };
        Node { name: node.name, operator, inputs: node.inputs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, operator: wit::Operator, inputs: &[u32]) -> wit::Node {
        wit::Node { name: name.into(), operator, inputs: inputs.to_vec() }
    }

    fn source(topic: &str) -> wit::Operator {
        wit::Operator::Source(vec![topic.into()])
    }

    fn stateless() -> wit::Operator {
        wit::Operator::Stateless(wit::Stateless { keeps_key: true })
    }

    fn keyed(store: &str) -> wit::Operator {
        wit::Operator::Keyed(wit::Keyed { stores: vec![store.into()] })
    }

    fn sink() -> wit::Operator {
        wit::Operator::Sink("out".into())
    }

    fn checked(nodes: Vec<wit::Node>) -> Result<Graph, String> {
        Graph::checked(wit::Graph { nodes })
    }

    #[test]
    fn records_may_pass_stateless_nodes_but_not_keyed_ones() {
        let nodes = vec![
            node("in", source("in"), &[]),
            node("one", stateless(), &[0]),
            node("two", stateless(), &[1]),
            node("count", keyed("s"), &[2]),
            node("three", stateless(), &[3]),
            node("out", sink(), &[4, 1]),
        ];
        let targets = checked(nodes).unwrap().targets();
        let targets: Vec<Vec<u32>> =
            targets.into_iter().map(|targets| targets.into_iter().collect()).collect();
        assert_eq!(targets, [vec![1, 2, 3, 5], vec![2, 3, 5], vec![3], vec![4, 5], vec![5], vec![]]);
    }

    #[test]
    fn graphs_that_are_none_are_refused() {
        let input = || node("in", source("in"), &[]);
        let broken = [
            vec![],
            vec![node("a", stateless(), &[0])],
            vec![input(), node("a", stateless(), &[2]), node("b", stateless(), &[1])],
            vec![input(), node("in", stateless(), &[0])],
            vec![input(), node("", stateless(), &[0])],
            vec![input(), node("a", sink(), &[0]), node("b", stateless(), &[1])],
            vec![input(), node("a", stateless(), &[])],
            vec![input(), node("b", source("in"), &[0])],
            vec![node("in", source("a/b"), &[])],
            vec![node("in", wit::Operator::Source(vec![]), &[])],
            vec![input(), node("a", keyed("../s"), &[0])],
            vec![input(), node("a", keyed("s"), &[0]), node("b", keyed("s"), &[0])],
        ];
        for nodes in broken {
            assert!(checked(nodes.clone()).is_err(), "{nodes:?}");
        }
    }

    #[test]
    fn output_for_a_node_out_of_reach_and_records_that_are_none_are_nonsense() {
        let targets = BTreeSet::from([2]);
        let output =
            |target, records: &[u8]| check(wit::Output { target, records: records.to_vec() }, &targets);
        assert!(output(2, b"").is_ok());
        assert!(matches!(output(1, b""), Err(PluginError::Malformed(_))));
        assert!(matches!(output(2, b"\xff\xff\xff\xff\xff\xff\xff"), Err(PluginError::Malformed(_))));
    }
}
