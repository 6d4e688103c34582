//! InitializeShareGroupState (83): begins a life of share partitions' state, for the group coordinator (KIP-932).
//!
//! - The state epoch must not be below the known one: FENCED_STATE_EPOCH. Start offset −1: the group's
//!   `share.auto.offset.reset` decides when the partition is first read.

use std::ops::RangeInclusive;

use strata_coordinator::share::persister::PersisterRequest;
use strata_protocol::messages::initialize_share_group_state_response::{
    InitializeStateResult, PartitionResult,
};
use strata_protocol::messages::{InitializeShareGroupStateRequest, InitializeShareGroupStateResponse};

use super::share_state::ShareState;
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct InitializeShareGroupState;

impl Handler for InitializeShareGroupState {
    type Request = InitializeShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<InitializeShareGroupStateResponse, Refusal> {
        let state = ShareState::of(&cx, &request.group_id);
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let partition = asked.partition;
                let key = state.key(topic.topic_id, partition);
                let ask = PersisterRequest::Initialize {
                    key: key.clone(),
                    state_epoch: asked.state_epoch,
                    start_offset: asked.start_offset,
                };
                let (error_code, error_message) =
                    state.done("InitializeShareGroupState", &key, Some(ask)).await?;
                partitions.push(PartitionResult {
                    partition,
                    error_code,
                    error_message,
                    ..Default::default()
                });
            }
            results.push(InitializeStateResult {
                topic_id: topic.topic_id,
                partitions,
                ..Default::default()
            });
        }
        Ok(InitializeShareGroupStateResponse { results, ..Default::default() })
    }
}
