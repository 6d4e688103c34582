//! The worker with real plugins, on a cluster in memory.

mod failures;
mod lifecycle;
mod sinks;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strata_plugin_host::Limits;
use strata_worker::memory::Memory;
use strata_worker::{State, Worker, WorkerConfig};

fn catalog() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/catalog"))
}

async fn worker(cluster: &Memory) -> Worker {
    let mut config = WorkerConfig::new("nowhere:0");
    config.plugin_dirs = vec![catalog()];
    // Compiled once for all tests: an unoptimised compiler takes its time.
    config.cache_dir = Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins").into());
    config.limits = Limits { call_deadline_ms: 2_000, ..Limits::default() };
    config.instances_max = 8;
    Worker::start_on(Arc::new(cluster.clone()), config).await.expect("a worker")
}

fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn generator(topic: &str, records: u32) -> BTreeMap<String, String> {
    properties(&[("connector.class", "generator"), ("topic", topic), ("records", &records.to_string())])
}

/// Waits for a task to be in `state`, and answers its trace.
async fn task_is(cluster: &Memory, worker: &Worker, name: &str, task: usize, state: State) -> Option<String> {
    let waiting = async {
        loop {
            let mut changes = cluster.changes();
            let status = worker.status(name).await.expect("a status");
            if let Some((_, status)) = status.tasks.get(task).filter(|(_, status)| status.state == state) {
                return status.trace.clone();
            }
            changes.changed().await.expect("a cluster");
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the state in time")
}

/// Waits for a topic to hold so many records.
async fn holds(cluster: &Memory, topic: &str, count: usize) {
    let waiting =
        cluster.until(|cluster| cluster.records(topic).iter().map(Vec::len).sum::<usize>() >= count);
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("the records in time");
}

fn values(cluster: &Memory, topic: &str) -> Vec<String> {
    let records = cluster.records(topic).into_iter().flatten();
    records.map(|record| String::from_utf8(record.value.expect("a value").to_vec()).expect("text")).collect()
}
