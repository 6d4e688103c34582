//! The partitions of this broker: made, changed and deleted by following the metadata image.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::RwLock;
use strata_log::{Log, LogConfig, LogDirs, LogListener, RemotePartition, StorageError};
use strata_metadata::{Changes, ConfigResource, Image, Topic};
use strata_types::{ErrorCode, NodeId, Offset, PartitionId, TopicId, TopicName, TopicPartition};
use tokio::sync::{Notify, watch};

use crate::broker::now;
use crate::configs::Configs;
use crate::partition::Partition;

/// A topic as this broker has it.
pub(crate) struct LocalTopic {
    pub id: TopicId,
    pub name: TopicName,
    /// By partition; `None` where another broker leads, or the log is offline.
    pub partitions: Vec<Option<Arc<Partition>>>,
    /// Those whose logs could not be opened.
    offline: BTreeSet<PartitionId>,
}

#[derive(Default)]
struct Registry {
    by_name: HashMap<TopicName, Arc<LocalTopic>>,
    by_id: HashMap<TopicId, Arc<LocalTopic>>,
}

/// All of them.
pub(crate) struct Partitions {
    node_id: NodeId,
    /// Set once the logs are open; before that there are no partitions.
    manager: ArcSwapOption<LogDirs>,
    registry: RwLock<Registry>,
    /// Whether a topic ever had `flush.ms` set.
    flush_ms_is_set: AtomicBool,
    /// Moves of committed offsets and of the set of partitions, for the archiver.
    pub changed: Arc<Notify>,
    /// The metadata log's offset up to which the image is followed.
    followed: watch::Sender<Offset>,
    /// The first reason why the log directory cannot go on.
    failed: watch::Sender<Option<String>>,
    /// Told when logs have become unusable: the controller is to know.
    pub lost: Notify,
}

impl Partitions {
    pub(crate) fn new(node_id: NodeId) -> Arc<Self> {
        Arc::new(Self {
            node_id,
            manager: ArcSwapOption::empty(),
            registry: RwLock::default(),
            flush_ms_is_set: AtomicBool::new(false),
            changed: Arc::default(),
            followed: watch::Sender::new(Offset::ZERO),
            failed: watch::Sender::new(None),
            lost: Notify::new(),
        })
    }

    /// The logs are open.
    pub(crate) fn set_manager(&self, manager: LogDirs) {
        self.manager.store(Some(Arc::new(manager)));
    }

    /// Lets go of the logs; what is appended from here on is refused.
    pub(crate) fn take_manager(&self) -> Option<Arc<LogDirs>> {
        self.manager.swap(None)
    }

    pub(crate) fn manager(&self) -> Option<Arc<LogDirs>> {
        self.manager.load_full()
    }

    /// A partition by its topic's name.
    pub(crate) fn by_name(&self, topic: &str, partition: PartitionId) -> Result<Arc<Partition>, ErrorCode> {
        let registry = self.registry.read();
        let topic = registry.by_name.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        topic.partition(partition)
    }

    /// A partition by its topic's id.
    pub(crate) fn by_id(&self, topic: TopicId, partition: PartitionId) -> Result<Arc<Partition>, ErrorCode> {
        let registry = self.registry.read();
        let topic = registry.by_id.get(&topic).ok_or(ErrorCode::UnknownTopicId)?;
        topic.partition(partition)
    }

