//! One task: a sub-topology on one partition, with its own plugin instance and its own state.
//!
//! A batch is all or nothing as far as the plugin goes: its outputs are sent and its writes become state only once every
//! node that it passes has returned. What a failed batch did is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use strata_client::{ConsumerRecord, Delivery, Producer, ProducerRecord};
use strata_plugin_host::records::{self, Record};
use strata_plugin_host::{BatchHeader, PluginError, StateAccess, TopologyInstance};
use strata_protocol::records::BatchError;
use strata_state::{DIRTY_BYTES_MAX, TaskState};
use strata_topology::{NodeId, Route, TaskId, Topology};
use strata_types::{Offset, TopicName, TopicPartition};

use crate::error::RuntimeError;
use crate::stores::TaskStores;

/// How many calls of the plugin one batch may need. A chain needs one a keyed node; diamonds multiply.
const CALLS_MAX: usize = 1_000;
/// What a batch may become, in bytes of record sections, before any of it is sent.
const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// A task that waits for this many acknowledgements is committed before its time.
const PENDING_RECORDS_MAX: usize = 50_000;
/// So is one with this much uncommitted state, in bytes: well below what would fail it.
const COMMIT_DIRTY_BYTES: usize = DIRTY_BYTES_MAX / 4;

/// One plugin instance and its state.
pub struct Task {
    id: TaskId,
    instance: TopologyInstance,
    stores: Arc<TaskStores>,
    pending: Pending,
    pub records_written: u64,
}

/// What was sent since the last commit.
#[derive(Default)]
struct Pending {
    outputs: Vec<Delivery>,
    changelogs: Vec<(String, Delivery)>,
}

/// A batch on its way through the nodes.
#[derive(Default)]
struct Batch {
    /// Sections that wait for a node.
    work: VecDeque<(NodeId, BatchHeader, Bytes)>,
    /// Sections that wait for the end of the batch, and the topics that they go to.
    outputs: Vec<(TopicName, BatchHeader, Bytes)>,
    output_bytes: usize,
}

impl Task {
    pub fn new(id: TaskId, instance: TopologyInstance, state: TaskState) -> Self {
        let stores = Arc::new(TaskStores::new(state));
        Self { id, instance, stores, pending: Pending::default(), records_written: 0 }
    }

    /// Sends records of one source partition, in their order, through the sub-topology.
    ///
    /// # Errors
    /// [`RuntimeError::Processing`]: the plugin failed, and the task is as if it had never seen the records. After any
    /// other error the task cannot be committed.
    pub async fn process(
        &mut self,
        topology: &Topology,
        producer: &Producer,
        records: &[ConsumerRecord],
    ) -> Result<(), RuntimeError> {
        let Some((header, section)) = section(records)? else { return Ok(()) };
        let batch = match self.call_nodes(topology, header, section).await {
            Ok(batch) => batch,
            Err(error) => {
                self.stores.drop_batch();
                return Err(at(records, error));
            }
        };
        self.send_changelog(topology, producer).await?;
        for (topic, header, section) in batch.outputs {
            self.produce(producer, &topic, &header, section).await?;
        }
        Ok(())
    }

    async fn call_nodes(
        &mut self,
        topology: &Topology,
        header: BatchHeader,
        section: Bytes,
    ) -> Result<Batch, RuntimeError> {
        let mut batch = Batch::default();
        let sources = &topology.sub_topologies[self.id.sub_topology as usize].sources;
        let source = sources.iter().find(|source| source.topic.as_str() == header.topic);
        for &node in source.iter().flat_map(|source| &source.into) {
            // A repartition topic's records have arrived where they were meant to go: they are not routed again.
            if source.is_some_and(|source| source.is_repartition) {
                batch.work.push_back((node, header.clone(), section.clone()));
            } else {
                batch.route(topology, node, &header, section.clone())?;
            }
        }
        for _ in 0..CALLS_MAX {
            let Some((node, header, section)) = batch.work.pop_front() else { return Ok(batch) };
            let state: Arc<dyn StateAccess> = Arc::clone(&self.stores) as _;
            for output in self.instance.process(node.0, &header, section, state).await? {
                batch.route(topology, NodeId(output.target), &header, output.records)?;
            }
        }
        Err(RuntimeError::TooManyCalls { limit: CALLS_MAX })
    }

    async fn produce(
        &mut self,
        producer: &Producer,
        topic: &TopicName,
        header: &BatchHeader,
        section: Bytes,
    ) -> Result<(), RuntimeError> {
        for record in records::records(section, header.base_offset, header.base_timestamp, header.count) {
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
        let stores = &topology.sub_topologies[self.id.sub_topology as usize].stores;
        for ((name, key), value) in self.stores.keep_batch()? {
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

    /// Whether the task holds so much that it should be committed now.
    pub fn is_full(&self) -> bool {
        self.pending.outputs.len() + self.pending.changelogs.len() >= PENDING_RECORDS_MAX
            || self.stores.dirty_bytes() >= COMMIT_DIRTY_BYTES
    }

    /// Waits until everything that was sent is acknowledged, then makes the state durable. Input offsets may be committed
    /// after this, and not before. After an error the task cannot be committed any more: what failed is gone.
    pub async fn commit(&mut self) -> Result<(), RuntimeError> {
        let Pending { outputs, changelogs } = std::mem::take(&mut self.pending);
        for delivery in outputs {
            delivery.await?;
        }
        let mut ends: BTreeMap<String, Offset> = BTreeMap::new();
        for (store, delivery) in changelogs {
            let end = ends.entry(store).or_default();
            *end = delivery.await?.offset.next().max(*end);
        }
        let ends = ends.iter().map(|(store, end)| (store.as_str(), *end));
        Ok(self.stores.commit(ends)?)
    }
}

impl Batch {
    /// Takes records to the node they are meant for: within this task, or by way of a topic.
    fn route(
        &mut self,
        topology: &Topology,
        target: NodeId,
        header: &BatchHeader,
        section: Bytes,
    ) -> Result<(), RuntimeError> {
        let count = records::count(&section).map_err(malformed)?;
        let header = BatchHeader { count, ..header.clone() };
        match topology.route(target) {
            None => return Err(RuntimeError::NoSuchTarget { target: target.0 }),
            Some(Route::Process(node)) => self.work.push_back((node, header, section)),
            Some(Route::Repartition(topic) | Route::Produce(topic)) => {
                self.output_bytes += section.len();
                self.outputs.push((topic.clone(), header, section));
            }
        }
        if self.output_bytes > OUTPUT_BYTES_MAX {
            return Err(RuntimeError::TooMuchOutput { limit_bytes: OUTPUT_BYTES_MAX });
        }
        Ok(())
    }
}

/// Says which records a plugin failed at.
fn at(records: &[ConsumerRecord], error: RuntimeError) -> RuntimeError {
    let RuntimeError::Plugin(source) = error else { return error };
    let named = match &source {
        PluginError::Returned(returned) => returned.record.and_then(|index| records.get(index as usize)),
        _ => None,
    };
    let Some(record) = named.or_else(|| records.first()) else { return RuntimeError::Plugin(source) };
    let partition = TopicPartition::new(record.topic.clone(), record.partition);
    RuntimeError::Processing { partition, offset: record.offset, source }
}

fn malformed(why: BatchError) -> RuntimeError {
    RuntimeError::Plugin(PluginError::Malformed(why.to_string()))
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
