//! What the runtime promises: replies after their records, reads of what is committed, and nothing half done.

use strata_coordinator::{
    GroupConfig, GroupCoordinator, GroupRequest, GroupResponse, GroupShard, ReplyId, Runtime, RuntimeOptions,
};
use strata_protocol::messages::HeartbeatRequest;
use strata_types::ErrorCode;

use crate::harness::{GROUP, Join, Shell, code, commit_request};

fn heartbeat(member: &str, generation_id: i32) -> GroupRequest {
    let request = HeartbeatRequest {
        group_id: GROUP.into(),
        generation_id,
        member_id: member.into(),
        ..Default::default()
    };
    GroupRequest::Heartbeat { request }
}

#[test]
fn a_reply_waits_until_its_records_are_committed() {
    let mut shell = Shell::new();
    shell.hold_appends = true;
    shell.hold_commits = true;
    let reply = shell.commit_offset("", -1, 1);
    assert!(shell.waits(reply));
    shell.finish_append();
    assert!(shell.waits(reply), "appended is not committed");
    shell.commit();
    assert_eq!(shell.committed(reply), [0]);
}

#[test]
fn the_high_watermark_may_pass_before_the_append_is_told() {
    let mut shell = Shell::new();
    shell.hold_appends = true;
    let reply = shell.commit_offset("", -1, 1);
    let effects = shell.coordinator.committed(shell.now, strata_types::Offset(1));
    assert!(effects.replies.is_empty());
    shell.hold_commits = true;
    shell.finish_append();
    assert_eq!(shell.committed(reply), [0]);
}

#[test]
fn a_read_sees_what_is_committed_and_at_once() {
    let mut shell = Shell::new();
    shell.commit_offset("", -1, 1);
    shell.hold_commits = true;
    shell.commit_offset("", -1, 2);
    assert_eq!(shell.fetch("t", 0), 1);
    shell.commit();
    assert_eq!(shell.fetch("t", 0), 2);
}

#[test]
fn a_reply_without_records_waits_for_what_was_written_before_it() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(1);
    shell.hold_commits = true;
    shell.commit_offset(&members[0], generation, 1);
    let reply = shell.ask(heartbeat(&members[0], generation));
    assert!(shell.waits(reply));
    shell.commit();
    assert!(!shell.waits(reply));
}

#[test]
fn what_comes_during_an_append_is_appended_together_next() {
    let mut shell = Shell::new();
    shell.hold_appends = true;
    let replies = [1, 2, 3].map(|offset| shell.commit_offset("", -1, offset));
    assert_eq!(shell.appending.as_ref().map(Vec::len), Some(1));
    shell.finish_append();
    assert_eq!(shell.appending.as_ref().map(Vec::len), Some(2));
    shell.finish_append();
    for reply in replies {
        assert_eq!(shell.committed(reply), [0]);
    }
    assert_eq!(shell.fetch("t", 0), 3);
}

#[test]
fn a_failed_append_undoes_it_and_all_since() {
    let mut shell = Shell::new();
    shell.commit_offset("", -1, 1);
    shell.replies();
    shell.hold_appends = true;
    let replies = [2, 3].map(|offset| shell.commit_offset("", -1, offset));
    shell.fail_append(ErrorCode::NotEnoughReplicas);
    for reply in replies {
        assert_eq!(shell.committed(reply), [code(ErrorCode::CoordinatorNotAvailable)]);
    }
    assert_eq!(shell.fetch("t", 0), 1);
    let reply = shell.commit_offset("", -1, 4);
    shell.finish_append();
    assert_eq!((shell.committed(reply), shell.fetch("t", 0)), (vec![0], 4));
}

#[test]
fn a_failed_append_leaves_what_is_appended_to_be_committed() {
    let mut shell = Shell::new();
    shell.hold_commits = true;
    let first = shell.commit_offset("", -1, 1);
    shell.hold_appends = true;
    let second = shell.commit_offset("", -1, 2);
    shell.fail_append(ErrorCode::KafkaStorageError);
    assert_eq!(shell.committed(second), [code(ErrorCode::NotCoordinator)]);
    assert!(shell.waits(first));
    shell.commit();
    assert_eq!((shell.committed(first), shell.fetch("t", 0)), (vec![0], 1));
}

