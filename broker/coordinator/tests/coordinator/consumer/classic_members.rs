//! Members of both protocols in one group, and groups that change type while they have members.

use bytes::{BufMut, Bytes, BytesMut};
use strata_coordinator::{ClientContext, GroupRequest, GroupResponse, MigrationPolicy, Shard};
use strata_protocol::Message;
use strata_protocol::messages::consumer_protocol_assignment::TopicPartition;
use strata_protocol::messages::consumer_protocol_subscription::TopicPartition as Owned;
use strata_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use strata_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use strata_protocol::messages::*;
use strata_types::ErrorCode;

use super::{beat, describe, join, owning, refused, shell, shell_with, stay, told};
use crate::harness::{GROUP, Shell, code};

fn versioned(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(1);
    bytes.extend_from_slice(&message.to_bytes(1).expect("it can be written"));
    bytes.freeze()
}

fn subscription(topics: &[&str], owned: &[i32]) -> Bytes {
    let owned = Owned { topic: "t".into(), partitions: owned.to_vec(), ..Default::default() };
    versioned(&ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| (*topic).into()).collect(),
        owned_partitions: if owned.partitions.is_empty() { Vec::new() } else { vec![owned] },
        ..Default::default()
    })
}

fn assignment(partitions: &[i32]) -> Bytes {
    let topic = TopicPartition { topic: "t".into(), partitions: partitions.to_vec(), ..Default::default() };
    versioned(&ConsumerProtocolAssignment { assigned_partitions: vec![topic], ..Default::default() })
}

fn partitions(assignment: &Bytes) -> Vec<i32> {
    let decoded = ConsumerProtocolAssignment::from_bytes(assignment.slice(2..), 1).expect("an assignment");
    decoded.assigned_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect()
}

fn classic_join(
    shell: &mut Shell,
    member: &str,
    instance: Option<&str>,
    owned: &[i32],
) -> Option<JoinGroupResponse> {
    let new_member = shell.new_member();
    let request = JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member.into(),
        group_instance_id: instance.map(Into::into),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: subscription(&["t"], owned),
            ..Default::default()
        }],
        ..Default::default()
    };
    let client = ClientContext { client_id: "old".into(), client_host: "/127.0.0.1".into(), version: 9 };
    let reply = shell.ask(GroupRequest::Join { request, client, new_member });
    match shell.take(reply) {
        Some(GroupResponse::Join(response)) => Some(response),
        None => None,
        other => panic!("no join reply: {other:?}"),
    }
}

