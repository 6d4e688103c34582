//! Looking at transactions (KIP-664), and forgetting ids that are no longer used.

use std::collections::BTreeMap;

use regex::Regex;
use strata_protocol::Str;
use strata_protocol::messages::describe_transactions_response::{
    TopicData, TransactionState as DescribedTransaction,
};
use strata_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use strata_types::{ErrorCode, ProducerId, TimestampMs};

use super::config::TransactionConfig;
use super::metadata::TransactionState;
use super::record::TransactionRecord;
use super::{TransactionOutcome, TransactionsState};

/// What ListTransactions asks for. Empty lists let everything through.
#[derive(Debug, Clone, Default)]
pub struct TransactionFilter {
    pub producer_ids: Vec<i64>,
    pub states: Vec<Str>,
    /// Only transactions that have been open for this long; negative: all (v1).
    pub duration_ms: i64,
    /// See [`transactional_id_pattern`] (v2).
    pub pattern: Option<Regex>,
}

impl TransactionFilter {
    /// The states asked for that do not exist.
    pub fn unknown_states(&self) -> Vec<Str> {
        self.states.iter().filter(|name| TransactionState::by_name(name).is_none()).cloned().collect()
    }
}

impl TransactionsState {
    pub(super) fn describe(&self, id: &Str) -> DescribedTransaction {
        if id.is_empty() {
            return describe_error(id.clone(), ErrorCode::InvalidRequest);
        }
        let Some(transaction) = self.transaction(id) else {
            return describe_error(id.clone(), ErrorCode::TransactionalIdNotFound);
        };
        let mut topics: BTreeMap<&Str, Vec<i32>> = BTreeMap::new();
        for at in &transaction.partitions {
            topics.entry(&at.topic).or_default().push(at.partition);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| TopicData {
            topic: topic.clone(),
            partitions,
            ..Default::default()
        });
        DescribedTransaction {
            transactional_id: id.clone(),
            transaction_state: Str::from_static(transaction.state.name()),
            transaction_timeout_ms: transaction.timeout_ms,
            transaction_start_time_ms: transaction.started,
            producer_id: transaction.producer.id.0,
            producer_epoch: transaction.producer.epoch.0,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    pub(super) fn list(&self, filter: &TransactionFilter, now: TimestampMs) -> Vec<ListedTransaction> {
        let matched = self.transactions().filter(|(id, transaction)| {
            let ProducerId(producer_id) = transaction.producer.id;
            let state = transaction.state.name();
            (filter.producer_ids.is_empty() || filter.producer_ids.contains(&producer_id))
                && (filter.states.is_empty() || filter.states.iter().any(|wanted| **wanted == *state))
                && (filter.duration_ms < 0 || now - transaction.started >= filter.duration_ms)
                && filter.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
        });
        let listed = matched.map(|(id, transaction)| ListedTransaction {
            transactional_id: id.clone(),
            producer_id: transaction.producer.id.0,
            transaction_state: Str::from_static(transaction.state.name()),
            ..Default::default()
        });
        listed.collect()
    }

    /// Tombstones for ids that have had no open transaction for long.
    pub(super) fn expire(
        &self,
        now: TimestampMs,
        config: &TransactionConfig,
        outcome: &mut TransactionOutcome,
    ) {
        let is_idle = |state| {
            matches!(
                state,
                TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort
            )
        };
        for (id, transaction) in self.transactions() {
            if is_idle(transaction.state) && transaction.updated <= now - config.id_expiration_ms {
                outcome.append(TransactionRecord::tombstone(id));
            }
        }
    }
}

pub(super) fn describe_error(transactional_id: Str, code: ErrorCode) -> DescribedTransaction {
    DescribedTransaction { transactional_id, error_code: code.into(), ..Default::default() }
}

/// Bytes of a pattern, and of what it is compiled to.
const PATTERN_BYTES_MAX: usize = 1_000;
const PATTERN_COMPILED_BYTES_MAX: usize = 1 << 20;

/// A pattern for whole transactional ids, as ListTransactions v2 has it; `None` if it is none.
pub fn transactional_id_pattern(pattern: &str) -> Option<Regex> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return None;
    }
    // The pattern alone first: what is no pattern must not become one between our brackets.
    let compile =
        |pattern: &str| regex::RegexBuilder::new(pattern).size_limit(PATTERN_COMPILED_BYTES_MAX).build().ok();
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}
