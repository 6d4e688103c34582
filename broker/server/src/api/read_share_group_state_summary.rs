//! ReadShareGroupStateSummary (87): where share partitions start, without their records' states (KIP-932). A partition of
//! which nothing is known has start offset −1. v1: how many records behind the start are settled (KIP-1226).

use std::ops::RangeInclusive;

use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse, SharePartitionKey};
use strata_protocol::messages::read_share_group_state_summary_response::{
    PartitionResult, ReadStateSummaryResult,
};
use strata_protocol::messages::{ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse};
use strata_types::ErrorCode;

use super::write_share_group_state::{may_act, said_of};
use crate::dispatch::{Context, Handler, Refusal};
use crate::share;

pub(crate) struct ReadShareGroupStateSummary;

impl Handler for ReadShareGroupStateSummary {
    type Request = ReadShareGroupStateSummaryRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<ReadShareGroupStateSummaryResponse, Refusal> {
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
                let ask = PersisterRequest::ReadSummary { key: key.clone() };
                let answer = match is_allowed {
                    true => share::ask(&cx.broker, &key, ask).await,
                    false => PersisterResponse::Summary(Err(ErrorCode::ClusterAuthorizationFailed.into())),
                };
                let PersisterResponse::Summary(summary) = answer else {
                    return Err(Refusal::not_an_answer_to("ReadShareGroupStateSummary", &answer));
                };
                partitions.push(match summary {
                    Ok(summary) => PartitionResult {
                        partition,
                        state_epoch: summary.state_epoch,
                        leader_epoch: summary.leader_epoch,
                        start_offset: summary.start_offset,
                        delivery_complete_count: summary.delivery_complete_count,
                        ..Default::default()
                    },
                    Err(error) => {
                        let (error_code, error_message) = said_of(Some(error));
                        PartitionResult { partition, error_code, error_message, ..Default::default() }
                    }
                });
            }
            results.push(ReadStateSummaryResult {
                topic_id: topic.topic_id,
                partitions,
                ..Default::default()
            });
        }
        Ok(ReadShareGroupStateSummaryResponse { results, ..Default::default() })
    }
}
