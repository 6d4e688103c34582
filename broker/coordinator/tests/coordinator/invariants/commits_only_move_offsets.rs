//! A committed offset is the last one whose commit succeeded, or one of a commit that is still open or was left
//! unanswered; and nothing but commits and deletions changes it.

use std::collections::{BTreeMap, BTreeSet};

use strata_coordinator::ReplyId;

#[derive(Default)]
pub(crate) struct CommitsOnlyMoveOffsets {
    /// What each group's one offset may be now.
    possible: BTreeMap<String, BTreeSet<i64>>,
    open: BTreeMap<ReplyId, (String, i64)>,
}

impl CommitsOnlyMoveOffsets {
    pub(crate) fn asked(&mut self, reply: ReplyId, group: &str, offset: i64) {
        self.possible.entry(group.to_owned()).or_insert_with(|| BTreeSet::from([-1])).insert(offset);
        self.open.insert(reply, (group.to_owned(), offset));
    }

    /// Offsets ascend by request, so a success rules out all lower ones. A failure may still have been written.
    pub(crate) fn answered(&mut self, reply: ReplyId, succeeded: bool) {
        if let Some((group, offset)) = self.open.remove(&reply)
            && succeeded
        {
            self.possible.entry(group).or_default().retain(|other| *other >= offset);
        }
    }

    pub(crate) fn check(&self, group: &str, committed: i64) {
        let possible = self.possible.get(group);
        assert!(
            possible.map_or(committed == -1, |possible| possible.contains(&committed)),
            "{group} has {committed}, not one of {possible:?}"
        );
    }
}
