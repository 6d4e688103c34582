//! The worker: connectors by name, and what can be asked of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use strata_plugin_host::{Descriptor, Host, HostOptions, SourcePosition};
use tokio::sync::Mutex;

use crate::cluster::{Cluster, TopicSpec};
use crate::config::{CheckedKey, Definition, Direction, WorkerConfig, check, definitions, direction};
use crate::connector::{Connector, Context};
use crate::error::WorkerError;
use crate::formats::{ConfigRecord, Properties, TargetState};
use crate::kafka::Kafka;
use crate::offsets::Offsets;
use crate::plugins::Plugins;
use crate::status::{State, Status, StatusBoard};
use crate::task::group_of;

/// A cheap handle. Requests that change something are served one after another, each once its records are in the configs
/// topic.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    context: Context,
    cluster_id: String,
    connectors: Mutex<BTreeMap<String, Connector>>,
}

/// A connector as the REST API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorInfo {
    pub name: String,
    pub config: Properties,
    /// Each task's config.
    pub tasks: Vec<Properties>,
    /// None: its plugin cannot be found.
    pub direction: Option<Direction>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorStatus {
    pub connector: Status,
    pub tasks: Vec<(u32, Status)>,
    pub direction: Option<Direction>,
}

/// What a restart covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restart {
    pub include_tasks: bool,
    pub only_failed: bool,
}

impl Worker {
    /// Makes the internal topics where they are missing, reads them, and starts the connectors that they tell of.
    pub async fn start(config: WorkerConfig) -> Result<Self, WorkerError> {
        let cluster = Kafka::connect(&config.bootstrap).await?;
        Worker::start_on(Arc::new(cluster), config).await
    }

    /// On any cluster.
    pub async fn start_on(cluster: Arc<dyn Cluster>, config: WorkerConfig) -> Result<Self, WorkerError> {
        let internal = [
            (config.config_topic.clone(), 1),
            (config.offset_topic.clone(), config.offset_partitions),
            (config.status_topic.clone(), config.status_partitions),
        ];
        for (name, partitions) in &internal {
            let replication_factor = config.replication_factor;
            let spec = TopicSpec {
                name: name.clone(),
                partitions: *partitions,
                replication_factor,
                compacted: true,
            };
            cluster.ensure_topic(&spec).await?;
        }
        let options = HostOptions {
            cache_dir: config.cache_dir,
            limits: config.limits,
            instances_max: config.instances_max,
        };
        let host = Host::new(options).map_err(|error| WorkerError::Internal(error.to_string()))?;
        let stored = cluster.read_all(&config.offset_topic).await?;
        let offsets = Offsets::restore(cluster.clone(), config.offset_topic, &stored);
        let mut connectors = restore(&cluster.read_all(&config.config_topic).await?);
        let context = Context {
            board: StatusBoard::start(cluster.clone(), config.status_topic, config.worker_id),
            plugins: Plugins::new(host, config.shipped, config.plugin_dirs),
            offsets: Arc::new(offsets),
            config_topic: config.config_topic,
            internal_topics: internal.into_iter().map(|(name, _)| name).collect(),
            cluster,
        };
        for connector in connectors.values_mut() {
            connector.start(&context).await?;
        }
        let cluster_id = context.cluster.id().await?;
        Ok(Worker { shared: Arc::new(Shared { context, cluster_id, connectors: Mutex::new(connectors) }) })
    }

    /// Ends all tasks. The connectors go on where they were when a worker starts again.
    pub async fn shutdown(&self) {
        for connector in self.shared.connectors.lock().await.values_mut() {
            connector.shut_down(&self.shared.context).await;
        }
        self.shared.context.board.written().await;
    }

    pub fn cluster_id(&self) -> &str {
        &self.shared.cluster_id
    }

    /// By name.
    pub async fn connectors(&self) -> Vec<String> {
        self.shared.connectors.lock().await.keys().cloned().collect()
    }

    pub async fn info(&self, name: &str) -> Result<ConnectorInfo, WorkerError> {
        let connectors = self.shared.connectors.lock().await;
        connectors.get(name).map(info).ok_or_else(|| WorkerError::no_connector(name))
    }

    pub async fn status(&self, name: &str) -> Result<ConnectorStatus, WorkerError> {
        let connectors = self.shared.connectors.lock().await;
        let board = &self.shared.context.board;
        let found = connectors.get(name).and_then(|connector| Some((connector, board.get(name, None)?)));
        let (connector, status) =
            found.ok_or_else(|| WorkerError::NotFound(format!("No status found for connector {name}")))?;
        let tasks = 0..connector.task_properties.len() as u32;
        let tasks = tasks.filter_map(|task| Some((task, board.get(name, Some(task))?))).collect();
        Ok(ConnectorStatus { connector: status, tasks, direction: connector.direction() })
    }

