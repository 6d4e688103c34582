//! The end of a transaction: EndTxn, or its time-out, or another producer with the same id. It is decided by the record
//! that prepares it, then markers are written, then it is complete.
//!
//! Version 2 (KIP-890): every end raises the producer's epoch, so that nothing that is late can get into the next
//! transaction. The marker has the new epoch, and the answer tells it. A transaction without partitions can be aborted.
//!
//! | asked at  | current epoch: abort | commit            | one epoch behind (asked again): abort | commit            |
//! |---|---|---|---|---|
//! | Empty          | raise the epoch | INVALID_TXN_STATE | PRODUCER_FENCED   | PRODUCER_FENCED   |
//! | CompleteAbort  | raise the epoch | INVALID_TXN_STATE | done              | INVALID_TXN_STATE |
//! | CompleteCommit | raise the epoch | INVALID_TXN_STATE | INVALID_TXN_STATE | done              |
//!
//! Between prepared and complete, the current epoch is told to come back (CONCURRENT_TRANSACTIONS). Kafka says
//! PRODUCER_FENCED, which nobody sees there who is not quick; here the markers wait for the disk.

use strata_protocol::Str;
use strata_types::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs};

use super::api::{EndTxn, TransactionAction, TransactionResponse};
use super::metadata::{Transaction, TransactionState};
use super::{TransactionOutcome, TransactionShard};
use crate::shard::{TxnMarker, TxnProducer};

/// From here on an end raises the epoch.
const VERSION_WITH_EPOCH_BUMP: i16 = 2;

/// Whether a transaction of this version ends at an epoch above that of its records: a marker that is late is then told
/// from the next transaction's (KIP-890).
pub fn raises_epoch(transaction_version: i16) -> bool {
    transaction_version >= VERSION_WITH_EPOCH_BUMP
}

/// Transactions that are aborted by one append: their records must fit into it.
const ABORTS_AT_ONCE_MAX: usize = 10;

/// What EndTxn comes to.
enum Decision {
    /// It is prepared.
    End,
    /// The same without a transaction: only the epoch is raised.
    EndOfNothing,
    /// It was done before.
    Done,
}

impl TransactionShard {
    pub(super) fn end_transaction(
        &mut self,
        now: TimestampMs,
        request: &EndTxn,
        outcome: &mut TransactionOutcome,
    ) -> TransactionResponse {
        let bumps = raises_epoch(request.transaction_version);
        let decided = self.known(request).and_then(|known| {
            let decision = if bumps { decide(known, request) } else { decide_v1(known, request) }?;
            Ok((known, decision))
        });
        let (known, decision) = match decided {
            Ok(decided) => decided,
            Err(code) => return TransactionResponse::EndTxn(Err(code)),
        };
        let is_empty = match decision {
            Decision::Done => return TransactionResponse::EndTxn(Ok(known.producer)),
            Decision::End => false,
            Decision::EndOfNothing => true,
        };
        let mut next_producer_id = ProducerId::NONE;
        if bumps && known.is_epoch_exhausted() {
            let Some(fresh) = request.fresh else { return TransactionResponse::ProducerIdNeeded };
            next_producer_id = fresh;
        }
        let state =
            if request.commit { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort };
        let mut next = prepared(known, state, request.transaction_version, now);
        next.next_producer_id = next_producer_id;
        if is_empty {
            next.started = now;
        }
        // What the producer has once this is complete.
        let producer = after_completion(&next);
        self.prepare(&request.transactional_id, next, outcome);
        TransactionResponse::EndTxn(Ok(producer))
    }

    /// Aborts the open transaction of an id, and shuts its producer out.
    pub(super) fn fence(&mut self, now: TimestampMs, id: &Str, outcome: &mut TransactionOutcome) {
        let Some(known) = self.state.transaction(id) else { return };
        let version = self.config.transaction_version;
        let mut next = prepared(known, TransactionState::PrepareAbort, version, now);
        if !raises_epoch(version) {
            // Version 2 has raised it, as with every end.
            next.producer.epoch = known.fencing_epoch();
            next.last_epoch = ProducerEpoch::NONE;
        }
        next.next_producer_id = ProducerId::NONE;
        self.prepare(id, next, outcome);
    }

    /// Aborts transactions that take too long, some at a time; `false` if there are none.
    pub(super) fn abort_timed_out(&mut self, now: TimestampMs, outcome: &mut TransactionOutcome) -> bool {
        let overdue = self.state.transactions().filter(|(_, transaction)| transaction.is_overdue(now));
        let overdue: Vec<_> = overdue.map(|(id, _)| id.clone()).take(ABORTS_AT_ONCE_MAX).collect();
        for id in &overdue {
            tracing::info!(transactional_id = %id, "a transaction has timed out");
            self.fence(now, id, outcome);
        }
        !overdue.is_empty()
    }

