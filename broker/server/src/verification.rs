//! Whether records belong to a transaction that its coordinator knows of (KIP-890): asked before a producer's first
//! records of a transaction reach a partition, so that none is left there without a marker to come.

use std::sync::Arc;

use strata_coordinator::transaction::{AddPartitions, TxnPartition};
use strata_coordinator::{TransactionRequest, TransactionResponse, TxnProducer};
use strata_protocol::Str;
use strata_types::ErrorCode;

use crate::broker::Broker;

/// What a client expects of the broker that its records go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expects {
    /// It has added the partition itself.
    Verified {
        /// It knows TRANSACTION_ABORTABLE.
        abortable: bool,
    },
    /// The broker adds the partition (transaction version 2).
    Added,
}

/// Whether clients' own words on what is part of a transaction are checked: a setting that counts at once when it changes.
pub(crate) fn is_on(broker: &Broker) -> bool {
    broker.configs.broker_flag(&broker.image(), "transaction.partition.verification.enable")
}

/// Asks the transaction's coordinator about partitions. Answers one code for each.
pub(crate) async fn ask(
    broker: &Arc<Broker>,
    transactional_id: &Str,
    producer: TxnProducer,
    partitions: Vec<TxnPartition>,
    expects: Expects,
) -> Vec<ErrorCode> {
    let count = partitions.len();
    let transaction_version = if expects == Expects::Added { 2 } else { 0 };
    let transactional_id = transactional_id.clone();
    let add = AddPartitions {
        transactional_id: transactional_id.clone(),
        producer,
        partitions,
        transaction_version,
    };
    let request = match expects {
        Expects::Added => TransactionRequest::AddPartitions { add, wait: true },
        Expects::Verified { .. } => TransactionRequest::Verify { add },
    };
    let codes = match broker.transactions.ask(broker, &transactional_id, request).await {
        TransactionResponse::Added(code) => vec![code; count],
        TransactionResponse::Verified(codes) => codes,
        _ => vec![ErrorCode::UnknownServerError; count],
    };
    codes.into_iter().map(|code| for_client(code, expects)).collect()
}

/// What clients expect to hear in this place.
fn for_client(code: ErrorCode, expects: Expects) -> ErrorCode {
    match (code, expects) {
        (ErrorCode::ProducerFenced, _) => ErrorCode::InvalidProducerEpoch,
        (ErrorCode::TransactionAbortable, Expects::Verified { abortable: false }) => {
            ErrorCode::InvalidTxnState
        }
        (code, _) => code,
    }
}
