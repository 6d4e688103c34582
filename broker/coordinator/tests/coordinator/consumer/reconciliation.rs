//! How partitions go from one member to another: given up first, then taken.

use super::{beat, describe, group, join, owning, refused, shell, state_of, stay, told};
use strata_types::ErrorCode;

#[test]
fn a_second_member_waits_until_the_first_has_given_up_its_part() {
    let mut shell = shell(&[("t", 4)]);
    beat(&mut shell, join("a", &["t"]));
    assert_eq!(told(&beat(&mut shell, join("b", &["t"])), "t"), (3, Some(vec![])), "nothing is free yet");
    assert_eq!(state_of(&mut shell), "Reconciling");
    // It is asked to give up two, and stays in its epoch until it has.
    assert_eq!(told(&beat(&mut shell, stay("a", 2)), "t"), (2, Some(vec![0, 1])));
    assert_eq!(told(&beat(&mut shell, owning("a", 2, "t", &[0, 1, 2, 3])), "t"), (2, None));
    assert_eq!(told(&beat(&mut shell, stay("b", 3)), "t"), (3, None));
    assert_eq!(told(&beat(&mut shell, owning("a", 2, "t", &[0, 1])), "t"), (3, None));
    assert_eq!(told(&beat(&mut shell, stay("b", 3)), "t"), (3, Some(vec![2, 3])));
    assert_eq!(state_of(&mut shell), "Stable");
}

#[test]
fn a_member_that_does_not_give_up_its_partitions_in_time_is_fenced() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    beat(&mut shell, join("b", &["t"]));
    beat(&mut shell, stay("a", 2));
    for _ in 0..4 {
        shell.advance(14_000);
        beat(&mut shell, owning("a", 2, "t", &[0, 1]));
        beat(&mut shell, stay("b", 3));
    }
    shell.advance(5_000);
    assert_eq!(refused(&mut shell, owning("a", 2, "t", &[0, 1])).0, ErrorCode::UnknownMemberId);
    assert_eq!(told(&beat(&mut shell, stay("b", 3)), "t"), (4, Some(vec![0, 1])));
}

#[test]
fn a_member_in_time_is_not_fenced_later() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, join("a", &["t"]));
    beat(&mut shell, join("b", &["t"]));
    beat(&mut shell, stay("a", 2));
    beat(&mut shell, owning("a", 2, "t", &[0]));
    for _ in 0..6 {
        shell.advance(14_000);
        beat(&mut shell, stay("a", 3));
        beat(&mut shell, stay("b", 3));
    }
    assert_eq!(describe(&mut shell).members.len(), 2);
}

#[test]
fn a_member_that_subscribes_to_something_else_gives_up_the_former_at_once() {
    let mut shell = shell(&[("t", 2), ("u", 2)]);
    beat(&mut shell, join("a", &["t"]));
    let mut change = owning("a", 2, "t", &[0, 1]);
    change.subscribed_topic_names = Some(vec!["u".into()]);
    let changed = beat(&mut shell, change);
    assert_eq!(told(&changed, "t"), (2, Some(vec![])));
    let given_up = beat(&mut shell, owning("a", 2, "t", &[]));
    assert_eq!(told(&given_up, "u"), (3, Some(vec![0, 1])));
}

#[test]
fn what_is_described_is_what_members_have_and_are_to_have() {
    let mut shell = shell(&[("t", 2)]);
    let mut first = join("a", &["t"]);
    first.server_assignor = Some("range".into());
    beat(&mut shell, first);
    beat(&mut shell, join("b", &["t"]));
    beat(&mut shell, stay("a", 2));
    let described = describe(&mut shell);
    assert_eq!((described.group_epoch, described.assignment_epoch), (3, 3));
    assert_eq!(described.assignor_name.as_str(), "range");
    let partitions =
        |assignment: &strata_protocol::messages::consumer_group_describe_response::Assignment| {
            assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect::<Vec<_>>()
        };
    let a = &described.members[0];
    assert_eq!((partitions(&a.assignment), partitions(&a.target_assignment)), (vec![0, 1], vec![0]));
    let b = &described.members[1];
    assert_eq!((partitions(&b.assignment), partitions(&b.target_assignment)), (vec![], vec![1]));
    assert_eq!((a.member_epoch, b.member_epoch, a.member_type), (2, 3, 1));
}

#[test]
fn a_group_comes_back_from_its_records_as_it_was() {
    let mut shell = shell(&[("t", 4)]);
    beat(&mut shell, join("a", &["t"]));
    beat(&mut shell, join("b", &["t"]));
    beat(&mut shell, stay("a", 2));
    let before = format!("{:?}", group(&shell));
    shell.restart();
    assert_eq!(format!("{:?}", group(&shell)), before);
    beat(&mut shell, owning("a", 2, "t", &[0, 1]));
    assert_eq!(told(&beat(&mut shell, stay("b", 3)), "t"), (3, Some(vec![2, 3])));
}
