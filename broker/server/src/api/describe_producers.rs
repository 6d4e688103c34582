//! DescribeProducers (61): who writes to partitions, with sequence numbers or in transactions (KIP-664).

use std::ops::RangeInclusive;

use strata_log::ProducerInfo;
use strata_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use strata_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct DescribeProducers;

impl Handler for DescribeProducers {
    type Request = DescribeProducersRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeProducersResponse, Refusal> {
        let access = cx.access();
        let topics = request.topics.into_iter().map(|topic| {
            let allowed = access.check(Operation::Read, Resource::Topic(&topic.name));
            let partitions = topic.partition_indexes.iter().map(|&partition_index| {
                let mut response = PartitionResponse { partition_index, ..Default::default() };
                match allowed.and_then(|()| cx.broker.partitions.by_name(&topic.name, partition_index)) {
                    Ok(found) => {
                        response.active_producers =
                            found.log.active_producers().iter().map(describe).collect();
                    }
                    Err(code) => response.error_code = code.into(),
                }
                response
            });
            TopicResponse { partitions: partitions.collect(), name: topic.name, ..Default::default() }
        });
        Ok(DescribeProducersResponse { topics: topics.collect(), ..Default::default() })
    }
}

fn describe(producer: &ProducerInfo) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id.0,
        producer_epoch: i32::from(producer.epoch.0),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.current_txn_start_offset.map_or(-1, |offset| offset.0),
        ..Default::default()
    }
}
