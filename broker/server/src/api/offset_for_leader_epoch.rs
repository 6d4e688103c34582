//! OffsetForLeaderEpoch (23): where a leader's term ended, for a client that wants to know whether it read what is now gone
//! (KIP-320).
//!
//! - Answers the largest epoch that is not above the one asked for, and the offset where the next one starts. What is
//!   not known (an epoch above ours, or older than the log) is −1.

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use strata_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use strata_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use strata_types::{ErrorCode, LeaderEpoch, Offset};

use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct OffsetForLeaderEpoch;

impl Handler for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=4;

    async fn handle(cx: Context, request: Self::Request) -> Result<OffsetForLeaderEpochResponse, Refusal> {
        let access = cx.access();
        let topics = request.topics.into_iter().map(|topic| {
            let allowed = access.check(Operation::Describe, Resource::Topic(&topic.topic));
            let answer = |asked: &OffsetForLeaderPartition| {
                let found = allowed.and_then(|()| look_up(&cx.broker, &topic.topic, asked));
                answer(asked.partition, found)
            };
            let partitions = topic.partitions.iter().map(answer).collect();
            OffsetForLeaderTopicResult { partitions, topic: topic.topic, ..Default::default() }
        });
        Ok(OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
    }
}

fn answer(partition: i32, found: Result<Option<(LeaderEpoch, Offset)>, ErrorCode>) -> EpochEndOffset {
    let mut answer = EpochEndOffset { partition, ..Default::default() };
    match found {
        Ok(Some((epoch, end))) => (answer.leader_epoch, answer.end_offset) = (epoch.0, end.0),
        Ok(None) => {}
        Err(code) => answer.error_code = code.into(),
    }
    answer
}

fn look_up(
    broker: &Arc<Broker>,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let partition = broker.partitions.by_name(topic, asked.partition)?;
    partition.check_epoch(asked.current_leader_epoch)?;
    Ok(partition.log.end_offset_for_epoch(LeaderEpoch(asked.leader_epoch)))
}
