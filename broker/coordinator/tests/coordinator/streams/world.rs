//! Topics, and members of an application as far as the group protocol goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use strata_coordinator::group::{AssignedTasks, Group, Overrides, StreamsGroup, TaskId, Tasks};
use strata_coordinator::{
    ClientContext, GroupConfig, GroupRequest, GroupResponse, MetadataView, Shard, StreamsConfig,
    StreamsHeartbeat, TopicInfo,
};
use strata_protocol::Str;
use strata_protocol::messages::StreamsGroupHeartbeatRequest;
use strata_protocol::messages::streams_group_describe_response::DescribedGroup;
use strata_protocol::messages::streams_group_heartbeat_request::{
    Endpoint, Subtopology, TaskIds, TopicInfo as Internal, Topology,
};
use strata_protocol::messages::streams_group_heartbeat_response::TaskIds as Given;
use uuid::Uuid;

use crate::harness::{GROUP, Shell};

/// The topics that there are, and what is set on groups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics {
    version: u64,
    partitions: BTreeMap<Str, i32>,
    settings: BTreeMap<Str, Arc<Overrides>>,
}

impl MetadataView for Topics {
    fn version(&self) -> u64 {
        self.version
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        let (name, partitions) = self.partitions.get_key_value(name)?;
        let id =
            Uuid::from_u128(name.bytes().fold(1, |id: u128, byte| id.wrapping_mul(257) + u128::from(byte)));
        Some(TopicInfo { id, name: name.clone(), partitions: *partitions, is_internal: false })
    }

    fn topic_by_id(&self, id: Uuid) -> Option<TopicInfo> {
        self.partitions.keys().filter_map(|name| self.topic(name)).find(|topic| topic.id == id)
    }

    fn racks(&self, _topic: Uuid, _partition: i32) -> Vec<Str> {
        Vec::new()
    }

    fn for_each_topic(&self, visit: &mut dyn FnMut(&str)) {
        self.partitions.keys().for_each(|name| visit(name));
    }

    fn group_config(&self, group: &str) -> Option<Arc<Overrides>> {
        self.settings.get(group).cloned()
    }
}

/// A coordinator, and the topics that it knows.
pub(crate) struct World {
    pub(crate) shell: Shell,
    topics: Topics,
}

impl World {
    /// Assigns at once, unless the configuration says otherwise.
    pub(crate) fn new(streams: StreamsConfig) -> Self {
        let shell = Shell::with(GroupConfig { streams, ..GroupConfig::default() });
        let mut world = Self { shell, topics: Topics::default() };
        world.create("lines", 4);
        world
    }

    pub(crate) fn prompt() -> StreamsConfig {
        StreamsConfig { initial_rebalance_delay_ms: 0, assignment_interval_ms: 0, ..StreamsConfig::default() }
    }

    pub(crate) fn create(&mut self, topic: &str, partitions: i32) {
        self.topics.partitions.insert(topic.into(), partitions);
        self.changed();
    }

    pub(crate) fn delete(&mut self, topic: &str) {
        self.topics.partitions.remove(topic);
        self.changed();
    }

    pub(crate) fn set_on_group(&mut self, name: &str, value: &str) {
        let settings = Overrides::from([(name.into(), value.into())]);
        self.topics.settings.insert(GROUP.into(), Arc::new(settings));
        self.changed();
    }

    /// What a word count needs beside its source.
    pub(crate) fn create_internal_topics(&mut self) {
        for topic in ["by-word", "counts-changelog"] {
            self.create(topic, 4);
        }
    }

    pub(crate) fn restart(&mut self) {
        self.shell.restart();
        self.changed();
    }

    pub(crate) fn ask(&mut self, request: StreamsGroupHeartbeatRequest) -> StreamsHeartbeat {
        let reply = self.shell.ask(heartbeat(request));
        match self.shell.take(reply) {
            Some(GroupResponse::StreamsGroupHeartbeat(heartbeat)) => *heartbeat,
            other => panic!("no heartbeat reply: {other:?}"),
        }
    }

    pub(crate) fn describe(&mut self) -> DescribedGroup {
        let reply = self.shell.ask(GroupRequest::StreamsGroupDescribe { group_ids: vec![GROUP.into()] });
        match self.shell.take(reply) {
            Some(GroupResponse::StreamsGroupDescribe(mut groups)) => groups.remove(0),
            other => panic!("no description: {other:?}"),
        }
    }

    pub(crate) fn state(&mut self) -> String {
        self.describe().group_state.to_string()
    }

    pub(crate) fn group(&self) -> Option<&StreamsGroup> {
        match self.shell.coordinator.shard().state().group(GROUP)? {
            Group::Streams(group) => Some(group),
            other => panic!("not a streams group: {other:?}"),
        }
    }