#[test]
fn an_assignment_that_is_not_stored_is_nobodys() {
    let mut shell = Shell::new();
    let replies = [(); 2].map(|()| shell.join_with(Join { version: 3, ..Join::default() }));
    shell.advance(6_000);
    let joined = replies.map(|reply| shell.joined(reply));
    let leader = joined[0].leader.to_string();
    let follower =
        joined.iter().find(|join| *join.member_id != leader).expect("one follows").member_id.to_string();
    let waiting = shell.sync(&follower, 1, &[]);
    shell.hold_appends = true;
    let storing = shell.sync(&leader, 1, &[(&leader, b"p0")]);
    let late = shell.join_with(Join { version: 3, ..Join::default() });
    shell.fail_append(ErrorCode::RequestTimedOut);
    let unavailable = code(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(shell.synced(waiting).error_code, unavailable);
    assert_eq!(shell.synced(storing).error_code, unavailable);
    assert_eq!(shell.joined(late).error_code, unavailable);
    assert_eq!(shell.state(), "CompletingRebalance");
    shell.hold_appends = false;
    let again = [(&follower, &[][..]), (&leader, &[(leader.as_str(), &b"p0"[..])][..])]
        .map(|(member, given)| shell.sync(member, 1, given));
    for reply in again {
        assert_eq!(shell.synced(reply).error_code, 0);
    }
    assert_eq!(shell.state(), "Stable");
}

#[test]
fn a_parked_request_that_an_undone_operation_answered_is_not_waited_for() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(1);
    // The leader's JoinGroup is answered in the same breath as the rebalance ends; the group's records are not.
    shell.hold_appends = true;
    shell.commit_offset(&members[0], generation, 1);
    let rejoin = shell.join_with(Join { member: &members[0], ..Join::default() });
    shell.fail_append(ErrorCode::NotEnoughReplicas);
    assert_eq!(shell.joined(rejoin).error_code, code(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(shell.heartbeat(&members[0], generation), 0, "the rebalance never was");
    shell.hold_appends = false;
    shell.advance(10_000);
    assert_eq!(shell.state(), "Empty", "its session ends like any other");
}

#[test]
fn a_reply_does_not_wait_for_ever() {
    let mut shell = Shell::new();
    shell.hold_commits = true;
    let reply = shell.commit_offset("", -1, 1);
    shell.advance(4_999);
    assert!(shell.waits(reply));
    shell.advance(1);
    assert_eq!(shell.committed(reply), [code(ErrorCode::CoordinatorNotAvailable)]);
    shell.commit();
    assert_eq!(shell.fetch("t", 0), 1, "the records took their course");
}

#[test]
fn an_operation_too_large_for_an_append_is_refused_alone() {
    let options = RuntimeOptions { append_bytes_max: 200, ..RuntimeOptions::default() };
    let mut shell = Shell::with_options(GroupConfig::default(), options);
    shell.hold_appends = true;
    let offsets: Vec<_> = (0..10).map(|partition| ("t", partition, 1)).collect();
    let fits = shell.ask(commit_request("", -1, &offsets[..1]));
    let refused = shell.ask(commit_request("", -1, &offsets));
    assert_eq!(shell.committed(refused), [code(ErrorCode::UnknownServerError); 10]);
    shell.finish_append();
    assert_eq!(shell.committed(fits), [0]);
    assert_eq!((shell.fetch("t", 0), shell.fetch("t", 5)), (1, -1));
}

#[test]
fn a_deletion_too_large_for_an_append_takes_several() {
    let options = RuntimeOptions { append_bytes_max: 200, ..RuntimeOptions::default() };
    let mut shell = Shell::with_options(GroupConfig::default(), options);
    for partition in 0..10 {
        shell.ask(commit_request("", -1, &[("t", partition, 1)]));
    }
    shell.hold_appends = true;
    let reply = shell.ask(GroupRequest::DeleteGroups { group_ids: vec![GROUP.into()] });
    let mut appends = 0;
    while shell.appending.is_some() {
        assert!(shell.waits(reply));
        shell.finish_append();
        appends += 1;
    }
    assert!(appends > 1 && !shell.waits(reply));
    assert_eq!(shell.state(), "Dead");
}

#[test]
fn records_that_wait_are_limited() {
    let options = RuntimeOptions { uncommitted_bytes_max: 100, ..RuntimeOptions::default() };
    let mut shell = Shell::with_options(GroupConfig::default(), options);
    shell.hold_commits = true;
    let replies = [1, 2, 3].map(|offset| shell.commit_offset("", -1, offset));
    assert_eq!(shell.committed(replies[2]), [code(ErrorCode::CoordinatorNotAvailable)]);
    shell.commit();
    let reply = shell.commit_offset("", -1, 4);
    shell.commit();
    assert_eq!(shell.committed(reply), [0]);
}

#[test]
fn nobody_is_served_while_the_log_is_read() {
    let mut loading: GroupCoordinator =
        Runtime::new(GroupShard::new(GroupConfig::default()), RuntimeOptions::default());
    assert_eq!(loading.next_deadline(), None);
    let effects = loading.handle(0, commit_request("", -1, &[("t", 0, 1)]), ReplyId(1));
    let [(ReplyId(1), GroupResponse::OffsetCommit(response))] = &effects.replies[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(response.topics[0].partitions[0].error_code, code(ErrorCode::CoordinatorLoadInProgress));
    let effects = loading.handle(0, heartbeat("m", 1), ReplyId(2));
    let [(_, GroupResponse::Heartbeat(response))] = &effects.replies[..] else { panic!("{effects:?}") };
    assert_eq!(response.error_code, 0, "a member is believed meanwhile");
}

#[test]
fn unloading_answers_all_that_is_open() {
    let mut shell = Shell::new();
    shell.hold_commits = true;
    let held = shell.commit_offset("", -1, 1);
    let parked = shell.join_with(Join { version: 3, ..Join::default() });
    shell.unload();
    assert_eq!(shell.joined(parked).error_code, code(ErrorCode::NotCoordinator));
    assert_eq!(shell.committed(held), [code(ErrorCode::NotCoordinator)]);
    let late = shell.commit_offset("", -1, 1);
    assert_eq!(shell.committed(late), [code(ErrorCode::NotCoordinator)]);
    assert_eq!(shell.coordinator.next_deadline(), None);
}
