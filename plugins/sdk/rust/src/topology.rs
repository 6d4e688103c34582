//! Topologies.

use std::cell::RefCell;

use crate::bindings::topology::exports::strata::plugin::processor as wit;
use crate::bindings::topology::strata::plugin::types;
use crate::{Config, Descriptor, Error, Graph, log};

/// A topology: a graph of sources, functions, stores and sinks. Export it with `export_topology!`.
pub trait Topology: 'static {
    fn describe() -> Descriptor;

    /// Adds the nodes. Called once, before any record.
    fn build(config: &Config, graph: &Graph) -> Result<(), Error>;
}

/// Makes a type that implements [`Topology`] the plugin.
#[macro_export]
macro_rules! export_topology {
    ($topology:ty) => {
        const _: () = {
            struct Component;

            std::thread_local! {
                static CELL: $crate::exports::TopologyCell = const { $crate::exports::TopologyCell::new() };
            }

            use $crate::bindings::topology::exports::strata::plugin::processor as wit;

            impl wit::Guest for Component {
                fn describe() -> wit::Descriptor {
                    $crate::exports::TopologyCell::describe::<$topology>()
                }

                fn init(config: wit::Config) -> Result<wit::Graph, wit::Error> {
                    CELL.with(|cell| cell.init::<$topology>(config))
                }

                fn process(
                    node: u32,
                    header: wit::BatchHeader,
                    records: Vec<u8>,
                ) -> Result<Vec<wit::Output>, wit::Error> {
                    CELL.with(|cell| cell.process(node, &header, &records))
                }
            }

            $crate::bindings::topology::export_processor!(
                Component with_types_in $crate::bindings::topology
            );
        };
    };
}

/// The component's one topology.
#[doc(hidden)]
pub struct TopologyCell(RefCell<Option<Graph>>);

impl TopologyCell {
    #[expect(clippy::new_without_default, reason = "const, for a thread local")]
    pub const fn new() -> Self {
        TopologyCell(RefCell::new(None))
    }

    pub fn describe<T: Topology>() -> types::Descriptor {
        log::flushed(|| T::describe().0)
    }

    pub fn init<T: Topology>(&self, config: Vec<(String, String)>) -> Result<wit::Graph, types::Error> {
        log::flushed(|| {
            let graph = Graph::default();
            T::build(&Config::new(config, &T::describe()), &graph)?;
            Ok(self.0.borrow_mut().insert(graph).to_wit())
        })
    }

    pub fn process(
        &self,
        node: u32,
        header: &types::BatchHeader,
        records: &[u8],
    ) -> Result<Vec<wit::Output>, types::Error> {
        log::flushed(|| {
            let graph = self.0.borrow();
            let graph = graph.as_ref().ok_or_else(|| Error::stop("process was called before init"))?;
            Ok(graph.process(node, header, records)?)
        })
    }
}
