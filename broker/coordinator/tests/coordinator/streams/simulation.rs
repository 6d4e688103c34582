//! Seeded runs of an application whose threads come, stall, die and return, against a coordinator whose log fails and
//! changes hands, and topics that grow. A failing seed fails again.

use std::collections::{BTreeMap, BTreeSet};

use strata_coordinator::group::{StreamsGroup, TaskId};
use strata_coordinator::{GroupResponse, ReplyId, Shard, StreamsConfig};
use strata_types::ErrorCode;

use super::world::{Member, World, heartbeat};
use crate::invariants::reload_equals_live;
use crate::random::Random;

const SEEDS: u64 = 60;
const STEPS: usize = 300;
const PROCESSES: u64 = 3;
const MEMBERS: usize = 5;

#[test]
fn tasks_have_one_active_member_and_all_of_them_in_the_end() {
    let (mut moved, mut undone, mut restarts) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
            if let Some(group) = run.world.group() {
                check_tasks(seed, group);
            }
        }
        run.converge(seed);
        moved += run.moved;
        undone += run.undone;
        restarts += run.restarts;
    }
    // The runs are worth something only if such things happen in them.
    assert!(
        moved > 300 && undone > 100 && restarts > 300,
        "{moved} moved, {undone} undone, {restarts} restarts"
    );
}

struct Run {
    world: World,
    random: Random,
    members: Vec<Member>,
    /// Whose heartbeat waits for its answer.
    open: BTreeMap<ReplyId, usize>,
    partitions: i32,
    names: usize,
    moved: usize,
    undone: usize,
    restarts: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let config = StreamsConfig {
            initial_rebalance_delay_ms: if random.below(2) == 0 { 0 } else { 3_000 },
            assignment_interval_ms: if random.below(2) == 0 { 0 } else { 1_000 },
            standby_replicas: random.below(3) as i32,
            ..StreamsConfig::default()
        };
        let mut run = Self {
            world: World::new(config),
            random,
            members: Vec::new(),
            open: BTreeMap::new(),
            partitions: 4,
            names: 0,
            moved: 0,
            undone: 0,
            restarts: 0,
        };
        run.world.create_internal_topics();
        run.members = (0..MEMBERS).map(|_| run.new_member()).collect();
        run
    }

    fn new_member(&mut self) -> Member {
        self.names += 1;
        Member::new(&format!("m{}", self.names), &format!("p{}", self.random.below(PROCESSES)))
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=10 => self.beat(),
            11 => self.replace(),
            12 => self.leave(),
            13 => {
                let ms = [300, 2_000, 9_000, 50_000][self.random.below(4) as usize];
                self.world.shell.advance(ms);
            }
            14 => self.world.shell.hold_appends = true,
            15 => self.world.shell.hold_commits = true,
            16 => self.fail_append(),
            17 => self.restart(),
            18 => self.grow(),
            _ => self.catch_up(),
        }
        self.answers();
    }

    fn beat(&mut self) {
        let at = self.random.below(MEMBERS as u64) as usize;
        if !self.open.values().any(|waits| *waits == at) {
            let reply = self.world.shell.ask(heartbeat(self.members[at].request()));
            self.open.insert(reply, at);
        }
    }

    /// A thread dies without a word; another one is started.
    fn replace(&mut self) {
        let at = self.random.below(MEMBERS as u64) as usize;
        self.members[at] = self.new_member();
        self.open.retain(|_, waits| *waits != at);
    }

    fn leave(&mut self) {
        let at = self.random.below(MEMBERS as u64) as usize;
        if self.members[at].epoch > 0 {
            self.world.shell.ask(heartbeat(self.members[at].leaves()));
            self.members[at] = self.new_member();
            self.open.retain(|_, waits| *waits != at);
        }
    }

    fn fail_append(&mut self) {
        if self.world.shell.appending.is_some() {
            self.undone += 1;
            self.world.shell.fail_append(ErrorCode::NotEnoughReplicas);
        }
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.open.clear();
        self.world.shell.hold_appends = false;
        self.world.restart();
    }

    fn grow(&mut self) {
        if self.random.below(10) == 0 && self.partitions < 8 {
            self.partitions += 1;
            for topic in ["lines", "by-word", "counts-changelog"] {
                self.world.create(topic, self.partitions);
            }
        }
    }

    fn catch_up(&mut self) {
        (self.world.shell.hold_appends, self.world.shell.hold_commits) = (false, false);
        if self.world.shell.appending.is_some() {
            self.world.shell.finish_append();
        }
        self.world.shell.commit();
    }

    fn answers(&mut self) {
        for (reply, response) in self.world.shell.replies() {
            let (Some(at), GroupResponse::StreamsGroupHeartbeat(answer)) =
                (self.open.remove(&reply), response)
            else {
                continue;
            };
            let before = self.members[at].has.active.len();
            // An answer that gets lost leaves its member as it was.
            if self.random.below(10) > 0 {
                self.members[at].take(&answer);
                self.moved += usize::from(self.members[at].has.active.len() != before);
            }
        }
    }

    /// Once nothing fails any more, every task has a member, and standbys are where they can be.
    fn converge(&mut self, seed: u64) {
        self.catch_up();
        self.answers();
        self.open.clear();
        // Whoever died is noticed.
        for _ in 0..60 {
            for at in 0..MEMBERS {
                let mut member = self.members[at].clone();
                member.beat(&mut self.world);
                self.members[at] = member;
            }
            self.world.shell.advance(1_500);
        }
        assert_eq!(self.world.state(), "Stable", "seed {seed}");
        let tasks = 2 * usize::try_from(self.partitions).expect("a count");
        let active: BTreeSet<_> = self.members.iter().flat_map(|member| &member.has.active).collect();
        assert_eq!(active.len(), tasks, "seed {seed}");
        let group = self.world.group().expect("the group");
        check_tasks(seed, group);
        for member in &self.members {
            let known = group.members().find(|known| *known.id == *member.id).expect("a member");
            let assigned: BTreeSet<_> = known.assigned.active.keys().cloned().collect();
            assert_eq!(
                (&assigned, &known.assigned.standby),
                (&member.has.active, &member.has.standby),
                "seed {seed}"
            );
        }
        let reloaded = self.world.shell.reloaded();
        reload_equals_live::check(self.world.shell.coordinator.shard().state(), reloaded.shard().state());
    }
}

/// No task is active on two members, and no process has one twice, what is yet to be given up included.
fn check_tasks(seed: u64, group: &StreamsGroup) {
    let mut active = BTreeSet::<&TaskId>::new();
    let mut by_process = BTreeSet::<(&str, &TaskId)>::new();
    for member in group.members() {
        for tasks in [&member.assigned, &member.pending_revocation] {
            for task in tasks.active.keys() {
                assert!(active.insert(task), "seed {seed}: {task:?} is active twice");
            }
            for task in tasks.active.keys().chain(&tasks.standby) {
                let new = by_process.insert((&member.process_id, task));
                assert!(new, "seed {seed}: {} has {task:?} twice", member.process_id);
            }
        }
    }
}
