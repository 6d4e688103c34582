//! Whoever is not heard of for long is no member any more: nothing keeps a member for ever, least of all a request
//! whose reply was lost.

use strata_coordinator::{GroupState, group::GroupsState};

/// After a time in which no client has said anything, longer than all timeouts together.
pub(crate) fn check(state: &GroupsState) {
    for (id, group) in state.groups() {
        assert_eq!((group.state(), group.assignments().count()), (GroupState::Empty, 0), "{id}");
    }
}
