//! InitProducerId: a transactional id gets its producer, and whoever had the id before is shut out.

use strata_types::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs};

use super::api::{InitProducer, TransactionResponse};
use super::metadata::{Transaction, TransactionState, is_exhausted};
use super::{TransactionOutcome, TransactionShard};
use crate::shard::TxnProducer;

/// What is given to a producer, or why not.
enum Given {
    /// The transaction as it is from now on.
    Producer(Transaction),
    /// There is a transaction in the way: it is aborted under a higher epoch, and the producer asks again.
    Fence,
    NeedsProducerId,
}

impl TransactionShard {
    pub(super) fn init_producer(
        &mut self,
        now: TimestampMs,
        request: &InitProducer,
        outcome: &mut TransactionOutcome,
    ) -> TransactionResponse {
        let given = match self.give(now, request) {
            Ok(given) => given,
            Err(code) => return TransactionResponse::InitProducerId(Err(code)),
        };
        match given {
            Given::Producer(transaction) => {
                let producer = transaction.producer;
                self.put(&request.transactional_id, transaction, outcome);
                TransactionResponse::InitProducerId(Ok(producer))
            }
            Given::Fence => {
                self.fence(now, &request.transactional_id, outcome);
                TransactionResponse::InitProducerId(Err(ErrorCode::ConcurrentTransactions))
            }
            Given::NeedsProducerId => TransactionResponse::ProducerIdNeeded,
        }
    }

    fn give(&self, now: TimestampMs, request: &InitProducer) -> Result<Given, ErrorCode> {
        if request.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if request.timeout_ms <= 0 || request.timeout_ms > self.config.max_timeout_ms {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let Some(known) = self.state.transaction(&request.transactional_id) else {
            if self.state.transactions.len() >= self.config.ids_max {
                return Err(ErrorCode::PolicyViolation);
            }
            let Some(fresh) = request.fresh else { return Ok(Given::NeedsProducerId) };
            // A producer that brings an id from a time before the coordinator's memory gets a new one (KIP-360).
            let mut transaction = Transaction::new(fresh, request.timeout_ms, now);
            transaction.producer.epoch = ProducerEpoch(0);
            return Ok(Given::Producer(transaction));
        };
        if request.expected.is_some_and(|expected| !is_known(known, expected)) {
            return Err(ErrorCode::ProducerFenced);
        }
        match known.state {
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            TransactionState::Ongoing => Ok(Given::Fence),
            _ => next_epoch(known, now, request),
        }
    }
}

/// Whether the producer may be the current one: by its id (the epoch is looked at later), or by the one before, whose
/// last epoch it has, as when it has not heard that it got a new id.
fn is_known(known: &Transaction, expected: TxnProducer) -> bool {
    expected.id == known.producer.id
        || (expected.id == known.previous_producer_id && is_exhausted(expected.epoch))
}

/// `prepareIncrementProducerEpoch` and `prepareProducerIdRotation`
fn next_epoch(known: &Transaction, now: TimestampMs, request: &InitProducer) -> Result<Given, ErrorCode> {
    let current = known.producer.epoch;
    let expected = request.expected.map(|expected| expected.epoch);
    let mut next = known.to(TransactionState::Empty, now);
    next.timeout_ms = request.timeout_ms;
    next.partitions.clear();
    next.started = -1;
    next.next_producer_id = ProducerId::NONE;
    if known.is_epoch_exhausted() && expected.is_none_or(|expected| expected == current) {
        let Some(fresh) = request.fresh else { return Ok(Given::NeedsProducerId) };
        next.producer = TxnProducer { id: fresh, epoch: ProducerEpoch(0) };
        next.last_epoch = if expected.is_some() { current } else { ProducerEpoch::NONE };
        return Ok(Given::Producer(next));
    }
    (next.producer.epoch, next.last_epoch) = match expected {
        None => (known.fencing_epoch(), ProducerEpoch::NONE),
        Some(expected) if expected == current => (known.fencing_epoch(), current),
        // It asks again for what it was given: nobody has come since, or the last epoch would be forgotten.
        Some(expected) if expected == known.last_epoch => (current, known.last_epoch),
        Some(_) => return Err(ErrorCode::ProducerFenced),
    };
    Ok(Given::Producer(next))
}
