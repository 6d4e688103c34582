//! Members come and go; tasks follow them.

use strata_coordinator::group::{Group, StreamsMemberState};
use strata_coordinator::{
    GroupRequest, GroupResponse, Shard, StreamsConfig, StreamsHeartbeat, StreamsStatus,
};
use strata_types::ErrorCode;

use super::world::{Member, World, assigned, task};
use crate::harness::{GROUP, Join, code};
use crate::invariants::reload_equals_live;

fn statuses(answer: &StreamsHeartbeat) -> Vec<(i8, String)> {
    let statuses = answer.response.status.iter().flatten();
    statuses.map(|status| (status.status_code, status.status_detail.to_string())).collect()
}

fn ready() -> World {
    let mut world = World::new(World::prompt());
    world.create_internal_topics();
    world
}

#[test]
fn internal_topics_are_asked_for_and_then_there_are_tasks() {
    let mut world = World::new(World::prompt());
    let mut member = Member::new("a", "p");
    let answer = member.beat(&mut world);
    let asked: Vec<_> = answer.missing_topics.iter().map(|t| (t.name.as_str(), t.num_partitions)).collect();
    assert_eq!(asked, [("by-word", 4), ("counts-changelog", 4)]);
    let detail = "Internal topics are missing: by-word, counts-changelog".to_owned();
    assert_eq!(statuses(&answer), [(StreamsStatus::MissingInternalTopics as i8, detail)]);
    assert_eq!((answer.response.member_epoch, world.state().as_str()), (2, "NotReady"));

    world.create_internal_topics();
    let answer = member.beat(&mut world);
    assert_eq!(statuses(&answer), []);
    assert_eq!(
        (answer.response.member_epoch, member.has.active.len(), world.state().as_str()),
        (3, 8, "Stable")
    );
    let described = world.describe().topology.expect("a topology");
    let subtopologies = described.subtopologies.expect("subtopologies");
    assert_eq!(subtopologies[1].state_changelog_topics[0].partitions, 4);
}

#[test]
fn without_its_source_a_group_is_not_ready_and_says_so() {
    let mut world = ready();
    world.delete("lines");
    let mut member = Member::new("a", "p");
    let missing = (StreamsStatus::MissingSourceTopics as i8, "Source topics lines are missing.".to_owned());
    assert_eq!(statuses(&member.beat(&mut world)), std::slice::from_ref(&missing));
    world.create("lines", 4);
    world.settle(&mut [&mut member]);
    world.delete("lines");
    assert_eq!(statuses(&member.beat(&mut world)), [missing]);
    member.beat(&mut world);
    assert_eq!((member.has.active.len(), world.state().as_str()), (0, "NotReady"));
}

#[test]
fn a_new_group_waits_for_more_members() {
    let mut world = World::new(StreamsConfig::default());
    world.create_internal_topics();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    let delayed = (
        StreamsStatus::AssignmentDelayed as i8,
        "Assignment delayed due to the configured initial rebalance delay.".to_owned(),
    );
    assert_eq!(statuses(&a.beat(&mut world)), std::slice::from_ref(&delayed));
    assert_eq!((a.epoch, world.state().as_str()), (1, "Assigning"));
    world.shell.advance(2_000);
    assert_eq!(statuses(&b.beat(&mut world)), [delayed]);
    world.shell.advance(1_000);
    a.beat(&mut world);
    b.beat(&mut world);
    assert_eq!((a.has.active.len(), b.has.active.len(), world.state().as_str()), (4, 4, "Stable"));
}

#[test]
fn assignments_of_a_group_keep_their_distance() {
    let config = StreamsConfig { assignment_interval_ms: 1_000, ..World::prompt() };
    let mut world = World::new(config);
    world.create_internal_topics();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    a.beat(&mut world);
    let delayed = (
        StreamsStatus::AssignmentDelayed as i8,
        "Assignment delayed due to the configured assignment interval.".to_owned(),
    );
    assert_eq!(statuses(&b.beat(&mut world)), [delayed]);
    assert!(b.has.is_empty());
    world.shell.advance(1_000);
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(b.has.active.len(), 4);
}

