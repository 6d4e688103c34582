//! Transaction coordinators, in `__transaction_state`, and the markers that they have written.

use std::sync::Arc;
use std::time::Duration;

use futures::future;
use strata_coordinator::transaction::{TransactionAction, TransactionConfig, TxnPartition};
use strata_coordinator::{
    RuntimeOptions, TransactionRequest, TransactionResponse, TransactionShard, TxnProducer,
};
use strata_protocol::Str;
use strata_types::{ErrorCode, PartitionId};

use super::Hosted;
use crate::broker::Broker;
use crate::features;
use crate::internal::TRANSACTION_STATE;
use crate::markers;
use crate::partition::Partition;

/// Between two tries to write a marker where the disk or the group's coordinator did not let us.
const RETRY_BACKOFF: Duration = Duration::from_millis(100);

impl Hosted for TransactionShard {
    const TOPIC: &'static str = TRANSACTION_STATE;

    fn new(broker: &Broker, partition: &Partition) -> (Self, RuntimeOptions) {
        let settings = &broker.config.settings;
        let config = TransactionConfig {
            max_timeout_ms: settings.transaction_max_timeout_ms,
            id_expiration_ms: settings.transactional_id_expiration_ms,
            abort_check_interval_ms: settings.transaction_abort_check_interval_ms,
            expiry_check_interval_ms: settings.transaction_expiry_check_interval_ms,
            transaction_version: broker.image().feature(features::TRANSACTION_VERSION).unwrap_or(0),
            coordinator_epoch: partition.leader_epoch().0,
            begin_wait_ms: settings.add_partitions_to_txn_retry_backoff_max_ms,
            ..Default::default()
        };
        let options = RuntimeOptions {
            append_bytes_max: partition.log.config().max_message_bytes,
            ..Default::default()
        };
        (Self::new(config), options)
    }

    fn act(broker: &Arc<Broker>, partition: &Arc<Partition>, action: TransactionAction) {
        let (broker, index) = (broker.clone(), partition.id.partition.partition);
        broker.tasks.clone().spawn(async move {
            let stopping = broker.stopping.clone();
            // What is cut off here, the coordinator that loads the partition next carries on with.
            stopping.run_until_cancelled(complete(&broker, index, action)).await;
        });
    }
}

/// Writes a transaction's markers, and has its coordinator say that it is complete.
async fn complete(broker: &Arc<Broker>, index: PartitionId, action: TransactionAction) {
    let TransactionAction::WriteMarkers { transactional_id, marker, partitions: mut left } = action;
    loop {
        let written = left.iter().map(|at| markers::write(broker, &marker, at));
        let written = future::join_all(written).await;
        let mut written = written.into_iter();
        left.retain(|at| {
            written.next().is_some_and(|written| must_be_tried_again(&transactional_id, at, written))
        });
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(RETRY_BACKOFF).await;
    }
    while !tell(broker, index, &transactional_id, marker.producer).await {
        tokio::time::sleep(RETRY_BACKOFF).await;
    }
}

fn must_be_tried_again(id: &str, at: &TxnPartition, written: Result<(), ErrorCode>) -> bool {
    match written {
        Ok(()) => false,
        // The topic is deleted.
        Err(ErrorCode::UnknownTopicOrPartition) => false,
        // Somebody has ended the transaction there, by a higher epoch.
        Err(code @ (ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced)) => {
            tracing::warn!(transactional_id = id, topic = %at.topic, partition = at.partition, %code, "a marker is refused");
            false
        }
        Err(code) => {
            tracing::debug!(transactional_id = id, topic = %at.topic, partition = at.partition, %code, "a marker must wait");
            true
        }
    }
}

/// Whether the coordinator knows, or has changed.
async fn tell(broker: &Arc<Broker>, index: PartitionId, id: &Str, producer: TxnProducer) -> bool {
    let request = TransactionRequest::MarkersWritten { transactional_id: id.clone(), producer };
    let answer = broker.transactions.ask_partition(broker, index, request).await;
    let again = [ErrorCode::CoordinatorNotAvailable, ErrorCode::CoordinatorLoadInProgress];
    !matches!(answer, TransactionResponse::MarkersWritten(code) if again.contains(&code))
}
