//! WriteShareGroupState (85): stores what share partitions' leader has changed (KIP-932).
//!
//! - Writes of an earlier life (FENCED_STATE_EPOCH), of an earlier leader (FENCED_LEADER_EPOCH) and to partitions that were
//!   never initialized (INVALID_REQUEST) are refused. −1 leaves what is stored as it is.
//! - v1: how many records behind the start offset are settled (KIP-1226), from which the group's lag is told.

use std::ops::RangeInclusive;

use strata_coordinator::share::partition::{DeliveryState, StateBatch};
use strata_coordinator::share::persister::{PersisterRequest, SharePartitionKey};
use strata_protocol::messages::write_share_group_state_request::PartitionData;
use strata_protocol::messages::write_share_group_state_response::{PartitionResult, WriteStateResult};
use strata_protocol::messages::{WriteShareGroupStateRequest, WriteShareGroupStateResponse};

use super::share_state::ShareState;
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct WriteShareGroupState;

impl Handler for WriteShareGroupState {
    type Request = WriteShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<WriteShareGroupStateResponse, Refusal> {
        let state = ShareState::of(&cx, &request.group_id);
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let partition = asked.partition;
                let key = state.key(topic.topic_id, partition);
                let ask = write(key.clone(), asked);
                let (error_code, error_message) = state.done("WriteShareGroupState", &key, ask).await?;
                partitions.push(PartitionResult {
                    partition,
                    error_code,
                    error_message,
                    ..Default::default()
                });
            }
            results.push(WriteStateResult { topic_id: topic.topic_id, partitions, ..Default::default() });
        }
        Ok(WriteShareGroupStateResponse { results, ..Default::default() })
    }
}

/// `None` where a state is none that we know.
fn write(key: SharePartitionKey, asked: PartitionData) -> Option<PersisterRequest> {
    let batches = asked.state_batches.iter().map(|batch| {
        Some(StateBatch {
            first_offset: batch.first_offset,
            last_offset: batch.last_offset,
            state: DeliveryState::from_id(batch.delivery_state)?,
            delivery_count: batch.delivery_count,
        })
    });
    Some(PersisterRequest::Write {
        key,
        state_epoch: asked.state_epoch,
        leader_epoch: asked.leader_epoch,
        start_offset: asked.start_offset,
        delivery_complete_count: asked.delivery_complete_count,
        batches: batches.collect::<Option<_>>()?,
    })
}
