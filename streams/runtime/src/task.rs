//! One task: a sub-topology on one partition, with its own plugin instance and its own state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_client::{ConsumerRecord, Delivery, Producer, ProducerRecord};
use strata_plugin_host::records::{self, Record};
use strata_plugin_host::{BatchHeader, StateAccess, StateError, TopologyInstance};
use strata_protocol::records::BatchError;
use strata_state::TaskState;
use strata_topology::{NODES_MAX, NodeId, Route, TaskId, Topology};
use strata_types::{Offset, TopicName};

use crate::error::RuntimeError;

/// One plugin instance and its state.
pub struct Task {
    pub id: TaskId,
    instance: TopologyInstance,
    state: Arc<TaskStores>,
    pending: Pending,
    pub records_written: u64,
}

/// What was sent since the last commit and is not acknowledged yet.
#[derive(Default)]
struct Pending {
    outputs: Vec<Delivery>,
    changelogs: Vec<(String, Delivery)>,
}

/// A section on its way to a node.
struct Work {
    node: NodeId,
    header: BatchHeader,
    section: Bytes,
}

impl Task {
    pub fn new(id: TaskId, instance: TopologyInstance, state: TaskState) -> Self {
        let state = Arc::new(TaskStores { state: Mutex::new(state), writes: Mutex::default() });
        Self { id, instance, state, pending: Pending::default(), records_written: 0 }
    }

    /// Sends records of one source partition, in their order, through the sub-topology.
    pub async fn process(
        &mut self,
        topology: &Topology,
        producer: &Producer,
        records: &[ConsumerRecord],
    ) -> Result<(), RuntimeError> {
        let Some((header, section)) = section(records)? else { return Ok(()) };
        let sources = &topology.sub_topologies[self.id.sub_topology as usize].sources;
        let Some(source) = sources.iter().find(|source| source.topic.as_str() == header.topic) else {
            return Ok(());
        };
        let mut work = VecDeque::new();
        for &node in &source.into {
            // A repartition topic's records have arrived where they were meant to go: they are not routed again.
            if source.is_repartition {
                work.push_back(Work { node, header: header.clone(), section: section.clone() });
            } else {
                self.send_on(topology, producer, node, &header, section.clone(), &mut work).await?;
            }
        }
        for _ in 0..=NODES_MAX {
            let Some(next) = work.pop_front() else { return Ok(()) };
            self.call(topology, producer, next, &mut work).await?;
        }
        Err(RuntimeError::TooDeep { limit: NODES_MAX })
    }

    async fn call(
        &mut self,
        topology: &Topology,
        producer: &Producer,
        work: Work,
        more: &mut VecDeque<Work>,
    ) -> Result<(), RuntimeError> {
        let Work { node, header, section } = work;
        let state: Arc<dyn StateAccess> = Arc::clone(&self.state) as _;
        let outputs = self.instance.process(node.0, &header, section, state).await?;
        self.send_changelog(topology, producer).await?;
        for output in outputs {
            self.send_on(topology, producer, NodeId(output.target), &header, output.records, more).await?;
        }
        Ok(())
    }

    /// Takes records to the node they are meant for: into this task, or into a topic.
    async fn send_on(
        &mut self,
        topology: &Topology,
        producer: &Producer,
        target: NodeId,
        header: &BatchHeader,
        section: Bytes,
        work: &mut VecDeque<Work>,
    ) -> Result<(), RuntimeError> {
        match topology.route(target) {
            None => Err(RuntimeError::NoSuchTarget { target: target.0 }),
            Some(Route::Process(node)) => {
                let count = records::count(&section).map_err(malformed)?;
                work.push_back(Work { node, header: BatchHeader { count, ..header.clone() }, section });
                Ok(())
            }
            Some(Route::Repartition(topic) | Route::Produce(topic)) => {
                self.produce(producer, topic, header, section).await
            }
        }
    }

