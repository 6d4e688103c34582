//! Joining, rebalancing, staying and leaving, by members without an instance id.

use strata_coordinator::{GroupConfig, GroupRequest, GroupResponse};
use strata_protocol::messages::{LeaveGroupRequest, SyncGroupRequest};
use strata_types::ErrorCode;

use crate::harness::{GROUP, Join, Shell, code};

#[test]
fn a_new_member_is_given_an_id_to_come_back_with() {
    let mut shell = Shell::new();
    let reply = shell.join_with(Join::default());
    let refused = shell.joined(reply);
    assert_eq!(refused.error_code, code(ErrorCode::MemberIdRequired));
    assert!(refused.member_id.starts_with("c-"), "{}", refused.member_id);

    let reply = shell.join_with(Join { member: &refused.member_id, ..Join::default() });
    shell.advance(3_000);
    let joined = shell.joined(reply);
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!((&joined.member_id, &joined.leader), (&refused.member_id, &refused.member_id));
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn an_old_client_becomes_a_member_at_once() {
    let mut shell = Shell::new();
    let reply = shell.join_with(Join { version: 3, ..Join::default() });
    shell.advance(3_000);
    assert_eq!(shell.joined(reply).error_code, 0);
}

#[test]
fn an_id_that_is_not_used_is_taken_back() {
    let mut shell = Shell::new();
    let reply = shell.join_with(Join::default());
    let member = shell.joined(reply).member_id;
    shell.advance(10_000);
    let reply = shell.join_with(Join { member: &member, ..Join::default() });
    assert_eq!(shell.joined(reply).error_code, code(ErrorCode::UnknownMemberId));
}

#[test]
fn ids_given_out_are_limited() {
    let mut shell = Shell::with(GroupConfig { pending_joins_per_group_max: 2, ..GroupConfig::default() });
    let codes = [0; 3].map(|_| {
        let reply = shell.join_with(Join::default());
        shell.joined(reply).error_code
    });
    let required = code(ErrorCode::MemberIdRequired);
    assert_eq!(codes, [required, required, code(ErrorCode::GroupMaxSizeReached)]);
}

#[test]
fn an_empty_group_waits_for_more_members_and_longer_when_some_come() {
    let mut shell = Shell::new();
    let first = shell.join_with(Join { version: 3, ..Join::default() });
    shell.advance(2_000);
    let second = shell.join_with(Join { version: 3, ..Join::default() });
    shell.advance(3_000);
    assert!(shell.waits(first) && shell.waits(second), "the second member put it off");
    shell.advance(1_000);
    let (first, second) = (shell.joined(first), shell.joined(second));
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!(first.leader, second.leader);
}

#[test]
fn only_the_leader_is_told_of_all_members() {
    let mut shell = Shell::new();
    let replies = [b"one", b"two"].map(|metadata| {
        let protocols: &[(&str, &'static [u8])] = &[("range", metadata)];
        shell.join_with(Join { version: 3, protocols, ..Join::default() })
    });
    shell.advance(6_000);
    let joined = replies.map(|reply| shell.joined(reply));
    let (leader, follower): (Vec<_>, Vec<_>) = joined.iter().partition(|join| join.member_id == join.leader);
    let mut told: Vec<_> = leader[0].members.iter().map(|member| member.metadata.to_vec()).collect();
    told.sort();
    assert_eq!(told, [b"one", b"two"]);
    assert!(follower[0].members.is_empty());
}

#[test]
fn the_protocol_is_chosen_by_votes_among_those_that_all_support() {
    let mut shell = Shell::new();
    let all: [&[(&str, &'static [u8])]; 3] = [
        &[("range", b""), ("sticky", b"")],
        &[("sticky", b""), ("range", b"")],
        &[("own", b""), ("sticky", b""), ("range", b"")],
    ];
    let replies = all.map(|protocols| shell.join_with(Join { version: 3, protocols, ..Join::default() }));
    shell.advance(6_000);
    for reply in replies {
        assert_eq!(shell.joined(reply).protocol_name.as_deref(), Some("sticky"));
    }
    let protocols: &[(&str, &'static [u8])] = &[("other", b"")];
    let reply = shell.join_with(Join { version: 3, protocols, ..Join::default() });
    assert_eq!(shell.joined(reply).error_code, code(ErrorCode::InconsistentGroupProtocol));
}

#[test]
fn followers_wait_for_the_leaders_assignment() {
    let mut shell = Shell::new();
    let replies = [(); 2].map(|()| shell.join_with(Join { version: 3, ..Join::default() }));
    shell.advance(6_000);
    let joined = replies.map(|reply| shell.joined(reply));
    let leader = joined[0].leader.clone();
    let follower =
        joined.iter().find(|join| join.member_id != leader).expect("one follows").member_id.clone();

    let early = shell.sync(&follower, 1, &[]);
    assert!(shell.waits(early));
    let commit = shell.commit_offset(&follower, 1, 5);
    assert_eq!(shell.committed(commit), [code(ErrorCode::RebalanceInProgress)]);
    let assigned = shell.sync(&leader, 1, &[(&leader, b"p0"), (&follower, b"p1")]);
    assert_eq!(&shell.synced(early).assignment[..], b"p1");
    let assigned = shell.synced(assigned);
    assert_eq!((&assigned.assignment[..], assigned.protocol_name.as_deref()), (&b"p0"[..], Some("range")));
    let again = shell.sync(&follower, 1, &[]);
    assert_eq!(&shell.synced(again).assignment[..], b"p1");
}

#[test]
fn a_sync_must_know_the_generation_and_the_protocol() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(1);
    let reply = shell.sync(&members[0], generation + 1, &[]);
    assert_eq!(shell.synced(reply).error_code, code(ErrorCode::IllegalGeneration));
    let reply = shell.sync("nobody", generation, &[]);
    assert_eq!(shell.synced(reply).error_code, code(ErrorCode::UnknownMemberId));
    let request = SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: generation,
        member_id: members[0].as_str().into(),
        protocol_name: Some("sticky".into()),
        ..Default::default()
    };
    let reply = shell.ask(GroupRequest::Sync { request });
    assert_eq!(shell.synced(reply).error_code, code(ErrorCode::InconsistentGroupProtocol));
}

#[test]
fn a_joining_member_starts_a_rebalance_that_heartbeats_tell_of() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(2);
    let new = shell.join_with(Join { version: 3, ..Join::default() });
    assert_eq!(shell.heartbeat(&members[0], generation), code(ErrorCode::RebalanceInProgress));
    let rejoined = [0, 1].map(|i| shell.join_with(Join { member: &members[i], ..Join::default() }));
    assert_eq!(shell.joined(new).generation_id, generation + 1);
    for reply in rejoined {
        assert_eq!(shell.joined(reply).generation_id, generation + 1);
    }
    assert_eq!(shell.heartbeat(&members[0], generation), code(ErrorCode::IllegalGeneration));
    assert_eq!(shell.heartbeat(&members[0], generation + 1), 0);
}

#[test]
fn a_follower_that_joins_unchanged_is_told_what_holds_and_the_leader_starts_a_rebalance() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(2);
    let reply = shell.join_with(Join { member: &members[1], ..Join::default() });
    assert_eq!(shell.joined(reply).generation_id, generation);
    let reply = shell.join_with(Join { member: &members[0], ..Join::default() });
    assert!(shell.waits(reply));
    assert_eq!(shell.state(), "PreparingRebalance");
}

#[test]
fn a_member_that_changes_what_it_wants_starts_a_rebalance() {
    let mut shell = Shell::new();
    let (members, _) = shell.stable_group(2);
    let protocols: &[(&str, &'static [u8])] = &[("range", b"other topics")];
    let reply = shell.join_with(Join { member: &members[1], protocols, ..Join::default() });
    assert!(shell.waits(reply));
    assert_eq!(shell.state(), "PreparingRebalance");
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(2);
    shell.advance(6_000);
    assert_eq!(shell.heartbeat(&members[0], generation), 0);
    shell.advance(6_000);
    assert_eq!(shell.heartbeat(&members[0], generation), code(ErrorCode::RebalanceInProgress));
    assert_eq!(shell.heartbeat(&members[1], generation), code(ErrorCode::UnknownMemberId));
}

#[test]
fn members_that_do_not_rejoin_in_time_are_out() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(2);
    let reply = shell.join_with(Join { member: &members[0], ..Join::default() });
    for _ in 0..12 {
        shell.advance(5_000);
        shell.heartbeat(&members[1], generation);
    }
    let joined = shell.joined(reply);
    assert_eq!((joined.generation_id, joined.members.len()), (generation + 1, 1));
    assert_eq!(shell.heartbeat(&members[1], generation), code(ErrorCode::UnknownMemberId));
}

#[test]
fn members_that_do_not_sync_in_time_are_out() {
    let mut shell = Shell::new();
    let replies = [(); 2].map(|()| shell.join_with(Join { version: 3, ..Join::default() }));
    shell.advance(6_000);
    let joined = replies.map(|reply| shell.joined(reply));
    let leader = joined[0].leader.clone();
    let follower =
        joined.iter().find(|join| join.member_id != leader).expect("one follows").member_id.clone();
    let sync = shell.sync(&leader, 1, &[]);
    assert_eq!(shell.synced(sync).error_code, 0);
    for _ in 0..12 {
        shell.advance(5_000);
        shell.heartbeat(&leader, 1);
        shell.heartbeat(&follower, 1);
    }
    assert_eq!(shell.heartbeat(&leader, 1), code(ErrorCode::RebalanceInProgress));
    assert_eq!(shell.heartbeat(&follower, 1), code(ErrorCode::UnknownMemberId));
}

#[test]
fn a_group_whose_last_member_leaves_is_empty_and_that_lasts() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(1);
    let left = shell.leave(&[(&members[0], None), ("nobody", None)]);
    let codes: Vec<_> = left.members.iter().map(|member| member.error_code).collect();
    assert_eq!((left.error_code, codes), (0, vec![0, code(ErrorCode::UnknownMemberId)]));
    assert_eq!(shell.state(), "Empty");
    shell.restart();
    let group = shell.coordinator.shard();
    use strata_coordinator::Shard;
    let group = group.state().group(GROUP).and_then(|group| group.as_classic()).expect("the group lasts");
    assert_eq!((group.generation(), group.leader()), (generation + 1, None));
}

#[test]
fn old_versions_of_leave_have_one_code() {
    let mut shell = Shell::new();
    let (members, _) = shell.stable_group(1);
    for (member, expected) in [("nobody", ErrorCode::UnknownMemberId), (&members[0], ErrorCode::None)] {
        let request =
            LeaveGroupRequest { group_id: GROUP.into(), member_id: member.into(), ..Default::default() };
        let reply = shell.ask(GroupRequest::Leave { request, version: 1 });
        let Some(GroupResponse::Leave(left)) = shell.take(reply) else { panic!("no leave reply") };
        assert_eq!((left.error_code, left.members.len()), (code(expected), 0));
    }
}

#[test]
fn a_full_group_takes_no_more() {
    let mut shell = Shell::with(GroupConfig { group_max_size: 1, ..GroupConfig::default() });
    let (members, _) = shell.stable_group(1);
    let reply = shell.join_with(Join { version: 3, ..Join::default() });
    let refused = shell.joined(reply);
    assert_eq!((refused.error_code, &*refused.member_id), (code(ErrorCode::GroupMaxSizeReached), ""));
    let reply = shell.join_with(Join { member: &members[0], ..Join::default() });
    assert_eq!(shell.joined(reply).error_code, 0, "who is in may come back");
}

#[test]
fn joins_are_refused_for_what_they_say() {
    let metadata_max = GroupConfig { member_metadata_bytes_max: 10, groups_max: 1, ..GroupConfig::default() };
    let mut shell = Shell::with(metadata_max);
    let mut refused = |join: Join<'_>| {
        let reply = shell.join_with(join);
        shell.joined(reply).error_code
    };
    let ok = Join::default();
    assert_eq!(refused(Join { group: "", ..ok }), code(ErrorCode::InvalidGroupId));
    assert_eq!(refused(Join { session_timeout_ms: 5_999, ..ok }), code(ErrorCode::InvalidSessionTimeout));
    assert_eq!(refused(Join { session_timeout_ms: 1_800_001, ..ok }), code(ErrorCode::InvalidSessionTimeout));
    assert_eq!(refused(Join { protocols: &[("range", b"123456")], ..ok }), code(ErrorCode::InvalidRequest));
    let fits = Join { protocols: &[("range", b"1234")], ..ok };
    assert_eq!(refused(Join { member: "nobody", ..fits }), code(ErrorCode::UnknownMemberId));
    assert_eq!(refused(Join { protocols: &[], ..fits }), code(ErrorCode::InconsistentGroupProtocol));
    assert_eq!(refused(fits), code(ErrorCode::MemberIdRequired));
    assert_eq!(refused(Join { group: "another", ..fits }), code(ErrorCode::PolicyViolation));
}

#[test]
fn an_assignment_that_no_record_can_hold_is_refused_and_the_group_joins_again() {
    let mut shell = Shell::with(GroupConfig { group_metadata_bytes_max: 300, ..GroupConfig::default() });
    let (members, generation) = shell.stable_group(1);
    let reply = shell.join_with(Join { member: &members[0], ..Join::default() });
    assert_eq!(shell.joined(reply).generation_id, generation + 1);
    let reply = shell.sync(&members[0], generation + 1, &[(&members[0], &[0; 300])]);
    assert_eq!(shell.synced(reply).error_code, code(ErrorCode::UnknownServerError));
    assert_eq!(shell.state(), "PreparingRebalance");
}

#[test]
fn members_have_a_session_to_show_up_in_after_a_restart() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(2);
    shell.restart();
    assert_eq!(shell.state(), "Stable");
    assert_eq!(shell.heartbeat(&members[0], generation), 0);
    let reply = shell.sync(&members[1], generation, &[]);
    assert_eq!(&shell.synced(reply).assignment[..], b"assigned");
    shell.advance(10_000);
    assert_eq!(shell.state(), "Empty");
}