    /// A topic by its name.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<LocalTopic>> {
        self.registry.read().by_name.get(name).cloned()
    }

    /// Every partition that is led here.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let registry = self.registry.read();
        registry.by_id.values().flat_map(|topic| topic.partitions.iter().flatten().cloned()).collect()
    }

    /// The partitions whose logs cannot be used, and of which the controller does not know that yet.
    pub(crate) fn lost(&self, image: &Image) -> Vec<(TopicId, PartitionId)> {
        let registry = self.registry.read();
        let lost = registry.by_id.values().flat_map(|topic| {
            let known = image.topic_by_id(topic.id);
            let states = known.into_iter().flat_map(|topic| topic.partitions());
            let is_lost = |index: PartitionId| topic.is_offline(index);
            states
                .filter(move |(index, state)| is_lost(*index) && !state.is_lost(self.node_id))
                .map(|(index, _)| (topic.id, index))
        });
        lost.collect()
    }

    /// Has logs flushed whose `flush.ms` is over. Looks at them only if a topic has that setting.
    pub(crate) fn flush_overdue(&self) {
        if self.flush_ms_is_set.load(Ordering::Relaxed) {
            let now = now();
            self.all().iter().for_each(|partition| partition.flush_overdue(now));
        }
    }

    /// A topic's settings, on their way to its partitions.
    fn log_config(&self, image: &Image, topic: &str, configs: &Configs) -> Arc<LogConfig> {
        let config = configs.log_config(image, topic);
        if config.flush_ms < i64::MAX {
            self.flush_ms_is_set.store(true, Ordering::Relaxed);
        }
        Arc::new(config)
    }

    /// Resolves once the image up to `offset` is followed.
    pub(crate) async fn followed(&self, offset: Offset) {
        // The sender lives as long as we do, so this cannot fail.
        let _ = self.followed.subscribe().wait_for(|followed| *followed >= offset).await;
    }

    /// Resolves when the broker cannot go on, with the reason.
    pub(crate) async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Makes the partitions what `new` says, given that they were what `old` said. Touches the disk. Answers the topics
    /// that are gone.
    pub(crate) fn follow(&self, old: &Image, new: &Image, configs: &Configs) -> Vec<(TopicId, TopicName)> {
        let changes = Changes::between(old, new);
        let deleted: Vec<_> = changes.deleted.iter().map(|topic| (topic.id, topic.name.clone())).collect();
        for (id, _) in &deleted {
            self.delete(*id);
        }
        for topic in &changes.created {
            self.take(topic, new, configs);
        }
        for change in &changes.changed {
            self.take(&change.after, new, configs);
        }
        for resource in &changes.configs {
            match resource {
                ConfigResource::Topic(name) => {
                    self.configure(self.topic(name.as_str()).as_slice(), new, configs)
                }
                ConfigResource::Group(_) | ConfigResource::ClientMetrics(_) => {}
                ConfigResource::Broker(_) | ConfigResource::BrokerDefault => {
                    self.configure(&self.topics(), new, configs);
                }
            }
        }
        self.followed.send_replace(new.next_offset());
        self.changed.notify_one();
        deleted
    }

    fn topics(&self) -> Vec<Arc<LocalTopic>> {
        self.registry.read().by_name.values().cloned().collect()
    }

    fn configure(&self, topics: &[Arc<LocalTopic>], image: &Image, configs: &Configs) {
        for topic in topics {
            let config = self.log_config(image, topic.name.as_str(), configs);
            for partition in topic.partitions.iter().flatten() {
                partition.configure(config.clone());
            }
        }
    }

    /// Makes the local topic what the image says.
    fn take(&self, topic: &Topic, image: &Image, configs: &Configs) {
        let before = self.registry.read().by_id.get(&topic.id).cloned();
        let config = self.log_config(image, topic.name.as_str(), configs);
        let mut offline = BTreeSet::new();
        let is_first_look = *self.followed.borrow() == Offset::ZERO;
        let partitions = topic.partitions.iter().zip(0..).map(|(state, index)| {
            let ours = before.as_ref().and_then(|before| before.partitions.get(index as usize)?.clone());
            if state.leader != Some(self.node_id) {
                if ours.is_none() && state.is_lost(self.node_id) {
                    offline.insert(index);
                }
                return ours;
            }
            match ours {
                Some(partition) => {
                    if let Err(error) = partition.lead(state) {
                        self.fail(&partition.id.partition, &error);
                    }
                    Some(partition)
                }
                None => {
                    let id = RemotePartition {
                        topic_id: topic.id,
                        partition: TopicPartition::new(topic.name.clone(), index),
                    };
                    let known = before.as_ref().map_or(0, |before| before.partitions.len());
                    let is_new = !is_first_look && index as usize >= known;
                    let created = self.create(id, config.clone(), state, is_new);
                    if created.is_none() {
                        offline.insert(index);
                    }
                    created
                }
            }
        });
        let partitions = partitions.collect();
        let local = Arc::new(LocalTopic { id: topic.id, name: topic.name.clone(), partitions, offline });
        let mut registry = self.registry.write();
        registry.by_name.insert(local.name.clone(), local.clone());
        let is_any_lost = !local.offline.is_empty();
        registry.by_id.insert(local.id, local);
        drop(registry);
        if is_any_lost {
            self.lost.notify_one();
        }
    }

    /// Takes up a partition's log; `is_new` says that there cannot be one yet. One that is not found may be on a directory
    /// that is offline: then it is not begun anew elsewhere.
    fn create(
        &self,
        id: RemotePartition,
        config: Arc<LogConfig>,
        state: &strata_metadata::Partition,
        is_new: bool,
    ) -> Option<Arc<Partition>> {
        let dirs = self.manager()?;
        if !is_new && dirs.is_any_unopened() && dirs.get(&id.partition).is_none() {
            tracing::error!(partition = %id.partition, "the log is offline: it is in none of the directories that are there");
            return None;
        }
        let opened = dirs.get_or_create(&id.partition, id.topic_id, config.clone(), now());
        let opened = opened.and_then(|(log, manager)| {
            log.set_config(config);
            Partition::new(id.clone(), log, manager, self.node_id, state, self.changed.clone())
        });
        opened.map_err(|error| self.fail(&id.partition, &error)).ok()
    }

    /// A log that cannot be used. The rest goes on, unless its directory was the last one, or the one with the metadata.
    fn fail(&self, partition: &TopicPartition, error: &StorageError) {
        tracing::error!(%partition, "the log is offline: {error}");
        if self.manager().is_some_and(|dirs| !dirs.can_go_on()) {
            self.end(&format!("the log of {partition} is offline: {error}"));
        }
        self.lost.notify_one();
    }

    /// The broker cannot go on.
    fn end(&self, reason: &str) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| reason.to_owned());
            first
        });
    }

    fn delete(&self, id: TopicId) {
        let topic = {
            let mut registry = self.registry.write();
            let topic = registry.by_id.remove(&id);
            // A topic of the same name may have been made since.
            if let Some(topic) = &topic
                && registry.by_name.get(&topic.name).is_some_and(|named| named.id == id)
            {
                registry.by_name.remove(&topic.name);
            }
            topic
        };
        for partition in topic.iter().flat_map(|topic| topic.partitions.iter().flatten()) {
            partition.end();
            self.delete_log(&partition.id.partition);
        }
    }

    fn delete_log(&self, partition: &TopicPartition) {
        let Some(manager) = self.manager() else { return };
        if let Err(error) = manager.delete(partition) {
            tracing::error!(%partition, "the deleted partition's folder could not be put aside: {error}");
        }
    }

    /// Deletes logs that belong to no topic of the image: their topics were deleted while this broker was away.
    pub(crate) fn delete_strays(&self, image: &Image) {
        let logs = self.manager().map(|manager| manager.logs()).unwrap_or_default();
        for log in logs {
            let partition = log.partition();
            let known = image.topic(partition.topic.as_str()).is_some_and(|topic| {
                topic.id == log.topic_id() && topic.partitions.len() > partition.partition as usize
            });
            if !known {
                tracing::info!(%partition, "deleting the log of a topic that is gone");
                self.delete_log(partition);
            }
        }
    }

    fn of_log(&self, log: &Log) -> Option<Arc<Partition>> {
        self.by_id(log.topic_id(), log.partition().partition).ok()
    }
}

