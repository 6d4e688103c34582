//! What a new coordinator reads out of the log is what the old one held, as far as it is meant to last.

use strata_coordinator::group::{ClassicGroup, ClassicState, Group, GroupsState};

/// Both after all records are in the log.
pub(crate) fn check(live: &GroupsState, reloaded: &GroupsState) {
    assert!(live.offsets().eq(reloaded.offsets()), "offsets differ");
    let ids = |state: &GroupsState| state.groups().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(live), ids(reloaded));
    for ((id, live), (_, reloaded)) in live.groups().zip(reloaded.groups()) {
        let (live, reloaded) = match (live, reloaded) {
            (Group::Classic(live), Group::Classic(reloaded)) => (live, reloaded),
            // These are nothing but what their records say.
            _ => {
                assert_eq!(format!("{live:?}"), format!("{reloaded:?}"), "{id}");
                continue;
            }
        };
        match live.state() {
            ClassicState::Stable => assert_eq!(lasting(live), lasting(reloaded), "{id}"),
            ClassicState::Empty => assert_eq!(
                (reloaded.state(), reloaded.generation()),
                (ClassicState::Empty, live.generation()),
                "{id}"
            ),
            // A rebalance under way is lost: the last generation that was stored comes back.
            _ => assert!(reloaded.generation() <= live.generation(), "{id}"),
        }
    }
}

/// Member id and what was assigned to it.
type Assignments = Vec<(String, Vec<u8>)>;

fn lasting(group: &ClassicGroup) -> (ClassicState, i32, Option<String>, Assignments) {
    let assignments =
        group.assignments().map(|(member, bytes)| (member.to_string(), bytes.to_vec())).collect();
    (group.state(), group.generation(), group.leader().map(ToString::to_string), assignments)
}
