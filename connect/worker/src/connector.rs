//! A connector in this worker: what it shall do, and the tasks that do it.

use std::sync::Arc;
use std::time::Duration;

use strata_plugin_host::Plugin;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, ClusterError, TopicSpec};
use crate::config::{ConnectorConfig, Direction, direction};
use crate::formats::{ConfigRecord, Properties, TargetState};
use crate::offsets::Offsets;
use crate::plugins::Plugins;
use crate::status::{State, StatusBoard};
use crate::task::Task;

/// As Kafka Connect's `task.shutdown.graceful.timeout.ms`.
const TASK_STOP_MAX: Duration = Duration::from_secs(5);

/// What connectors are started with.
pub(crate) struct Context {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) plugins: Plugins,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) config_topic: String,
    pub(crate) internal_topics: Arc<[String]>,
}

pub(crate) struct Connector {
    pub(crate) name: String,
    pub(crate) properties: Properties,
    pub(crate) target: TargetState,
    /// What its tasks run with; as many as there are tasks.
    pub(crate) task_properties: Vec<Properties>,
    running: Vec<Running>,
    /// Of the last start: none, if that failed.
    started: Option<Started>,
}

struct Running {
    cancel: CancellationToken,
    handle: JoinHandle<()>,
}

#[derive(Clone)]
struct Started {
    plugin: Plugin,
    config: ConnectorConfig,
    direction: Direction,
}

impl Connector {
    pub(crate) fn new(name: &str, properties: Properties, target: TargetState) -> Self {
        Connector {
            name: name.to_owned(),
            properties,
            target,
            task_properties: Vec::new(),
            running: Vec::new(),
            started: None,
        }
    }

    /// By what it runs with; before its first start, and when that failed, none.
    pub(crate) fn direction(&self) -> Option<Direction> {
        self.started.as_ref().map(|started| started.direction)
    }

    /// Brings it to where its config and target state want it. What goes wrong with the connector itself is its status, not
    /// an error.
    pub(crate) async fn start(&mut self, context: &Context) -> Result<(), ClusterError> {
        self.stop_tasks().await;
        let before = self.task_properties.len();
        let prepared = self.prepare(context).await;
        self.forget_tasks(context, self.task_properties.len(), before);
        let (state, trace) = match (&prepared, self.target) {
            (Err(StartError::Cluster(error)), _) => return Err(error.clone()),
            (Err(StartError::Connector(trace)), _) => (State::Failed, Some(trace.clone())),
            (Ok(()), TargetState::Started) => (State::Running, None),
            (Ok(()), TargetState::Paused) => (State::Paused, None),
            (Ok(()), TargetState::Stopped) => (State::Stopped, None),
        };
        let version = self.version();
        context.board.set(&self.name, None, state, trace, &version);
        match state {
            State::Running => (0..self.task_properties.len()).for_each(|task| self.spawn(context, task)),
            State::Paused => (0..self.task_properties.len()).for_each(|task| {
                context.board.set(&self.name, Some(task as u32), State::Paused, None, &version);
            }),
            _ => {}
        }
        Ok(())
    }

    /// Stops and starts one task with what it has.
    pub(crate) async fn restart_task(&mut self, context: &Context, task: usize) {
        if let Some(running) = self.running.get_mut(task) {
            running.stop().await;
            self.spawn(context, task);
        }
    }

    /// Ends the tasks; statuses say that nobody has them.
    pub(crate) async fn shut_down(&mut self, context: &Context) {
        self.stop_tasks().await;
        let version = self.version();
        for task in 0..self.task_properties.len() {
            context.board.set(&self.name, Some(task as u32), State::Unassigned, None, &version);
        }
        context.board.set(&self.name, None, State::Unassigned, None, &version);
    }

    /// Ends the tasks, and every trace of them.
    pub(crate) async fn remove(mut self, context: &Context) {
        self.stop_tasks().await;
        self.forget_tasks(context, 0, self.task_properties.len());
        context.board.remove(&self.name, None);
    }

