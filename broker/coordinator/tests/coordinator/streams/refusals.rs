//! What Kafka refuses, in its words.

use strata_protocol::messages::StreamsGroupHeartbeatRequest;
use strata_protocol::messages::streams_group_heartbeat_request::{KeyValue, TaskIds, TaskOffset};
use strata_types::ErrorCode;

use super::world::{Member, World, word_count};
use crate::harness::code;

fn world() -> World {
    let mut world = World::new(World::prompt());
    world.create_internal_topics();
    world
}

fn refusal(world: &mut World, request: StreamsGroupHeartbeatRequest) -> (i16, String) {
    let response = world.ask(request).response;
    (response.error_code, response.error_message.map_or_else(String::new, String::from))
}

#[test]
fn requests_that_are_not_in_order_are_refused() {
    let mut world = world();
    let joins = || Member::new("a", "p").request();
    let list = || vec![TaskIds { subtopology_id: "0".into(), partitions: vec![0], ..Default::default() }];
    let mut regex = word_count();
    regex.subtopologies[0].source_topic_regex = vec!["lin.*".into()];
    type Change = Box<dyn Fn(&mut StreamsGroupHeartbeatRequest)>;
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(|r| r.instance_id = Some("i".into())), "Static membership is not yet supported."),
        (
            Box::new(|r| r.task_offsets = Some(vec![TaskOffset::default()])),
            "TaskOffsets are not supported yet.",
        ),
        (Box::new(|r| r.task_end_offsets = Some(Vec::new())), "TaskEndOffsets are not supported yet."),
        (Box::new(move |r| r.warmup_tasks = Some(list())), "WarmupTasks are not supported yet."),
        (
            Box::new(move |r| r.topology = Some(regex.clone())),
            "Regular expressions for source topics are not supported yet.",
        ),
        (Box::new(|r| r.member_id = " ".into()), "MemberId can't be empty."),
        (Box::new(|r| r.group_id = "".into()), "GroupId can't be empty."),
        (Box::new(|r| r.rack_id = Some("".into())), "RackId can't be empty."),
        (Box::new(|r| r.rebalance_timeout_ms = -1), "RebalanceTimeoutMs must be provided in first request."),
        (Box::new(|r| r.active_tasks = None), "ActiveTasks must be empty when (re-)joining."),
        (Box::new(|r| r.topology = None), "Topology must be non-null when (re-)joining."),
        (Box::new(|r| r.member_epoch = -3), "MemberEpoch is -3, but must be greater than or equal to -2."),
        (Box::new(|r| r.member_epoch = -2), "InstanceId can't be null."),
        (Box::new(|r| r.member_epoch = 1), "Topology can only be provided when (re-)joining."),
        (
            Box::new(|r| (r.member_epoch, r.topology, r.standby_tasks) = (1, None, None)),
            "If one task-type is non-null, all must be non-null.",
        ),
    ];
    for (change, words) in cases {
        let mut request = joins();
        change(&mut request);
        assert_eq!(refusal(&mut world, request), (code(ErrorCode::InvalidRequest), words.to_owned()));
    }
    assert!(world.group().is_none() && world.shell.log.is_empty());
}

#[test]
fn topologies_that_cannot_be_are_refused_and_leave_nothing() {
    let mut world = world();
    let mut request = Member::new("a", "p").request();
    let mut topology = word_count();
    topology.subtopologies[1].state_changelog_topics[0].partitions = 3;
    request.topology = Some(topology);
    let words =
        "Changelog topic counts-changelog must have an undefined partition count, but it is set to 3.";
    assert_eq!(refusal(&mut world, request), (code(ErrorCode::StreamsInvalidTopology), words.to_owned()));

    let mut request = Member::new("a", "p").request();
    let mut topology = word_count();
    topology.subtopologies.remove(0);
    request.topology = Some(topology);
    assert_eq!(refusal(&mut world, request).0, code(ErrorCode::StreamsInvalidTopology));

    let mut request = Member::new("a", "p").request();
    request.client_tags =
        Some(vec![KeyValue { key: "k".into(), value: "v".repeat(100_000).into(), ..Default::default() }]);
    assert_eq!(refusal(&mut world, request).0, code(ErrorCode::InvalidRequest));
    assert!(world.group().is_none() && world.shell.log.is_empty());
}

#[test]
fn a_groups_topology_stays_and_those_behind_are_told() {
    let mut world = world();
    let mut newer = Member::new("a", "p").request();
    let mut topology = word_count();
    topology.epoch = 3;
    newer.topology = Some(topology.clone());
    world.ask(newer);

    let older = Member::new("b", "q").request();
    let status = world.ask(older).response.status.expect("statuses");
    let detail = "The member's topology epoch 0 is behind the group's topology epoch 3.";
    assert_eq!((status[0].status_code, status[0].status_detail.as_str()), (0, detail));

    let mut different = Member::new("c", "r").request();
    topology.subtopologies[0].source_topics = vec!["lines".into(), "lines-2".into()];
    different.topology = Some(topology);
    let words = "Topology updates are not supported yet.".to_owned();
    assert_eq!(refusal(&mut world, different), (code(ErrorCode::InvalidRequest), words));
}

#[test]
fn members_epochs_and_tasks_must_be_known() {
    let mut world = world();
    let mut a = Member::new("a", "p");
    let mut stranger = a.clone();
    stranger.epoch = 1;
    let words = "Streams group g not found.".to_owned();
    assert_eq!(refusal(&mut world, stranger.request()), (code(ErrorCode::GroupIdNotFound), words));
    world.settle(&mut [&mut a]);
    stranger.id = "b".to_owned();
    let words = "Member b is not a member of group g.".to_owned();
    assert_eq!(refusal(&mut world, stranger.request()), (code(ErrorCode::UnknownMemberId), words));

    let mut ahead = a.clone();
    ahead.epoch += 1;
    let words = format!(
        "The streams group member has a greater member epoch ({}) than the one known by the group coordinator ({}). \
         The member must abandon all its partitions and rejoin.",
        ahead.epoch, a.epoch
    );
    assert_eq!(refusal(&mut world, ahead.request()), (code(ErrorCode::FencedMemberEpoch), words));

    let mut request = a.request();
    request.active_tasks =
        Some(vec![TaskIds { subtopology_id: "0".into(), partitions: vec![4], ..Default::default() }]);
    let words = "Task 4 for subtopology 0 is invalid. Number of tasks for this subtopology: 4".to_owned();
    assert_eq!(refusal(&mut world, request.clone()), (code(ErrorCode::InvalidRequest), words));
    request.active_tasks =
        Some(vec![TaskIds { subtopology_id: "7".into(), partitions: vec![0], ..Default::default() }]);
    let words = "Subtopology 7 does not exist in the topology.".to_owned();
    assert_eq!(refusal(&mut world, request), (code(ErrorCode::InvalidRequest), words));
}

#[test]
fn a_full_group_takes_nobody_in() {
    let mut config = World::prompt();
    config.max_size = 1;
    let mut world = World::new(config);
    world.create_internal_topics();
    let mut a = Member::new("a", "p");
    world.settle(&mut [&mut a]);
    let words = "The streams group has reached its maximum capacity of 1 members.".to_owned();
    let refused = refusal(&mut world, Member::new("b", "q").request());
    assert_eq!(refused, (code(ErrorCode::GroupMaxSizeReached), words));
}
