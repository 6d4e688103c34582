//! Acknowledging and releasing, and locks that run out.

use strata_types::{ErrorCode, TimestampMs};

use super::batch::Letter;
use super::batch::{Batch, Run};
use super::dead_letters::ended;
use super::{
    DeadLetterCause, DeliveryState, ShareLimits, SharePartition, StateBatch, Write, WriteId, is_held_by,
};

/// What a member says of a record that it acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcknowledgeType {
    /// There is no such record: compaction took it, or it is a marker of the broker.
    Gap = 0,
    Accept = 1,
    Release = 2,
    Reject = 3,
    /// Wants to keep it for another lock duration (KIP-1222).
    Renew = 4,
}

impl AcknowledgeType {
    pub fn from_id(id: i8) -> Option<Self> {
        [Self::Gap, Self::Accept, Self::Release, Self::Reject, Self::Renew]
            .into_iter()
            .find(|kind| *kind as i8 == id)
    }
}

/// What a member says of the records from `first_offset` to `last_offset`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgementBatch {
    pub first_offset: i64,
    /// Inclusive.
    pub last_offset: i64,
    /// One for all of them, or one for each.
    pub types: Vec<AcknowledgeType>,
}

/// Why acknowledgements are refused, all of the partition's together. Kafka's codes and words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    #[error("Batch record not found. The request batch offsets are not found in the cache.")]
    NotInFlight,
    #[error("Batch record not found. The first offset in request is past acquired records.")]
    FirstPastAcquired,
    #[error("Batch record not found. The last offset in request is past acquired records.")]
    LastPastAcquired,
    #[error("The batch cannot be acknowledged. The batch is not in the acquired state.")]
    NotAcquired,
    #[error("Member is not the owner of batch record")]
    NotOwner,
    #[error("The record state is invalid. The acknowledgement of delivery could not be completed.")]
    InTransition,
    #[error("The acknowledgement batches are not in order, or have another number of types than records.")]
    Malformed,
    #[error("Renew acknowledge type is not enabled for the group.")]
    RenewDisabled,
}

impl AcknowledgeError {
    pub fn code(self) -> ErrorCode {
        match self {
            Self::FirstPastAcquired | Self::LastPastAcquired | Self::Malformed | Self::RenewDisabled => {
                ErrorCode::InvalidRequest
            }
            Self::NotInFlight | Self::NotAcquired | Self::NotOwner | Self::InTransition => {
                ErrorCode::InvalidRecordState
            }
        }
    }
}

impl AcknowledgementBatch {
    fn type_of(&self, offset: i64) -> AcknowledgeType {
        match self.types.as_slice() {
            [all] => *all,
            each => each[(offset - self.first_offset) as usize],
        }
    }

    fn is_sound(&self) -> bool {
        let records = self.last_offset.checked_sub(self.first_offset).and_then(|span| span.checked_add(1));
        records.is_some_and(|records| {
            records > 0 && (self.types.len() == 1 || self.types.len() as i64 == records)
        })
    }
}

impl SharePartition {
    /// Takes a member's word on records that it acquired: all of it or, if any is wrong, nothing. `None`: nothing is to
    /// be stored. `batches` are in order and do not overlap.
    pub fn acknowledge(
        &mut self,
        now: TimestampMs,
        member: &str,
        batches: &[AcknowledgementBatch],
    ) -> Result<Option<Write>, AcknowledgeError> {
        let in_order = batches.windows(2).all(|pair| pair[0].last_offset < pair[1].first_offset);
        if !in_order || !batches.iter().all(AcknowledgementBatch::is_sound) {
            return Err(AcknowledgeError::Malformed);
        }
        let renews = batches.iter().any(|batch| batch.types.contains(&AcknowledgeType::Renew));
        if renews && !self.limits.renew_enabled {
            return Err(AcknowledgeError::RenewDisabled);
        }
        for batch in batches {
            self.check(member, batch)?;
        }
        let id = self.next_write_id();
        let mut changed = Vec::new();
        for batch in batches {
            self.apply(now, batch, id, &mut changed);
        }
        Ok((!changed.is_empty()).then(|| self.write(id, changed)))
    }

    /// Frees all records of a member that goes. They count as not delivered, as in Kafka: nobody knows what the member
    /// had already seen.
    pub fn release(&mut self, member: &str) -> Option<Write> {
        let id = self.next_write_id();
        let mut changed = Vec::new();
        for batch in self.batches.values_mut() {
            for run in batch.all_runs().iter_mut().filter(|run| is_held_by(&run.entry, member)) {
                let delivery_count = run.entry.delivery_count - 1;
                run.entry.start(DeliveryState::Available, delivery_count, id);
                changed.push(state_of(run));
            }
        }
        (!changed.is_empty()).then(|| self.write(id, changed))
    }