    /// Finds the plugin, parses the config and splits the work.
    async fn prepare(&mut self, context: &Context) -> Result<(), StartError> {
        self.started = None;
        let task_properties = self.split(context).await;
        let task_properties = match task_properties {
            Ok(split) => split,
            Err(error) => {
                self.task_properties.clear();
                return Err(error);
            }
        };
        if task_properties != self.task_properties {
            let task = |(task, config): (usize, &Properties)| ConfigRecord::Task {
                name: self.name.clone(),
                task: task as u32,
                config: config.clone(),
            };
            let mut records: Vec<_> = task_properties.iter().enumerate().map(task).collect();
            records
                .push(ConfigRecord::Commit { name: self.name.clone(), tasks: task_properties.len() as u32 });
            let records = records.iter().map(ConfigRecord::encode).collect();
            context.cluster.append(&context.config_topic, records).await?;
            self.task_properties = task_properties;
        }
        Ok(())
    }

    async fn split(&mut self, context: &Context) -> Result<Vec<Properties>, StartError> {
        let failed = StartError::Connector;
        let class = self.properties.get("connector.class").cloned().unwrap_or_default();
        let plugin = context.plugins.find(&class).await.map_err(failed)?;
        let direction =
            direction(&plugin).ok_or_else(|| failed(format!("{class} is a {}", plugin.world())))?;
        let config = ConnectorConfig::parse(&plugin, &self.properties).map_err(failed)?;
        if let Some(queue) = &config.dead_letters {
            let (name, replication_factor) = (queue.topic.clone(), queue.replication_factor);
            let spec = TopicSpec { name, partitions: 1, replication_factor, compacted: false };
            context.cluster.ensure_topic(&spec).await?;
        }
        let tasks = match (self.target, direction) {
            (TargetState::Stopped, _) => Vec::new(),
            (_, Direction::Sink) => vec![self.properties.clone(); config.tasks_max as usize],
            (_, Direction::Source) => plugin
                .split(&config.grants, &self.properties, config.tasks_max)
                .await
                .map_err(|error| failed(error.to_string()))?,
        };
        self.started = Some(Started { plugin, config, direction });
        Ok(tasks)
    }

    fn spawn(&mut self, context: &Context, task: usize) {
        let (Some(started), Some(properties)) = (self.started.clone(), self.task_properties.get(task)) else {
            return;
        };
        let runner = Task {
            connector: self.name.clone(),
            number: task as u32,
            plugin: started.plugin,
            direction: started.direction,
            config: started.config,
            properties: properties.clone(),
            cluster: context.cluster.clone(),
            offsets: context.offsets.clone(),
            internal_topics: context.internal_topics.clone(),
        };
        let cancel = CancellationToken::new();
        let handle = tokio::spawn(runner.run(cancel.clone(), context.board.clone()));
        let running = Running { cancel, handle };
        match self.running.get_mut(task) {
            Some(place) => *place = running,
            None => self.running.push(running),
        }
    }

    async fn stop_tasks(&mut self) {
        self.running.iter().for_each(|running| running.cancel.cancel());
        for mut running in self.running.drain(..) {
            running.stop().await;
        }
    }

    fn forget_tasks(&self, context: &Context, from: usize, to: usize) {
        (from..to).for_each(|task| context.board.remove(&self.name, Some(task as u32)));
    }

    fn version(&self) -> String {
        self.started.as_ref().map(|started| started.plugin.descriptor().version.clone()).unwrap_or_default()
    }
}

impl Running {
    async fn stop(&mut self) {
        self.cancel.cancel();
        if tokio::time::timeout(TASK_STOP_MAX, &mut self.handle).await.is_err() {
            self.handle.abort();
        }
    }
}

/// The connector's own fault, or the cluster's.
enum StartError {
    Connector(String),
    Cluster(ClusterError),
}

impl From<ClusterError> for StartError {
    fn from(error: ClusterError) -> Self {
        StartError::Cluster(error)
    }
}
