//! A topology's graph, and how its nodes run: adjacent stateless nodes run in one call from the host, record by record;
//! records cross back where a keyed node or a sink begins.
//!
//! ```text
//!   source ──▶ flat_map ──▶ filter ──▶ count ──▶ map_values ──▶ sink
//!              └── one call ────────┘  └── one call ────────┘
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::bindings::topology::exports::strata::plugin::processor as wit;
use crate::{BatchHeader, Error, Headers, Record, RecordWriter, Records, store};

/// The graph under construction. Nodes are numbered as they are added.
#[derive(Default)]
pub struct Graph {
    nodes: RefCell<Vec<Node>>,
}

/// The records that leave a node. It can be used more than once: each use gets all of them.
#[derive(Clone, Copy)]
pub struct Stream<'g> {
    graph: &'g Graph,
    node: u32,
}

/// Where a node's function puts its records.
pub struct Emit<'a> {
    from: &'a Record<'a>,
    next: &'a mut dyn FnMut(&Record<'_>) -> Result<(), Error>,
}

type Function = Box<dyn Fn(&Record<'_>, &mut Emit<'_>) -> Result<(), Error>>;

struct Node {
    name: String,
    kind: Kind,
    inputs: Vec<u32>,
    children: Vec<u32>,
}

enum Kind {
    Source(Vec<String>),
    Stateless { keeps_key: bool, function: Function },
    Count { store: String },
    Sink(String),
}

impl Graph {
    /// Reads topics.
    pub fn stream(&self, topics: impl IntoIterator<Item = impl Into<String>>) -> Stream<'_> {
        let topics: Vec<String> = topics.into_iter().map(Into::into).collect();
        self.add(format!("source-{}", topics.join("-")), Kind::Source(topics), &[])
    }

    fn add(&self, name: String, kind: Kind, inputs: &[u32]) -> Stream<'_> {
        let mut nodes = self.nodes.borrow_mut();
        let node = nodes.len() as u32;
        for input in inputs {
            nodes[*input as usize].children.push(node);
        }
        nodes.push(Node { name, kind, inputs: inputs.to_vec(), children: Vec::new() });
        Stream { graph: self, node }
    }

    pub(crate) fn to_wit(&self) -> wit::Graph {
        let nodes = self.nodes.borrow();
        let to_wit = |node: &Node| wit::Node {
            name: node.name.clone(),
            inputs: node.inputs.clone(),
            operator: match &node.kind {
                Kind::Source(topics) => wit::Operator::Source(topics.clone()),
                Kind::Stateless { keeps_key, .. } => {
                    wit::Operator::Stateless(wit::Stateless { keeps_key: *keeps_key })
                }
                Kind::Count { store } => wit::Operator::Keyed(wit::Keyed { stores: vec![store.clone()] }),
                Kind::Sink(topic) => wit::Operator::Sink(topic.clone()),
            },
        };
        wit::Graph { nodes: nodes.iter().map(to_wit).collect() }
    }

    /// Runs one batch through `node` and the stateless nodes behind it.
    pub(crate) fn process(
        &self,
        node: u32,
        header: &BatchHeader,
        section: &[u8],
    ) -> Result<Vec<wit::Output>, Error> {
        let nodes = self.nodes.borrow();
        let Some(Node { kind, children, .. }) = nodes.get(node as usize) else {
            return Err(Error::stop(format!("there is no node {node}")));
        };
        let mut run = Run { nodes: &nodes, base_timestamp: header.base_timestamp, outputs: BTreeMap::new() };
        let records = Records::new(section, header.base_offset, header.base_timestamp);
        match kind {
            Kind::Stateless { function, .. } => {
                for (index, record) in records.enumerate() {
                    run.apply(function, children, &record?).map_err(|error| error.at(index))?;
                }
            }
            Kind::Count { store } => {
                let records = records.collect::<Result<Vec<_>, _>>()?;
                for (index, count) in store::count(store, &records)? {
                    let value = count.to_be_bytes();
                    let counted = Record { value: Some(&value), headers: Headers::NONE, ..records[index] };
                    run.forward(children, &counted).map_err(|error| error.at(index))?;
                }
            }
            Kind::Source(_) | Kind::Sink(_) => {
                return Err(Error::stop(format!("node {node} does not run in the plugin")));
            }
        }
        Ok(run.into_outputs())
    }
}