fn classic_sync(
    shell: &mut Shell,
    member: &str,
    generation: i32,
    given: &[(&str, &[i32])],
) -> SyncGroupResponse {
    let request = SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: generation,
        member_id: member.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: given
            .iter()
            .map(|(member, partitions)| SyncGroupRequestAssignment {
                member_id: (*member).into(),
                assignment: assignment(partitions),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let reply = shell.ask(GroupRequest::Sync { request });
    shell.synced(reply)
}

/// A classic group with one member that has all four partitions of `t`; its id.
fn classic_group(shell: &mut Shell) -> String {
    let member = classic_join(shell, "", None, &[]).expect("an id").member_id.to_string();
    assert!(classic_join(shell, &member, None, &[]).is_none(), "it waits for others");
    shell.advance(0);
    let generation = shell.replies().len() as i32;
    assert_eq!(classic_sync(shell, &member, generation, &[(&member, &[0, 1, 2, 3])]).error_code, 0);
    member
}

#[test]
fn a_group_rolls_over_to_the_new_protocol_without_a_pause() {
    let mut shell = shell(&[("t", 4)]);
    let old = classic_group(&mut shell);
    // The first member of the new protocol makes it a consumer group, in which the old one keeps its partitions.
    assert_eq!(told(&beat(&mut shell, join("new", &["t"])), "t"), (2, Some(vec![])));
    let described = describe(&mut shell);
    assert_eq!(described.members.len(), 2);
    assert_eq!(described.members.iter().map(|member| member.member_type).collect::<Vec<_>>(), [1, 0]);
    // It learns of the change by its heartbeat, joins again, and is told to give up two.
    assert_eq!(shell.heartbeat(&old, 1), code(ErrorCode::RebalanceInProgress));
    let rejoined = classic_join(&mut shell, &old, None, &[0, 1, 2, 3]).expect("an answer at once");
    assert_eq!((rejoined.error_code, rejoined.generation_id, rejoined.leader.as_str()), (0, 1, ""));
    let synced = classic_sync(&mut shell, &old, 1, &[]);
    let kept = partitions(&synced.assignment);
    assert_eq!((synced.error_code, kept.len()), (0, 2));
    // Cooperative consumers join once more without what they gave up.
    assert_eq!(shell.heartbeat(&old, 1), code(ErrorCode::RebalanceInProgress));
    let rejoined = classic_join(&mut shell, &old, None, &kept).expect("an answer at once");
    assert_eq!(rejoined.generation_id, 2);
    assert_eq!(partitions(&classic_sync(&mut shell, &old, 2, &[]).assignment), kept);
    assert_eq!(shell.heartbeat(&old, 2), 0);
    let taken = told(&beat(&mut shell, stay("new", 2)), "t").1.expect("its part");
    assert_eq!(kept.len() + taken.len(), 4);
    // The old member leaves, by its own protocol; the group stays what it is.
    let left = shell.leave(&[(&old, None)]);
    assert_eq!(left.members[0].error_code, 0);
    assert_eq!(told(&beat(&mut shell, stay("new", 2)), "t"), (3, Some(vec![0, 1, 2, 3])));
}

#[test]
fn a_group_rolls_back_when_its_last_member_of_the_new_protocol_leaves() {
    let mut shell = shell(&[("t", 4)]);
    let old = classic_group(&mut shell);
    beat(&mut shell, join("new", &["t"]));
    classic_join(&mut shell, &old, None, &[]);
    classic_sync(&mut shell, &old, 2, &[]);
    beat(&mut shell, stay("new", -1));
    assert_eq!(shell.state(), "PreparingRebalance", "a classic group again, which tells its members");
    assert_eq!(shell.heartbeat(&old, 2), code(ErrorCode::RebalanceInProgress));
    classic_join(&mut shell, &old, None, &[]);
    assert_eq!(shell.state(), "CompletingRebalance");
    shell.restart();
    assert_eq!(shell.state(), "Stable", "as its record says");
    let group = shell.coordinator.shard().state().group(GROUP).and_then(|group| group.as_classic());
    assert_eq!(group.map(|group| group.assignments().count()), Some(1));
}

#[test]
fn a_member_of_the_old_protocol_joins_a_consumer_group() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("new", &["t"]));
    let id = classic_join(&mut shell, "", None, &[]).expect("an answer");
    assert_eq!(id.error_code, code(ErrorCode::MemberIdRequired));
    let joined = classic_join(&mut shell, &id.member_id, None, &[]).expect("an answer");
    assert_eq!(
        (joined.error_code, joined.generation_id, joined.protocol_name.as_deref()),
        (0, 3, Some("range"))
    );
    let synced = classic_sync(&mut shell, &id.member_id, 3, &[]);
    assert_eq!((synced.error_code, partitions(&synced.assignment)), (0, vec![]));
    assert_eq!(shell.heartbeat(&id.member_id, 3), 0, "it waits for the other");
    beat(&mut shell, stay("new", 2));
    beat(&mut shell, owning("new", 2, "t", &[0]));
    assert_eq!(shell.heartbeat(&id.member_id, 3), code(ErrorCode::RebalanceInProgress));
    classic_join(&mut shell, &id.member_id, None, &[]);
    assert_eq!(partitions(&classic_sync(&mut shell, &id.member_id, 3, &[]).assignment), [1]);
}

#[test]
fn a_member_of_the_old_protocol_that_does_not_join_again_in_time_is_fenced() {
    let mut shell = shell(&[("t", 4)]);
    let old = classic_group(&mut shell);
    beat(&mut shell, join("new", &["t"]));
    for _ in 0..4 {
        assert_eq!(shell.heartbeat(&old, 1), code(ErrorCode::RebalanceInProgress));
        shell.advance(4_900);
        beat(&mut shell, stay("new", 2));
    }
    assert_eq!(shell.heartbeat(&old, 1), code(ErrorCode::RebalanceInProgress));
    shell.advance(1_000);
    assert_eq!(shell.heartbeat(&old, 1), code(ErrorCode::UnknownMemberId));
    assert_eq!(told(&beat(&mut shell, stay("new", 2)), "t"), (3, Some(vec![0, 1, 2, 3])));
}

