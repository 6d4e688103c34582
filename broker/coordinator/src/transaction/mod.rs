//! The transaction shard: transactional ids and their transactions, of one `__transaction_state` partition.
//!
//! ```text
//!                    ┌───────────── InitProducerId: next epoch ─────────────┐
//!                    ▼                                                      │
//!                  Empty ─ AddPartitions ─▶ Ongoing ─ EndTxn ─▶ PrepareCommit ─ markers written ─▶ CompleteCommit
//!                                              │                                                        │
//!                                              ├─ EndTxn, time-out,  ─▶ PrepareAbort ─ … ─▶ CompleteAbort
//!                                              │  InitProducerId                                        │
//!                                              └◀──────────────── AddPartitions ────────────────────────┘
//! ```
//!
//! | file | what |
//! |---|---|
//! | `metadata` | a transactional id: its producer, its state, the partitions of its transaction |
//! | `init`, `partitions`, `end` | InitProducerId; AddPartitionsToTxn; EndTxn, time-outs, and what follows from a prepared end |
//! | `admin` | DescribeTransactions, ListTransactions, expiry of ids that are no longer used |
//! | `record` | Kafka's records of them |
//!
//! Once an end is prepared it happens: the [`TransactionAction`] to write its markers comes out after the record is
//! committed, and again whenever a coordinator has loaded the record. What Kafka keeps as a pending transition needs no
//! place here: the runtime applies at once and takes back what is not written.

mod admin;
mod api;
mod config;
mod end;
mod init;
mod metadata;
mod partitions;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use strata_protocol::{EncodeError, Str};
use strata_types::{ErrorCode, TimestampMs};

use crate::shard::{Outcome, RawRecord, ReplayError, ReplyId, Shard};

pub use admin::{TransactionFilter, transactional_id_pattern};
pub use api::{
    AddPartitions, EndTxn, InitProducer, TransactionAction, TransactionRequest, TransactionResponse,
    TxnPartition,
};
pub use config::TransactionConfig;
pub use end::raises_epoch;
pub use metadata::{Transaction, TransactionState};
pub use record::TransactionRecord;

use partitions::Waiting;

type TransactionOutcome = Outcome<TransactionRecord, TransactionResponse, TransactionAction>;

/// Persistent: a clone is O(1).
#[derive(Debug, Clone, Default)]
pub struct TransactionsState {
    transactions: OrdMap<Str, Arc<Transaction>>,
}

impl TransactionsState {
    pub fn transaction(&self, transactional_id: &str) -> Option<&Transaction> {
        self.transactions.get(transactional_id).map(Arc::as_ref)
    }

    pub fn transactions(&self) -> impl Iterator<Item = (&Str, &Transaction)> {
        self.transactions.iter().map(|(id, transaction)| (id, transaction.as_ref()))
    }
}

#[derive(Debug)]
pub struct TransactionShard {
    config: TransactionConfig,
    state: TransactionsState,
    /// Requests that wait for a transaction to be complete: they begin the next one.
    waiting: Vec<Waiting>,
    /// When transactions are next looked through for those that take too long; none while loading.
    next_abort_check: Option<TimestampMs>,
    next_expiry_check: Option<TimestampMs>,
}

impl TransactionShard {
    pub fn new(config: TransactionConfig) -> Self {
        Self {
            config,
            state: TransactionsState::default(),
            waiting: Vec::new(),
            next_abort_check: None,
            next_expiry_check: None,
        }
    }

    /// Makes the transaction what it is now, and has that written.
    fn put(&mut self, transactional_id: &Str, transaction: Transaction, outcome: &mut TransactionOutcome) {
        let transactional_id = transactional_id.detached();
        outcome.append_applied(TransactionRecord::of(&transactional_id, &transaction));
        self.state.transactions.insert(transactional_id, Arc::new(transaction));
    }
}

impl Shard for TransactionShard {
    type Request = TransactionRequest;
    type Response = TransactionResponse;
    type Record = TransactionRecord;
    type State = TransactionsState;
    type Action = TransactionAction;

    fn state(&self) -> &TransactionsState {
        &self.state
    }

