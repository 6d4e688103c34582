//! Describing, listing and deleting groups.

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::ListGroupsRequest;
use strata_protocol::messages::describe_groups_response::DescribedGroup;
use strata_types::ErrorCode;

use crate::harness::{GROUP, Shell, code};

fn describe(shell: &mut Shell, version: i16) -> DescribedGroup {
    let reply = shell.ask(GroupRequest::DescribeGroups { group_ids: vec![GROUP.into()], version });
    match shell.take(reply) {
        Some(GroupResponse::DescribeGroups(mut groups)) => groups.remove(0),
        other => panic!("no description: {other:?}"),
    }
}

fn list(shell: &mut Shell, states: &[&str], types: &[&str]) -> Vec<(String, String, String, String)> {
    let request = ListGroupsRequest {
        states_filter: states.iter().map(|&state| state.into()).collect(),
        types_filter: types.iter().map(|&name| name.into()).collect(),
        ..Default::default()
    };
    let reply = shell.ask(GroupRequest::ListGroups { request });
    let Some(GroupResponse::ListGroups(Ok(groups))) = shell.take(reply) else { panic!("no list") };
    let text = |text: &strata_protocol::Str| text.to_string();
    groups
        .iter()
        .map(|g| (text(&g.group_id), text(&g.protocol_type), text(&g.group_state), text(&g.group_type)))
        .collect()
}

fn delete(shell: &mut Shell) -> i16 {
    let reply = shell.ask(GroupRequest::DeleteGroups { group_ids: vec![GROUP.into()] });
    match shell.take(reply) {
        Some(GroupResponse::DeleteGroups(results)) => results[0].error_code,
        other => panic!("no deletion: {other:?}"),
    }
}

#[test]
fn a_stable_group_is_described_with_what_its_members_have() {
    let mut shell = Shell::new();
    let (members, _) = shell.stable_group(2);
    let group = describe(&mut shell, 6);
    assert_eq!(
        (&*group.group_state, &*group.protocol_type, &*group.protocol_data),
        ("Stable", "consumer", "range")
    );
    assert_eq!(group.members.len(), 2);
    assert_eq!((&*group.members[0].client_id, &*group.members[0].client_host), ("c", "/127.0.0.1"));
    assert_eq!(
        (&group.members[0].member_metadata[..], &group.members[0].member_assignment[..]),
        (&b"topics"[..], &b"assigned"[..])
    );

    shell.leave(&[(&members[0], None)]);
    let group = describe(&mut shell, 6);
    assert_eq!((&*group.group_state, &*group.protocol_data), ("PreparingRebalance", ""));
    assert!(group.members[0].member_assignment.is_empty());
}

#[test]
fn a_group_that_does_not_exist_is_dead_and_since_version_6_an_error() {
    let mut shell = Shell::new();
    let group = describe(&mut shell, 5);
    assert_eq!((group.error_code, &*group.group_state), (0, "Dead"));
    let group = describe(&mut shell, 6);
    assert_eq!((group.error_code, &*group.group_state), (code(ErrorCode::GroupIdNotFound), "Dead"));
    assert_eq!(group.error_message.as_deref(), Some("Group g not found."));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut shell = Shell::new();
    shell.stable_group(1);
    let group: (String, String, String, String) =
        (GROUP.into(), "consumer".into(), "Stable".into(), "classic".into());
    assert_eq!(list(&mut shell, &[], &[]), std::slice::from_ref(&group));
    assert_eq!(list(&mut shell, &["empty", "STABLE"], &["Classic"]), [group]);
    assert!(list(&mut shell, &["Empty"], &[]).is_empty());
    assert!(list(&mut shell, &[], &["consumer"]).is_empty());
}

#[test]
fn only_an_empty_group_can_be_deleted() {
    let mut shell = Shell::new();
    assert_eq!(delete(&mut shell), code(ErrorCode::GroupIdNotFound));
    let (members, generation) = shell.stable_group(1);
    shell.commit_offset(&members[0], generation, 1);
    assert_eq!(delete(&mut shell), code(ErrorCode::NonEmptyGroup));
    shell.leave(&[(&members[0], None)]);
    assert_eq!(delete(&mut shell), 0);
    assert_eq!((shell.state(), shell.fetch("t", 0)), ("Dead".to_owned(), -1));
    shell.restart();
    assert_eq!((shell.state(), shell.fetch("t", 0)), ("Dead".to_owned(), -1));
}