#[test]
fn a_task_moves_once_its_member_has_given_it_up() {
    let mut world = ready();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    a.beat(&mut world);
    assert_eq!(a.has.active.len(), 8);

    b.beat(&mut world);
    assert!(b.has.is_empty(), "nothing is free yet");
    // The first is told; only when it says that it has no more than it keeps does the second get the rest.
    let has_all = a.clone();
    a.beat(&mut world);
    assert_eq!(a.has.active.len(), 4);
    b.beat(&mut world);
    assert!(b.has.is_empty(), "the first has not yet said so");
    let group = world.group().expect("the group");
    let states: Vec<_> = group.members().map(|member| member.state).collect();
    assert_eq!(states, [StreamsMemberState::UnrevokedTasks, StreamsMemberState::UnreleasedTasks]);
    assert_eq!((world.state().as_str(), has_all.epoch), ("Reconciling", a.epoch));

    a.beat(&mut world);
    b.beat(&mut world);
    assert_eq!((a.has.active.len(), b.has.active.len(), world.state().as_str()), (4, 4, "Stable"));
}

#[test]
fn a_member_that_leaves_or_falls_silent_is_replaced() {
    let mut world = ready();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    world.settle(&mut [&mut a, &mut b]);
    let left = world.ask(b.leaves());
    assert_eq!((left.response.error_code, left.response.member_epoch), (0, -1));
    world.settle(&mut [&mut a]);
    assert_eq!(a.has.active.len(), 8);

    let mut c = Member::new("c", "r");
    world.settle(&mut [&mut a, &mut c]);
    assert_eq!(a.has.active.len(), 4);
    world.shell.advance(44_000);
    a.beat(&mut world);
    world.shell.advance(2_000);
    world.settle(&mut [&mut a]);
    assert_eq!(a.has.active.len(), 8);
    c.beat(&mut world);
    assert_eq!(c.epoch, 0, "it must start over");
}

#[test]
fn a_member_that_does_not_give_up_its_tasks_in_time_is_out() {
    let mut world = ready();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    world.settle(&mut [&mut a]);
    b.beat(&mut world);
    // It shows that it lives, and keeps everything.
    for _ in 0..7 {
        world.ask(a.request());
        b.beat(&mut world);
        world.shell.advance(10_000);
    }
    world.settle(&mut [&mut b]);
    assert_eq!(b.has.active.len(), 8);
}

#[test]
fn standbys_follow_the_groups_own_setting() {
    let mut world = ready();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    world.settle(&mut [&mut a, &mut b]);
    assert!(a.has.standby.is_empty());
    world.set_on_group("streams.num.standby.replicas", "1");
    world.settle(&mut [&mut a, &mut b]);
    let stateful =
        |member: &Member| member.has.active.iter().filter(|t| *t.subtopology == *"1").cloned().collect();
    assert_eq!((&a.has.standby, &b.has.standby), (&stateful(&b), &stateful(&a)));
}

#[test]
fn more_partitions_make_more_tasks() {
    let mut world = ready();
    let mut a = Member::new("a", "p");
    world.settle(&mut [&mut a]);
    let epoch = a.epoch;
    world.create("unrelated", 3);
    a.beat(&mut world);
    assert_eq!(a.epoch, epoch, "other topics are no business of this group");
    world.create("lines", 5);
    let answer = a.beat(&mut world);
    let detail = "Existing topic by-word has different number of partitions: expected 5, found 4".to_owned();
    assert_eq!(statuses(&answer), [(StreamsStatus::IncorrectlyPartitionedTopics as i8, detail)]);
    world.create("by-word", 5);
    world.create("counts-changelog", 5);
    world.settle(&mut [&mut a]);
    assert_eq!(a.has.active.len(), 10);
}

#[test]
fn who_asks_for_the_end_is_heard_by_all_until_the_group_is_empty() {
    let mut world = ready();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    world.settle(&mut [&mut a, &mut b]);
    let mut request = a.request();
    request.shutdown_application = true;
    world.ask(request);
    let detail = "Streams group member a encountered a fatal error and requested a shutdown for the entire application.";
    let shutdown = (StreamsStatus::ShutdownApplication as i8, detail.to_owned());
    assert!(statuses(&b.beat(&mut world)).contains(&shutdown));
    world.ask(a.leaves());
    assert!(statuses(&b.beat(&mut world)).contains(&shutdown));
    world.ask(b.leaves());
    a.forget();
    assert_eq!(statuses(&a.beat(&mut world)), []);
}

