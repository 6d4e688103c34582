//! One application: a consumer group member that hands records to its tasks and commits what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use strata_client::{
    AutoOffsetReset, Client, Consumer, ConsumerEvent, ConsumerOptions, ConsumerRecord, Producer,
    ProducerOptions, ProducerRecord,
};
use strata_plugin_host::{Grants, Graph, Host, Operator as PluginOperator, Plugin};
use strata_topology::{ApplicationId, Node, NodeId, Operator, TaskId, Topology};
use strata_types::{PartitionId, TopicName, TopicPartition};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::restore::restore;
use crate::status::{STATUS_TOPIC, State, Status};
use crate::task::Task;
use crate::topics;

/// What an application needs to run.
pub struct Context {
    pub client: Client,
    pub host: Host,
    /// The plugin's bytes; `None` where they were never uploaded.
    pub wasm: Option<Bytes>,
    pub deployment: Deployment,
    pub state_dir: PathBuf,
    pub commit_interval: Duration,
    pub stop: CancellationToken,
}

/// Runs until it is stopped or fails; either way says so in the status topic.
pub async fn run(context: Context) {
    let name = context.deployment.application.clone();
    report(&context, State::Starting, "", &Counts::default()).await;
    match execute(&context).await {
        Ok(()) => tracing::info!(application = name, "stopped"),
        Err(error) => {
            tracing::error!(application = name, %error, "failed");
            report(&context, State::Failed, &error.to_string(), &Counts::default()).await;
        }
    }
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Counts {
    tasks: usize,
    read: u64,
    written: u64,
}

async fn execute(context: &Context) -> Result<(), RuntimeError> {
    let Deployment { application, plugin, config } = &context.deployment;
    let Some(wasm) = &context.wasm else {
        let (application, sha256) = (application.clone(), plugin.clone());
        return Err(RuntimeError::PluginMissing { application, sha256 });
    };
    let plugin = context.host.load(wasm.clone()).await?;
    let graph = plugin.topology(&Grants::default(), config).await?.graph().clone();
    let topology = Topology::new(ApplicationId::new(application)?, graph_of(&graph)?)?;
    topics::prepare(&context.client, &topology).await?;

    let mut consumer = Consumer::new(&context.client, consumer_options(application))?;
    let sources = topology.sub_topologies.iter().flat_map(|sub| &sub.sources);
    consumer.subscribe(&sources.map(|source| source.topic.clone()).collect::<Vec<_>>())?;
    let producer = Producer::new(&context.client, ProducerOptions::default())?;
    let mut running =
        Running { context, plugin, topology, producer, tasks: BTreeMap::new(), read: 0, written: 0 };
    let outcome = running.drive(&mut consumer).await;
    // What was processed and not committed is processed again by the next run; the group learns at once that we left.
    let left = consumer.close().await;
    running.producer.close().await;
    outcome?;
    Ok(left?)
}

fn consumer_options(application: &str) -> ConsumerOptions {
    ConsumerOptions {
        group_id: Some(application.to_owned()),
        auto_offset_reset: AutoOffsetReset::Earliest,
        enable_auto_commit: false,
        read_committed: true,
        ..ConsumerOptions::default()
    }
}

struct Running<'a> {
    context: &'a Context,
    plugin: Plugin,
    topology: Topology,
    producer: Producer,
    tasks: BTreeMap<TaskId, Task>,
    read: u64,
    /// By tasks that are closed.
    written: u64,
}

