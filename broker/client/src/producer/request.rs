//! Batches to a Produce request, and its answer to one outcome for each batch.

use bytes::Bytes;
use strata_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use strata_protocol::messages::produce_response::PartitionProduceResponse;
use strata_protocol::messages::{ProduceRequest, ProduceResponse};
use strata_types::{ErrorCode, Offset, TimestampMs, TopicPartition};

use super::Acks;
use super::batch::Batch;
use crate::error::{ClientError, Result};

/// A batch on its way.
pub(crate) struct Sent {
    pub(crate) partition: TopicPartition,
    pub(crate) batch: Batch,
}

/// Where a broker put a batch.
pub(crate) struct Appended {
    pub(crate) base: Offset,
    /// Set where the topic takes the broker's time.
    pub(crate) append_time: Option<TimestampMs>,
}

pub(crate) fn request(batches: Vec<(TopicPartition, Bytes)>, acks: Acks, timeout_ms: u64) -> ProduceRequest {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    for (partition, bytes) in batches {
        let data = PartitionProduceData {
            index: partition.partition,
            records: Some(bytes.into()),
            ..Default::default()
        };
        match topics.iter_mut().find(|topic| topic.name == *partition.topic.as_str()) {
            Some(topic) => topic.partition_data.push(data),
            None => topics.push(TopicProduceData {
                name: partition.topic.as_str().into(),
                partition_data: vec![data],
                ..Default::default()
            }),
        }
    }
    ProduceRequest {
        acks: match acks {
            Acks::All => -1,
            Acks::Leader => 1,
        },
        timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
        topic_data: topics,
        ..Default::default()
    }
}

/// What became of one partition's batch.
pub(crate) fn outcome(answer: &Result<ProduceResponse>, partition: &TopicPartition) -> Result<Appended> {
    let answer = answer.as_ref().map_err(ClientError::clone)?;
    let topic = answer.responses.iter().find(|topic| topic.name == *partition.topic.as_str());
    let found = topic.and_then(|t| t.partition_responses.iter().find(|p| p.index == partition.partition));
    appended(found.ok_or(ClientError::Incomplete("a partition's outcome"))?)
}

fn appended(answer: &PartitionProduceResponse) -> Result<Appended> {
    if answer.error_code == ErrorCode::DuplicateSequenceNumber.code() {
        return Ok(Appended { base: Offset(-1), append_time: None });
    }
    // Kafka names the records at fault; the first one tells most.
    let of_record = answer.record_errors.first().and_then(|error| error.batch_index_error_message.as_deref());
    ClientError::check_with(answer.error_code, of_record.or(answer.error_message.as_deref()))?;
    let append_time = Some(answer.log_append_time_ms).filter(|time| *time >= 0);
    Ok(Appended { base: Offset(answer.base_offset), append_time })
}
