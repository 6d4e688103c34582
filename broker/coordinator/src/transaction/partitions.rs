//! AddPartitionsToTxn: partitions join a transaction, the first of them begins it; or a broker asks whether they have.

use strata_types::{ErrorCode, TimestampMs};

use super::api::{AddPartitions, TransactionResponse};
use super::metadata::{Transaction, TransactionState};
use super::{TransactionOutcome, TransactionShard};
use crate::shard::ReplyId;

/// A request that begins a transaction once the last one is complete.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) reply: ReplyId,
    add: AddPartitions,
    pub(super) deadline: TimestampMs,
}

impl TransactionShard {
    pub(super) fn add_partitions(
        &mut self,
        now: TimestampMs,
        add: AddPartitions,
        wait: bool,
        reply: ReplyId,
        outcome: &mut TransactionOutcome,
    ) {
        let code = self.add(now, &add, outcome);
        if code == ErrorCode::ConcurrentTransactions && wait && self.waiting.len() < self.config.waiting_max {
            outcome.park(reply, TransactionResponse::Added(code));
            self.waiting.push(Waiting { reply, add, deadline: now + self.config.begin_wait_ms });
            return;
        }
        outcome.reply(reply, TransactionResponse::Added(code));
    }

    /// For each partition, whether it is part of the producer's transaction.
    pub(super) fn verify(&self, add: &AddPartitions) -> Vec<ErrorCode> {
        let transaction = match self.open_to(add) {
            Ok(transaction) => transaction,
            Err(code) => return vec![code; add.partitions.len()],
        };
        let verified = add.partitions.iter().map(|partition| {
            let is_part = transaction.partitions.contains(partition);
            if is_part { ErrorCode::None } else { ErrorCode::TransactionAbortable }
        });
        verified.collect()
    }

    /// The transaction is complete: whoever has waited for that begins the next one.
    pub(super) fn wake_waiting(&mut self, now: TimestampMs, id: &str, outcome: &mut TransactionOutcome) {
        let woken: Vec<_> =
            self.waiting.extract_if(.., |waiting| *waiting.add.transactional_id == *id).collect();
        for Waiting { reply, add, .. } in woken {
            let code = self.add(now, &add, outcome);
            outcome.reply(reply, TransactionResponse::Added(code));
        }
    }

    /// Tells those who have waited for long enough to ask again; `false` if there are none.
    pub(super) fn give_up_waiting(&mut self, now: TimestampMs, outcome: &mut TransactionOutcome) -> bool {
        let late: Vec<_> = self.waiting.extract_if(.., |waiting| waiting.deadline <= now).collect();
        for waiting in &late {
            outcome.reply(waiting.reply, TransactionResponse::Added(ErrorCode::ConcurrentTransactions));
        }
        !late.is_empty()
    }

    fn add(&mut self, now: TimestampMs, add: &AddPartitions, outcome: &mut TransactionOutcome) -> ErrorCode {
        let known = match self.open_to(add) {
            Ok(known) => known,
            Err(code) => return code,
        };
        let is_ongoing = known.state == TransactionState::Ongoing;
        if is_ongoing && add.partitions.iter().all(|partition| known.partitions.contains(partition)) {
            return ErrorCode::None;
        }
        let mut next = known.to(TransactionState::Ongoing, now);
        next.partitions.extend(add.partitions.iter().cloned());
        if next.partitions.len() > self.config.partitions_max {
            return ErrorCode::PolicyViolation;
        }
        if !is_ongoing {
            next.started = now;
        }
        next.client_version = add.transaction_version;
        self.put(&add.transactional_id, next, outcome);
        ErrorCode::None
    }

    /// The producer's transaction, if it is the current one and its transaction may be open.
    fn open_to(&self, add: &AddPartitions) -> Result<&Transaction, ErrorCode> {
        if add.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let known = self.state.transaction(&add.transactional_id);
        let known = known.ok_or(ErrorCode::InvalidProducerIdMapping)?;
        if known.producer.id != add.producer.id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if known.producer.epoch != add.producer.epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        if known.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        Ok(known)
    }
}