impl Running<'_> {
    async fn drive(&mut self, consumer: &mut Consumer) -> Result<(), RuntimeError> {
        let mut reported = Counts::default();
        let mut next_commit = Instant::now();
        loop {
            let until_commit = next_commit.saturating_duration_since(Instant::now());
            let event = tokio::select! {
                event = consumer.next_event(until_commit) => event?,
                () = self.context.stop.cancelled() => return self.commit(consumer).await,
            };
            self.handle(consumer, event).await?;
            if Instant::now() >= next_commit {
                self.commit(consumer).await?;
                next_commit = Instant::now() + self.context.commit_interval;
                let counts = self.counts();
                if counts != reported {
                    report(self.context, State::Running, "", &counts).await;
                    reported = counts;
                }
            }
        }
    }

    async fn handle(
        &mut self,
        consumer: &mut Consumer,
        event: Option<ConsumerEvent>,
    ) -> Result<(), RuntimeError> {
        match event {
            None => {}
            Some(ConsumerEvent::Records(records)) => {
                for records in by_partition(&records) {
                    self.process(records).await?;
                }
            }
            Some(ConsumerEvent::Assigned(partitions)) => {
                for id in self.tasks_of(&partitions) {
                    if !self.tasks.contains_key(&id) {
                        let task = open(self.context, &self.plugin, &self.topology, id).await?;
                        self.tasks.insert(id, task);
                    }
                }
            }
            Some(ConsumerEvent::Revoked(partitions)) => {
                self.commit(consumer).await?;
                self.close(&partitions);
            }
            // Whoever has them now starts from the last commit: what was done since is done again there.
            Some(ConsumerEvent::Lost(partitions)) => self.close(&partitions),
        }
        Ok(())
    }

    fn tasks_of(&self, partitions: &[TopicPartition]) -> BTreeSet<TaskId> {
        partitions.iter().filter_map(|assigned| self.task_of(&assigned.topic, assigned.partition)).collect()
    }

    fn close(&mut self, partitions: &[TopicPartition]) {
        for id in self.tasks_of(partitions) {
            self.written += self.tasks.remove(&id).map_or(0, |task| task.records_written);
        }
    }

    fn task_of(&self, topic: &TopicName, partition: PartitionId) -> Option<TaskId> {
        let reads =
            |sub: &&strata_topology::SubTopology| sub.sources.iter().any(|source| source.topic == *topic);
        let sub_topology = self.topology.sub_topologies.iter().find(reads)?.id;
        Some(TaskId { sub_topology, partition })
    }

    async fn process(&mut self, records: &[ConsumerRecord]) -> Result<(), RuntimeError> {
        let Some(first) = records.first() else { return Ok(()) };
        let id = self.task_of(&first.topic, first.partition);
        let Some(task) = id.and_then(|id| self.tasks.get_mut(&id)) else { return Ok(()) };
        task.process(&self.topology, &self.producer, records).await?;
        self.read += records.len() as u64;
        Ok(())
    }

    async fn commit(&mut self, consumer: &mut Consumer) -> Result<(), RuntimeError> {
        self.producer.flush().await;
        for task in self.tasks.values_mut() {
            task.commit().await?;
        }
        if !self.tasks.is_empty() {
            consumer.commit().await?;
        }
        Ok(())
    }

    fn counts(&self) -> Counts {
        let open: u64 = self.tasks.values().map(|task| task.records_written).sum();
        Counts { tasks: self.tasks.len(), read: self.read, written: self.written + open }
    }
}

/// Restores the task's state, and makes an instance of the plugin for it.
async fn open(
    context: &Context,
    plugin: &Plugin,
    topology: &Topology,
    id: TaskId,
) -> Result<Task, RuntimeError> {
    let sub_topology = &topology.sub_topologies[id.sub_topology as usize];
    let state = restore(&context.client, &context.state_dir.join(id.to_string()), id, sub_topology).await?;
    let instance = plugin.topology(&Grants::default(), &context.deployment.config).await?;
    Ok(Task::new(id, instance, state))
}

/// Runs of records that come from the same partition, as the consumer delivers them.
fn by_partition(records: &[ConsumerRecord]) -> impl Iterator<Item = &[ConsumerRecord]> {
    records.chunk_by(|a, b| a.partition == b.partition && a.topic == b.topic)
}

/// The plugin's graph in the runtime's terms, checked.
fn graph_of(graph: &Graph) -> Result<strata_topology::Graph, RuntimeError> {
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let operator = match &node.operator {
            PluginOperator::Source { topics } => Operator::Source {
                topics: topics.iter().map(|topic| TopicName::new(topic)).collect::<Result<_, _>>()?,
            },
            PluginOperator::Stateless { keeps_key } => Operator::Stateless { keeps_key: *keeps_key },
            PluginOperator::Keyed { stores } => Operator::Keyed { stores: stores.clone() },
            PluginOperator::Sink { topic } => Operator::Sink { topic: TopicName::new(topic)? },
        };
        let inputs = node.inputs.iter().copied().map(NodeId).collect();
        nodes.push(Node { name: node.name.clone(), operator, inputs });
    }
    Ok(strata_topology::Graph::new(nodes)?)
}

/// Says in the status topic how the application is. That nobody can be told is logged, and is no reason to stop.
async fn report(context: &Context, state: State, reason: &str, counts: &Counts) {
    let status = Status {
        state,
        reason: reason.to_owned(),
        plugin: context.deployment.plugin.clone(),
        tasks: counts.tasks,
        records_read: counts.read,
        records_written: counts.written,
    };
    if let Err(error) = write_status(context, &status).await {
        tracing::warn!(application = context.deployment.application, %error, "its status could not be written");
    }
}

async fn write_status(context: &Context, status: &Status) -> Result<(), RuntimeError> {
    let producer = Producer::new(&context.client, ProducerOptions::default())?;
    let key = Bytes::from(context.deployment.application.clone());
    let value = serde_json::to_vec(status).ok().map(Bytes::from);
    let record = ProducerRecord::new(TopicName::new(STATUS_TOPIC)?, Some(key), value);
    producer.send_and_wait(ProducerRecord { partition: Some(0), ..record }).await?;
    producer.close().await;
    Ok(())
}
