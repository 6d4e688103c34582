//! A shell in miniature: a log in memory, a clock that tests turn, and replies kept until asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use strata_coordinator::{
    Append, ClientContext, Effects, GroupConfig, GroupCoordinator, GroupRequest, GroupResponse, GroupShard,
    MetadataView, RawRecord, ReplyId, Runtime, RuntimeOptions,
};
use strata_protocol::Str;
use strata_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use strata_protocol::messages::leave_group_request::MemberIdentity;
use strata_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use strata_protocol::messages::*;
use strata_types::{ErrorCode, Offset, TimestampMs};
use uuid::Uuid;

pub(crate) const GROUP: &str = "g";

pub(crate) struct Shell {
    pub(crate) coordinator: GroupCoordinator,
    /// The topics that there are, told to every coordinator.
    pub(crate) metadata: Option<Arc<dyn MetadataView>>,
    config: GroupConfig,
    options: RuntimeOptions,
    pub(crate) log: Vec<RawRecord>,
    /// Exclusive.
    pub(crate) high_watermark: usize,
    pub(crate) now: TimestampMs,
    /// Records asked to be appended and not yet in the log (`hold_appends`).
    pub(crate) appending: Option<Vec<RawRecord>>,
    pub(crate) hold_appends: bool,
    pub(crate) hold_commits: bool,
    replies: BTreeMap<ReplyId, GroupResponse>,
    next_id: u64,
}

impl Shell {
    pub(crate) fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    pub(crate) fn with(config: GroupConfig) -> Self {
        Self::with_options(config, RuntimeOptions::default())
    }

    pub(crate) fn with_options(config: GroupConfig, options: RuntimeOptions) -> Self {
        let mut coordinator = Runtime::new(GroupShard::new(config.clone()), options.clone());
        let now = 1_000_000;
        let effects = coordinator.loaded(now);
        assert!(effects.append.is_none() && effects.replies.is_empty());
        Self {
            coordinator,
            metadata: None,
            config,
            options,
            log: Vec::new(),
            high_watermark: 0,
            now,
            appending: None,
            hold_appends: false,
            hold_commits: false,
            replies: BTreeMap::new(),
            next_id: 0,
        }
    }

    pub(crate) fn ask(&mut self, request: GroupRequest) -> ReplyId {
        self.next_id += 1;
        let reply = ReplyId(self.next_id);
        let effects = self.coordinator.handle(self.now, request, reply);
        self.carry_out(effects);
        reply
    }

    pub(crate) fn carry_out(&mut self, mut effects: Effects<GroupShard>) {
        loop {
            for (reply, response) in effects.replies {
                assert!(reply.0 <= self.next_id, "a reply to nobody: {reply:?}");
                assert!(self.replies.insert(reply, response).is_none(), "{reply:?} is answered twice");
            }
            let Some(append) = effects.append else { break };
            let Append::Records { records, producer: None, .. } = append else {
                panic!("an append of a transaction: {append:?}")
            };
            assert!(self.appending.is_none(), "two appends at once");
            assert!(!records.is_empty(), "an append of nothing");
            self.appending = Some(records);
            if self.hold_appends {
                return;
            }
            effects = self.append();
        }
        if !self.hold_commits {
            self.commit();
        }
    }

    /// Does the append that is asked for.
    pub(crate) fn append(&mut self) -> Effects<GroupShard> {
        self.log.extend(self.appending.take().expect("an append is asked for"));
        self.coordinator.appended(self.now, Offset(self.log.len() as i64 - 1))
    }

    pub(crate) fn finish_append(&mut self) {
        let effects = self.append();
        self.carry_out(effects);
    }

    pub(crate) fn fail_append(&mut self, code: ErrorCode) {
        self.appending.take().expect("an append is asked for");
        let effects = self.coordinator.append_failed(self.now, code);
        self.carry_out(effects);
    }

    pub(crate) fn commit(&mut self) {
        self.high_watermark = self.log.len();
        let effects = self.coordinator.committed(self.now, Offset(self.high_watermark as i64));
        assert!(effects.append.is_none());
        for (reply, response) in effects.replies {
            assert!(self.replies.insert(reply, response).is_none(), "{reply:?} is answered twice");
        }
    }