    /// Makes a connector that is not there yet.
    pub async fn create(
        &self,
        name: &str,
        config: Properties,
        initial: TargetState,
    ) -> Result<ConnectorInfo, WorkerError> {
        let config = self.valid(name, config).await?;
        let mut connectors = self.shared.connectors.lock().await;
        if connectors.contains_key(name) {
            return Err(WorkerError::Conflict(format!("Connector {name} already exists")));
        }
        self.configure(&mut connectors, name, config, Some(initial)).await
    }

    /// Makes a connector, or gives it another config. True: it was made.
    pub async fn put_config(
        &self,
        name: &str,
        config: Properties,
    ) -> Result<(bool, ConnectorInfo), WorkerError> {
        let config = self.valid(name, config).await?;
        let mut connectors = self.shared.connectors.lock().await;
        let new = !connectors.contains_key(name);
        Ok((new, self.configure(&mut connectors, name, config, None).await?))
    }

    /// Changes some keys; a null takes a key away.
    pub async fn patch_config(
        &self,
        name: &str,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<ConnectorInfo, WorkerError> {
        let mut config = self.info(name).await?.config;
        for (key, value) in changes {
            match value {
                Some(value) => config.insert(key, value),
                None => config.remove(&key),
            };
        }
        Ok(self.put_config(name, config).await?.1)
    }

    /// What it committed or stored stays, as in Kafka Connect.
    pub async fn delete(&self, name: &str) -> Result<(), WorkerError> {
        let mut connectors = self.shared.connectors.lock().await;
        if !connectors.contains_key(name) {
            return Err(WorkerError::no_connector(name));
        }
        let records = [
            ConfigRecord::Connector { name: name.into(), config: None },
            ConfigRecord::Target { name: name.into(), state: None },
        ];
        self.write(&records).await?;
        if let Some(connector) = connectors.remove(name) {
            connector.remove(&self.shared.context).await;
        }
        Ok(())
    }

    /// Pauses, resumes or stops.
    pub async fn set_target(&self, name: &str, target: TargetState) -> Result<(), WorkerError> {
        let mut connectors = self.shared.connectors.lock().await;
        let unknown = || WorkerError::NotFound(format!("Unknown connector {name}"));
        let connector = connectors.get_mut(name).ok_or_else(unknown)?;
        if connector.target == target {
            return Ok(());
        }
        self.write(&[ConfigRecord::Target { name: name.into(), state: Some(target) }]).await?;
        connector.target = target;
        Ok(connector.start(&self.shared.context).await?)
    }

    pub async fn restart(&self, name: &str, restart: Restart) -> Result<(), WorkerError> {
        let mut connectors = self.shared.connectors.lock().await;
        let unknown = || WorkerError::NotFound(format!("Unknown connector: {name}"));
        let connector = connectors.get_mut(name).ok_or_else(unknown)?;
        let context = &self.shared.context;
        let failed = |task| context.board.get(name, task).is_some_and(|status| status.state == State::Failed);
        if failed(None) || (restart.include_tasks && !restart.only_failed) {
            return Ok(connector.start(context).await?);
        }
        if restart.include_tasks {
            for task in 0..connector.task_properties.len() {
                if failed(Some(task as u32)) {
                    connector.restart_task(context, task).await;
                }
            }
        }
        Ok(())
    }

    pub async fn restart_task(&self, name: &str, task: u32) -> Result<(), WorkerError> {
        let mut connectors = self.shared.connectors.lock().await;
        let unknown = || WorkerError::NotFound(format!("Unknown task: {name}-{task}"));
        let connector = connectors.get_mut(name).ok_or_else(unknown)?;
        if task as usize >= connector.task_properties.len() {
            return Err(unknown());
        }
        connector.restart_task(&self.shared.context, task as usize).await;
        Ok(())
    }

    /// What a source stored.
    pub async fn source_positions(&self, name: &str) -> Result<Vec<SourcePosition>, WorkerError> {
        self.info(name).await?;
        Ok(self.shared.context.offsets.of(name))
    }

    /// What a sink's group committed: topic, partition, offset.
    pub async fn sink_offsets(&self, name: &str) -> Result<Vec<(String, i32, i64)>, WorkerError> {
        self.info(name).await?;
        Ok(self.shared.context.cluster.committed(&group_of(name)).await?)
    }

    /// The plugins that connectors can be made of.
    pub async fn plugins(&self) -> Vec<(Descriptor, Direction)> {
        let plugins = self.shared.context.plugins.connectors().await;
        let described =
            plugins.iter().filter_map(|plugin| Some((plugin.descriptor().clone(), direction(plugin)?)));
        described.collect()
    }

    /// The keys that a plugin's connectors have.
    pub async fn plugin_config(&self, class: &str) -> Result<Vec<Definition>, WorkerError> {
        let plugin = self.shared.context.plugins.find(class).await.map_err(WorkerError::NotFound)?;
        Ok(definitions(&plugin))
    }

    /// Each key with its value and its errors.
    pub async fn validate(&self, config: &Properties) -> Result<Vec<CheckedKey>, WorkerError> {
        let class = config.get("connector.class").ok_or_else(|| {
            WorkerError::Invalid(format!("Connector config {config:?} contains no connector type"))
        })?;
        let plugin = self.shared.context.plugins.find(class).await.map_err(WorkerError::Invalid)?;
        if direction(&plugin).is_none() {
            return Err(WorkerError::Invalid(format!("{class} is a {}, not a connector", plugin.world())));
        }
        Ok(check(&plugin, config))
    }

    /// The config with its name in it, and without errors.
    async fn valid(&self, name: &str, mut config: Properties) -> Result<Properties, WorkerError> {
        let named = config.entry("name".into()).or_insert_with(|| name.into());
        if named != name {
            return Err(WorkerError::Invalid(format!(
                "Connector name configuration ({named}) doesn't match connector name in the URL ({name})"
            )));
        }
        let errors: Vec<_> = self.validate(&config).await?.into_iter().flat_map(|key| key.errors).collect();
        if errors.is_empty() {
            return Ok(config);
        }
        Err(WorkerError::Invalid(format!(
            "Connector configuration is invalid and contains the following {} error(s):\n{}\nYou can also find the \
             above list of errors at the endpoint `/connector-plugins/{{connectorType}}/config/validate`",
            errors.len(),
            errors.join("\n")
        )))
    }

    async fn configure(
        &self,
        connectors: &mut BTreeMap<String, Connector>,
        name: &str,
        config: Properties,
        target: Option<TargetState>,
    ) -> Result<ConnectorInfo, WorkerError> {
        let mut records = vec![ConfigRecord::Connector { name: name.into(), config: Some(config.clone()) }];
        let target_record = target.filter(|target| *target != TargetState::Started);
        records.extend(
            target_record.map(|state| ConfigRecord::Target { name: name.into(), state: Some(state) }),
        );
        self.write(&records).await?;
        let fresh = || Connector::new(name, Properties::new(), target.unwrap_or_default());
        let connector = connectors.entry(name.into()).or_insert_with(fresh);
        connector.properties = config;
        connector.start(&self.shared.context).await?;
        Ok(info(connector))
    }

    async fn write(&self, records: &[ConfigRecord]) -> Result<(), WorkerError> {
        let context = &self.shared.context;
        let records = records.iter().map(ConfigRecord::encode).collect();
        Ok(context.cluster.append(&context.config_topic, records).await?)
    }
}

fn info(connector: &Connector) -> ConnectorInfo {
    ConnectorInfo {
        name: connector.name.clone(),
        config: connector.properties.clone(),
        tasks: connector.task_properties.clone(),
        direction: connector.direction(),
    }
}

/// The connectors that the configs topic tells of. Task configs are made anew from the connectors' own.
fn restore(records: &[strata_protocol::records::Record]) -> BTreeMap<String, Connector> {
    let mut connectors: BTreeMap<String, Connector> = BTreeMap::new();
    let mut targets = BTreeMap::new();
    for record in records.iter().filter_map(ConfigRecord::decode) {
        match record {
            ConfigRecord::Connector { name, config: Some(config) } => {
                let fresh = || Connector::new(&name, Properties::new(), TargetState::default());
                connectors.entry(name.clone()).or_insert_with(fresh).properties = config;
            }
            ConfigRecord::Connector { name, config: None } => {
                connectors.remove(&name);
            }
            ConfigRecord::Target { name, state } => {
                targets.insert(name, state.unwrap_or_default());
            }
            ConfigRecord::Task { .. } | ConfigRecord::Commit { .. } => {}
        }
    }
    for connector in connectors.values_mut() {
        connector.target = targets.get(&connector.name).copied().unwrap_or_default();
    }
    connectors
}
