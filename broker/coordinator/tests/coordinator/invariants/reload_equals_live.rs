//! What a new coordinator reads out of the log is what the old one held, as far as it is meant to last.

use strata_coordinator::{GroupState, group::Group, group::GroupsState};

/// Both after all records are in the log.
pub(crate) fn check(live: &GroupsState, reloaded: &GroupsState) {
    assert!(live.offsets().eq(reloaded.offsets()), "offsets differ");
    let ids = |state: &GroupsState| state.groups().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(live), ids(reloaded));
    for ((id, live), (_, reloaded)) in live.groups().zip(reloaded.groups()) {
        match live.state() {
            GroupState::Stable => assert_eq!(lasting(live), lasting(reloaded), "{id}"),
            GroupState::Empty => assert_eq!(
                (reloaded.state(), reloaded.generation()),
                (GroupState::Empty, live.generation()),
                "{id}"
            ),
            // A rebalance under way is lost: the last generation that was stored comes back.
            _ => assert!(reloaded.generation() <= live.generation(), "{id}"),
        }
    }
}

/// Member id and what was assigned to it.
type Assignments = Vec<(String, Vec<u8>)>;

fn lasting(group: &Group) -> (GroupState, i32, Option<String>, Assignments) {
    let assignments =
        group.assignments().map(|(member, bytes)| (member.to_string(), bytes.to_vec())).collect();
    (group.state(), group.generation(), group.leader().map(ToString::to_string), assignments)
}
