//! Committing offsets, reading them back, deleting them, and their expiry.

use strata_coordinator::{GroupConfig, GroupRequest, GroupResponse, offset_fetch};
use strata_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use strata_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic};
use strata_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest};
use strata_types::ErrorCode;

use crate::harness::{GROUP, Join, Shell, code, commit_request};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn delete(shell: &mut Shell, topic: &str) -> OffsetDeleteResponse {
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0, ..Default::default() }];
    let topics = vec![OffsetDeleteRequestTopic { name: topic.into(), partitions, ..Default::default() }];
    let request = OffsetDeleteRequest { group_id: GROUP.into(), topics, ..Default::default() };
    let reply = shell.ask(GroupRequest::OffsetDelete { request });
    match shell.take(reply) {
        Some(GroupResponse::OffsetDelete(response)) => response,
        other => panic!("no delete reply: {other:?}"),
    }
}

#[test]
fn a_consumer_without_a_group_commits_and_reads_back() {
    let mut shell = Shell::new();
    assert_eq!(shell.fetch("t", 0), -1);
    let reply = shell.commit_offset("", -1, 42);
    assert_eq!(shell.committed(reply), [0]);
    assert_eq!((shell.fetch("t", 0), shell.fetch("t", 1), shell.fetch("u", 0)), (42, -1, -1));
    assert_eq!(shell.state(), "Empty");
    shell.restart();
    assert_eq!(shell.fetch("t", 0), 42);
}

#[test]
fn only_members_of_the_generation_may_commit() {
    let mut shell = Shell::new();
    let mut refused = |member: &str, generation, version| {
        let GroupRequest::OffsetCommit { request, .. } = commit_request(member, generation, &[("t", 0, 1)])
        else {
            unreachable!()
        };
        let reply = shell.ask(GroupRequest::OffsetCommit { request, version });
        shell.committed(reply)
    };
    assert_eq!(refused("m", 1, 9), [code(ErrorCode::GroupIdNotFound)]);
    assert_eq!(refused("m", 1, 8), [code(ErrorCode::IllegalGeneration)]);

    let (members, generation) = shell.stable_group(1);
    let mut commit = |member: &str, generation| {
        let reply = shell.commit_offset(member, generation, 7);
        shell.committed(reply)[0]
    };
    assert_eq!(commit("", -1), code(ErrorCode::UnknownMemberId), "the group has members");
    assert_eq!(commit("nobody", generation), code(ErrorCode::UnknownMemberId));
    assert_eq!(commit(&members[0], generation + 1), code(ErrorCode::IllegalGeneration));
    assert_eq!(commit(&members[0], generation), 0);
    assert_eq!(shell.fetch("t", 0), 7);
}

#[test]
fn a_commit_keeps_the_session_alive() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(1);
    for _ in 0..3 {
        shell.advance(6_000);
        let reply = shell.commit_offset(&members[0], generation, 1);
        assert_eq!(shell.committed(reply), [0]);
    }
}

#[test]
fn metadata_that_is_too_long_fails_its_partition_alone() {
    let mut shell = Shell::with(GroupConfig { offset_metadata_max_bytes: 3, ..GroupConfig::default() });
    let GroupRequest::OffsetCommit { mut request, version } =
        commit_request("", -1, &[("t", 0, 1), ("t", 1, 2)])
    else {
        unreachable!()
    };
    request.topics[0].partitions[0].committed_metadata = Some("four".into());
    request.topics[1].partitions[0].committed_metadata = Some("ß€x".into());
    let reply = shell.ask(GroupRequest::OffsetCommit { request, version });
    assert_eq!(shell.committed(reply), [code(ErrorCode::OffsetMetadataTooLarge), 0]);
    assert_eq!((shell.fetch("t", 0), shell.fetch("t", 1)), (-1, 2));
}

#[test]
fn all_offsets_of_a_group_are_fetched_when_no_topics_are_named() {
    let mut shell = Shell::new();
    shell.ask(commit_request("", -1, &[("b", 1, 11), ("a", 0, 10), ("b", 0, 12)]));
    let group = OffsetFetchRequestGroup { group_id: GROUP.into(), topics: None, ..Default::default() };
    let reply = shell.ask(GroupRequest::OffsetFetch { group, require_stable: true });
    let Some(GroupResponse::OffsetFetch(response)) = shell.take(reply) else { panic!("no fetch reply") };
    let found: Vec<_> = response
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|p| (&*topic.name, p.partition_index, p.committed_offset))
        })
        .collect();
    assert_eq!(found, [("a", 0, 10), ("b", 0, 12), ("b", 1, 11)]);
}

