use std::collections::BTreeMap;

use proptest::prelude::*;
use strata_types::{LeaderEpoch, NodeId, Offset};

use super::*;

fn written(end: i64) -> ReplicaEnds {
    ReplicaEnds { end: Offset(end), durable: Offset(end) }
}

fn leader(replicas: &[NodeId], isr: &[NodeId], options: LeaderOptions) -> Leader {
    let start = LeaderStart {
        node: 1,
        leader_epoch: LeaderEpoch(5),
        partition_epoch: 0,
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        epoch_start: Offset(10),
        ends: written(10),
        high_watermark: Offset(8),
    };
    Leader::new(start, options, 0)
}

fn options(min_insync_replicas: usize) -> LeaderOptions {
    LeaderOptions { lag_time_max_ms: 100, min_insync_replicas, counts: Counts::Durable }
}

#[test]
fn a_single_replica_commits_what_is_durable() {
    let mut alone = leader(&[1], &[1], options(1));
    assert_eq!(alone.high_watermark(), Offset(10));
    assert_eq!(alone.local(ReplicaEnds { end: Offset(15), durable: Offset(12) }, 1), Some(Offset(12)));
    assert_eq!(alone.acknowledgement(Offset(12)), Acknowledgement::Done);
    assert_eq!(alone.acknowledgement(Offset(13)), Acknowledgement::Waiting);
    let os = LeaderOptions { counts: Counts::Written, ..options(1) };
    assert_eq!(alone.set_options(os, 1), Some(Offset(15)));
}

#[test]
fn a_single_replica_needs_no_more_than_itself() {
    assert!(leader(&[1], &[1], options(3)).check_min_isr().is_ok());
}

#[test]
fn the_slowest_in_sync_replica_sets_the_high_watermark() {
    let mut leader = leader(&[1, 2, 3], &[1, 2, 3], options(2));
    leader.local(written(20), 0);
    assert_eq!(leader.followed(2, written(20), 1), Ok(None));
    assert_eq!(leader.followed(3, written(15), 1), Ok(Some(Offset(15))));
    assert_eq!(
        leader.followed(3, ReplicaEnds { end: Offset(20), durable: Offset(17) }, 2),
        Ok(Some(Offset(17)))
    );
    assert_eq!(leader.followed(9, written(20), 1), Err(NotAReplica(9)));
}

#[test]
fn a_follower_that_falls_behind_leaves_once_the_controller_says_so() {
    let mut leader = leader(&[1, 2, 3], &[1, 2, 3], options(2));
    leader.local(written(20), 0);
    leader.followed(2, written(20), 50).unwrap();
    leader.followed(3, written(12), 50).unwrap();
    assert_eq!(leader.isr_to_propose(100), None);
    leader.followed(2, written(20), 120).unwrap();
    let change = leader.isr_to_propose(120).unwrap();
    assert_eq!((change.isr, change.leader_epoch, change.partition_epoch), (vec![1, 2], LeaderEpoch(5), 0));
    assert_eq!(leader.high_watermark(), Offset(12), "it may still be in the ISR");
    assert_eq!(leader.isr_to_propose(130), None, "one is under way");
    assert_eq!(leader.isr_decided(&[1, 2], 1, 130), Some(Offset(20)));
}

#[test]
fn a_refused_change_can_be_proposed_again() {
    let mut leader = leader(&[1, 2], &[1, 2], options(1));
    leader.local(written(20), 0);
    assert!(leader.isr_to_propose(101).is_some());
    leader.isr_refused();
    assert!(leader.isr_to_propose(102).is_some());
}

#[test]
fn an_idle_follower_stays_in_sync() {
    let mut leader = leader(&[1, 2], &[1, 2], options(1));
    leader.followed(2, written(10), 1).unwrap();
    assert_eq!(leader.isr_to_propose(1_000_000), None);
}

#[test]
fn a_follower_one_fetch_behind_a_busy_leader_stays_in_sync() {
    let mut leader = leader(&[1, 2], &[1, 2], options(1));
    for n in 1..100 {
        leader.local(written(10 + n * 10), n * 50);
        leader.followed(2, written(n * 10), n * 50).unwrap();
        assert_eq!(leader.isr_to_propose(n * 50), None);
    }
}

#[test]
fn a_follower_joins_when_it_has_what_is_committed_under_this_leader() {
    let mut leader = leader(&[1, 2], &[1], options(1));
    leader.followed(2, written(9), 1).unwrap();
    assert_eq!(leader.isr_to_propose(1), None, "below the start of the epoch, its history may be another");
    leader.followed(2, written(10), 2).unwrap();
    assert_eq!(leader.isr_to_propose(2).unwrap().isr, [1, 2]);
    leader.local(written(30), 3);
    assert_eq!(leader.high_watermark(), Offset(10), "it counts from when it is proposed");
    leader.isr_decided(&[1, 2], 1, 3);
    assert_eq!(leader.followed(2, written(30), 4), Ok(Some(Offset(30))));
}

