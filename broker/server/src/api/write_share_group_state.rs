//! WriteShareGroupState (85): stores what share partitions' leader has changed (KIP-932).
//!
//! - Writes of an earlier life (FENCED_STATE_EPOCH), of an earlier leader (FENCED_LEADER_EPOCH) and to partitions that were
//!   never initialized (INVALID_REQUEST) are refused. −1 leaves what is stored as it is.
//! - v1: how many records behind the start offset are settled (KIP-1226), from which the group's lag is told.

use std::ops::RangeInclusive;

use strata_coordinator::share::partition::{DeliveryState, StateBatch};
use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse, SharePartitionKey};
use strata_protocol::Str;
use strata_protocol::messages::write_share_group_state_request::PartitionData;
use strata_protocol::messages::write_share_group_state_response::{PartitionResult, WriteStateResult};
use strata_protocol::messages::{WriteShareGroupStateRequest, WriteShareGroupStateResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};
use crate::share::{self, PersisterError};

pub(crate) struct WriteShareGroupState;

impl Handler for WriteShareGroupState {
    type Request = WriteShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<WriteShareGroupStateResponse, Refusal> {
        let is_allowed = may_act(&cx);
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let partition = asked.partition;
                let key = SharePartitionKey {
                    group: request.group_id.detached(),
                    topic_id: topic.topic_id,
                    partition,
                };
                let answer = match write(key.clone(), asked) {
                    _ if !is_allowed => {
                        PersisterResponse::Done(Err(ErrorCode::ClusterAuthorizationFailed.into()))
                    }
                    Some(write) => share::ask(&cx.broker, &key, write).await,
                    None => PersisterResponse::Done(Err(ErrorCode::InvalidRequest.into())),
                };
                let PersisterResponse::Done(done) = answer else {
                    return Err(Refusal::not_an_answer_to("WriteShareGroupState", &answer));
                };
                let (error_code, error_message) = said_of(done.err());
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

/// Whether the client is a broker: these requests are the brokers' own.
pub(super) fn may_act(cx: &Context) -> bool {
    cx.allows(Operation::ClusterAction, Resource::Cluster)
}

/// The code and message of an answer.
pub(super) fn said_of(error: Option<PersisterError>) -> (i16, Option<Str>) {
    let Some(error) = error else { return (ErrorCode::None.into(), None) };
    (error.code.into(), error.message.map(Str::from_static))
}
