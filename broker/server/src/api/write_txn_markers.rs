//! WriteTxnMarkers (27): ends transactions in partitions of this broker. Coordinators send it, and `kafka-transactions abort`
//! where a transaction has lost its coordinator (KIP-664).
//!
//! - Answered once the markers are committed. Markers for `__consumer_offsets` go by the group coordinators.
//! - v2: says the transaction's version, so that a marker that is late is told from the next transaction's (KIP-890).

use std::ops::RangeInclusive;

use futures::future;
use strata_coordinator::transaction::{TxnPartition, raises_epoch};
use strata_coordinator::{TxnMarker, TxnProducer};
use strata_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use strata_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use strata_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};

use crate::dispatch::{Context, Handler, Refusal};
use crate::markers;
use crate::security::{Operation, Resource};

pub(crate) struct WriteTxnMarkers;

impl Handler for WriteTxnMarkers {
    type Request = WriteTxnMarkersRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<WriteTxnMarkersResponse, Refusal> {
        let allowed = cx.allows(Operation::ClusterAction, Resource::Cluster)
            || cx.allows(Operation::Alter, Resource::Cluster);
        let mut results = Vec::with_capacity(request.markers.len());
        for marker in &request.markers {
            let topics = marker.topics.iter().map(|topic| write(&cx, marker, topic, allowed));
            results.push(WritableTxnMarkerResult {
                producer_id: marker.producer_id,
                topics: future::join_all(topics).await,
                ..Default::default()
            });
        }
        Ok(WriteTxnMarkersResponse { markers: results, ..Default::default() })
    }
}

async fn write(
    cx: &Context,
    marker: &WritableTxnMarker,
    topic: &WritableTxnMarkerTopic,
    allowed: bool,
) -> WritableTxnMarkerTopicResult {
    let end = TxnMarker {
        producer: TxnProducer {
            id: ProducerId(marker.producer_id),
            epoch: ProducerEpoch(marker.producer_epoch),
        },
        commit: marker.transaction_result,
        coordinator_epoch: marker.coordinator_epoch,
        is_bumped: raises_epoch(marker.transaction_version.into()),
    };
    let end = &end;
    let partitions = topic.partition_indexes.iter().map(|&partition| async move {
        let at = TxnPartition { topic: topic.name.clone(), partition };
        let written = match allowed {
            true => markers::write(&cx.broker, end, &at).await,
            false => Err(ErrorCode::ClusterAuthorizationFailed),
        };
        WritableTxnMarkerPartitionResult {
            partition_index: partition,
            error_code: written.err().unwrap_or(ErrorCode::None).into(),
            ..Default::default()
        }
    });
    WritableTxnMarkerTopicResult {
        partitions: future::join_all(partitions).await,
        name: topic.name.clone(),
        ..Default::default()
    }
}
