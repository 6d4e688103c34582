//! Seeded runs of many consumers of the new protocol against one coordinator whose log is slow, fails, and changes hands,
//! over a network that loses answers. A failing seed fails again.

use std::collections::BTreeMap;

use strata_coordinator::{GroupResponse, ReplyId, Shard};
use strata_types::ErrorCode;

use super::client::{Consumer, Partitions};
use super::{Topics, request, set_topics, shell};
use crate::harness::Shell;
use crate::invariants::epochs_never_go_back::EpochsNeverGoBack;
use crate::invariants::{
    consumers_converge, no_partition_has_two_owners, reload_equals_live, silence_empties_groups,
};
use crate::random::Random;

const SEEDS: u64 = 120;
const STEPS: usize = 500;

#[test]
fn consumers_hold_what_they_promise_whatever_the_log_and_the_network_do() {
    let (mut moves, mut undone, mut fenced) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        moves += world.moves;
        undone += world.undone;
        fenced += world.fenced;
    }
    // The runs are worth something only if such things happen in them.
    assert!(moves > 3_000 && undone > 150 && fenced > 150, "{moves} moves, {undone} undone, {fenced} fenced");
}

struct World {
    seed: u64,
    shell: Shell,
    random: Random,
    consumers: Vec<Consumer>,
    /// Who asked, and whether the answer gets lost on its way.
    open: BTreeMap<ReplyId, (usize, bool)>,
    version: u64,
    partitions: i32,
    epochs: EpochsNeverGoBack,
    moves: usize,
    undone: usize,
    fenced: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut shell = shell(&[("t", 4), ("u", 3)]);
        shell.hold_appends = true;
        shell.hold_commits = true;
        Self {
            seed,
            shell,
            random: Random(seed),
            consumers: (0..6).map(Consumer::new).collect(),
            open: BTreeMap::new(),
            version: 1,
            partitions: 4,
            epochs: EpochsNeverGoBack::default(),
            moves: 0,
            undone: 0,
            fenced: 0,
        }
    }

    fn step(&mut self) {
        let index = self.random.below(self.consumers.len() as u64) as usize;
        match self.random.below(100) {
            0..45 => self.beat(index),
            45..60 => self.consumers[index].reconcile(),
            60..76 => self.append(),
            76..86 => self.shell.commit(),
            86..93 => {
                let ms = [50, 500, 5_000, 12_000][self.random.below(4) as usize];
                self.shell.advance(ms);
            }
            93 if self.shell.appending.is_some() => {
                self.undone += 1;
                self.shell.fail_append(ErrorCode::NotEnoughReplicas);
            }
            94 => self.change_hands(),
            95 => self.leave(index),
            96 => self.consumers[index].start_over(),
            97 => {
                let topics: &[&'static str] =
                    [&["t"][..], &["u"], &["t", "u"]][self.random.below(3) as usize];
                self.consumers[index].subscribe(topics);
            }
            98 => self.grow(),
            99 => self.consumers[index].alive ^= true,
            _ => {}
        }
        self.listen();
        self.check();
    }

    fn beat(&mut self, index: usize) {
        if !self.consumers[index].alive || self.open.values().any(|(asker, _)| *asker == index) {
            return;
        }
        let heartbeat = self.consumers[index].heartbeat();
        self.send(index, heartbeat);
    }

    fn leave(&mut self, index: usize) {
        if self.consumers[index].epoch > 0 && !self.open.values().any(|(asker, _)| *asker == index) {
            let goodbye = self.consumers[index].leave();
            self.consumers[index].owned.clear();
            self.send(index, goodbye);
        }
    }

    fn send(&mut self, index: usize, heartbeat: strata_protocol::messages::ConsumerGroupHeartbeatRequest) {
        let new_member = self.shell.new_member();
        let reply = self.shell.ask(request(heartbeat, new_member));
        let lost = self.random.below(12) == 0;
        self.open.insert(reply, (index, lost));
    }

    fn append(&mut self) {
        if self.shell.appending.is_some() {
            self.shell.finish_append();
        }
    }

    fn grow(&mut self) {
        self.version += 1;
        self.partitions = (self.partitions + 1).min(9);
        let topics = [("t", self.partitions), ("u", 3)];
        set_topics(&mut self.shell, Topics::new(self.version, &topics));
    }

    /// Another coordinator takes over, with what is in the log.
    fn change_hands(&mut self) {
        if self.random.below(2) == 0 {
            self.shell.unload();
            self.listen();
        }
        self.shell.restart();
        self.shell.commit();
        for (_, (index, _)) in std::mem::take(&mut self.open) {
            self.consumers[index].unanswered();
        }
    }

    fn listen(&mut self) {
        for (reply, response) in self.shell.replies() {
            let (index, lost) = self.open.remove(&reply).expect("nobody waits for this reply");
            let GroupResponse::ConsumerGroupHeartbeat(response) = response else {
                panic!("not asked for: {response:?}")
            };
            let consumer = &mut self.consumers[index];
            if lost {
                consumer.unanswered();
                continue;
            }
            self.epochs.told(&consumer.id, &response);
            self.fenced += usize::from(response.error_code == ErrorCode::FencedMemberEpoch as i16);
            self.moves += usize::from(response.error_code == 0 && response.member_epoch > consumer.epoch);
            consumer.answered(&response);
        }
    }

    fn check(&mut self) {
        let committed = self.shell.coordinator.committed_state();
        for (_, group) in super::consumers(committed) {
            no_partition_has_two_owners::check(group);
        }
        self.epochs.check(super::consumers(committed));
    }

    /// Lets the log catch up and everybody work undisturbed: then all is assigned, to one each.
    fn settle(&mut self) {
        while self.shell.appending.is_some() {
            self.shell.finish_append();
        }
        self.shell.commit();
        self.listen();
        let reloaded = self.shell.reloaded();
        reload_equals_live::check(self.shell.coordinator.shard().state(), reloaded.shard().state());
        assert!(self.open.is_empty(), "seed {}: requests were never answered", self.seed);
        self.shell.hold_appends = false;
        self.shell.hold_commits = false;
        self.consumers.iter_mut().for_each(|consumer| consumer.alive = true);
        for _ in 0..120 {
            for index in 0..self.consumers.len() {
                let heartbeat = self.consumers[index].heartbeat();
                let new_member = self.shell.new_member();
                let reply = self.shell.ask(request(heartbeat, new_member));
                self.open.insert(reply, (index, false));
                self.listen();
                self.consumers[index].reconcile();
                self.check();
            }
            self.shell.advance(1_000);
        }
        let owned: Vec<&Partitions> = self.consumers.iter().map(|consumer| &consumer.owned).collect();
        let subscribed: Vec<_> = self.consumers.iter().map(|consumer| consumer.topics.as_slice()).collect();
        let topics = [("t", self.partitions), ("u", 3)];
        consumers_converge::check(self.seed, super::group(&self.shell), &owned, &subscribed, &topics);
        self.shell.advance(120_000);
        silence_empties_groups::check(self.shell.coordinator.shard().state());
    }
}