#[test]
fn a_static_member_changes_its_protocol_and_keeps_its_partitions() {
    let mut shell = shell(&[("t", 2)]);
    let of_instance = |mut heartbeat: ConsumerGroupHeartbeatRequest| {
        heartbeat.instance_id = Some("one".into());
        heartbeat
    };
    beat(&mut shell, of_instance(join("new", &["t"])));
    // There and back: the only member is now one of the classic protocol, so the group is a classic one.
    let joined = classic_join(&mut shell, "", Some("one"), &[]).expect("an answer");
    assert_eq!(joined.error_code, 0);
    assert_eq!(shell.state(), "Stable");
    let synced = classic_sync(&mut shell, &joined.member_id, joined.generation_id, &[]);
    assert_eq!((synced.error_code, partitions(&synced.assignment)), (0, vec![0, 1]));
    let back = beat(&mut shell, of_instance(join("newer", &["t"])));
    assert_eq!(told(&back, "t").1, Some(vec![0, 1]));
}

#[test]
fn what_the_policy_does_not_allow_is_refused() {
    let of = |policy| move |config: &mut strata_coordinator::ConsumerConfig| config.migration_policy = policy;
    let mut shell = shell_with(&[("t", 4)], of(MigrationPolicy::Downgrade));
    classic_group(&mut shell);
    let (code_, message) = refused(&mut shell, join("new", &["t"]));
    assert_eq!(code_, ErrorCode::GroupIdNotFound);
    assert_eq!(
        message,
        "Cannot upgrade classic group g to consumer group because online upgrade is disabled."
    );
    assert_eq!(shell.state(), "Stable");

    let mut shell = shell_with(&[("t", 4)], of(MigrationPolicy::Disabled));
    beat(&mut shell, join("new", &["t"]));
    let refused = classic_join(&mut shell, "", None, &[]).expect("an answer");
    assert_eq!(refused.error_code, code(ErrorCode::InconsistentGroupProtocol));

    let mut shell = shell_with(&[("t", 4)], of(MigrationPolicy::Upgrade));
    let old = classic_group(&mut shell);
    beat(&mut shell, join("new", &["t"]));
    beat(&mut shell, stay("new", -1));
    assert_eq!(describe(&mut shell).members.len(), 1, "it stays a consumer group");
    assert_eq!(shell.heartbeat(&old, 1), code(ErrorCode::RebalanceInProgress));
    classic_join(&mut shell, &old, None, &[]);
    assert_eq!(partitions(&classic_sync(&mut shell, &old, 3, &[]).assignment), [0, 1, 2, 3]);
}

#[test]
fn groups_that_do_not_carry_subscriptions_are_not_upgraded() {
    let mut shell = shell(&[("t", 4)]);
    shell.stable_group(1);
    let (code, message) = refused(&mut shell, join("new", &["t"]));
    assert_eq!(code, ErrorCode::GroupIdNotFound);
    assert!(message.ends_with("the embedded consumer protocol is malformed."), "{message}");
    assert_eq!(shell.state(), "Stable");
}

#[test]
fn members_in_a_rebalance_are_sent_to_join_the_new_group() {
    let mut shell = shell(&[("t", 4)]);
    let old = classic_group(&mut shell);
    let second = classic_join(&mut shell, "", None, &[]).expect("an id").member_id.to_string();
    assert!(classic_join(&mut shell, &second, None, &[]).is_none(), "it waits for the first");
    beat(&mut shell, join("new", &["t"]));
    let answers = shell.replies();
    let sent_on = answers.values().filter(|answer| {
        matches!(answer, GroupResponse::Join(join) if join.error_code == code(ErrorCode::RebalanceInProgress))
    });
    assert_eq!(sent_on.count(), 1);
    assert_eq!(describe(&mut shell).members.len(), 3);
    assert!(classic_join(&mut shell, &second, None, &[]).is_some_and(|join| join.error_code == 0));
    assert_eq!(shell.heartbeat(&old, 1), code(ErrorCode::RebalanceInProgress));
}
