//! Joining, staying, leaving; what is refused, in Kafka's words.

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::{ConsumerGroupHeartbeatRequest, ListGroupsRequest};
use strata_types::ErrorCode;

use super::{
    Topics, beat, describe, join, owning, refused, set_topics, shell, shell_with, state_of, stay, told,
    topic_id,
};
use crate::harness::{GROUP, Join, Shell, code};

#[test]
fn the_first_member_gets_all_partitions_at_once() {
    let mut shell = shell(&[("t", 3)]);
    let joined = beat(&mut shell, join("a", &["t"]));
    assert_eq!(told(&joined, "t"), (2, Some(vec![0, 1, 2])));
    assert_eq!(joined.heartbeat_interval_ms, 5_000);
    assert_eq!(told(&beat(&mut shell, stay("a", 2)), "t"), (2, None), "nothing new is not told again");
    assert_eq!(state_of(&mut shell), "Stable");
}

#[test]
fn a_member_of_version_0_may_be_named_by_the_coordinator() {
    let mut shell = shell(&[("t", 1)]);
    let request = GroupRequest::ConsumerGroupHeartbeat {
        request: join("", &["t"]),
        client: strata_coordinator::ClientContext {
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            version: 0,
        },
        new_member: topic_id("random"),
        access: None,
    };
    let reply = shell.ask(request);
    let Some(GroupResponse::ConsumerGroupHeartbeat(joined)) = shell.take(reply) else { panic!("no reply") };
    assert_eq!(joined.member_id.map(|id| id.len()), Some(22), "as Kafka prints an id");
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let mut shell = shell(&[("t", 1)]);
    let mut invalid = |change: fn(&mut ConsumerGroupHeartbeatRequest)| {
        let mut request = join("a", &["t"]);
        change(&mut request);
        refused(&mut shell, request)
    };
    let of = |message: &str| (ErrorCode::InvalidRequest, message.to_owned());
    assert_eq!(invalid(|r| r.group_id = "".into()), of("GroupId can't be empty."));
    assert_eq!(invalid(|r| r.member_id = " ".into()), of("MemberId can't be empty."));
    assert_eq!(invalid(|r| r.instance_id = Some("".into())), of("InstanceId can't be empty."));
    assert_eq!(invalid(|r| r.rack_id = Some("".into())), of("RackId can't be empty."));
    assert_eq!(
        invalid(|r| r.rebalance_timeout_ms = -1),
        of("RebalanceTimeoutMs must be provided in first request.")
    );
    assert_eq!(
        invalid(|r| r.topic_partitions = None),
        of("TopicPartitions must be empty when (re-)joining.")
    );
    let none = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.";
    assert_eq!(invalid(|r| r.subscribed_topic_names = None), of(none));
    assert_eq!(invalid(|r| r.member_epoch = -3), of("MemberEpoch is invalid."));
    assert_eq!(invalid(|r| r.member_epoch = -2), of("InstanceId can't be null."));
    let unsupported = "ServerAssignor none is not supported. Supported assignors: uniform, range.";
    assert_eq!(
        invalid(|r| r.server_assignor = Some("none".into())),
        (ErrorCode::UnsupportedAssignor, unsupported.to_owned())
    );
    assert!(shell.log.is_empty(), "nothing is written for them");
}

#[test]
fn who_is_no_member_is_told_so() {
    let mut shell = shell(&[("t", 1)]);
    let not_found = |message: &str| (ErrorCode::GroupIdNotFound, message.to_owned());
    assert_eq!(refused(&mut shell, stay("a", 2)), not_found("Consumer group g not found."));
    assert_eq!(refused(&mut shell, stay("a", -1)), not_found("Group g not found."));
    beat(&mut shell, join("a", &["t"]));
    let unknown = (ErrorCode::UnknownMemberId, "Member b is not a member of group g.".to_owned());
    assert_eq!(refused(&mut shell, stay("b", 2)), unknown);
    assert_eq!(refused(&mut shell, stay("b", -1)), unknown);
}

