//! What happens when: one timer per thing of a group that can be late.
//!
//! Most deadlines are sessions, which every heartbeat moves away; so the queue is not touched when a timer is put off. It
//! fires, finds itself early, and is queued again at its new time: one look per session timeout, rather than work at
//! every heartbeat. Timers are no part of the state: after a load, and after an append was undone, they are armed anew.

use std::collections::{BTreeSet, HashMap};

use strata_protocol::Str;
use strata_types::TimestampMs;

/// What can be late.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// A classic group's first deadline: it knows itself which.
    Group,
    /// A consumer group has regular expressions to resolve.
    Regex,
    /// A new streams group has waited for its members long enough.
    FirstAssignment,
    /// A modern member has sent no heartbeat.
    Session(Str),
    /// A modern member has not given up its partitions.
    Rebalance(Str),
    /// A member of a consumer group that speaks the classic protocol has not joined again.
    Join(Str),
    /// A member of a consumer group that speaks the classic protocol has not asked for its assignment.
    Sync(Str),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TimerKey {
    pub(super) group: Str,
    pub(super) timer: Timer,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(TimestampMs, TimerKey)>,
    armed: HashMap<TimerKey, Armed>,
}

#[derive(Debug, Clone, Copy)]
struct Armed {
    /// Where it stands in the queue; never after `at`.
    queued: TimestampMs,
    at: TimestampMs,
}

impl Timers {
    /// Has the timer go off at `at`, whenever it was to before.
    pub(super) fn set(&mut self, group: &Str, timer: Timer, at: TimestampMs) {
        let key = TimerKey { group: group.clone(), timer };
        match self.armed.get_mut(&key) {
            Some(armed) if armed.queued <= at => armed.at = at,
            _ => self.requeue(key, at),
        }
    }

    /// Has the timer go off no later than `at`.
    pub(super) fn arm(&mut self, group: &Str, timer: Timer, at: TimestampMs) {
        let key = TimerKey { group: group.clone(), timer };
        if self.armed.get(&key).is_none_or(|armed| armed.at > at) {
            self.requeue(key, at);
        }
    }

    pub(super) fn cancel(&mut self, group: &Str, timer: Timer) {
        let key = TimerKey { group: group.clone(), timer };
        if let Some(armed) = self.armed.remove(&key) {
            self.queue.remove(&(armed.queued, key));
        }
    }

    pub(super) fn is_armed(&self, group: &Str, timer: Timer) -> bool {
        self.armed.contains_key(&TimerKey { group: group.clone(), timer })
    }

    /// The next timer that goes off, which is then no longer armed.
    pub(super) fn pop_due(&mut self, now: TimestampMs) -> Option<TimerKey> {
        while self.next()? <= now {
            let (_, key) = self.queue.pop_first()?;
            match self.armed.get_mut(&key) {
                Some(armed) if armed.at > now => {
                    armed.queued = armed.at;
                    self.queue.insert((armed.at, key));
                }
                _ => {
                    self.armed.remove(&key);
                    return Some(key);
                }
            }
        }
        None
    }

    /// When [`pop_due`](Self::pop_due) is worth asking; it may turn out to be for nothing.
    pub(super) fn next(&self) -> Option<TimestampMs> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.armed.clear();
    }

    fn requeue(&mut self, key: TimerKey, at: TimestampMs) {
        if let Some(armed) = self.armed.insert(key.clone(), Armed { queued: at, at }) {
            self.queue.remove(&(armed.queued, key.clone()));
        }
        self.queue.insert((at, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_goes_off_at_the_last_time_that_it_was_given() {
        let (mut timers, group) = (Timers::default(), Str::from_static("g"));
        let session = || Timer::Session(Str::from_static("m"));
        timers.set(&group, session(), 10);
        timers.set(&group, session(), 30);
        assert!(timers.pop_due(29).is_none());
        timers.set(&group, session(), 20);
        assert_eq!(timers.pop_due(20).map(|key| key.timer), Some(session()));
        assert!(timers.pop_due(100).is_none());
    }

    #[test]
    fn arming_never_puts_a_timer_off() {
        let (mut timers, group) = (Timers::default(), Str::from_static("g"));
        timers.arm(&group, Timer::Group, 10);
        timers.arm(&group, Timer::Group, 30);
        assert!(timers.pop_due(10).is_some());
        timers.arm(&group, Timer::Group, 30);
        timers.cancel(&group, Timer::Group);
        assert_eq!((timers.pop_due(100), timers.next()), (None, None));
    }
}
