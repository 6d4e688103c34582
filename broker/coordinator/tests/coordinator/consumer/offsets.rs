//! Offsets of consumer groups: who may commit and fetch, and when they expire.

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use strata_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest};
use strata_types::ErrorCode;

use super::{beat, join, owning, shell, stay, topic_id};
use crate::harness::{GROUP, Shell, code};

fn commit(shell: &mut Shell, member: &str, epoch: i32, version: i16, partition: i32) -> i16 {
    let topic = OffsetCommitRequestTopic {
        name: "t".into(),
        topic_id: topic_id("t"),
        partitions: vec![OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: 5,
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: epoch,
        member_id: member.into(),
        topics: vec![topic],
        ..Default::default()
    };
    let reply = shell.ask(GroupRequest::OffsetCommit { request, version });
    match shell.take(reply) {
        Some(GroupResponse::OffsetCommit(response)) => response.topics[0].partitions[0].error_code,
        other => panic!("no commit reply: {other:?}"),
    }
}

fn fetch(shell: &mut Shell, member: Option<&str>, epoch: i32) -> i16 {
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        member_id: member.map(Into::into),
        member_epoch: epoch,
        ..Default::default()
    };
    let reply = shell.ask(GroupRequest::OffsetFetch { group, require_stable: false });
    match shell.take(reply) {
        Some(GroupResponse::OffsetFetch(response)) => response.error_code,
        other => panic!("no fetch reply: {other:?}"),
    }
}

#[test]
fn members_commit_and_fetch_in_their_epoch() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    assert_eq!(commit(&mut shell, "a", 2, 9, 0), 0);
    assert_eq!(commit(&mut shell, "a", 3, 9, 0), code(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(&mut shell, "b", 2, 9, 0), code(ErrorCode::UnknownMemberId));
    assert_eq!(commit(&mut shell, "", -1, 9, 0), code(ErrorCode::UnknownMemberId), "there are members");
    assert_eq!(commit(&mut shell, "a", 2, 8, 0), code(ErrorCode::UnsupportedVersion));
    assert_eq!(fetch(&mut shell, Some("a"), 2), 0);
    assert_eq!(fetch(&mut shell, Some("a"), 0), code(ErrorCode::StaleMemberEpoch));
    assert_eq!(fetch(&mut shell, Some("b"), 2), code(ErrorCode::UnknownMemberId));
    assert_eq!(fetch(&mut shell, None, -1), 0, "an administrator");
}

#[test]
fn a_member_may_commit_in_the_epoch_in_which_it_got_the_partition() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    beat(&mut shell, join("b", &["t"]));
    beat(&mut shell, stay("a", 2));
    beat(&mut shell, owning("a", 2, "t", &[0]));
    beat(&mut shell, stay("b", 3));
    assert_eq!(commit(&mut shell, "a", 2, 10, 0), 0, "it has had 0 since epoch 1");
    assert_eq!(commit(&mut shell, "a", 2, 10, 1), code(ErrorCode::StaleMemberEpoch), "1 is another's");
    assert_eq!(
        commit(&mut shell, "b", 2, 10, 1),
        code(ErrorCode::StaleMemberEpoch),
        "it has had 1 since epoch 2"
    );
}

#[test]
fn anybody_may_commit_to_an_empty_group() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    beat(&mut shell, stay("a", -1));
    assert_eq!(commit(&mut shell, "", -1, 9, 0), 0);
    assert_eq!(commit(&mut shell, "a", 2, 9, 0), code(ErrorCode::UnknownMemberId));
}

#[test]
fn offsets_of_topics_that_are_read_stay_and_others_can_be_deleted_and_expire() {
    let mut shell = shell(&[("t", 2), ("u", 1)]);
    beat(&mut shell, join("a", &["t"]));
    assert_eq!(commit(&mut shell, "a", 2, 9, 0), 0);
    let delete = |shell: &mut Shell| {
        let partition = OffsetDeleteRequestPartition { partition_index: 0, ..Default::default() };
        let topic =
            OffsetDeleteRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
        let request =
            OffsetDeleteRequest { group_id: GROUP.into(), topics: vec![topic], ..Default::default() };
        let reply = shell.ask(GroupRequest::OffsetDelete { request });
        match shell.take(reply) {
            Some(GroupResponse::OffsetDelete(response)) => response.topics[0].partitions[0].error_code,
            other => panic!("no answer: {other:?}"),
        }
    };
    assert_eq!(delete(&mut shell), code(ErrorCode::GroupSubscribedToTopic));
    let week_ms = 7 * 24 * 3_600_000;
    for _ in 0..week_ms / 40_000 + 20 {
        shell.advance(40_000);
        beat(&mut shell, stay("a", 2));
    }
    assert_eq!(shell.fetch("t", 0), 5, "a member reads it");
    let mut other = stay("a", 2);
    other.subscribed_topic_names = Some(vec!["u".into()]);
    beat(&mut shell, other);
    beat(&mut shell, owning("a", 2, "t", &[]));
    shell.advance(600_000);
    assert_eq!(shell.fetch("t", 0), -1, "nobody has read it for a week");
}
