//! An application at work: a consumer group member that hands records to its tasks and commits what they did.
//!
//! ```text
//!  Assigned ─▶ pause ─▶ open: restore, instance ─▶ resume      Records ─▶ process ─▶ consumed offsets ┐
//!  Revoked ─▶ commit ─▶ close                                  every interval, or a full task ────────┴─▶ commit
//!  Lost ─▶ close
//! ```
//!
//! Tasks are opened beside the loop, so that a state that is long in restoring holds up neither the group nor the tasks
//! that are ready. The group's protocol is eager: what is revoked or lost is always everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strata_client::{Client, Consumer, ConsumerEvent, ConsumerRecord, Producer};
use strata_plugin_host::{Config, Grants, Plugin};
use strata_topology::{SubTopology, TaskId, Topology};
use strata_types::{ErrorCode, Offset, PartitionId, TopicName, TopicPartition};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::application::Context;
use crate::error::{RuntimeError, is_transient};
use crate::restore::restore;
use crate::status::{REPORT_EVERY, Reporter, State, Status};
use crate::task::Task;

/// How often records that are processed are deleted from repartition topics, as `repartition.purge.interval.ms`.
const PURGE_EVERY: Duration = Duration::from_secs(30);

/// How many tasks of an application are restored at a time.
const OPENING_MAX: usize = 4;

pub struct Running<'a> {
    context: &'a Context,
    reporter: &'a Reporter,
    plugin: Plugin,
    topology: Topology,
    producer: Producer,
    tasks: BTreeMap<TaskId, Task>,
    /// Those that are not ready. Their partitions are paused.
    opening: JoinSet<(TaskId, Result<Task, RuntimeError>)>,
    may_open: Arc<Semaphore>,
    /// The next offset of each partition of which something was processed since the last commit.
    consumed: HashMap<TopicPartition, Offset>,
    /// Of repartition topics: records before these offsets are processed, and committed.
    purgeable: HashMap<TopicPartition, Offset>,
    read: u64,
    /// By tasks that are closed.
    written: u64,
}

impl<'a> Running<'a> {
    pub fn new(
        context: &'a Context,
        reporter: &'a Reporter,
        plugin: Plugin,
        topology: Topology,
        producer: Producer,
    ) -> Self {
        Self {
            context,
            reporter,
            plugin,
            topology,
            producer,
            tasks: BTreeMap::new(),
            opening: JoinSet::new(),
            may_open: Arc::new(Semaphore::new(OPENING_MAX)),
            consumed: HashMap::new(),
            purgeable: HashMap::new(),
            read: 0,
            written: 0,
        }
    }

    /// Until the application is stopped, which commits, or fails, which does not.
    pub async fn drive(&mut self, consumer: &mut Consumer) -> Result<(), RuntimeError> {
        let mut reported = None;
        let (mut next_commit, mut next_report) = (Instant::now(), Instant::now());
        let mut next_purge = Instant::now() + PURGE_EVERY;
        loop {
            let until_commit = next_commit.saturating_duration_since(Instant::now());
            let event = tokio::select! {
                event = consumer.next_event(until_commit) => event,
                Some(opened) = self.opening.join_next() => {
                    self.opened(consumer, opened)?;
                    continue;
                }
                () = self.context.stop.cancelled() => return self.commit(consumer).await,
            };
            match event {
                Ok(event) => self.handle(consumer, event).await?,
                // The consumer goes on by itself; it took its time before it complained.
                Err(error) if is_transient(&error) => tracing::warn!(%error, "reading goes on"),
                Err(error) => return Err(error.into()),
            }
            if self.tasks.values().any(Task::is_full) {
                self.commit(consumer).await?;
            }
            let now = Instant::now();
            if now < next_commit {
                continue;
            }
            self.commit(consumer).await?;
            next_commit = Instant::now() + self.context.commit_interval;
            let status = self.status();
            if reported.as_ref() != Some(&status) || now >= next_report {
                self.reporter.say(Some(&status)).await;
                (reported, next_report) = (Some(status), now + REPORT_EVERY);
            }
            if now >= next_purge {
                next_purge = now + PURGE_EVERY;
                tokio::spawn(purge(self.context.client.clone(), std::mem::take(&mut self.purgeable)));
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
            Some(ConsumerEvent::Records(records)) => self.process_all(consumer, &records).await?,
            Some(ConsumerEvent::Assigned(partitions)) => {
                for partition in &partitions {
                    consumer.pause(partition)?;
                }
                for id in self.tasks_of(&partitions) {
                    self.open(id);
                }
            }
            Some(ConsumerEvent::Revoked(partitions)) => {
                self.commit(consumer).await?;
                self.close(&partitions).await;
            }
            // Whoever has them now starts from the last commit: what was done since is done again there.
            Some(ConsumerEvent::Lost(partitions)) => {
                self.producer.flush().await;
                self.close(&partitions).await;
            }
        }
        Ok(())
    }

    fn open(&mut self, id: TaskId) {
        let opening = Opening {
            client: self.context.client.clone(),
            plugin: self.plugin.clone(),
            config: self.context.deployment.config.clone(),
            sub_topology: self.topology.sub_topologies[id.sub_topology as usize].clone(),
            folder: self.context.state_dir.join(id.to_string()),
            id,
        };
        let may_open = Arc::clone(&self.may_open);
        self.opening.spawn(async move {
            // Nobody closes it.
            let _turn = may_open.acquire_owned().await;
            (id, opening.run().await)
        });
    }

    fn opened(
        &mut self,
        consumer: &mut Consumer,
        opened: Result<(TaskId, Result<Task, RuntimeError>), JoinError>,
    ) -> Result<(), RuntimeError> {
        let (id, task) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(RuntimeError::Opening(error.to_string())),
        };
        self.tasks.insert(id, task?);
        for partition in consumer.assignment() {
            if self.task_of(&partition.topic, partition.partition) == Some(id) {
                consumer.resume(&partition)?;
            }
        }
        Ok(())
    }