    /// Frees, or archives after their last delivery, the records whose lock has run out. Stored or not, it holds at once.
    pub fn tick(&mut self, now: TimestampMs) -> Option<Write> {
        let limits = self.limits;
        let is_over = |run: &&mut Run| {
            run.entry.is_held() && run.entry.lock.as_ref().is_none_or(|lock| lock.until <= now)
        };
        let mut changed = Vec::new();
        for batch in self.batches.values_mut() {
            for run in batch.all_runs().iter_mut().filter(is_over) {
                (run.entry.state, run.entry.letter) = released(run.entry.delivery_count, &limits);
                run.entry.lock = None;
                changed.push(state_of(run));
            }
            batch.join_runs();
        }
        if changed.is_empty() {
            return None;
        }
        self.letters_wait = true;
        let id = self.next_write_id();
        Some(self.write(id, changed))
    }

    /// Whether `member` has acquired every record of the batch that is not below the start.
    fn check(&self, member: &str, batch: &AcknowledgementBatch) -> Result<(), AcknowledgeError> {
        if batch.last_offset < self.start_offset {
            return Ok(());
        }
        let before = self.batches.range(..=batch.first_offset).next_back();
        if before.is_none() && batch.first_offset >= self.start_offset {
            return Err(AcknowledgeError::NotInFlight);
        }
        let (_, last) =
            self.batches.range(..=batch.last_offset).next_back().ok_or(AcknowledgeError::NotInFlight)?;
        if last.last() < batch.first_offset {
            return Err(AcknowledgeError::FirstPastAcquired);
        }
        if last.last() < batch.last_offset {
            return Err(AcknowledgeError::LastPastAcquired);
        }
        let from = before.map_or(batch.first_offset, |(first, _)| *first);
        let runs = self.batches.range(from..=batch.last_offset).flat_map(|(_, batch)| batch.runs());
        for run in runs.filter(|run| run.last >= batch.first_offset && run.first <= batch.last_offset) {
            if run.entry.pending.is_some() {
                return Err(AcknowledgeError::InTransition);
            }
            if run.entry.state != DeliveryState::Acquired {
                return Err(AcknowledgeError::NotAcquired);
            }
            if !is_held_by(&run.entry, member) {
                return Err(AcknowledgeError::NotOwner);
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        now: TimestampMs,
        acked: &AcknowledgementBatch,
        id: WriteId,
        changed: &mut Vec<StateBatch>,
    ) {
        let limits = self.limits;
        let renewed_until = now + i64::from(self.limits.lock_duration_ms);
        let overlaps =
            |batch: &&mut Batch| batch.last() >= acked.first_offset && batch.first() <= acked.last_offset;
        for batch in self.batches.values_mut().filter(overlaps) {
            let (mut first, end) =
                (acked.first_offset.max(batch.first()), acked.last_offset.min(batch.last()));
            while first <= end {
                let kind = acked.type_of(first);
                let last = match acked.types.len() {
                    1 => end,
                    _ => (first..=end)
                        .take_while(|offset| acked.type_of(*offset) == kind)
                        .last()
                        .unwrap_or(first),
                };
                for run in batch.runs_within(first, last) {
                    let deliveries = run.entry.delivery_count;
                    let (state, letter) = match kind {
                        AcknowledgeType::Renew => {
                            run.entry.lock.iter_mut().for_each(|lock| lock.until = renewed_until);
                            continue;
                        }
                        AcknowledgeType::Accept => (DeliveryState::Acknowledged, None),
                        AcknowledgeType::Release => released(deliveries, &limits),
                        AcknowledgeType::Gap => (DeliveryState::Archived, None),
                        AcknowledgeType::Reject => ended(DeadLetterCause::Rejected, limits.dead_letters),
                    };
                    run.entry.start(state, deliveries, id);
                    run.entry.letter = letter;
                    changed.push(state_of(run));
                }
                first = last + 1;
            }
            batch.join_runs();
        }
    }
}

/// What a record that comes back is: free, or at its end after the last delivery.
pub(super) fn released(delivery_count: i16, limits: &ShareLimits) -> (DeliveryState, Option<Letter>) {
    match delivery_count >= limits.delivery_count_limit {
        true => ended(DeadLetterCause::DeliveryCountExceeded, limits.dead_letters),
        false => (DeliveryState::Available, None),
    }
}

fn state_of(run: &Run) -> StateBatch {
    StateBatch {
        first_offset: run.first,
        last_offset: run.last,
        state: run.entry.state,
        delivery_count: run.entry.delivery_count,
    }
}
