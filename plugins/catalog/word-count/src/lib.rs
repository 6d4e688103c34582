//! Counts the words of some topics' values: a record for each word with its count so far, in decimal.
//!
//! ```text
//!   topics ──▶ flat_map: words ──▶ (by word) ──▶ count: store `counts` ──▶ map_values: decimal ──▶ output topic
//! ```

use strata_plugin_sdk::{Config, Descriptor, Error, Graph, Topology};

struct WordCount;

impl Topology for WordCount {
    fn describe() -> Descriptor {
        Descriptor::new("word-count", env!("CARGO_PKG_VERSION"), "Counts words")
            .required("topics", "Topics to read, comma separated")
            .required("output.topic", "Topic to write: word to count")
    }

    fn build(config: &Config, graph: &Graph) -> Result<(), Error> {
        config.required("topics")?;
        let output = config.required("output.topic")?;
        graph
            .stream(config.list("topics"))
            .flat_map("words", |record, emit| {
                let text = String::from_utf8_lossy(record.value.unwrap_or_default()).to_lowercase();
                let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '\'');
                for word in words.filter(|word| !word.is_empty()) {
                    emit.emit(Some(word.as_bytes()), Some(b""))?;
                }
                Ok(())
            })
            .count("counts")
            .map_values("decimal", |record| {
                let count = record.value.and_then(|value| Some(i64::from_be_bytes(value.try_into().ok()?)));
                Ok(count.map(|count| count.to_string().into_bytes()))
            })
            .to(output);
        Ok(())
    }
}

strata_plugin_sdk::export_topology!(WordCount);