#[test]
fn an_epoch_is_the_members_own_or_the_one_before() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    let ahead = refused(&mut shell, stay("a", 8));
    assert_eq!(ahead.0, ErrorCode::FencedMemberEpoch);
    assert_eq!(
        ahead.1,
        "The consumer group member has a greater member epoch (8) than the one known by the group coordinator (2). \
         The member must abandon all its partitions and rejoin."
    );
    // The answer with the new epoch gets lost: the member comes again with the old one, and has no more than it may.
    beat(&mut shell, join("b", &["t"]));
    beat(&mut shell, stay("a", 2));
    let moved = beat(&mut shell, owning("a", 2, "t", &[0]));
    assert_eq!(told(&moved, "t"), (3, None), "it knows what it keeps");
    assert_eq!(told(&beat(&mut shell, owning("a", 2, "t", &[0])), "t").0, 3);
    assert_eq!(refused(&mut shell, owning("a", 2, "t", &[0, 1])).0, ErrorCode::FencedMemberEpoch);
    assert_eq!(
        refused(&mut shell, stay("a", 2)).0,
        ErrorCode::FencedMemberEpoch,
        "it does not say what it has"
    );
    // Whoever is fenced joins again, under the same id.
    assert_eq!(told(&beat(&mut shell, join("a", &["t"])), "t"), (3, Some(vec![0])));
}

#[test]
fn a_group_takes_no_more_members_than_it_may() {
    let mut shell = shell_with(&[("t", 3)], |config| config.max_size = 1);
    beat(&mut shell, join("a", &["t"]));
    let full = "The consumer group has reached its maximum capacity of 1 members.".to_owned();
    assert_eq!(refused(&mut shell, join("b", &["t"])), (ErrorCode::GroupMaxSizeReached, full));
    assert_eq!(beat(&mut shell, join("a", &["t"])).error_code, 0, "who is a member may join again");
}

#[test]
fn a_member_that_leaves_frees_its_partitions_and_the_last_one_leaves_an_empty_group() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    let left = beat(&mut shell, stay("a", -1));
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    let described = describe(&mut shell);
    assert_eq!(
        (described.group_state.as_str(), described.group_epoch, described.members.len()),
        ("Empty", 3, 0)
    );
    assert_eq!(told(&beat(&mut shell, join("b", &["t"])), "t"), (4, Some(vec![0, 1])));
}

#[test]
fn a_member_that_falls_silent_is_fenced() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    shell.advance(44_000);
    beat(&mut shell, stay("a", 2));
    shell.advance(44_000);
    assert_eq!(state_of(&mut shell), "Stable");
    shell.advance(2_000);
    assert_eq!(state_of(&mut shell), "Empty");
    assert_eq!(refused(&mut shell, stay("a", 2)).0, ErrorCode::UnknownMemberId);
}

#[test]
fn sessions_start_anew_when_another_coordinator_takes_over() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    shell.advance(44_000);
    shell.restart();
    shell.advance(44_000);
    assert_eq!(told(&beat(&mut shell, stay("a", 2)), "t"), (2, None));
    shell.advance(46_000);
    assert_eq!(state_of(&mut shell), "Empty");
}

#[test]
fn a_groups_own_settings_count_before_the_brokers() {
    let mut shell = shell(&[("t", 1)]);
    let own = [("consumer.heartbeat.interval.ms", "6000"), ("consumer.session.timeout.ms", "50000")];
    let own = own.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    set_topics(
        &mut shell,
        Topics { group_config: Some(std::sync::Arc::new(own)), ..Topics::new(2, &[("t", 1)]) },
    );
    assert_eq!(beat(&mut shell, join("a", &["t"])).heartbeat_interval_ms, 6_000);
    shell.advance(49_000);
    assert_eq!(state_of(&mut shell), "Stable");
    shell.advance(2_000);
    assert_eq!(state_of(&mut shell), "Empty");
}

#[test]
fn new_partitions_are_assigned_at_the_next_heartbeat() {
    let mut shell = shell(&[("t", 1)]);
    beat(&mut shell, join("a", &["t", "later"]));
    set_topics(&mut shell, Topics::new(2, &[("later", 1), ("t", 2)]));
    let grown = beat(&mut shell, stay("a", 2));
    assert_eq!(told(&grown, "t"), (3, Some(vec![0, 1])));
    assert_eq!(told(&grown, "later"), (3, Some(vec![0])));
    set_topics(&mut shell, Topics::new(3, &[("later", 1), ("other", 9), ("t", 2)]));
    assert_eq!(told(&beat(&mut shell, stay("a", 3)), "t"), (3, None), "what nobody reads changes nothing");
}

#[test]
fn a_topic_made_anew_under_its_name_is_another() {
    let mut shell = shell(&[("t", 1)]);
    beat(&mut shell, join("a", &["t"]));
    set_topics(&mut shell, Topics::new(2, &[]));
    let gone = beat(&mut shell, owning("a", 2, "t", &[]));
    assert_eq!(told(&gone, "t"), (3, Some(vec![])));
}

