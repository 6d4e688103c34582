//! Seeded runs of many producers against coordinators that fail at any of their effects. A failing seed fails again.

use super::invariants::{all_or_nothing, nothing_hangs};
use super::world::World;
use crate::random::Random;

const SEEDS: u64 = 300;
const STEPS: usize = 700;

#[test]
fn transactions_are_atomic_and_fenced_whatever_fails() {
    let (mut committed, mut fenced, mut restarts) = (0, 0, 0);
    for seed in 1..=SEEDS {
        let mut random = Random(seed);
        let mut world = World::new();
        for _ in 0..STEPS {
            restarts += step(&mut world, &mut random);
        }
        world.settle();
        all_or_nothing(&world);
        nothing_hangs(&world);
        committed += world.txns.count(|txn| txn.is_committed());
        fenced += world.txns.count(|txn| txn.is_fenced());
    }
    // The runs are worth something only if such things happen in them.
    assert!(
        committed > 800 && fenced > 1_000 && restarts > 1_000,
        "{committed} committed, {fenced} fenced, {restarts} restarts"
    );
}

/// Does one thing; answers the number of coordinators that were lost.
fn step(world: &mut World, random: &mut Random) -> usize {
    match random.below(100) {
        0..60 => {
            let client = random.below(world.clients() as u64) as usize;
            world.act(client, random.below(1_000));
        }
        60..80 => world.write_marker(random.below(1_000)),
        80..88 => {
            let held = random.below(2) == 0;
            world.transactions.hold_commits = held;
            world.groups.hold_commits = random.below(2) == 0;
            world.transactions.commit();
            world.groups.commit();
        }
        88..91 => world.transactions.failing = true,
        91 => world.groups.failing = true,
        92..95 => {
            let ms = [50, 1_000, 8_000][random.below(3) as usize];
            world.transactions.advance(ms);
            world.groups.advance(ms);
        }
        95 if random.below(3) == 0 => world.crash(random.below(world.clients() as u64) as usize),
        96 => {
            world.restart_transactions();
            return 1;
        }
        97 => {
            world.restart_groups();
            return 1;
        }
        _ => {}
    }
    0
}
