//! Values in upper case, from some topics to another. Keys, timestamps and headers stay.

use strata_plugin_sdk::{Config, Descriptor, Error, Graph, Topology};

struct Uppercase;

impl Topology for Uppercase {
    fn describe() -> Descriptor {
        Descriptor::new("uppercase", env!("CARGO_PKG_VERSION"), "Values in upper case")
            .required("topics", "Topics to read, comma separated")
            .required("output.topic", "Topic to write")
    }

    fn build(config: &Config, graph: &Graph) -> Result<(), Error> {
        config.required("topics")?;
        let output = config.required("output.topic")?;
        graph
            .stream(config.list("topics"))
            .map_values("uppercase", |record| Ok(record.value.map(uppercase)))
            .to(output);
        Ok(())
    }
}

/// Text by Unicode's rules, anything else by ASCII's.
fn uppercase(value: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_uppercase().into_bytes(),
        Err(_) => value.to_ascii_uppercase(),
    }
}

strata_plugin_sdk::export_topology!(Uppercase);