    pub(crate) fn advance(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.coordinator.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let effects = self.coordinator.tick(self.now);
            self.carry_out(effects);
        }
        self.now = until;
    }

    /// A new coordinator that has read the log; the old one's open requests are lost.
    pub(crate) fn restart(&mut self) {
        self.appending = None;
        self.coordinator = self.reloaded();
        self.tell_metadata();
        let effects = self.coordinator.loaded(self.now);
        self.carry_out(effects);
    }

    pub(crate) fn tell_metadata(&mut self) {
        if let Some(metadata) = &self.metadata {
            self.coordinator.shard_mut().set_metadata(metadata.clone());
        }
    }

    pub(crate) fn reloaded(&self) -> GroupCoordinator {
        let mut coordinator = Runtime::new(GroupShard::new(self.config.clone()), self.options.clone());
        for record in &self.log {
            coordinator.load(Some(record.key.clone()), record.value.clone(), None).expect("our own record");
        }
        coordinator
    }

    pub(crate) fn unload(&mut self) {
        let effects = self.coordinator.unload();
        self.carry_out(effects);
    }

    pub(crate) fn take(&mut self, reply: ReplyId) -> Option<GroupResponse> {
        self.replies.remove(&reply)
    }

    pub(crate) fn replies(&mut self) -> BTreeMap<ReplyId, GroupResponse> {
        std::mem::take(&mut self.replies)
    }

    pub(crate) fn waits(&self, reply: ReplyId) -> bool {
        !self.replies.contains_key(&reply)
    }

    pub(crate) fn new_member(&mut self) -> Uuid {
        self.next_id += 1;
        Uuid::from_u128(self.next_id.into())
    }

    // Requests, and what they are answered.

    pub(crate) fn join_with(&mut self, join: Join<'_>) -> ReplyId {
        let new_member = self.new_member();
        self.ask(join.request(new_member))
    }

    pub(crate) fn joined(&mut self, reply: ReplyId) -> JoinGroupResponse {
        match self.take(reply) {
            Some(GroupResponse::Join(response)) => response,
            other => panic!("no join reply: {other:?}"),
        }
    }

    pub(crate) fn synced(&mut self, reply: ReplyId) -> SyncGroupResponse {
        match self.take(reply) {
            Some(GroupResponse::Sync(response)) => response,
            other => panic!("no sync reply: {other:?}"),
        }
    }

    pub(crate) fn sync(
        &mut self,
        member: &str,
        generation: i32,
        assignments: &[(&str, &'static [u8])],
    ) -> ReplyId {
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: generation,
            member_id: member.into(),
            assignments: assignments.iter().map(|(member, bytes)| assignment(member, bytes)).collect(),
            ..Default::default()
        };
        self.ask(GroupRequest::Sync { request })
    }

    pub(crate) fn heartbeat(&mut self, member: &str, generation: i32) -> i16 {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: generation,
            member_id: member.into(),
            ..Default::default()
        };
        let reply = self.ask(GroupRequest::Heartbeat { request });
        match self.take(reply) {
            Some(GroupResponse::Heartbeat(response)) => response.error_code,
            other => panic!("no heartbeat reply: {other:?}"),
        }
    }

    pub(crate) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> LeaveGroupResponse {
        let members = members.iter().map(|(member, instance)| MemberIdentity {
            member_id: (*member).into(),
            group_instance_id: instance.map(Str::from),
            ..Default::default()
        });
        let request =
            LeaveGroupRequest { group_id: GROUP.into(), members: members.collect(), ..Default::default() };
        let reply = self.ask(GroupRequest::Leave { request, version: 5 });
        match self.take(reply) {
            Some(GroupResponse::Leave(response)) => response,
            other => panic!("no leave reply: {other:?}"),
        }
    }

    pub(crate) fn commit_offset(&mut self, member: &str, generation: i32, offset: i64) -> ReplyId {
        self.ask(commit_request(member, generation, &[("t", 0, offset)]))
    }

    pub(crate) fn committed(&mut self, reply: ReplyId) -> Vec<i16> {
        match self.take(reply) {
            Some(GroupResponse::OffsetCommit(response)) => {
                response.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code).collect()
            }
            other => panic!("no commit reply: {other:?}"),
        }
    }

    pub(crate) fn fetch(&mut self, topic: &str, partition: i32) -> i64 {
        let topic = offset_fetch_request::OffsetFetchRequestTopics {
            name: topic.into(),
            partition_indexes: vec![partition],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let reply = self.ask(GroupRequest::OffsetFetch { group, require_stable: false });
        match self.take(reply) {
            Some(GroupResponse::OffsetFetch(response)) => response.topics[0].partitions[0].committed_offset,
            other => panic!("no fetch reply: {other:?}"),
        }
    }

    pub(crate) fn state(&mut self) -> String {
        let request = GroupRequest::DescribeGroups { group_ids: vec![GROUP.into()], version: 5 };
        let reply = self.ask(request);
        match self.take(reply) {
            Some(GroupResponse::DescribeGroups(groups)) => groups[0].group_state.to_string(),
            other => panic!("no description: {other:?}"),
        }
    }

    /// A stable group of `count` dynamic members; their ids, the leader's first, and the generation.
    pub(crate) fn stable_group(&mut self, count: usize) -> (Vec<String>, i32) {
        let replies: Vec<_> =
            (0..count).map(|_| self.join_with(Join { version: 3, ..Join::default() })).collect();
        self.advance(6_000);
        let joined: Vec<_> = replies.into_iter().map(|reply| self.joined(reply)).collect();
        let (generation, leader) = (joined[0].generation_id, joined[0].leader.to_string());
        let mut members: Vec<_> = joined.iter().map(|join| join.member_id.to_string()).collect();
        members.sort_by_key(|member| *member != leader);
        let assignments: Vec<_> = members.iter().map(|member| (member.as_str(), &b"assigned"[..])).collect();
        for member in members.iter().rev() {
            let given = if *member == leader { &assignments[..] } else { &[] };
            self.sync(member, generation, given);
        }
        self.replies();
        (members, generation)
    }
}

