//! Seeded runs of many clients against one coordinator whose log is slow, fails, and changes hands. A failing seed
//! fails again: there is one thread, and time stands still unless a step moves it.

use std::collections::BTreeMap;

use strata_coordinator::{GroupRequest, GroupResponse, ReplyId, Shard};
use strata_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use strata_protocol::messages::{HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest};
use strata_types::ErrorCode;

use crate::harness::{Join, Shell, commit_request};
use crate::invariants::commits_only_move_offsets::CommitsOnlyMoveOffsets;
use crate::invariants::one_leader_per_generation::OneLeaderPerGeneration;
use crate::invariants::replies_follow_commits::RepliesFollowCommits;
use crate::invariants::{reload_equals_live, silence_empties_groups, stable_members_share_a_generation};
use crate::random::Random;

const SEEDS: u64 = 150;
const STEPS: usize = 400;
const GROUPS: [&str; 2] = ["g0", "g1"];

#[test]
fn groups_hold_what_they_promise_whatever_the_log_does() {
    let (mut stable, mut undone, mut restarts) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        stable += world.stable;
        undone += world.undone;
        restarts += world.restarts;
    }
    // The runs are worth something only if such things happen in them.
    assert!(
        stable > 1_000 && undone > 300 && restarts > 300,
        "{stable} stable, {undone} undone, {restarts} restarts"
    );
}

struct World {
    shell: Shell,
    random: Random,
    clients: Vec<Client>,
    /// Who asked, and what.
    open: BTreeMap<ReplyId, (usize, Asked)>,
    next_offset: i64,
    leaders: OneLeaderPerGeneration,
    offsets: CommitsOnlyMoveOffsets,
    replies: RepliesFollowCommits,
    stable: usize,
    undone: usize,
    restarts: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Join,
    Sync,
    Heartbeat,
    Commit,
    Leave,
}

/// A consumer as far as the group protocol goes; it may fall silent for good or for a while at any time.
struct Client {
    group: &'static str,
    instance: Option<String>,
    version: i16,
    member: String,
    generation: i32,
    /// What the leader must assign to.
    followers: Option<Vec<String>>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Out,
    Joining,
    Joined,
    Syncing,
    Working,
}

impl World {
    fn new(seed: u64) -> Self {
        let clients = (0..6).map(|index| Client {
            group: GROUPS[index % 2],
            instance: (index >= 4).then(|| format!("static{index}")),
            version: [3, 9, 8][index % 3],
            member: String::new(),
            generation: -1,
            followers: None,
            phase: Phase::Out,
        });
        let mut shell = Shell::new();
        shell.hold_appends = true;
        shell.hold_commits = true;
        Self {
            shell,
            random: Random(seed),
            clients: clients.collect(),
            open: BTreeMap::new(),
            next_offset: 0,
            leaders: OneLeaderPerGeneration::default(),
            offsets: CommitsOnlyMoveOffsets::default(),
            replies: RepliesFollowCommits::default(),
            stable: 0,
            undone: 0,
            restarts: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..50 => {
                let client = self.random.below(self.clients.len() as u64) as usize;
                self.act(client);
            }
            50..68 => self.append(),
            68..80 => self.shell.commit(),
            80..95 => {
                let ms = [50, 500, 3_000, 9_000][self.random.below(4) as usize];
                self.shell.advance(ms);
            }
            95..98 if self.shell.appending.is_some() => {
                self.undone += 1;
                self.shell.fail_append(ErrorCode::NotEnoughReplicas);
            }
            98 => self.change_hands(),
            _ => {}
        }
        self.listen();
        self.check();
    }

    fn append(&mut self) {
        if self.shell.appending.is_some() {
            self.shell.finish_append();
        }
    }

    /// Another coordinator takes over, with what is in the log. Sometimes the old one can still say so.
    fn change_hands(&mut self) {
        self.restarts += 1;
        if self.random.below(2) == 0 {
            self.shell.unload();
            self.listen();
        }
        self.shell.restart();
        self.shell.commit();
        self.leaders.restarted();
        // Whoever still waits finds its connection closed.
        for (_, (client, asked)) in std::mem::take(&mut self.open) {
            if matches!(asked, Asked::Join | Asked::Sync) {
                self.clients[client].phase = Phase::Out;
            }
        }
    }

    fn act(&mut self, index: usize) {
        if self.open.values().any(|(client, _)| *client == index) && self.random.below(20) > 0 {
            return;
        }
        let client = &self.clients[index];
        let (asked, request) = match (client.phase, self.random.below(10)) {
            (Phase::Out, _) => (Asked::Join, self.join(index)),
            (Phase::Joined, _) => (Asked::Sync, client.sync()),
            (Phase::Working, 0..5) => (Asked::Commit, client.commit(self.next_offset)),
            (Phase::Working, 5) => (Asked::Leave, client.leave()),
            (Phase::Working, 6) => (Asked::Join, self.join(index)),
            (Phase::Joining | Phase::Syncing, 0) => (Asked::Join, self.join(index)),
            _ if client.generation >= 0 => (Asked::Heartbeat, client.heartbeat()),
            _ => return,
        };
        match asked {
            Asked::Join => self.clients[index].phase = Phase::Joining,
            Asked::Sync => self.clients[index].phase = Phase::Syncing,
            _ => {}
        }
        let log_before = self.log_end();
        let group = self.clients[index].group;
        let offset = self.next_offset;
        let reply = self.shell.ask(request);
        self.open.insert(reply, (index, asked));
        if asked == Asked::Commit {
            self.next_offset += 1;
            self.offsets.asked(reply, group, offset);
            self.replies.asked(reply, log_before + 1);
        }
    }