#[test]
fn endpoints_are_told_whenever_they_changed() {
    let mut world = ready();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    (a.endpoint, b.endpoint) = (Some(1), Some(2));
    world.settle(&mut [&mut a, &mut b]);
    let answer = a.beat(&mut world);
    let told = answer.response.partitions_by_user_endpoint.expect("endpoints");
    let ports: Vec<_> = told.iter().map(|told| told.user_endpoint.port).collect();
    assert_eq!(ports, [2, 1]);
    let lines = told.iter().flat_map(|told| &told.active_partitions).filter(|p| *p.topic == *"lines");
    let mut partitions: Vec<_> = lines.flat_map(|lines| lines.partitions.clone()).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 1, 2, 3]);

    let mut request = a.request();
    request.endpoint_information_epoch = answer.response.endpoint_information_epoch;
    assert_eq!(world.ask(request).response.partitions_by_user_endpoint, None);
}

#[test]
fn a_coordinator_that_reads_the_log_goes_on_where_the_last_one_was() {
    let mut world = ready();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    a.endpoint = Some(80);
    world.set_on_group("streams.num.standby.replicas", "1");
    world.settle(&mut [&mut a, &mut b]);
    let before = assigned(world.group().expect("the group"));
    let reloaded = world.shell.reloaded();
    reload_equals_live::check(world.shell.coordinator.shard().state(), reloaded.shard().state());
    world.restart();
    world.settle(&mut [&mut a, &mut b]);
    assert_eq!(assigned(world.group().expect("the group")), before);
    world.shell.advance(46_000);
    assert_eq!(world.state(), "Empty");
}

#[test]
fn an_empty_group_can_change_its_type_and_be_deleted() {
    let mut world = ready();
    let mut a = Member::new("a", "p");
    world.settle(&mut [&mut a]);
    let refused = world.shell.join_with(Join::default());
    assert_eq!(world.shell.joined(refused).error_code, code(ErrorCode::InconsistentGroupProtocol));
    let delete = |world: &mut World| {
        let reply = world.shell.ask(GroupRequest::DeleteGroups { group_ids: vec![GROUP.into()] });
        match world.shell.take(reply) {
            Some(GroupResponse::DeleteGroups(results)) => results[0].error_code,
            other => panic!("no answer: {other:?}"),
        }
    };
    assert_eq!(delete(&mut world), code(ErrorCode::NonEmptyGroup));

    world.ask(a.leaves());
    let joins = world.shell.join_with(Join { version: 3, ..Join::default() });
    world.shell.advance(3_000);
    let classic = world.shell.joined(joins);
    let group = world.shell.coordinator.shard().state().group(GROUP).cloned();
    assert!(classic.error_code == 0 && matches!(group, Some(Group::Classic(_))));
    a.forget();
    assert_eq!(a.beat(&mut world).response.error_code, code(ErrorCode::GroupIdNotFound));

    world.shell.leave(&[(&classic.member_id, None)]);
    world.settle(&mut [&mut a]);
    world.ask(a.leaves());
    assert_eq!(delete(&mut world), 0);
    assert!(world.group().is_none() && world.shell.reloaded().shard().state().groups().next().is_none());
}

#[test]
fn a_lost_answer_does_not_cost_a_member_its_place() {
    let mut world = ready();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    world.settle(&mut [&mut a]);
    b.beat(&mut world);
    a.beat(&mut world);
    // The answer to this one is lost: the member is an epoch behind, with what it was to keep.
    let behind = a.clone();
    a.beat(&mut world);
    assert!(a.epoch > behind.epoch);
    let mut again = behind.clone();
    assert_eq!(again.beat(&mut world).response.error_code, 0);
    assert_eq!(again.epoch, a.epoch);
    let mut greedy = behind;
    greedy.has.active.insert(task("0", 3));
    greedy.has.active.insert(task("0", 2));
    greedy.has.active.insert(task("0", 1));
    greedy.has.active.insert(task("0", 0));
    assert_eq!(greedy.beat(&mut world).response.error_code, code(ErrorCode::FencedMemberEpoch));
}
