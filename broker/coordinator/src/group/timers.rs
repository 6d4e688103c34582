//! When each group wants to be looked at.
//!
//! A group is armed at or before its first deadline, never after. Most deadlines are sessions, which every heartbeat
//! moves away; so a timer is not moved with them. It fires, finds nothing due, and is armed at what is then the first
//! deadline: one look at a group per session timeout, rather than work at every heartbeat.

use std::collections::{BTreeSet, HashMap};

use strata_protocol::Str;
use strata_types::TimestampMs;

#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(TimestampMs, Str)>,
    armed: HashMap<Str, TimestampMs>,
}

impl Timers {
    /// Has the group looked at no later than `at`.
    pub(super) fn arm(&mut self, group: &Str, at: TimestampMs) {
        if let Some(armed) = self.armed.get(group) {
            if *armed <= at {
                return;
            }
            self.queue.remove(&(*armed, group.clone()));
        }
        self.armed.insert(group.clone(), at);
        self.queue.insert((at, group.clone()));
    }

    /// The next group to look at, which is then no longer armed.
    pub(super) fn pop_due(&mut self, now: TimestampMs) -> Option<Str> {
        if self.next()? > now {
            return None;
        }
        let (_, group) = self.queue.pop_first()?;
        self.armed.remove(&group);
        Some(group)
    }

    pub(super) fn next(&self) -> Option<TimestampMs> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.armed.clear();
    }
}
