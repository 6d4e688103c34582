//! What a transaction coordinator is asked, what it answers, and what it wants done.

use strata_protocol::Str;
use strata_protocol::messages::describe_transactions_response::TransactionState as DescribedTransaction;
use strata_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use strata_types::{ErrorCode, PartitionId, ProducerId, TimestampMs};

use super::admin::{TransactionFilter, describe_error};
use crate::shard::{TxnMarker, TxnProducer};

/// A partition that is, or is to be, part of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnPartition {
    pub topic: Str,
    pub partition: PartitionId,
}

/// InitProducerId with a transactional id.
#[derive(Debug, Clone)]
pub struct InitProducer {
    pub transactional_id: Str,
    pub timeout_ms: i32,
    /// Who the producer believes to be: it goes on after an error (KIP-360).
    pub expected: Option<TxnProducer>,
    /// A fresh producer id; without one, the answer may be [`TransactionResponse::ProducerIdNeeded`].
    pub fresh: Option<ProducerId>,
}

/// Partitions that join a producer's transaction, or are asked about.
#[derive(Debug, Clone)]
pub struct AddPartitions {
    pub transactional_id: Str,
    pub producer: TxnProducer,
    pub partitions: Vec<TxnPartition>,
    /// The client's: 0, or 2 where a broker adds partitions for it (KIP-890).
    pub transaction_version: i16,
}

#[derive(Debug, Clone)]
pub struct EndTxn {
    pub transactional_id: Str,
    pub producer: TxnProducer,
    pub commit: bool,
    /// The client's: 0, or 2 from EndTxn v5 on.
    pub transaction_version: i16,
    /// As in [`InitProducer`].
    pub fresh: Option<ProducerId>,
}

/// A request to one shard. Authorisation, and which partitions exist, are behind it.
#[derive(Debug, Clone)]
pub enum TransactionRequest {
    InitProducerId(InitProducer),
    /// `wait`: rather than to be told that the last transaction is still being completed, for a short while.
    AddPartitions {
        add: AddPartitions,
        wait: bool,
    },
    Verify {
        add: AddPartitions,
    },
    EndTxn(EndTxn),
    /// The markers of [`TransactionAction::WriteMarkers`] are committed, in all partitions that still exist.
    MarkersWritten {
        transactional_id: Str,
        producer: TxnProducer,
    },
    Describe {
        transactional_ids: Vec<Str>,
    },
    List {
        filter: TransactionFilter,
        now: TimestampMs,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum TransactionResponse {
    InitProducerId(Result<TxnProducer, ErrorCode>),
    /// To InitProducerId and EndTxn: nothing is done; ask again with a fresh producer id.
    ProducerIdNeeded,
    Added(ErrorCode),
    /// One for each partition asked about.
    Verified(Vec<ErrorCode>),
    /// The producer's next transaction is this one's.
    EndTxn(Result<TxnProducer, ErrorCode>),
    MarkersWritten(ErrorCode),
    Described(Vec<DescribedTransaction>),
    Listed(Result<Vec<ListedTransaction>, ErrorCode>),
}

/// What the shell must do for the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionAction {
    /// Write the marker into every partition, as often as it takes; then [`TransactionRequest::MarkersWritten`].
    WriteMarkers { transactional_id: Str, marker: TxnMarker, partitions: Vec<TxnPartition> },
}

/// The answer `code` in the shape that `request` asks for.
pub(super) fn refuse(request: &TransactionRequest, code: ErrorCode) -> TransactionResponse {
    match request {
        TransactionRequest::InitProducerId(_) => TransactionResponse::InitProducerId(Err(code)),
        TransactionRequest::AddPartitions { .. } => TransactionResponse::Added(code),
        TransactionRequest::Verify { add } => TransactionResponse::Verified(vec![code; add.partitions.len()]),
        TransactionRequest::EndTxn(_) => TransactionResponse::EndTxn(Err(code)),
        TransactionRequest::MarkersWritten { .. } => TransactionResponse::MarkersWritten(code),
        TransactionRequest::Describe { transactional_ids } => {
            let described = transactional_ids.iter().map(|id| describe_error(id.clone(), code));
            TransactionResponse::Described(described.collect())
        }
        TransactionRequest::List { .. } => TransactionResponse::Listed(Err(code)),
    }
}

/// What becomes of an answer whose records did not make it into the log.
pub(super) fn failed(response: TransactionResponse, code: ErrorCode) -> TransactionResponse {
    match response {
        TransactionResponse::InitProducerId(_) => TransactionResponse::InitProducerId(Err(code)),
        TransactionResponse::ProducerIdNeeded => TransactionResponse::ProducerIdNeeded,
        TransactionResponse::Added(_) => TransactionResponse::Added(code),
        TransactionResponse::Verified(codes) => TransactionResponse::Verified(vec![code; codes.len()]),
        TransactionResponse::EndTxn(_) => TransactionResponse::EndTxn(Err(code)),
        TransactionResponse::MarkersWritten(_) => TransactionResponse::MarkersWritten(code),
        TransactionResponse::Described(described) => TransactionResponse::Described(
            described.into_iter().map(|one| describe_error(one.transactional_id, code)).collect(),
        ),
        TransactionResponse::Listed(_) => TransactionResponse::Listed(Err(code)),
    }
}