#[test]
fn members_that_come_at_once_are_one_assignment() {
    let mut shell = shell_with(&[("t", 4)], |config| config.assignment_interval_ms = 1_000);
    assert_eq!(told(&beat(&mut shell, join("a", &["t"])), "t").0, 2);
    assert_eq!(told(&beat(&mut shell, join("b", &["t"])), "t"), (2, Some(vec![])), "too soon to assign");
    assert_eq!(state_of(&mut shell), "Assigning");
    shell.advance(1_000);
    beat(&mut shell, join("c", &["t"]));
    assert_eq!(describe(&mut shell).assignment_epoch, 4);
}

#[test]
fn groups_of_other_types_are_not_found() {
    let mut shell = shell(&[("t", 1)]);
    beat(&mut shell, join("a", &["t"]));
    let reply = shell.ask(GroupRequest::DescribeGroups { group_ids: vec![GROUP.into()], version: 6 });
    let Some(GroupResponse::DescribeGroups(described)) = shell.take(reply) else { panic!("no description") };
    assert_eq!(described[0].error_code, code(ErrorCode::GroupIdNotFound));
    assert_eq!(described[0].error_message.as_deref(), Some("Group g is not a classic group."));

    let mut classic = Shell::new();
    classic.stable_group(1);
    let described = describe(&mut classic);
    assert_eq!(described.error_code, code(ErrorCode::GroupIdNotFound));
    assert_eq!(described.error_message.as_deref(), Some("Group g is not a consumer group."));
}

#[test]
fn groups_are_listed_with_their_type_and_deleted_once_empty() {
    let mut shell = shell(&[("t", 1)]);
    beat(&mut shell, join("a", &["t"]));
    let list = |types: &[&str], shell: &mut Shell| {
        let request = ListGroupsRequest {
            types_filter: types.iter().map(|name| (*name).into()).collect(),
            ..Default::default()
        };
        let reply = shell.ask(GroupRequest::ListGroups { request });
        let Some(GroupResponse::ListGroups(Ok(groups))) = shell.take(reply) else { panic!("no list") };
        groups
            .iter()
            .map(|g| format!("{} {} {}", g.group_type, g.protocol_type, g.group_state))
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&["Consumer"], &mut shell), ["consumer consumer Stable"]);
    assert!(list(&["classic"], &mut shell).is_empty());
    let delete = |shell: &mut Shell| {
        let reply = shell.ask(GroupRequest::DeleteGroups { group_ids: vec![GROUP.into()] });
        let Some(GroupResponse::DeleteGroups(deleted)) = shell.take(reply) else { panic!("no answer") };
        deleted[0].error_code
    };
    assert_eq!(delete(&mut shell), code(ErrorCode::NonEmptyGroup));
    beat(&mut shell, stay("a", -1));
    assert_eq!(delete(&mut shell), 0);
    assert!(list(&[], &mut shell).is_empty());
    shell.restart();
    assert!(list(&[], &mut shell).is_empty(), "nothing of it is left in the log");
}

#[test]
fn an_empty_group_becomes_one_of_the_other_type() {
    let mut shell = shell(&[("t", 1)]);
    let (members, generation) = shell.stable_group(1);
    shell.leave(&[(&members[0], None)]);
    assert!(generation >= 1);
    assert_eq!(told(&beat(&mut shell, join("a", &["t"])), "t"), (2, Some(vec![0])));
    beat(&mut shell, stay("a", -1));
    let reply = shell.join_with(Join { version: 3, ..Join::default() });
    shell.advance(3_000);
    assert_eq!(shell.joined(reply).error_code, 0);
    assert_eq!(shell.state(), "CompletingRebalance");
    shell.restart();
    assert_eq!(shell.state(), "Empty");
}

#[test]
fn an_undone_join_leaves_nothing_behind() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    shell.hold_appends = true;
    let new_member = shell.new_member();
    let reply = shell.ask(super::request(join("b", &["t"]), new_member));
    shell.fail_append(ErrorCode::NotEnoughReplicas);
    let Some(GroupResponse::ConsumerGroupHeartbeat(failed)) = shell.take(reply) else { panic!("no reply") };
    assert_eq!(failed.error_code, code(ErrorCode::CoordinatorNotAvailable));
    shell.hold_appends = false;
    assert_eq!(told(&beat(&mut shell, stay("a", 2)), "t"), (2, None));
    shell.advance(46_000);
    assert_eq!(state_of(&mut shell), "Empty", "its session runs on");
}
