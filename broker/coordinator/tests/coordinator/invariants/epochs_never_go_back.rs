//! Of what is committed, a group's epoch, its assignment's and its members' only ever rise, as long as the group and the
//! member are there; and so do those that a member is told.

use std::collections::BTreeMap;

use strata_coordinator::group::ConsumerGroup;
use strata_protocol::Str;
use strata_protocol::messages::ConsumerGroupHeartbeatResponse;

#[derive(Default)]
pub(crate) struct EpochsNeverGoBack {
    groups: BTreeMap<String, (i32, i32)>,
    members: BTreeMap<String, i32>,
    told: BTreeMap<String, i32>,
}

impl EpochsNeverGoBack {
    pub(crate) fn told(&mut self, member: &str, response: &ConsumerGroupHeartbeatResponse) {
        if response.error_code != 0 || response.member_epoch < 0 {
            self.told.remove(member);
            return;
        }
        let before = self.told.insert(member.to_owned(), response.member_epoch);
        assert!(
            before.is_none_or(|before| before <= response.member_epoch),
            "{member}: {before:?}, then {response:?}"
        );
    }

    pub(crate) fn check<'a>(&mut self, groups: impl Iterator<Item = (&'a Str, &'a ConsumerGroup)>) {
        let mut seen = BTreeMap::new();
        let mut members = BTreeMap::new();
        for (id, group) in groups {
            let epochs = (group.epoch(), group.assignment_epoch());
            if let Some(before) = self.groups.get(id.as_str()) {
                assert!(before.0 <= epochs.0 && before.1 <= epochs.1, "{id}: {before:?}, then {epochs:?}");
            }
            assert!(epochs.1 <= epochs.0, "{id}: an assignment of an epoch to come: {epochs:?}");
            seen.insert(id.to_string(), epochs);
            for member in group.members() {
                // 0 is a member that starts over, -2 one that is away for a while.
                let before = self.members.get(member.id().as_str()).copied().unwrap_or(0);
                let epoch = member.epoch();
                assert!(epoch <= 0 || before <= epoch, "{}: {before}, then {epoch}", member.id());
                members.insert(member.id().to_string(), epoch.max(before));
            }
        }
        (self.groups, self.members) = (seen, members);
    }
}