    async fn produce(
        &mut self,
        producer: &Producer,
        topic: &TopicName,
        header: &BatchHeader,
        section: Bytes,
    ) -> Result<(), RuntimeError> {
        let count = records::count(&section).map_err(malformed)?;
        for record in records::records(section, header.base_offset, header.base_timestamp, count) {
            let record = record.map_err(malformed)?;
            let delivery = producer
                .send(ProducerRecord {
                    timestamp: Some(record.timestamp),
                    headers: record.headers,
                    ..ProducerRecord::new(topic.clone(), record.key, record.value)
                })
                .await?;
            self.pending.outputs.push(delivery);
            self.records_written += 1;
        }
        Ok(())
    }

    async fn send_changelog(&mut self, topology: &Topology, producer: &Producer) -> Result<(), RuntimeError> {
        let writes = std::mem::take(&mut *self.state.writes.lock());
        let stores = &topology.sub_topologies[self.id.sub_topology as usize].stores;
        for (name, key, value) in writes {
            let Some(store) = stores.iter().find(|store| store.name == name) else { continue };
            let delivery = producer
                .send(ProducerRecord {
                    partition: Some(self.id.partition),
                    ..ProducerRecord::new(store.changelog.clone(), Some(key), value)
                })
                .await?;
            self.pending.changelogs.push((name, delivery));
        }
        Ok(())
    }

    /// Waits until everything that was sent is acknowledged, then makes the state durable. Input offsets may be committed
    /// after this, and not before.
    pub async fn commit(&mut self) -> Result<(), RuntimeError> {
        let Pending { outputs, changelogs } = std::mem::take(&mut self.pending);
        for delivery in outputs {
            delivery.await?;
        }
        let mut ends: BTreeMap<String, Offset> = BTreeMap::new();
        for (store, delivery) in changelogs {
            ends.insert(store, delivery.await?.offset.next());
        }
        let ends = ends.iter().map(|(store, end)| (store.as_str(), *end));
        Ok(self.state.state.lock().commit(ends)?)
    }
}

/// The state as the plugin sees it; remembers what was written, for the changelog.
struct TaskStores {
    state: Mutex<TaskState>,
    writes: Mutex<Vec<(String, Bytes, Option<Bytes>)>>,
}

impl StateAccess for TaskStores {
    fn get_many(&self, store: &str, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let keys: Vec<Bytes> = keys.into_iter().map(Bytes::from).collect();
        let values =
            self.state.lock().get_many(store, &keys).map_err(|error| StateError(error.to_string()))?;
        Ok(values.into_iter().map(|value| value.map(Vec::from)).collect())
    }

    fn put_many(&self, store: &str, entries: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StateError> {
        let entries: Vec<(Bytes, Option<Bytes>)> =
            entries.into_iter().map(|(key, value)| (key.into(), value.map(Bytes::from))).collect();
        let written = self.state.lock().put_many(store, entries.iter().cloned());
        written.map_err(|error| StateError(error.to_string()))?;
        let mut writes = self.writes.lock();
        writes.extend(entries.into_iter().map(|(key, value)| (store.to_owned(), key, value)));
        Ok(())
    }
}

fn malformed(why: BatchError) -> RuntimeError {
    RuntimeError::Plugin(strata_plugin_host::PluginError::Malformed(why.to_string()))
}

/// Records of one partition as the section that plugins take. `None` where there are none.
fn section(records: &[ConsumerRecord]) -> Result<Option<(BatchHeader, Bytes)>, RuntimeError> {
    let Some(first) = records.first() else { return Ok(None) };
    let (topic, partition) = (first.topic.as_str(), first.partition);
    let records: Vec<Record> = records
        .iter()
        .map(|record| Record {
            offset: record.offset.0,
            timestamp: record.timestamp,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        })
        .collect();
    Ok(Some(records::of_records(topic, partition, &records)?))
}
