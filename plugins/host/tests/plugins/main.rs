//! The sandbox against real plugins: those of `plugins/catalog`, the one that misbehaves included.

mod cache;
mod connectors;
mod http;
mod limits;
mod topologies;

use std::sync::Arc;

use bytes::Bytes;
use strata_plugin_host::records::{Record, SectionWriter, records};
use strata_plugin_host::{
    BatchHeader, Config, Grants, Host, HostOptions, Limits, NoState, Output, Plugin, PluginError,
    TopologyInstance,
};

const GENERATOR: &[u8] = include_bytes!("../../../catalog/generator/generator.wasm");
const HTTP_SINK: &[u8] = include_bytes!("../../../catalog/http-sink/http-sink.wasm");
const MISBEHAVE: &[u8] = include_bytes!("../../../catalog/misbehave/misbehave.wasm");
const UPPERCASE: &[u8] = include_bytes!("../../../catalog/uppercase/uppercase.wasm");
const WORD_COUNT: &[u8] = include_bytes!("../../../catalog/word-count/word-count.wasm");

async fn load(wasm: &'static [u8], limits: Limits) -> Plugin {
    // Compiled once for all tests: an unoptimised compiler takes its time.
    let cache_dir = Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins").into());
    let host = Host::new(HostOptions { limits, instances_max: 4, cache_dir }).expect("a host");
    host.load(Bytes::from_static(wasm)).await.expect("a plugin")
}

fn config(pairs: &[(&str, &str)]) -> Config {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn misbehaving(plugin: &Plugin, mode: &str) -> TopologyInstance {
    plugin.topology(&Grants::default(), &config(&[("mode", mode)])).await.expect("an instance")
}

/// A batch of records with these keys and values.
fn batch(rows: &[(Option<&str>, Option<&str>)]) -> (BatchHeader, Bytes) {
    let mut writer = SectionWriter::new(100, 5_000);
    for (index, (key, value)) in rows.iter().enumerate() {
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        writer.push(100 + index as i64, 5_000 + index as i64, key, value, []);
    }
    let count = writer.count();
    let header =
        BatchHeader { topic: "in".into(), partition: 0, base_offset: 100, base_timestamp: 5_000, count };
    (header, writer.finish())
}

/// Hands one record to node 1, the first that runs in the plugin.
async fn one_record(instance: &mut TopologyInstance) -> Result<Vec<Output>, PluginError> {
    let (header, records) = batch(&[(Some("k"), Some("v"))]);
    instance.process(1, &header, records, Arc::new(NoState)).await
}

fn decode(output: &Output) -> Vec<Record> {
    records(output.records.clone(), 0, 5_000).map(|record| record.expect("well-formed")).collect()
}

fn text(bytes: Option<&Bytes>) -> &str {
    std::str::from_utf8(bytes.expect("not null")).expect("text")
}
