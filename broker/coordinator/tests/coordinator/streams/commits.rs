//! Whose offsets count.

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use strata_types::ErrorCode;

use super::world::{Member, World};
use crate::harness::{GROUP, code, commit_request};

fn commit(world: &mut World, member: &str, epoch: i32, topic: &str, partition: i32) -> i16 {
    let reply = world.shell.ask(commit_request(member, epoch, &[(topic, partition, 7)]));
    world.shell.committed(reply)[0]
}

fn two_members() -> (World, Member, Member) {
    let mut world = World::new(World::prompt());
    world.create_internal_topics();
    let (mut a, mut b) = (Member::new("a", "p"), Member::new("b", "q"));
    world.settle(&mut [&mut a]);
    world.settle(&mut [&mut a, &mut b]);
    (world, a, b)
}

#[test]
fn a_member_an_epoch_behind_may_commit_for_the_tasks_that_it_still_has() {
    let (mut world, a, b) = two_members();
    let kept = a.has.active.iter().find(|task| *task.subtopology == *"0").expect("a task").partition;
    let moved = b.has.active.iter().find(|task| *task.subtopology == *"0").expect("a task").partition;
    assert_eq!(commit(&mut world, "a", a.epoch, "lines", moved), 0, "Kafka looks at the epoch only");
    assert_eq!(commit(&mut world, "a", a.epoch - 1, "lines", kept), 0);
    let stale = code(ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(&mut world, "a", a.epoch - 1, "lines", moved), stale);
    assert_eq!(commit(&mut world, "b", b.epoch - 1, "lines", moved), stale, "it had it only later");
    assert_eq!(commit(&mut world, "a", a.epoch - 1, "by-word", kept), 0);
    assert_eq!(commit(&mut world, "a", a.epoch - 1, "elsewhere", kept), stale);
    assert_eq!(commit(&mut world, "a", a.epoch + 1, "lines", kept), stale);
}

#[test]
fn strangers_may_commit_only_while_the_group_is_empty() {
    let (mut world, a, b) = two_members();
    assert_eq!(commit(&mut world, "", -1, "lines", 0), code(ErrorCode::UnknownMemberId));
    assert_eq!(commit(&mut world, "c", 3, "lines", 0), code(ErrorCode::UnknownMemberId));
    world.ask(a.leaves());
    world.ask(b.leaves());
    assert_eq!(commit(&mut world, "", -1, "lines", 0), 0);
}

#[test]
fn members_fetch_with_their_own_epoch() {
    let (mut world, a, _) = two_members();
    let mut fetch = |member: Option<&str>, epoch: i32| {
        let group = OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            member_id: member.map(Into::into),
            member_epoch: epoch,
            ..Default::default()
        };
        let reply = world.shell.ask(GroupRequest::OffsetFetch { group, require_stable: false });
        match world.shell.take(reply) {
            Some(GroupResponse::OffsetFetch(response)) => response.error_code,
            other => panic!("no fetch reply: {other:?}"),
        }
    };
    assert_eq!(fetch(Some("a"), a.epoch), 0);
    assert_eq!(fetch(None, -1), 0);
    assert_eq!(fetch(Some("a"), a.epoch - 1), code(ErrorCode::StaleMemberEpoch));
    assert_eq!(fetch(Some("c"), a.epoch), code(ErrorCode::UnknownMemberId));
}
