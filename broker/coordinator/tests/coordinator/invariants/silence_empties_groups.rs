//! Whoever is not heard of for long is no member any more: nothing keeps a member for ever, least of all a request
//! whose reply was lost.

use strata_coordinator::group::GroupsState;

/// After a time in which no client has said anything, longer than all timeouts together.
pub(crate) fn check(state: &GroupsState) {
    for (id, group) in state.groups() {
        let members = group.as_classic().map_or(0, |group| group.assignments().count())
            + group.as_consumer().map_or(0, |group| group.members().count());
        assert_eq!((group.state_name(), members), ("Empty", 0), "{id}");
    }
}
