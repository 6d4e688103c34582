//! A transform: the same records, for a topic with a prefix and a suffix around its name.

use strata_plugin_sdk::{BatchHeader, Config, Descriptor, Error, RecordWriter, Records, Transform, Transformed};

struct Route {
    prefix: String,
    suffix: String,
}

impl Transform for Route {
    fn describe() -> Descriptor {
        Descriptor::new("route", env!("CARGO_PKG_VERSION"), "Renames topics")
            .optional("topic.prefix", "", "Before the topic's name")
            .optional("topic.suffix", "", "Behind the topic's name")
    }

    fn start(config: &Config) -> Result<Self, Error> {
        let part = |key| config.get(key).unwrap_or_default().to_owned();
        Ok(Route { prefix: part("topic.prefix"), suffix: part("topic.suffix") })
    }

    fn apply(&mut self, header: &BatchHeader, records: Records<'_>) -> Result<Vec<Transformed>, Error> {
        let mut same = RecordWriter::new(header.base_timestamp);
        for record in records {
            same.push(&record?);
        }
        let topic = format!("{}{}{}", self.prefix, header.topic, self.suffix);
        Ok(vec![Transformed { topic, partition: None, records: same.into_bytes() }])
    }
}

strata_plugin_sdk::export_transform!(Route);