    /// Heartbeats of these members in turn, until nothing changes any more.
    pub(crate) fn settle(&mut self, members: &mut [&mut Member]) {
        for _ in 0..20 {
            for member in members.iter_mut() {
                member.beat(self);
            }
        }
        assert_eq!(self.state(), "Stable");
    }

    fn changed(&mut self) {
        self.topics.version += 1;
        self.shell.coordinator.shard_mut().set_metadata(Arc::new(self.topics.clone()));
    }
}

pub(crate) fn heartbeat(request: StreamsGroupHeartbeatRequest) -> GroupRequest {
    let client = ClientContext { client_id: "c".into(), client_host: "/127.0.0.1".into(), version: 0 };
    GroupRequest::StreamsGroupHeartbeat { request, client }
}

/// One thread of an application.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) process: String,
    pub(crate) epoch: i32,
    pub(crate) has: Tasks,
    /// What it was last given; it takes it up, and gives up the rest, with its next heartbeat.
    given: Option<Tasks>,
    pub(crate) endpoint: Option<u16>,
}

impl Member {
    pub(crate) fn new(id: &str, process: &str) -> Self {
        Self {
            id: id.to_owned(),
            process: process.to_owned(),
            epoch: 0,
            has: Tasks::default(),
            given: None,
            endpoint: None,
        }
    }

    /// A heartbeat, and what its answer asks for done.
    pub(crate) fn beat(&mut self, world: &mut World) -> StreamsHeartbeat {
        let answer = world.ask(self.request());
        self.take(&answer);
        answer
    }

    pub(crate) fn request(&self) -> StreamsGroupHeartbeatRequest {
        let joins = self.epoch == 0;
        StreamsGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.as_str().into(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if joins { 60_000 } else { -1 },
            topology: joins.then(word_count),
            active_tasks: Some(lists(&self.has.active)),
            standby_tasks: Some(lists(&self.has.standby)),
            warmup_tasks: Some(Vec::new()),
            process_id: joins.then(|| self.process.as_str().into()),
            user_endpoint: self.endpoint.map(|port| Endpoint {
                host: "localhost".into(),
                port,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    pub(crate) fn leaves(&self) -> StreamsGroupHeartbeatRequest {
        StreamsGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.as_str().into(),
            member_epoch: -1,
            ..Default::default()
        }
    }

    pub(crate) fn take(&mut self, answer: &StreamsHeartbeat) {
        let response = &answer.response;
        if response.error_code != 0 {
            return self.forget();
        }
        self.epoch = response.member_epoch;
        if let Some(active) = &response.active_tasks {
            let standby = response.standby_tasks.as_deref().unwrap_or_default();
            self.given = Some(Tasks { active: set(active), standby: set(standby), ..Tasks::default() });
        }
        if let Some(given) = self.given.take() {
            self.has = given;
        }
    }

    /// It is no member any more, and has nothing.
    pub(crate) fn forget(&mut self) {
        (self.epoch, self.has, self.given) = (0, Tasks::default(), None);
    }
}

/// Lines, through a repartition topic, to counts that are kept.
pub(crate) fn word_count() -> Topology {
    let internal = |name: &str| vec![Internal { name: name.into(), ..Default::default() }];
    let subtopologies = vec![
        Subtopology {
            subtopology_id: "0".into(),
            source_topics: vec!["lines".into()],
            repartition_sink_topics: vec!["by-word".into()],
            ..Default::default()
        },
        Subtopology {
            subtopology_id: "1".into(),
            repartition_source_topics: internal("by-word"),
            state_changelog_topics: internal("counts-changelog"),
            ..Default::default()
        },
    ];
    Topology { epoch: 0, subtopologies, ..Default::default() }
}

pub(crate) fn task(subtopology: &str, partition: i32) -> TaskId {
    TaskId { subtopology: subtopology.into(), partition }
}

/// The tasks of all members together, in the order of members.
pub(crate) fn assigned(group: &StreamsGroup) -> Vec<(String, AssignedTasks)> {
    group.members().map(|member| (member.id.to_string(), member.assigned.clone())).collect()
}

fn lists<'a>(tasks: impl IntoIterator<Item = &'a TaskId>) -> Vec<TaskIds> {
    let lists = tasks.into_iter().map(|task| TaskIds {
        subtopology_id: task.subtopology.clone(),
        partitions: vec![task.partition],
        ..Default::default()
    });
    lists.collect()
}

fn set<C: FromIterator<TaskId>>(lists: &[Given]) -> C {
    let tasks = lists.iter().flat_map(|list| {
        list.partitions
            .iter()
            .map(|partition| TaskId { subtopology: list.subtopology_id.clone(), partition: *partition })
    });
    tasks.collect()
}