impl<'g> Stream<'g> {
    /// Keeps the records for which the function says so.
    pub fn filter(self, name: &str, keep: impl Fn(&Record<'_>) -> bool + 'static) -> Self {
        self.stateless(
            name,
            true,
            move |record, emit| if keep(record) { emit.forward(record) } else { Ok(()) },
        )
    }

    /// Gives each record another value.
    pub fn map_values(
        self,
        name: &str,
        value: impl Fn(&Record<'_>) -> Result<Option<Vec<u8>>, Error> + 'static,
    ) -> Self {
        self.stateless(name, true, move |record, emit| {
            let value = value(record)?;
            emit.forward(&Record { value: value.as_deref(), ..*record })
        })
    }

    /// Any number of records for each, with keys of any kind.
    pub fn flat_map(
        self,
        name: &str,
        function: impl Fn(&Record<'_>, &mut Emit<'_>) -> Result<(), Error> + 'static,
    ) -> Self {
        self.stateless(name, false, function)
    }

    /// Counts by key in a store. What leaves is the key, and its count as eight bytes, big end first (Kafka's `Long`).
    pub fn count(self, store: &str) -> Self {
        let kind = Kind::Count { store: store.into() };
        self.graph.add(format!("count-{store}"), kind, &[self.node])
    }

    /// The records of both.
    pub fn merge(self, name: &str, other: Stream<'g>) -> Self {
        let function: Function = Box::new(|record, emit| emit.forward(record));
        let kind = Kind::Stateless { keeps_key: true, function };
        self.graph.add(name.into(), kind, &[self.node, other.node])
    }

    /// Writes to a topic.
    pub fn to(self, topic: &str) {
        self.graph.add(format!("sink-{topic}"), Kind::Sink(topic.into()), &[self.node]);
    }

    fn stateless(
        self,
        name: &str,
        keeps_key: bool,
        function: impl Fn(&Record<'_>, &mut Emit<'_>) -> Result<(), Error> + 'static,
    ) -> Self {
        let kind = Kind::Stateless { keeps_key, function: Box::new(function) };
        self.graph.add(name.into(), kind, &[self.node])
    }
}

impl Emit<'_> {
    /// A record with this key and value, and the timestamp and headers of the one that it comes from.
    pub fn emit(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), Error> {
        (self.next)(&Record { key, value, ..*self.from })
    }

    /// Any record.
    pub fn forward(&mut self, record: &Record<'_>) -> Result<(), Error> {
        (self.next)(record)
    }
}

/// One call from the host: what goes back, by target.
struct Run<'g> {
    nodes: &'g [Node],
    base_timestamp: i64,
    outputs: BTreeMap<u32, RecordWriter>,
}

impl<'g> Run<'g> {
    fn apply(&mut self, function: &Function, children: &'g [u32], record: &Record<'_>) -> Result<(), Error> {
        function(record, &mut Emit { from: record, next: &mut |record| self.forward(children, record) })
    }

    fn forward(&mut self, children: &'g [u32], record: &Record<'_>) -> Result<(), Error> {
        let nodes = self.nodes;
        for child in children {
            let node = &nodes[*child as usize];
            if let Kind::Stateless { function, .. } = &node.kind {
                self.apply(function, &node.children, record)?;
            } else {
                let writer =
                    self.outputs.entry(*child).or_insert_with(|| RecordWriter::new(self.base_timestamp));
                writer.push(record);
            }
        }
        Ok(())
    }

    fn into_outputs(self) -> Vec<wit::Output> {
        let output =
            |(target, writer): (u32, RecordWriter)| wit::Output { target, records: writer.into_bytes() };
        self.outputs.into_iter().map(output).collect()
    }
}
