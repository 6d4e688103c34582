//! All members of a generation are told of the same leader and protocol.

use std::collections::BTreeMap;

use strata_protocol::messages::JoinGroupResponse;

#[derive(Default)]
pub(crate) struct OneLeaderPerGeneration {
    told: BTreeMap<(String, i32), (String, Option<String>)>,
    /// Generations whose replies were undone may be given out again, by another incarnation of the coordinator.
    incarnation: u32,
    seen: BTreeMap<(String, i32), u32>,
}

impl OneLeaderPerGeneration {
    /// The coordinator starts over from its records: a generation that was never stored is made anew.
    pub(crate) fn restarted(&mut self) {
        self.incarnation += 1;
    }

    pub(crate) fn joined(&mut self, group: &str, join: &JoinGroupResponse) {
        if join.error_code != 0 {
            return;
        }
        let key = (group.to_owned(), join.generation_id);
        let protocol = join.protocol_name.as_ref().map(ToString::to_string);
        // A static member that is back is told of its former self (versions before 9), or is the leader itself under
        // a new id: both have an instance id before the last dash block.
        let leader = instance(&join.leader).to_owned();
        if self.seen.insert(key.clone(), self.incarnation) != Some(self.incarnation) {
            self.told.insert(key, (leader, protocol));
            return;
        }
        assert_eq!(
            self.told.get(&key),
            Some(&(leader, protocol)),
            "generation {} of {group}",
            join.generation_id
        );
    }
}

/// A static member's id without its random part; a dynamic member's id.
fn instance(member_id: &str) -> &str {
    if member_id.starts_with("static") { member_id.split('-').next().unwrap_or_default() } else { member_id }
}
