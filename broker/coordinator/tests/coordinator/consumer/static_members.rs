//! Static members (KIP-345 in the new protocol): away for a while under epoch -2, back under another member id.

use strata_protocol::messages::ConsumerGroupHeartbeatRequest;
use strata_types::ErrorCode;

use super::{beat, describe, join, refused, shell, state_of, stay, told};

fn of_instance(heartbeat: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest { instance_id: Some("one".into()), ..heartbeat }
}

#[test]
fn a_static_member_that_comes_back_has_what_it_had_without_a_rebalance() {
    let mut shell = shell(&[("t", 4)]);
    beat(&mut shell, of_instance(join("a", &["t"])));
    let away = beat(&mut shell, of_instance(stay("a", -2)));
    assert_eq!((away.error_code, away.member_epoch), (0, -2));
    let before = describe(&mut shell).group_epoch;
    let back = beat(&mut shell, of_instance(join("a2", &["t"])));
    assert_eq!(told(&back, "t"), (before, Some(vec![0, 1, 2, 3])));
    let described = describe(&mut shell);
    assert_eq!((described.group_epoch, described.members.len()), (before, 1));
    assert_eq!(described.members[0].member_id.as_str(), "a2");
    assert_eq!(state_of(&mut shell), "Stable");
    let fenced = refused(&mut shell, of_instance(stay("a", 2)));
    assert_eq!(fenced.0, ErrorCode::FencedInstanceId);
    assert_eq!(fenced.1, "Static member a with instance id one was fenced by member a2.");
}

#[test]
fn an_instance_id_in_use_is_not_given_away() {
    let mut shell = shell(&[("t", 1)]);
    beat(&mut shell, of_instance(join("a", &["t"])));
    let unreleased = refused(&mut shell, of_instance(join("b", &["t"])));
    assert_eq!(unreleased.0, ErrorCode::UnreleasedInstanceId);
    assert_eq!(
        unreleased.1,
        "Static member b with instance id one cannot join the group because the instance id is owned by a member."
    );
    assert_eq!(beat(&mut shell, of_instance(stay("a", 2))).error_code, 0);
}

#[test]
fn a_static_member_that_does_not_come_back_is_fenced_with_its_session() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, of_instance(join("a", &["t"])));
    beat(&mut shell, join("b", &["t"]));
    beat(&mut shell, of_instance(stay("a", -2)));
    for _ in 0..4 {
        shell.advance(12_000);
        beat(&mut shell, stay("b", 3));
    }
    assert_eq!(told(&beat(&mut shell, stay("b", 4)), "t"), (4, None));
    assert_eq!(describe(&mut shell).members.len(), 1);
    assert_eq!(refused(&mut shell, of_instance(stay("a", 2))).1, "Instance id one is unknown.");
}

#[test]
fn a_static_member_that_leaves_for_good_is_gone() {
    let mut shell = shell(&[("t", 2)]);
    beat(&mut shell, of_instance(join("a", &["t"])));
    beat(&mut shell, of_instance(stay("a", -1)));
    assert_eq!(state_of(&mut shell), "Empty");
    shell.restart();
    assert_eq!(state_of(&mut shell), "Empty");
    assert_eq!(told(&beat(&mut shell, of_instance(join("b", &["t"]))), "t").1, Some(vec![0, 1]));
}