    /// All markers are written. Told twice, or too late, it is no news.
    pub(super) fn complete(
        &mut self,
        now: TimestampMs,
        id: &Str,
        marked: TxnProducer,
        outcome: &mut TransactionOutcome,
    ) -> ErrorCode {
        let Some(known) = self.state.transaction(id) else { return ErrorCode::InvalidProducerIdMapping };
        let state = match known.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            TransactionState::PrepareAbort => TransactionState::CompleteAbort,
            _ => return ErrorCode::InvalidTxnState,
        };
        if known.producer != marked {
            return ErrorCode::InvalidTxnState;
        }
        let mut next = known.to(state, now);
        next.producer = after_completion(known);
        next.next_producer_id = ProducerId::NONE;
        next.partitions.clear();
        self.put(id, next, outcome);
        self.wake_waiting(now, id, outcome);
        ErrorCode::None
    }

    /// What must be written for a transaction whose end is prepared.
    pub(super) fn markers_of(&self, id: &Str, transaction: &Transaction) -> Option<TransactionAction> {
        transaction.state.is_prepared().then(|| TransactionAction::WriteMarkers {
            transactional_id: id.clone(),
            marker: TxnMarker {
                producer: transaction.producer,
                commit: transaction.state == TransactionState::PrepareCommit,
                coordinator_epoch: self.config.coordinator_epoch,
                is_bumped: raises_epoch(transaction.client_version),
            },
            partitions: transaction.partitions.iter().cloned().collect(),
        })
    }

    fn prepare(&mut self, id: &Str, next: Transaction, outcome: &mut TransactionOutcome) {
        if let Some(action) = self.markers_of(id, &next) {
            outcome.act(action);
        }
        self.put(id, next, outcome);
    }

    fn known(&self, request: &EndTxn) -> Result<&Transaction, ErrorCode> {
        if request.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.state.transaction(&request.transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

/// `prepareAbortOrCommit`
fn prepared(known: &Transaction, state: TransactionState, version: i16, now: TimestampMs) -> Transaction {
    let mut next = known.to(state, now);
    if raises_epoch(version) {
        next.producer.epoch = known.fencing_epoch();
        next.last_epoch = known.producer.epoch;
    }
    next.client_version = version;
    next
}

/// Who the producer is after a prepared end: another one where its epochs are used up.
fn after_completion(prepared: &Transaction) -> TxnProducer {
    match prepared.next_producer_id {
        ProducerId::NONE => prepared.producer,
        id => TxnProducer { id, epoch: ProducerEpoch(0) },
    }
}

fn decide_v1(known: &Transaction, request: &EndTxn) -> Result<Decision, ErrorCode> {
    if known.producer.id != request.producer.id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if known.producer.epoch != request.producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    match (known.state, request.commit) {
        (TransactionState::Ongoing, _) => Ok(Decision::End),
        (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => {
            Ok(Decision::Done)
        }
        (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
            Err(ErrorCode::ConcurrentTransactions)
        }
        _ => Err(ErrorCode::InvalidTxnState),
    }
}

fn decide(known: &Transaction, request: &EndTxn) -> Result<Decision, ErrorCode> {
    let (current, asked) = (known.producer.epoch.0, request.producer.epoch.0);
    // Asked again after the epoch was raised, or after the producer got a new id because it could not be.
    let over_the_edge = known.previous_producer_id == request.producer.id
        && asked == i16::MAX - 1
        && current == 0
        && known.producer.id != request.producer.id;
    let again = (asked < i16::MAX && current == asked + 1) || over_the_edge;
    if known.producer.id != request.producer.id && !over_the_edge {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let is_valid = match known.state {
        TransactionState::PrepareCommit
        | TransactionState::PrepareAbort
        | TransactionState::CompleteCommit
        | TransactionState::CompleteAbort => again || asked == current,
        _ => asked == current,
    };
    if !is_valid {
        return Err(ErrorCode::ProducerFenced);
    }
    match (known.state, request.commit) {
        (TransactionState::Ongoing, _) => Ok(Decision::End),
        // The last end was answered, and its markers are on their way.
        (TransactionState::PrepareCommit | TransactionState::PrepareAbort, _) if !again => {
            Err(ErrorCode::ConcurrentTransactions)
        }
        (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) if again => {
            Ok(Decision::Done)
        }
        (TransactionState::CompleteCommit | TransactionState::CompleteAbort, false) if !again => {
            Ok(Decision::EndOfNothing)
        }
        (TransactionState::Empty, false) => Ok(Decision::EndOfNothing),
        (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
            Err(ErrorCode::ConcurrentTransactions)
        }
        _ => Err(ErrorCode::InvalidTxnState),
    }
}
