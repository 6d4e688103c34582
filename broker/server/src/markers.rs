//! Transaction markers: the control batches that end a transaction in one partition.

use std::sync::Arc;

use bytes::Bytes;
use strata_coordinator::transaction::TxnPartition;
use strata_coordinator::{GroupRequest, GroupResponse, TxnMarker};
use strata_log::TxnCheck;
use strata_protocol::records::{BuildError, EndTxnMarker, Origin, end_transaction_marker};
use strata_types::{ErrorCode, LeaderEpoch, Offset, TimestampMs};

use crate::broker::{Broker, now};
use crate::internal::CONSUMER_OFFSETS;

/// The control batch of a marker, and what the log must check when it is appended.
pub(crate) fn batch(marker: &TxnMarker, now: TimestampMs) -> Result<(Bytes, TxnCheck), BuildError> {
    let batch = end_transaction_marker(&EndTxnMarker {
        base_offset: Offset::ZERO,
        leader_epoch: LeaderEpoch::UNKNOWN,
        producer_id: marker.producer.id,
        producer_epoch: marker.producer.epoch,
        commit: marker.commit,
        coordinator_epoch: marker.coordinator_epoch,
        timestamp: now,
    })?;
    Ok((batch, if marker.is_bumped { TxnCheck::EpochBumped } else { TxnCheck::Off }))
}

/// Writes the marker into a partition that is led here, and waits until it is committed. Written twice, it does no harm.
pub(crate) async fn write(
    broker: &Arc<Broker>,
    marker: &TxnMarker,
    at: &TxnPartition,
) -> Result<(), ErrorCode> {
    if *at.topic == *CONSUMER_OFFSETS {
        // Its coordinator keeps what the transaction has committed.
        let request = GroupRequest::EndTransaction { marker: *marker };
        return match broker.groups.ask_partition(broker, at.partition, request).await {
            GroupResponse::EndTransaction(ErrorCode::None) => Ok(()),
            GroupResponse::EndTransaction(code) => Err(code),
            _ => Err(ErrorCode::UnknownServerError),
        };
    }
    let partition = broker.partitions.by_name(&at.topic, at.partition)?;
    let now = now();
    let (batch, check) = batch(marker, now).map_err(|_| ErrorCode::UnknownServerError)?;
    let appended = partition.append_checked(batch, now, Origin::Coordinator, check);
    let appended = appended.map_err(|error| error.error_code())?;
    partition.committed(appended.last_offset.next()).await
}