#[test]
fn too_small_an_isr_stops_appends_and_the_high_watermark() {
    let mut leader = leader(&[1, 2, 3], &[1, 2], options(2));
    leader.followed(2, written(10), 0).unwrap();
    leader.isr_decided(&[1], 1, 0);
    assert_eq!(leader.check_min_isr(), Err(NotEnoughReplicas { isr: 1, needed: 2 }));
    assert_eq!(leader.acknowledgement(Offset(10)), Acknowledgement::NotEnoughReplicas);
    assert_eq!(leader.local(written(20), 1_000), None);
    assert_eq!(leader.acknowledgement(Offset(20)), Acknowledgement::Waiting);
}

#[test]
fn an_older_word_of_the_controller_is_passed_over() {
    let mut leader = leader(&[1, 2], &[1], options(1));
    leader.isr_decided(&[1, 2], 7, 0);
    leader.isr_decided(&[1], 6, 0);
    assert_eq!(leader.isr().collect::<Vec<_>>(), [1, 2]);
}

#[derive(Debug, Clone)]
enum Event {
    Append(i64),
    Flush,
    Fetch(NodeId, i64),
    Propose,
    Decide(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..5_i64).prop_map(Event::Append),
        Just(Event::Flush),
        (2..4_i32, 1..8_i64).prop_map(|(node, records)| Event::Fetch(node, records)),
        Just(Event::Propose),
        any::<bool>().prop_map(Event::Decide),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn committed_records_are_on_every_replica_that_may_be_elected(events in prop::collection::vec(event(), 1..200)) {
        let mut leader = leader(&[1, 2, 3], &[1, 2, 3], options(2));
        let mut own = written(10);
        let mut ends: BTreeMap<NodeId, Offset> = [(2, Offset(8)), (3, Offset(8))].into();
        let (mut isr, mut epoch, mut under_way) = (vec![1, 2, 3], 0, None);
        let mut last = leader.high_watermark();
        for (n, event) in events.iter().enumerate() {
            let now = n as i64 * 20;
            match event {
                Event::Append(records) => own.end = own.end + *records,
                Event::Flush => own.durable = own.end,
                Event::Fetch(node, records) => {
                    let end = ends.get_mut(node).unwrap();
                    *end = (*end + *records).min(own.end);
                    leader.followed(*node, written(end.0), now).unwrap();
                }
                Event::Propose => under_way = leader.isr_to_propose(now).or(under_way),
                Event::Decide(accept) => if let Some(change) = under_way.take() {
                    if *accept {
                        (isr, epoch) = (change.isr, epoch + 1);
                        leader.isr_decided(&isr, epoch, now);
                    } else {
                        leader.isr_refused();
                    }
                },
            }
            leader.local(own, now);
            let high_watermark = leader.high_watermark();
            prop_assert!(high_watermark >= last, "it never moves back");
            last = high_watermark;
            prop_assert!(high_watermark <= own.durable.max(Offset(8)));
            for node in isr.iter().filter(|node| **node != 1) {
                prop_assert!(ends[node] >= high_watermark, "node {} could lead without a committed record", node);
            }
        }
    }

    #[test]
    fn truncation_leaves_a_prefix_of_the_leaders_log(
        shared in prop::collection::vec(1..4_i32, 0..10),
        leaders in prop::collection::vec(1..4_i32, 0..10),
        followers in prop::collection::vec(1..4_i32, 0..10),
    ) {
        // A log is the epoch of each record. Epochs rise, and no two leaders ever had the same one.
        let grow = |mut log: Vec<i32>, steps: &[i32], parity: i32| {
            for step in steps {
                let last = log.last().copied().unwrap_or(0);
                // The same epoch goes on, or one that only this side had begins.
                let goes_on = *step == 1 && last > 100 && last % 2 == parity;
                let next = last.max(100) + *step * 2;
                log.push(if goes_on { last } else { next - next % 2 + parity });
            }
            log
        };
        let common: Vec<i32> = shared.iter().scan(0, |epoch, step| { *epoch += step - 1; Some(*epoch) }).collect();
        let leader = grow(common.clone(), &leaders, 0);
        let mut follower = grow(common, &followers, 1);
        let mut rounds = 0;
        while let Some(asked) = follower.last().copied() {
            let answer = match end_of(&leader, asked) {
                Some((epoch, end)) => LeaderEpochEnd::End { epoch, end },
                None => LeaderEpochEnd::Unknown,
            };
            let (end, local) = (Offset(follower.len() as i64), follower.clone());
            let cut = truncation(answer, |epoch| end_of(&local, epoch.0), end, Offset::ZERO);
            prop_assert!(cut.to <= end);
            follower.truncate(cut.to.0 as usize);
            if cut.done {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 50, "each round goes down an epoch");
        }
        prop_assert!(leader.starts_with(&follower), "{leader:?} {follower:?}");
    }
}

/// As `Log::end_offset_for_epoch` answers.
fn end_of(log: &[i32], epoch: i32) -> Option<(LeaderEpoch, Offset)> {
    let latest = *log.last()?;
    if epoch > latest {
        return None;
    }
    let end = log.partition_point(|entry| *entry <= epoch);
    let floor = log[..end].last().copied().unwrap_or(epoch);
    Some((LeaderEpoch(floor), Offset(end as i64)))
}
