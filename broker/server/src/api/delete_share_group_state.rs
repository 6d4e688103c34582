//! DeleteShareGroupState (86): forgets what is stored of share partitions, for the group coordinator (KIP-932). To forget
//! what is not known is no error.

use std::ops::RangeInclusive;

use strata_coordinator::share::persister::PersisterRequest;
use strata_protocol::messages::delete_share_group_state_response::{DeleteStateResult, PartitionResult};
use strata_protocol::messages::{DeleteShareGroupStateRequest, DeleteShareGroupStateResponse};

use super::share_state::ShareState;
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct DeleteShareGroupState;

impl Handler for DeleteShareGroupState {
    type Request = DeleteShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<DeleteShareGroupStateResponse, Refusal> {
        let state = ShareState::of(&cx, &request.group_id);
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let partition = asked.partition;
                let key = state.key(topic.topic_id, partition);
                let ask = PersisterRequest::Delete { key: key.clone() };
                let (error_code, error_message) =
                    state.done("DeleteShareGroupState", &key, Some(ask)).await?;
                partitions.push(PartitionResult {
                    partition,
                    error_code,
                    error_message,
                    ..Default::default()
                });
            }
            results.push(DeleteStateResult { topic_id: topic.topic_id, partitions, ..Default::default() });
        }
        Ok(DeleteShareGroupStateResponse { results, ..Default::default() })
    }
}
