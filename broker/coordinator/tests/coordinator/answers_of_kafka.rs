//! Error codes as Apache Kafka 4.3.1 gave them to the same requests, sent raw. Only what other tests do not say.

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::Str;
use strata_protocol::messages::leave_group_request::MemberIdentity;
use strata_protocol::messages::{HeartbeatRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest};
use strata_types::ErrorCode;

use crate::harness::{GROUP, Join, Shell, code, commit_request};

fn heartbeat(
    shell: &mut Shell,
    group: &str,
    generation_id: i32,
    member: &str,
    instance: Option<&str>,
) -> i16 {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id,
        member_id: member.into(),
        group_instance_id: instance.map(Str::from),
        ..Default::default()
    };
    let reply = shell.ask(GroupRequest::Heartbeat { request });
    match shell.take(reply) {
        Some(GroupResponse::Heartbeat(response)) => response.error_code,
        other => panic!("no heartbeat reply: {other:?}"),
    }
}

fn sync(shell: &mut Shell, group: &str, generation_id: i32, member: &str, instance: Option<&str>) -> i16 {
    let request = SyncGroupRequest {
        group_id: group.into(),
        generation_id,
        member_id: member.into(),
        group_instance_id: instance.map(Str::from),
        ..Default::default()
    };
    let reply = shell.ask(GroupRequest::Sync { request });
    shell.synced(reply).error_code
}

/// An OffsetCommit v7.
fn commit(shell: &mut Shell, change: impl FnOnce(&mut OffsetCommitRequest)) -> i16 {
    let GroupRequest::OffsetCommit { mut request, .. } = commit_request("", -1, &[("t", 0, 5)]) else {
        unreachable!()
    };
    change(&mut request);
    let reply = shell.ask(GroupRequest::OffsetCommit { request, version: 7 });
    shell.committed(reply)[0]
}

#[test]
fn of_groups_that_do_not_exist() {
    let mut shell = Shell::new();
    let (unknown, invalid) = (code(ErrorCode::UnknownMemberId), code(ErrorCode::InvalidGroupId));
    assert_eq!(heartbeat(&mut shell, "nope", 1, "m", None), unknown);
    assert_eq!(heartbeat(&mut shell, "", 1, "m", None), invalid);
    assert_eq!(sync(&mut shell, "nope", 1, "m", None), unknown);
    assert_eq!(sync(&mut shell, "", 1, "m", None), invalid);
    for (group, expected) in [("nope", (0, vec![unknown, unknown])), ("", (invalid, vec![]))] {
        let identity = |member: &str, instance: Option<&str>| MemberIdentity {
            member_id: member.into(),
            group_instance_id: instance.map(Str::from),
            ..Default::default()
        };
        let members = vec![identity("m", None), identity("", Some("i"))];
        let request = LeaveGroupRequest { group_id: group.into(), members, ..Default::default() };
        let reply = shell.ask(GroupRequest::Leave { request, version: 3 });
        let Some(GroupResponse::Leave(left)) = shell.take(reply) else { panic!("no leave reply") };
        assert_eq!((left.error_code, left.members.iter().map(|m| m.error_code).collect()), expected);
    }
}

#[test]
fn of_commits_to_a_group_without_members() {
    let mut shell = Shell::new();
    let illegal = code(ErrorCode::IllegalGeneration);
    assert_eq!(commit(&mut shell, |r| r.generation_id_or_member_epoch = 1), illegal, "there is no group");
    assert_eq!(commit(&mut shell, |_| {}), 0);
    assert_eq!(commit(&mut shell, |r| r.member_id = "m".into()), 0);
    let in_a_generation = |r: &mut OffsetCommitRequest| r.generation_id_or_member_epoch = 3;
    assert_eq!(commit(&mut shell, in_a_generation), code(ErrorCode::UnknownMemberId));
    assert_eq!(commit(&mut shell, |r| r.group_id = "".into()), 0, "the empty id is a group for offsets");
    assert_eq!(commit(&mut shell, |r| r.topics[0].partitions[0].committed_offset = -5), 0);
    assert_eq!(shell.fetch("t", 0), -5);
}

#[test]
fn of_members_that_say_the_wrong_thing() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(1);
    let member = members[0].as_str();
    let (unknown, illegal) = (code(ErrorCode::UnknownMemberId), code(ErrorCode::IllegalGeneration));
    assert_eq!(heartbeat(&mut shell, GROUP, -1, member, None), illegal);
    assert_eq!(heartbeat(&mut shell, GROUP, generation, member, Some("zz")), unknown);
    assert_eq!(sync(&mut shell, GROUP, generation, member, Some("zz")), unknown);
    assert_eq!(commit(&mut shell, |r| r.member_id = member.into()), illegal);
    assert_eq!(commit(&mut shell, |r| r.generation_id_or_member_epoch = generation), unknown);
}

#[test]
fn of_the_former_self_of_a_static_member() {
    let mut shell = Shell::new();
    let join = Join { instance: Some("one"), version: 5, ..Join::default() };
    let reply = shell.join_with(join);
    shell.advance(3_000);
    let old = shell.joined(reply).member_id;
    shell.sync(&old, 1, &[(&old, b"own")]);
    let reply = shell.join_with(join);
    let back = shell.joined(reply);
    assert_eq!((&back.leader, back.members.len()), (&old, 0));

    let fenced = code(ErrorCode::FencedInstanceId);
    assert_eq!(heartbeat(&mut shell, GROUP, 1, &old, Some("one")), fenced);
    assert_eq!(heartbeat(&mut shell, GROUP, 1, &old, None), code(ErrorCode::UnknownMemberId));
    let as_old = |r: &mut OffsetCommitRequest| {
        r.generation_id_or_member_epoch = 1;
        r.member_id = old.clone();
        r.group_instance_id = Some("one".into());
    };
    assert_eq!(commit(&mut shell, as_old), fenced);
    assert_eq!(sync(&mut shell, GROUP, 1, &back.member_id, Some("one")), 0);
}

#[test]
fn of_joins_with_another_type_of_protocol() {
    let mut shell = Shell::new();
    shell.stable_group(1);
    let new_member = shell.new_member();
    let GroupRequest::Join { mut request, client, new_member } = Join::default().request(new_member) else {
        unreachable!()
    };
    request.protocol_type = "connect".into();
    let reply = shell.ask(GroupRequest::Join { request, client, new_member });
    assert_eq!(shell.joined(reply).error_code, code(ErrorCode::InconsistentGroupProtocol));
}
