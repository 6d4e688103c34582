//! The sandbox against real plugins: those of `plugins/catalog`, the one that misbehaves included.

mod cache;
mod connectors;
mod http;
mod limits;
mod topologies;

use std::sync::Arc;

use bytes::Bytes;
use strata_plugin_host::records::{Record, of_records, records};
use strata_plugin_host::{
    BatchHeader, Config, Grants, Host, HostOptions, Limits, NoState, Output, Plugin, PluginError,
    TopologyInstance,
};

const GENERATOR: &[u8] = include_bytes!("../../../catalog/generator/generator.wasm");
const HTTP_SINK: &[u8] = include_bytes!("../../../catalog/http-sink/http-sink.wasm");
const MISBEHAVE: &[u8] = include_bytes!("../../../catalog/misbehave/misbehave.wasm");
const ROUTE: &[u8] = include_bytes!("../../../catalog/route/route.wasm");
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
    let owned = |text: Option<&str>| text.map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let rows = rows.iter().enumerate().map(|(index, (key, value))| Record {
        offset: 100 + index as i64,
        timestamp: 5_000 + index as i64,
        key: owned(*key),
        value: owned(*value),
        headers: vec![],
    });
    of_records("in", 0, &rows.collect::<Vec<_>>()).expect("a batch")
}

/// Hands one record to node 1, the first that runs in the plugin.
async fn one_record(instance: &mut TopologyInstance) -> Result<Vec<Output>, PluginError> {
    let (header, records) = batch(&[(Some("k"), Some("v"))]);
    instance.process(1, &header, records, Arc::new(NoState)).await
}

fn decode(output: &Output) -> Vec<Record> {
    records(output.records.clone(), 0, 5_000, output.count)
        .map(|record| record.expect("well-formed"))
        .collect()
}

fn text(bytes: Option<&Bytes>) -> &str {
    std::str::from_utf8(bytes.expect("not null")).expect("text")
}
