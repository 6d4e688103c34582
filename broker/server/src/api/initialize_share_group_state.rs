//! InitializeShareGroupState (83): begins a life of share partitions' state, for the group coordinator (KIP-932).
//!
//! - The state epoch must not be below the known one: FENCED_STATE_EPOCH. Start offset −1: the group's
//!   `share.auto.offset.reset` decides when the partition is first read.

use std::ops::RangeInclusive;

use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse, SharePartitionKey};
use strata_protocol::Str;
use strata_protocol::messages::initialize_share_group_state_response::{
    InitializeStateResult, PartitionResult,
};
use strata_protocol::messages::{InitializeShareGroupStateRequest, InitializeShareGroupStateResponse};
use strata_types::ErrorCode;

use super::write_share_group_state::{may_act, said_of};
use crate::dispatch::{Context, Handler, Refusal};
use crate::share;

pub(crate) struct InitializeShareGroupState;

impl Handler for InitializeShareGroupState {
    type Request = InitializeShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<InitializeShareGroupStateResponse, Refusal> {
        let is_allowed = may_act(&cx);
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let key = SharePartitionKey {
                    group: request.group_id.detached(),
                    topic_id: topic.topic_id,
                    partition: asked.partition,
                };
                let ask = PersisterRequest::Initialize {
                    key: key.clone(),
                    state_epoch: asked.state_epoch,
                    start_offset: asked.start_offset,
                };
                let answer = match is_allowed {
                    true => share::ask(&cx.broker, &key, ask).await,
                    false => PersisterResponse::Done(Err(ErrorCode::ClusterAuthorizationFailed.into())),
                };
                let PersisterResponse::Done(done) = answer else {
                    return Err(Refusal::not_an_answer_to("InitializeShareGroupState", &answer));
                };
                let (error_code, message) = said_of(done.err());
                let error_message: Option<Str> = message;
                let partition = asked.partition;
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
