//! A cluster in memory, for tests of connectors and of what stands on this crate. It forgets everything, and does what the
//! tests need: appends, reads, and groups whose members share partitions in the order in which they joined.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use strata_protocol::records::Record;
use tokio::sync::watch;

use crate::cluster::{Cluster, ClusterError, Fetched, Member, NewRecord, StartAt, TopicSpec};

/// Cheap handles to the same cluster.
#[derive(Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    /// Counts changes.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Vec<Vec<Record>>>,
    groups: BTreeMap<String, Group>,
    members: u64,
}

#[derive(Default)]
struct Group {
    members: Vec<u64>,
    committed: BTreeMap<(String, i32), i64>,
}

struct MemoryMember {
    cluster: Memory,
    id: u64,
    group: String,
    topics: Vec<String>,
    start: StartAt,
    positions: BTreeMap<(String, i32), i64>,
}

impl Memory {
    /// No topics. A topic that is written to appears with one partition.
    #[expect(clippy::new_without_default, reason = "an empty cluster is not a default of anything")]
    pub fn new() -> Self {
        Memory { state: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// All records of a topic, by partition.
    pub fn records(&self, topic: &str) -> Vec<Vec<Record>> {
        self.state.lock().topics.get(topic).cloned().unwrap_or_default()
    }

    /// Waits until `done` says so of the cluster.
    pub async fn until(&self, mut done: impl FnMut(&Self) -> bool) {
        let mut changes = self.changes();
        while !done(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells when something was appended, joined or committed. Subscribe before you look.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn change(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }
}

#[async_trait]
impl Cluster for Memory {
    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<(), ClusterError> {
        let partitions = topic.partitions.max(1) as usize;
        self.state.lock().topics.entry(topic.name.clone()).or_insert_with(|| vec![Vec::new(); partitions]);
        Ok(())
    }

    async fn read_all(&self, topic: &str) -> Result<Vec<Record>, ClusterError> {
        Ok(self.records(topic).into_iter().flatten().collect())
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<(), ClusterError> {
        let mut state = self.state.lock();
        let partitions = state.topics.entry(topic.to_owned()).or_insert_with(|| vec![Vec::new()]);
        for record in records {
            let by_key = || {
                let mut hasher = DefaultHasher::new();
                record.key.hash(&mut hasher);
                hasher.finish() as usize % partitions.len()
            };
            let place = record.partition.map_or_else(by_key, |partition| partition as usize);
            let log = partitions
                .get_mut(place)
                .ok_or_else(|| ClusterError::new(topic, format!("there is no partition {place}")))?;
            log.push(Record {
                offset: log.len() as i64,
                timestamp: record.timestamp.unwrap_or(0),
                key: record.key,
                value: record.value,
                headers: record.headers,
            });
        }
        drop(state);
        self.change();
        Ok(())
    }

    async fn join(
        &self,
        group: &str,
        topics: &[String],
        start: StartAt,
    ) -> Result<Box<dyn Member>, ClusterError> {
        let mut state = self.state.lock();
        state.members += 1;
        let id = state.members;
        state.groups.entry(group.to_owned()).or_default().members.push(id);
        drop(state);
        self.change();
        let (cluster, group, topics) = (self.clone(), group.to_owned(), topics.to_vec());
        Ok(Box::new(MemoryMember { cluster, id, group, topics, start, positions: BTreeMap::new() }))
    }

    async fn committed(&self, group: &str) -> Result<Vec<(String, i32, i64)>, ClusterError> {
        let state = self.state.lock();
        let committed = state.groups.get(group).into_iter().flat_map(|group| &group.committed);
        Ok(committed.map(|((topic, partition), offset)| (topic.clone(), *partition, *offset)).collect())
    }

    async fn id(&self) -> Result<String, ClusterError> {
        Ok("memory".to_owned())
    }
}

#[async_trait]
impl Member for MemoryMember {
    async fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, ClusterError> {
        let mut changes = self.cluster.changed.subscribe();
        let until = tokio::time::Instant::now() + wait;
        loop {
            let fetched = self.fetch();
            if !fetched.is_empty() || tokio::time::timeout_at(until, changes.changed()).await.is_err() {
                return Ok(fetched);
            }
        }
    }

    async fn commit(&mut self) -> Result<(), ClusterError> {
        let mut state = self.cluster.state.lock();
        let group = state.groups.entry(self.group.clone()).or_default();
        group.committed.extend(self.positions.iter().map(|(place, offset)| (place.clone(), *offset)));
        drop(state);
        self.cluster.change();
        Ok(())
    }

    async fn leave(self: Box<Self>) -> Result<(), ClusterError> {
        Ok(())
    }
}

impl MemoryMember {
    fn fetch(&mut self) -> Vec<Fetched> {
        let state = self.cluster.state.lock();
        let Some(group) = state.groups.get(&self.group) else { return Vec::new() };
        let Some(own) = group.members.iter().position(|member| *member == self.id) else { return Vec::new() };
        let mut fetched = Vec::new();
        self.positions.retain(|(_, partition), _| *partition as usize % group.members.len() == own);
        for topic in &self.topics {
            let logs = state.topics.get(topic).into_iter().flatten().zip(0i32..);
            for (log, partition) in
                logs.filter(|(_, partition)| *partition as usize % group.members.len() == own)
            {
                let place = (topic.clone(), partition);
                let begin = match self.start {
                    StartAt::Earliest => 0,
                    StartAt::Latest => log.len() as i64,
                };
                let committed = group.committed.get(&place).copied().unwrap_or(begin);
                let position = self.positions.entry(place).or_insert(committed);
                let records: Vec<_> = log.iter().skip(*position as usize).cloned().collect();
                *position += records.len() as i64;
                if !records.is_empty() {
                    fetched.push(Fetched { topic: topic.clone(), partition, records });
                }
            }
        }
        fetched
    }
}

impl Drop for MemoryMember {
    fn drop(&mut self) {
        if let Some(group) = self.cluster.state.lock().groups.get_mut(&self.group) {
            group.members.retain(|member| *member != self.id);
        }
        self.cluster.change();
    }
}