    /// Where the log ends when what is asked for and nothing more is appended.
    fn log_end(&self) -> usize {
        self.shell.log.len() + self.shell.appending.as_ref().map_or(0, Vec::len)
    }

    fn join(&mut self, index: usize) -> GroupRequest {
        let new_member = self.shell.new_member();
        let client = &self.clients[index];
        let join = Join {
            member: &client.member,
            instance: client.instance.as_deref(),
            version: client.version,
            group: client.group,
            rebalance_timeout_ms: 20_000,
            ..Join::default()
        };
        join.request(new_member)
    }

    fn listen(&mut self) {
        let high_watermark = self.shell.high_watermark;
        for (reply, response) in self.shell.replies() {
            let (index, _) = self.open.remove(&reply).expect("nobody waits for this reply");
            let client = &mut self.clients[index];
            match response {
                GroupResponse::Join(join) => {
                    self.leaders.joined(client.group, &join);
                    client.joined(&join);
                }
                GroupResponse::Sync(sync) if sync.error_code == 0 => {
                    let asked = (client.group, client.generation, client.member.as_str());
                    stable_members_share_a_generation::check(asked, &sync);
                    self.stable += 1;
                    client.phase = Phase::Working;
                }
                GroupResponse::Sync(sync) => client.failed(sync.error_code),
                GroupResponse::Heartbeat(heartbeat) => client.failed(heartbeat.error_code),
                GroupResponse::Leave(_) => client.forget(),
                GroupResponse::OffsetCommit(commit) => {
                    let code = commit.topics[0].partitions[0].error_code;
                    self.offsets.answered(reply, code == 0);
                    self.replies.answered(reply, code == 0, high_watermark);
                    client.failed(code);
                }
                other => panic!("not asked for: {other:?}"),
            }
        }
    }

    fn check(&mut self) {
        let committed = self.shell.coordinator.committed_state();
        for group in GROUPS {
            let offset =
                committed.offsets().find(|(key, _)| &*key.group == group).map_or(-1, |(_, at)| at.offset);
            self.offsets.check(group, offset);
        }
    }

    /// Lets the log catch up, then compares with what a reader of it finds.
    fn settle(&mut self) {
        while self.shell.appending.is_some() {
            self.shell.finish_append();
        }
        self.shell.commit();
        self.listen();
        self.check();
        let reloaded = self.shell.reloaded();
        reload_equals_live::check(self.shell.coordinator.shard().state(), reloaded.shard().state());
        let open: Vec<_> =
            self.open.values().filter(|(_, asked)| !matches!(asked, Asked::Join | Asked::Sync)).collect();
        assert!(open.is_empty(), "{} requests were never answered", open.len());
        // Parked ones are answered when the phases they wait for time out.
        self.shell.hold_appends = false;
        self.shell.hold_commits = false;
        self.shell.advance(400_000);
        self.listen();
        assert!(self.open.is_empty(), "{} joins or syncs were never answered", self.open.len());
        silence_empties_groups::check(self.shell.coordinator.shard().state());
    }
}

impl Client {
    fn joined(&mut self, join: &strata_protocol::messages::JoinGroupResponse) {
        if join.error_code == 0 || join.error_code == ErrorCode::MemberIdRequired as i16 {
            self.member = join.member_id.to_string();
        }
        if join.error_code != 0 {
            self.failed(join.error_code);
            self.phase = Phase::Out;
            return;
        }
        self.generation = join.generation_id;
        let leads = join.leader == join.member_id && !join.skip_assignment;
        self.followers =
            leads.then(|| join.members.iter().map(|member| member.member_id.to_string()).collect());
        self.phase = Phase::Joined;
    }

    fn failed(&mut self, error_code: i16) {
        match ErrorCode::from_code(error_code) {
            Some(ErrorCode::None) => {}
            Some(ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) => self.forget(),
            _ => self.phase = Phase::Out,
        }
    }

    fn forget(&mut self) {
        self.member.clear();
        self.generation = -1;
        self.phase = Phase::Out;
    }

    fn sync(&self) -> GroupRequest {
        let followers = self.followers.iter().flatten();
        let request = SyncGroupRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.member.as_str().into(),
            assignments: followers.map(|member| self.assign(member)).collect(),
            ..Default::default()
        };
        GroupRequest::Sync { request }
    }

    fn assign(&self, member: &str) -> SyncGroupRequestAssignment {
        let bytes = stable_members_share_a_generation::assignment(self.group, self.generation, member);
        SyncGroupRequestAssignment {
            member_id: member.into(),
            assignment: bytes.into(),
            ..Default::default()
        }
    }

    fn heartbeat(&self) -> GroupRequest {
        let request = HeartbeatRequest {
            group_id: self.group.into(),
            generation_id: self.generation,
            member_id: self.member.as_str().into(),
            ..Default::default()
        };
        GroupRequest::Heartbeat { request }
    }

    fn commit(&self, offset: i64) -> GroupRequest {
        let GroupRequest::OffsetCommit { mut request, version } =
            commit_request(&self.member, self.generation, &[("t", 0, offset)])
        else {
            unreachable!()
        };
        request.group_id = self.group.into();
        GroupRequest::OffsetCommit { request, version }
    }

    fn leave(&self) -> GroupRequest {
        let request = LeaveGroupRequest {
            group_id: self.group.into(),
            member_id: self.member.as_str().into(),
            ..Default::default()
        };
        GroupRequest::Leave { request, version: 1 }
    }
}
