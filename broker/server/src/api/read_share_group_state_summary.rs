//! ReadShareGroupStateSummary (87): where share partitions start, without their records' states (KIP-932). A partition of
//! which nothing is known has start offset −1. v1: how many records behind the start are settled (KIP-1226).

use std::ops::RangeInclusive;

use strata_coordinator::share::persister::{PersisterRequest, PersisterResponse};
use strata_protocol::messages::read_share_group_state_summary_response::{
    PartitionResult, ReadStateSummaryResult,
};
use strata_protocol::messages::{ReadShareGroupStateSummaryRequest, ReadShareGroupStateSummaryResponse};

use super::share_state::{ShareState, said_of};
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct ReadShareGroupStateSummary;

impl Handler for ReadShareGroupStateSummary {
    type Request = ReadShareGroupStateSummaryRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<ReadShareGroupStateSummaryResponse, Refusal> {
        let state = ShareState::of(&cx, &request.group_id);
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in topic.partitions {
                let partition = asked.partition;
                let key = state.key(topic.topic_id, partition);
                let ask = PersisterRequest::ReadSummary { key: key.clone() };
                let answer = state.ask(&key, ask).await;
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