    /// Gives up what is being opened. What was restored so far is kept on disk.
    pub async fn stop_opening(&mut self) {
        self.opening.shutdown().await;
    }

    async fn close(&mut self, partitions: &[TopicPartition]) {
        self.stop_opening().await;
        for id in self.tasks_of(partitions) {
            self.written += self.tasks.remove(&id).map_or(0, |task| task.records_written);
        }
        for partition in partitions {
            self.consumed.remove(partition);
            self.purgeable.remove(partition);
        }
    }

    fn tasks_of(&self, partitions: &[TopicPartition]) -> BTreeSet<TaskId> {
        partitions.iter().filter_map(|assigned| self.task_of(&assigned.topic, assigned.partition)).collect()
    }

    fn task_of(&self, topic: &TopicName, partition: PartitionId) -> Option<TaskId> {
        let reads = |sub: &&SubTopology| sub.sources.iter().any(|source| source.topic == *topic);
        let sub_topology = self.topology.sub_topologies.iter().find(reads)?.id;
        Some(TaskId { sub_topology, partition })
    }

    async fn process_all(
        &mut self,
        consumer: &Consumer,
        records: &[ConsumerRecord],
    ) -> Result<(), RuntimeError> {
        for records in records.chunk_by(|a, b| a.partition == b.partition && a.topic == b.topic) {
            if self.context.stop.is_cancelled() {
                return Ok(());
            }
            self.process(records).await?;
        }
        // All that was given is processed. Behind its last record may be control records, which are never given.
        for (partition, offset) in consumer.positions() {
            if let Some(consumed) = self.consumed.get_mut(&partition) {
                *consumed = offset;
            }
        }
        Ok(())
    }

    async fn process(&mut self, records: &[ConsumerRecord]) -> Result<(), RuntimeError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let id = self.task_of(&first.topic, first.partition);
        let Some(task) = id.and_then(|id| self.tasks.get_mut(&id)) else { return Ok(()) };
        task.process(&self.topology, &self.producer, records).await?;
        self.read += records.len() as u64;
        self.consumed.insert(TopicPartition::new(first.topic.clone(), first.partition), last.offset.next());
        Ok(())
    }

    /// First outputs and changelogs, then the state, then the offsets.
    ///
    /// # Errors
    /// When an output or the state is lost: what is not committed has to be done again. That the offsets cannot be
    /// committed at the moment is none: the next commit has them too.
    pub async fn commit(&mut self, consumer: &Consumer) -> Result<(), RuntimeError> {
        if self.consumed.is_empty() {
            return Ok(());
        }
        self.producer.flush().await;
        for task in self.tasks.values_mut() {
            task.commit().await?;
        }
        match consumer.commit_offsets(&self.consumed).await {
            Ok(()) => {
                let is_ours =
                    |topic: &TopicName| self.topology.repartition_topics().any(|ours| ours == topic);
                self.purgeable
                    .extend(self.consumed.drain().filter(|(partition, _)| is_ours(&partition.topic)));
                Ok(())
            }
            Err(error) if is_away(&error) => {
                tracing::warn!(%error, "the offsets are committed later");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn status(&self) -> Status {
        let open: u64 = self.tasks.values().map(|task| task.records_written).sum();
        let state = if self.opening.is_empty() { State::Running } else { State::Starting };
        Status {
            tasks: self.tasks.len(),
            records_read: self.read,
            records_written: self.written + open,
            ..Status::new(state, "", self.context.deployed_at)
        }
    }
}

/// Whether a commit failed for a reason that leaves our membership as it is.
fn is_away(error: &strata_client::ClientError) -> bool {
    error.is(ErrorCode::RebalanceInProgress)
        || error.is_retriable()
        || matches!(error, strata_client::ClientError::Timeout { .. })
}

/// What it takes to open a task.
struct Opening {
    client: Client,
    plugin: Plugin,
    config: Config,
    sub_topology: SubTopology,
    folder: PathBuf,
    id: TaskId,
}

impl Opening {
    /// Restores the task's state, and makes an instance of the plugin for it.
    async fn run(self) -> Result<Task, RuntimeError> {
        let state = restore(&self.client, &self.folder, self.id, &self.sub_topology).await?;
        let instance = self.plugin.topology(&Grants::default(), &self.config).await?;
        Ok(Task::new(self.id, instance, state))
    }
}

/// Frees what nobody reads again. What cannot be deleted now can be deleted next time.
async fn purge(client: Client, processed: HashMap<TopicPartition, Offset>) {
    let admin = client.admin();
    for (partition, before) in processed {
        if let Err(error) = admin.delete_records(&partition, before).await {
            tracing::debug!(%partition, %error, "not purged");
        }
    }
}