impl LocalTopic {
    fn is_offline(&self, partition: PartitionId) -> bool {
        let opened = usize::try_from(partition).ok().and_then(|index| self.partitions.get(index)?.as_ref());
        self.offline.contains(&partition) || opened.is_some_and(|opened| opened.log.offline().is_some())
    }

    fn partition(&self, partition: PartitionId) -> Result<Arc<Partition>, ErrorCode> {
        let index = usize::try_from(partition).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        let partition = self.partitions.get(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        match partition {
            Some(partition) if partition.log.offline().is_some() => Err(ErrorCode::KafkaStorageError),
            Some(partition) => Ok(partition.clone()),
            None if self.offline.contains(&(index as PartitionId)) => Err(ErrorCode::KafkaStorageError),
            None => Err(ErrorCode::NotLeaderOrFollower),
        }
    }
}

/// The flusher's reports.
impl LogListener for Partitions {
    fn durable(&self, log: &Arc<Log>, _until: Offset) {
        if let Some(partition) = self.of_log(log) {
            partition.grown();
        }
    }

    fn failed(&self, log: &Arc<Log>, error: &StorageError) {
        self.fail(log.partition(), error);
    }

    fn folder_failed(&self, dir: &Path, error: &StorageError) {
        if self.manager().is_some_and(|dirs| !dirs.can_go_on()) {
            self.end(&format!("the log directory {} is offline: {error}", dir.display()));
        }
        self.lost.notify_one();
        // Who waits for these logs waits in vain.
        let partitions = self.all();
        partitions.iter().filter(|partition| partition.log.offline().is_some()).for_each(|one| one.wake());
    }
}
