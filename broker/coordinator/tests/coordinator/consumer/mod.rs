//! Consumer groups of KIP-848, from outside.

mod classic_members;
mod client;
mod heartbeat;
mod offsets;
mod reconciliation;
mod regex;
mod simulation;
mod static_members;

use std::sync::Arc;

use strata_coordinator::group::{ConsumerGroup, GroupsState};
use strata_coordinator::{
    ClientContext, ConsumerConfig, GroupConfig, GroupRequest, GroupResponse, MetadataView, Overrides, Shard,
    TopicInfo,
};
use strata_protocol::Str;
use strata_protocol::messages::consumer_group_describe_response::DescribedGroup;
use strata_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use strata_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use strata_types::ErrorCode;
use uuid::Uuid;

use crate::harness::{GROUP, Shell};

/// Topics by name and number of partitions; a topic's id is made of its name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topics {
    version: u64,
    topics: Vec<(String, i32)>,
    group_config: Option<Arc<Overrides>>,
}

impl Topics {
    pub(crate) fn new(version: u64, topics: &[(&str, i32)]) -> Self {
        let topics = topics.iter().map(|(name, partitions)| ((*name).to_owned(), *partitions));
        Self { version, topics: topics.collect(), group_config: None }
    }

    fn info(&self, found: impl Fn(&str) -> bool) -> Option<TopicInfo> {
        let (name, partitions) = self.topics.iter().find(|(name, _)| found(name))?;
        Some(TopicInfo {
            id: topic_id(name),
            name: name.as_str().into(),
            partitions: *partitions,
            is_internal: false,
        })
    }
}

pub(crate) fn topic_id(name: &str) -> Uuid {
    let number = name.bytes().fold(7_u128, |number, byte| number.wrapping_mul(1_000_003) + u128::from(byte));
    Uuid::from_u128(number)
}

impl MetadataView for Topics {
    fn version(&self) -> u64 {
        self.version
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.info(|known| known == name)
    }

    fn topic_by_id(&self, id: Uuid) -> Option<TopicInfo> {
        self.info(|known| topic_id(known) == id)
    }

    fn racks(&self, _topic: Uuid, _partition: i32) -> Vec<Str> {
        Vec::new()
    }

    fn for_each_topic(&self, visit: &mut dyn FnMut(&str)) {
        self.topics.iter().for_each(|(name, _)| visit(name));
    }

    fn group_config(&self, _group: &str) -> Option<Arc<Overrides>> {
        self.group_config.clone()
    }
}

/// A shell whose coordinator knows these topics, and assigns whenever something changes.
pub(crate) fn shell(topics: &[(&str, i32)]) -> Shell {
    shell_with(topics, |_| {})
}

pub(crate) fn shell_with(topics: &[(&str, i32)], change: impl FnOnce(&mut ConsumerConfig)) -> Shell {
    let mut config = GroupConfig { group_initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
    config.consumer.assignment_interval_ms = 0;
    change(&mut config.consumer);
    let mut shell = Shell::with(config);
    set_topics(&mut shell, Topics::new(1, topics));
    shell
}

pub(crate) fn set_topics(shell: &mut Shell, topics: Topics) {
    shell.metadata = Some(Arc::new(topics));
    shell.tell_metadata();
}

/// What a heartbeat says when it says everything.
pub(crate) fn join(member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(topics.iter().map(|topic| Str::from(*topic)).collect()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// What a heartbeat says when nothing has changed.
pub(crate) fn stay(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member.into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

/// The same with what the member owns of `topic`.
pub(crate) fn owning(
    member: &str,
    epoch: i32,
    topic: &str,
    partitions: &[i32],
) -> ConsumerGroupHeartbeatRequest {
    let owned = Owned { topic_id: topic_id(topic), partitions: partitions.to_vec(), ..Default::default() };
    let owned = if partitions.is_empty() { Vec::new() } else { vec![owned] };
    ConsumerGroupHeartbeatRequest { topic_partitions: Some(owned), ..stay(member, epoch) }
}

pub(crate) fn request(request: ConsumerGroupHeartbeatRequest, new_member: Uuid) -> GroupRequest {
    let client = ClientContext { client_id: "c".into(), client_host: "/127.0.0.1".into(), version: 1 };
    GroupRequest::ConsumerGroupHeartbeat { request, client, new_member, access: None }
}

pub(crate) fn beat(
    shell: &mut Shell,
    heartbeat: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let new_member = shell.new_member();
    let reply = shell.ask(request(heartbeat, new_member));
    match shell.take(reply) {
        Some(GroupResponse::ConsumerGroupHeartbeat(response)) => response,
        other => panic!("no heartbeat reply: {other:?}"),
    }
}

/// The heartbeat's error, and its words.
pub(crate) fn refused(shell: &mut Shell, heartbeat: ConsumerGroupHeartbeatRequest) -> (ErrorCode, String) {
    let response = beat(shell, heartbeat);
    let code = ErrorCode::from_code(response.error_code).expect("a known error");
    (code, response.error_message.map(|message| message.to_string()).unwrap_or_default())
}

/// The epoch, and the partitions of `topic` if the answer says what the member has.
pub(crate) fn told(response: &ConsumerGroupHeartbeatResponse, topic: &str) -> (i32, Option<Vec<i32>>) {
    assert_eq!(response.error_code, 0, "{response:?}");
    let assigned = response.assignment.as_ref().map(|assignment| {
        let topics = assignment.topic_partitions.iter().filter(|told| told.topic_id == topic_id(topic));
        topics.flat_map(|told| told.partitions.clone()).collect()
    });
    (response.member_epoch, assigned)
}

pub(crate) fn describe(shell: &mut Shell) -> DescribedGroup {
    let reply = shell.ask(GroupRequest::ConsumerGroupDescribe { group_ids: vec![GROUP.into()] });
    match shell.take(reply) {
        Some(GroupResponse::ConsumerGroupDescribe(mut groups)) => groups.remove(0),
        other => panic!("no description: {other:?}"),
    }
}

pub(crate) fn state_of(shell: &mut Shell) -> String {
    describe(shell).group_state.to_string()
}

pub(crate) fn consumers(state: &GroupsState) -> impl Iterator<Item = (&Str, &ConsumerGroup)> {
    state.groups().filter_map(|(id, group)| Some((id, group.as_consumer()?)))
}

pub(crate) fn group(shell: &Shell) -> &ConsumerGroup {
    let group = shell.coordinator.shard().state().group(GROUP).expect("there is a group");
    group.as_consumer().expect("it is a consumer group")
}
