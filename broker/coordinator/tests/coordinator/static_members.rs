//! Members with a `group.instance.id` (KIP-345).

use strata_types::ErrorCode;

use crate::harness::{Join, Shell, code};

const STATIC: Join<'static> = Join {
    member: "",
    instance: Some("one"),
    version: 9,
    protocols: &[("range", b"topics")],
    session_timeout_ms: 30_000,
    rebalance_timeout_ms: 60_000,
    group: crate::harness::GROUP,
};

/// A stable group of the static member "one", its leader; its member id.
fn stable(shell: &mut Shell) -> String {
    let reply = shell.join_with(STATIC);
    shell.advance(3_000);
    let member = shell.joined(reply).member_id.to_string();
    let reply = shell.sync(&member, 1, &[(&member, b"mine")]);
    assert_eq!(&shell.synced(reply).assignment[..], b"mine");
    member
}

#[test]
fn a_static_member_that_is_back_keeps_its_assignment_without_a_rebalance() {
    let mut shell = Shell::new();
    let old = stable(&mut shell);
    assert!(old.starts_with("one-"));
    let reply = shell.join_with(STATIC);
    let back = shell.joined(reply);
    assert_eq!((back.error_code, back.generation_id), (0, 1));
    assert_ne!(&*back.member_id, old);
    assert!(back.skip_assignment && back.leader == back.member_id && back.members.len() == 1);
    let reply = shell.sync(&back.member_id, 1, &[]);
    assert_eq!(&shell.synced(reply).assignment[..], b"mine");

    shell.restart();
    assert_eq!(shell.heartbeat(&back.member_id, 1), 0, "the new id lasts");
    assert_eq!(shell.heartbeat(&old, 1), code(ErrorCode::UnknownMemberId));
}

#[test]
fn an_older_client_that_is_back_is_told_that_its_former_self_leads() {
    let mut shell = Shell::new();
    let old = stable(&mut shell);
    let reply = shell.join_with(Join { version: 8, ..STATIC });
    let back = shell.joined(reply);
    assert!(!back.skip_assignment && back.members.is_empty());
    assert_eq!(&*back.leader, old);
}

#[test]
fn the_former_self_is_fenced() {
    let mut shell = Shell::new();
    let old = stable(&mut shell);
    let reply = shell.join_with(STATIC);
    shell.joined(reply);
    let reply = shell.join_with(Join { member: &old, ..STATIC });
    assert_eq!(shell.joined(reply).error_code, code(ErrorCode::FencedInstanceId));
    let left = shell.leave(&[(&old, Some("one"))]);
    assert_eq!(left.members[0].error_code, code(ErrorCode::FencedInstanceId));
}

#[test]
fn a_parked_join_of_the_former_self_is_answered_as_fenced() {
    let mut shell = Shell::new();
    let first = shell.join_with(STATIC);
    let second = shell.join_with(STATIC);
    assert_eq!(shell.joined(first).error_code, code(ErrorCode::FencedInstanceId));
    shell.advance(6_000);
    assert_eq!(shell.joined(second).error_code, 0);
}

#[test]
fn a_static_member_that_is_back_with_another_protocol_starts_a_rebalance() {
    let mut shell = Shell::new();
    stable(&mut shell);
    let reply = shell.join_with(Join { protocols: &[("range", b""), ("sticky", b"")], ..STATIC });
    assert_eq!(shell.joined(reply).generation_id, 1, "the choice is the same");
    let reply = shell.join_with(Join { protocols: &[("sticky", b"")], ..STATIC });
    let back = shell.joined(reply);
    assert_eq!((back.generation_id, back.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    let mut shell = Shell::new();
    stable(&mut shell);
    let left = shell.leave(&[("", Some("one")), ("", Some("two"))]);
    let codes: Vec<_> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!(codes, [0, code(ErrorCode::UnknownMemberId)]);
    assert_eq!(shell.state(), "Empty");
}

#[test]
fn a_static_member_stays_through_a_rebalance_that_it_misses() {
    let mut shell = Shell::new();
    let old = stable(&mut shell);
    let reply = shell.join_with(Join { version: 3, session_timeout_ms: 100_000, ..Join::default() });
    for _ in 0..6 {
        shell.advance(10_000);
        shell.heartbeat(&old, 1);
    }
    let joined = shell.joined(reply);
    assert_eq!(joined.members.len(), 2);
    assert_eq!(joined.leader, joined.member_id, "who joined leads");
}
