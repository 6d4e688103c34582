//! A batch in flight: a range of offsets that was acquired at once, cut into runs of records in the same state.
//!
//! ```text
//!   batch 10..=19   [10..=13 acknowledged] [14 archived] [15..=19 acquired by m1 until t]
//! ```
//!
//! Kafka keeps either one state for the whole batch or one for each of its offsets. Runs say the same in less space, and
//! one code path serves both.

use strata_protocol::Str;
use strata_types::TimestampMs;

use super::{DeadLetterCause, DeliveryState, WriteId};

/// Who has acquired a record, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    pub member: Str,
    pub until: TimestampMs,
}

/// What is known of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub state: DeliveryState,
    pub delivery_count: i16,
    /// Of an acquired record.
    pub lock: Option<Lock>,
    /// Of a record on its way to the dead-letter queue; unknown after a restart.
    pub letter: Option<Letter>,
    /// The state is not stored yet; should that fail, what was before comes back.
    pub pending: Option<Box<Pending>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Letter {
    pub cause: DeadLetterCause,
    /// The shell is writing it.
    pub is_handed_out: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub write: WriteId,
    pub state: DeliveryState,
    pub delivery_count: i16,
    pub lock: Option<Lock>,
}

/// Records next to each other of which the same is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub first: i64,
    /// Inclusive.
    pub last: i64,
    pub entry: Entry,
}

/// Runs without holes between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    runs: Vec<Run>,
}

impl Entry {
    pub(super) fn new(state: DeliveryState, delivery_count: i16) -> Self {
        Self { state, delivery_count, lock: None, letter: None, pending: None }
    }

    pub(super) fn acquired(member: &Str, until: TimestampMs, delivery_count: i16) -> Self {
        let lock = Some(Lock { member: member.clone(), until });
        Self { state: DeliveryState::Acquired, delivery_count, lock, letter: None, pending: None }
    }

    /// Whether a member may acquire it now.
    pub(super) fn is_available(&self) -> bool {
        self.state == DeliveryState::Available && self.pending.is_none()
    }

    /// Whether nothing will change it any more.
    pub(super) fn is_settled(&self) -> bool {
        self.state.is_terminal() && self.pending.is_none()
    }

    /// Whether a member holds it. A record whose acknowledgement is on its way to be stored is held by nobody.
    pub(super) fn is_held(&self) -> bool {
        self.state == DeliveryState::Acquired && self.pending.is_none()
    }

    /// Changes the state, to be stored by `write`.
    pub(super) fn start(&mut self, state: DeliveryState, delivery_count: i16, write: WriteId) {
        self.pending = Some(Box::new(Pending {
            write,
            state: self.state,
            delivery_count: self.delivery_count,
            lock: self.lock.take(),
        }));
        self.state = state;
        self.delivery_count = delivery_count;
    }

    /// `write` is over.
    pub(super) fn finish(&mut self, write: WriteId, stored: bool) {
        let Some(pending) = self.pending.take_if(|pending| pending.write == write) else { return };
        if !stored {
            let Pending { state, delivery_count, lock, .. } = *pending;
            (self.state, self.delivery_count, self.lock) = (state, delivery_count, lock);
            // Its being written is not known to last: it is written again.
            self.letter.iter_mut().for_each(|letter| letter.is_handed_out = false);
        }
        if self.state != DeliveryState::Archiving {
            self.letter = None;
        }
    }
}

impl Run {
    pub(super) fn len(&self) -> i64 {
        self.last - self.first + 1
    }
}

impl Batch {
    pub(super) fn new(first: i64, last: i64, entry: Entry) -> Self {
        debug_assert!(first <= last);
        Self { runs: vec![Run { first, last, entry }] }
    }

    pub(super) fn first(&self) -> i64 {
        self.runs[0].first
    }

    pub(super) fn last(&self) -> i64 {
        self.runs[self.runs.len() - 1].last
    }

    pub(super) fn len(&self) -> i64 {
        self.last() - self.first() + 1
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs between `first` and `last`, both inclusive; runs that cross an end are cut there.
    pub(super) fn runs_within(&mut self, first: i64, last: i64) -> &mut [Run] {
        self.cut(first);
        self.cut(last.saturating_add(1));
        let from = self.runs.partition_point(|run| run.first < first);
        let to = self.runs.partition_point(|run| run.first <= last);
        &mut self.runs[from..to.max(from)]
    }

    pub(super) fn all_runs(&mut self) -> &mut [Run] {
        &mut self.runs
    }

    /// Makes one run of neighbours of which the same is known.
    pub(super) fn join_runs(&mut self) {
        self.runs.dedup_by(|next, run| {
            let same = run.entry == next.entry;
            if same {
                run.last = next.last;
            }
            same
        });
    }

    /// Forgets what is below `offset`. `None` if nothing is left.
    pub(super) fn starting_at(mut self, offset: i64) -> Option<Self> {
        self.cut(offset);
        self.runs.retain(|run| run.first >= offset);
        (!self.runs.is_empty()).then_some(self)
    }

    /// Makes a run start at `offset`, if it is within the batch.
    fn cut(&mut self, offset: i64) {
        let at = self.runs.partition_point(|run| run.last < offset);
        let Some(run) = self.runs.get_mut(at).filter(|run| run.first < offset) else { return };
        let rest = Run { first: offset, last: run.last, entry: run.entry.clone() };
        run.last = offset - 1;
        self.runs.insert(at + 1, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch::new(10, 19, Entry::new(DeliveryState::Available, 0))
    }

    #[test]
    fn runs_are_cut_where_a_range_ends_and_joined_where_nothing_differs() {
        let mut batch = batch();
        let cut: Vec<_> = batch.runs_within(12, 14).iter().map(|run| (run.first, run.last)).collect();
        assert_eq!(cut, [(12, 14)]);
        assert_eq!(batch.runs().len(), 3);
        batch.join_runs();
        assert_eq!(batch.runs().len(), 1);
        assert_eq!((batch.first(), batch.last()), (10, 19));
    }

    #[test]
    fn a_range_outside_cuts_nothing() {
        let mut batch = batch();
        assert!(batch.runs_within(0, 9).is_empty());
        assert!(batch.runs_within(20, 30).is_empty());
        assert_eq!(batch.runs_within(0, 30).len(), 1);
    }

    #[test]
    fn the_front_is_forgotten_in_the_middle_of_a_run() {
        let left = batch().starting_at(15).map(|batch| (batch.first(), batch.last()));
        assert_eq!(left, Some((15, 19)));
        assert_eq!(batch().starting_at(20), None);
        assert_eq!(batch().starting_at(3), Some(batch()));
    }

    #[test]
    fn a_change_that_is_not_stored_is_taken_back() {
        let mut entry = Entry::acquired(&Str::from("m"), 5, 2);
        let before = entry.clone();
        entry.start(DeliveryState::Available, 2, WriteId(1));
        assert!(!entry.is_available(), "it may still come back");
        entry.finish(WriteId(9), false);
        assert!(entry.pending.is_some(), "another write is none of its business");
        entry.finish(WriteId(1), false);
        assert_eq!(entry, before);
    }
}
