//! DeleteShareGroupState (86): forgets what is stored of share partitions, for the group coordinator (KIP-932). To forget
//! what is not known is no error.

use std::ops::RangeInclusive;

use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse, SharePartitionKey};
use strata_protocol::messages::delete_share_group_state_response::{DeleteStateResult, PartitionResult};
use strata_protocol::messages::{DeleteShareGroupStateRequest, DeleteShareGroupStateResponse};
use strata_types::ErrorCode;

use super::write_share_group_state::{may_act, said_of};
use crate::dispatch::{Context, Handler, Refusal};
use crate::share;

pub(crate) struct DeleteShareGroupState;

impl Handler for DeleteShareGroupState {
    type Request = DeleteShareGroupStateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<DeleteShareGroupStateResponse, Refusal> {
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
                let answer = match is_allowed {
                    true => share::ask(&cx.broker, &key, PersisterRequest::Delete { key: key.clone() }).await,
                    false => PersisterResponse::Done(Err(ErrorCode::ClusterAuthorizationFailed.into())),
                };
                let PersisterResponse::Done(done) = answer else {
                    return Err(Refusal::not_an_answer_to("DeleteShareGroupState", &answer));
                };
                let (error_code, error_message) = said_of(done.err());
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