/// A JoinGroup, with what most tests leave as it is.
#[derive(Clone, Copy)]
pub(crate) struct Join<'a> {
    pub(crate) member: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) version: i16,
    pub(crate) protocols: &'a [(&'a str, &'static [u8])],
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) group: &'a str,
}

impl Default for Join<'_> {
    fn default() -> Self {
        Self {
            member: "",
            instance: None,
            version: 9,
            protocols: &[("range", b"topics")],
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            group: GROUP,
        }
    }
}

impl Join<'_> {
    pub(crate) fn request(self, new_member: Uuid) -> GroupRequest {
        let protocols = self.protocols.iter().map(|(name, metadata)| JoinGroupRequestProtocol {
            name: (*name).into(),
            metadata: Bytes::from_static(metadata),
            ..Default::default()
        });
        let request = JoinGroupRequest {
            group_id: self.group.into(),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            member_id: self.member.into(),
            group_instance_id: self.instance.map(Str::from),
            protocol_type: "consumer".into(),
            protocols: protocols.collect(),
            ..Default::default()
        };
        let client =
            ClientContext { client_id: "c".into(), client_host: "/127.0.0.1".into(), version: self.version };
        GroupRequest::Join { request, client, new_member }
    }
}

pub(crate) fn commit_request(member: &str, generation: i32, offsets: &[(&str, i32, i64)]) -> GroupRequest {
    let topics = offsets.iter().map(|(topic, partition, offset)| OffsetCommitRequestTopic {
        name: (*topic).into(),
        partitions: vec![OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..Default::default()
        }],
        ..Default::default()
    });
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: topics.collect(),
        ..Default::default()
    };
    GroupRequest::OffsetCommit { request, version: 9 }
}

pub(crate) fn assignment(member: &str, bytes: &'static [u8]) -> SyncGroupRequestAssignment {
    SyncGroupRequestAssignment {
        member_id: member.into(),
        assignment: Bytes::from_static(bytes),
        ..Default::default()
    }
}

pub(crate) fn code(code: ErrorCode) -> i16 {
    code as i16
}
