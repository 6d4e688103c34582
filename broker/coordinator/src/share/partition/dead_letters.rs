//! Records that no member will get, on their way to the group's dead-letter queue (KIP-1191).
//!
//! ```text
//!   Acquired ──reject, last delivery──▶ Archiving ──stored──▶ take_dead_letters ──shell writes──▶ dead_lettered ─▶ Archived
//! ```
//!
//! `Archiving` is stored, so that a letter that was not written before a crash is written after it; one that was written may
//! then be written twice. What the shell cannot write is archived all the same, as in Kafka.

use super::batch::{Entry, Letter};
use super::{Batch, DeliveryState, SharePartition, StateBatch, Write};

/// Why a record is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterCause {
    Rejected,
    DeliveryCountExceeded,
}

/// Records that are to be written to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetters {
    pub first_offset: i64,
    /// Inclusive.
    pub last_offset: i64,
    pub delivery_count: i16,
    pub cause: DeadLetterCause,
}

impl SharePartition {
    /// What is to be written, in the order of offsets; each is handed out once.
    pub fn take_dead_letters(&mut self) -> Vec<DeadLetters> {
        if !std::mem::take(&mut self.letters_wait) {
            return Vec::new();
        }
        let limit = self.limits.delivery_count_limit;
        let mut taken = Vec::new();
        for batch in self.batches.values_mut() {
            for run in batch.all_runs().iter_mut().filter(|run| run.entry.is_letter()) {
                let delivery_count = run.entry.delivery_count;
                // After a restart the count is all that is known.
                let cause =
                    run.entry.letter.map(|letter| letter.cause).unwrap_or(match delivery_count >= limit {
                        true => DeadLetterCause::DeliveryCountExceeded,
                        false => DeadLetterCause::Rejected,
                    });
                run.entry.letter = Some(Letter { cause, is_handed_out: true });
                let (first_offset, last_offset) = (run.first, run.last);
                taken.push(DeadLetters { first_offset, last_offset, delivery_count, cause });
            }
        }
        taken
    }

    /// The letters are written, or cannot be. `None`: they are gone anyway, as the log has moved on.
    pub fn dead_lettered(&mut self, letters: &DeadLetters) -> Option<Write> {
        let id = self.next_write_id();
        let mut changed = Vec::new();
        let (first, last) = (letters.first_offset, letters.last_offset);
        let overlaps = |batch: &&mut Batch| batch.last() >= first && batch.first() <= last;
        for batch in self.batches.values_mut().filter(overlaps) {
            for run in batch.runs_within(first, last).iter_mut().filter(|run| run.entry.is_handed_out()) {
                let delivery_count = run.entry.delivery_count;
                run.entry.start(DeliveryState::Archived, delivery_count, id);
                changed.push(StateBatch {
                    first_offset: run.first,
                    last_offset: run.last,
                    state: DeliveryState::Archived,
                    delivery_count,
                });
            }
            batch.join_runs();
        }
        (!changed.is_empty()).then(|| self.write(id, changed))
    }
}

/// What becomes of a record that no member will get.
pub(super) fn ended(cause: DeadLetterCause, dead_letters: bool) -> (DeliveryState, Option<Letter>) {
    match dead_letters {
        true => (DeliveryState::Archiving, Some(Letter { cause, is_handed_out: false })),
        false => (DeliveryState::Archived, None),
    }
}

impl Entry {
    /// Whether it is to be written, and nobody was told.
    fn is_letter(&self) -> bool {
        self.state == DeliveryState::Archiving
            && self.pending.is_none()
            && self.letter.is_none_or(|letter| !letter.is_handed_out)
    }

    fn is_handed_out(&self) -> bool {
        self.state == DeliveryState::Archiving
            && self.pending.is_none()
            && self.letter.is_some_and(|letter| letter.is_handed_out)
    }
}
