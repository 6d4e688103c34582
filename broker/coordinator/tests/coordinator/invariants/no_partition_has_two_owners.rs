//! No partition is with two members of a group, those included that are still to give it up.

use std::collections::BTreeMap;

use strata_coordinator::group::ConsumerGroup;

pub(crate) fn check(group: &ConsumerGroup) {
    let mut owners = BTreeMap::new();
    for member in group.members() {
        for partition in member.assigned().partitions().iter().chain(member.revoking().partitions().iter()) {
            let before = owners.insert(partition, member.id());
            assert!(before.is_none(), "{partition:?} is with {before:?} and {}", member.id());
        }
    }
}