#[test]
fn a_fetch_of_one_group_becomes_and_answers_as_its_version_says() {
    let topics =
        vec![OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![4], ..Default::default() }];
    let request = OffsetFetchRequest { group_id: GROUP.into(), topics: Some(topics), ..Default::default() };
    let asked = offset_fetch::groups(request, 1);
    assert_eq!((asked.len(), &*asked[0].group_id), (1, GROUP));
    let asking = GroupRequest::OffsetFetch { group: asked[0].clone(), require_stable: false };
    let answer = |version| {
        let refused = strata_coordinator::refusal(&asking, ErrorCode::NotCoordinator);
        let GroupResponse::OffsetFetch(refused) = refused else { unreachable!() };
        offset_fetch::response(&asked, vec![refused], version)
    };
    assert_eq!(answer(1).topics[0].partitions[0].error_code, code(ErrorCode::NotCoordinator));
    assert_eq!((answer(7).error_code, answer(7).topics.len()), (code(ErrorCode::NotCoordinator), 0));
    assert_eq!(answer(8).groups[0].error_code, code(ErrorCode::NotCoordinator));
}

#[test]
fn offsets_of_an_empty_group_can_be_deleted() {
    let mut shell = Shell::new();
    assert_eq!(delete(&mut shell, "t").error_code, code(ErrorCode::GroupIdNotFound));
    shell.commit_offset("", -1, 5);
    let deleted = delete(&mut shell, "t");
    assert_eq!((deleted.error_code, deleted.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(shell.fetch("t", 0), -1);
}

#[test]
fn offsets_of_consumers_at_work_cannot_be_deleted() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(1);
    shell.commit_offset(&members[0], generation, 5);
    let deleted = delete(&mut shell, "t");
    let subscribed = code(ErrorCode::GroupSubscribedToTopic);
    assert_eq!((deleted.error_code, deleted.topics[0].partitions[0].error_code), (0, subscribed));
    assert_eq!(shell.fetch("t", 0), 5);
}

#[test]
fn offsets_of_a_deleted_topic_go_in_every_group() {
    let mut shell = Shell::new();
    shell.ask(commit_request("", -1, &[("t", 0, 1), ("t", 1, 2), ("u", 0, 3)]));
    shell.ask(GroupRequest::PartitionsDeleted { partitions: vec![("t".into(), 0), ("t".into(), 1)] });
    assert_eq!((shell.fetch("t", 0), shell.fetch("t", 1), shell.fetch("u", 0)), (-1, -1, 3));
}

#[test]
fn offsets_of_a_consumer_without_a_group_expire_after_their_commit_and_the_group_with_the_last() {
    let mut shell = Shell::new();
    shell.ask(commit_request("", -1, &[("t", 0, 1)]));
    shell.advance(6 * DAY_MS);
    shell.ask(commit_request("", -1, &[("t", 1, 2)]));
    shell.advance(DAY_MS + 600_000);
    assert_eq!((shell.fetch("t", 0), shell.fetch("t", 1)), (-1, 2));
    shell.advance(7 * DAY_MS);
    assert_eq!((shell.fetch("t", 1), shell.state()), (-1, "Dead".to_owned()));
    shell.restart();
    assert_eq!(shell.state(), "Dead");
}

#[test]
fn offsets_of_a_group_at_work_do_not_expire_and_those_of_an_empty_one_do() {
    let mut shell = Shell::new();
    let (members, generation) = shell.stable_group(1);
    shell.commit_offset(&members[0], generation, 9);
    for _ in 0..(8 * DAY_MS / 1_800_000) {
        for _ in 0..225 {
            shell.advance(8_000);
            assert_eq!(shell.heartbeat(&members[0], generation), 0);
        }
    }
    assert_eq!(shell.fetch("t", 0), 9);
    shell.leave(&[(&members[0], None)]);
    shell.advance(6 * DAY_MS);
    assert_eq!(shell.fetch("t", 0), 9);
    shell.advance(DAY_MS + 600_000);
    assert_eq!(shell.fetch("t", 0), -1);
}

#[test]
fn a_retention_of_its_own_holds_for_the_commit() {
    let mut shell = Shell::new();
    let GroupRequest::OffsetCommit { mut request, .. } = commit_request("", -1, &[("t", 0, 1)]) else {
        unreachable!()
    };
    request.retention_time_ms = 1_000;
    shell.ask(GroupRequest::OffsetCommit { request, version: 4 });
    shell.advance(600_000);
    assert_eq!(shell.fetch("t", 0), -1);
}

#[test]
fn a_simple_group_needs_room() {
    let mut shell = Shell::with(GroupConfig { groups_max: 1, ..GroupConfig::default() });
    shell.join_with(Join { group: "other", ..Join::default() });
    let reply = shell.commit_offset("", -1, 1);
    assert_eq!(shell.committed(reply), [code(ErrorCode::PolicyViolation)]);
}