    fn restore(&mut self, state: TransactionsState) {
        self.state = state;
    }

    fn reverted(&mut self, _now: TimestampMs, is_open: &dyn Fn(ReplyId) -> bool) {
        self.waiting.retain(|waiting| is_open(waiting.reply));
    }

    fn query(
        &self,
        committed: &TransactionsState,
        request: &TransactionRequest,
    ) -> Option<TransactionResponse> {
        match request {
            TransactionRequest::Describe { transactional_ids } => {
                let described = transactional_ids.iter().map(|id| committed.describe(id)).collect();
                Some(TransactionResponse::Described(described))
            }
            TransactionRequest::List { filter, now } => {
                Some(TransactionResponse::Listed(Ok(committed.list(filter, *now))))
            }
            _ => None,
        }
    }

    fn handle(
        &mut self,
        now: TimestampMs,
        request: TransactionRequest,
        reply: ReplyId,
        outcome: &mut TransactionOutcome,
    ) {
        let response = match request {
            TransactionRequest::InitProducerId(request) => self.init_producer(now, &request, outcome),
            TransactionRequest::AddPartitions { add, wait } => {
                return self.add_partitions(now, add, wait, reply, outcome);
            }
            TransactionRequest::Verify { add } => TransactionResponse::Verified(self.verify(&add)),
            TransactionRequest::EndTxn(request) => self.end_transaction(now, &request, outcome),
            TransactionRequest::MarkersWritten { transactional_id, producer } => {
                let code = self.complete(now, &transactional_id, producer, outcome);
                TransactionResponse::MarkersWritten(code)
            }
            TransactionRequest::Describe { transactional_ids } => {
                let described = transactional_ids.iter().map(|id| self.state.describe(id)).collect();
                TransactionResponse::Described(described)
            }
            TransactionRequest::List { filter, now } => {
                TransactionResponse::Listed(Ok(self.state.list(&filter, now)))
            }
        };
        outcome.reply(reply, response);
    }

    fn tick(&mut self, now: TimestampMs, outcome: &mut TransactionOutcome) -> bool {
        if self.give_up_waiting(now, outcome) {
            return true;
        }
        if self.next_abort_check.is_some_and(|at| at <= now) {
            if self.abort_timed_out(now, outcome) {
                return true;
            }
            self.next_abort_check = Some(now + self.config.abort_check_interval_ms.max(1));
        }
        if self.next_expiry_check.is_some_and(|at| at <= now) {
            self.next_expiry_check = Some(now + self.config.expiry_check_interval_ms.max(1));
            outcome.allow_splitting();
            self.state.expire(now, &self.config, outcome);
            return true;
        }
        false
    }

    fn next_deadline(&self) -> Option<TimestampMs> {
        let waiting = self.waiting.iter().map(|waiting| waiting.deadline).min();
        [waiting, self.next_abort_check, self.next_expiry_check].into_iter().flatten().min()
    }

    fn replay(&mut self, record: &TransactionRecord) {
        match record.transaction() {
            Some(transaction) => {
                self.state.transactions.insert(record.transactional_id().detached(), Arc::new(transaction));
            }
            None => {
                self.state.transactions.remove(record.transactional_id());
            }
        }
    }

    /// Ends that were prepared are carried on with.
    fn loaded(&mut self, now: TimestampMs, outcome: &mut TransactionOutcome) {
        self.next_abort_check = Some(now + self.config.abort_check_interval_ms.max(1));
        self.next_expiry_check = Some(now + self.config.expiry_check_interval_ms.max(1));
        for (id, transaction) in &self.state.transactions {
            if let Some(action) = self.markers_of(id, transaction) {
                outcome.act(action);
            }
        }
    }

    fn encode(record: &TransactionRecord) -> Result<RawRecord, EncodeError> {
        record.encode()
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<TransactionRecord>, ReplayError> {
        TransactionRecord::decode(key, value)
    }

    fn refuse(request: &TransactionRequest, code: ErrorCode) -> TransactionResponse {
        api::refuse(request, code)
    }

    fn fail(response: TransactionResponse, code: ErrorCode) -> TransactionResponse {
        api::failed(response, code)
    }
}
