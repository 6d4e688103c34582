//! No reply before the records that it rests on are committed.

use std::collections::BTreeMap;

use strata_coordinator::ReplyId;

#[derive(Default)]
pub(crate) struct RepliesFollowCommits {
    /// The end of the log once each request's records are in it.
    needs: BTreeMap<ReplyId, usize>,
}

impl RepliesFollowCommits {
    /// An offset commit, whose records (if any) end up at most at `log_end`.
    pub(crate) fn asked(&mut self, reply: ReplyId, log_end: usize) {
        self.needs.insert(reply, log_end);
    }

    pub(crate) fn answered(&mut self, reply: ReplyId, succeeded: bool, high_watermark: usize) {
        if let Some(needed) = self.needs.remove(&reply)
            && succeeded
        {
            assert!(
                needed <= high_watermark,
                "{reply:?} needs {needed} records, {high_watermark} are committed"
            );
        }
    }
}
