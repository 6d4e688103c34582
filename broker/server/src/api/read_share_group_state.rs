//! ReadShareGroupState (84): what is stored of share partitions, for their new leader (KIP-932).
//!
//! - The leader's epoch is remembered: writes of an earlier leader are refused from then on (FENCED_LEADER_EPOCH). −1: who
//!   asks is no leader.

use std::ops::RangeInclusive;

use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse};
use strata_protocol::messages::read_share_group_state_response::{
    PartitionResult, ReadStateResult, StateBatch,
};
use strata_protocol::messages::{ReadShareGroupStateRequest, ReadShareGroupStateResponse};

use super::share_state::{ShareState, said_of};
use crate::dispatch::{Context, Handler, Refusal};
use crate::share;

pub(crate) struct ReadShareGroupState;

impl Handler for ReadShareGroupState {
    type Request = ReadShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<ReadShareGroupStateResponse, Refusal> {
        let state = ShareState::of(&cx, &request.group_id);
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let key = state.key(topic.topic_id, asked.partition);
                let ask = PersisterRequest::Read { key: key.clone(), leader_epoch: asked.leader_epoch };
                let answer = state.ask(&key, ask).await;
                let PersisterResponse::Read(read) = answer else {
                    return Err(Refusal::not_an_answer_to("ReadShareGroupState", &answer));
                };
                partitions.push(result(asked.partition, read));
            }
            results.push(ReadStateResult { topic_id: topic.topic_id, partitions, ..Default::default() });
        }
        Ok(ReadShareGroupStateResponse { results, ..Default::default() })
    }
}

fn result(partition: i32, read: Result<share::ReadState, share::PersisterError>) -> PartitionResult {
    match read {
        Ok(read) => {
            let batches = read.batches.iter().map(|batch| StateBatch {
                first_offset: batch.first_offset,
                last_offset: batch.last_offset,
                delivery_state: batch.state.id(),
                delivery_count: batch.delivery_count,
                ..Default::default()
            });
            PartitionResult {
                partition,
                state_epoch: read.state_epoch,
                start_offset: read.start_offset,
                state_batches: batches.collect(),
                ..Default::default()
            }
        }
        Err(error) => {
            let (error_code, error_message) = said_of(Some(error));
            PartitionResult { partition, error_code, error_message, ..Default::default() }
        }
    }
}
