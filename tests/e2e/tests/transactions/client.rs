//! A transactional producer and a reader of committed records, request by request. Errors that clients try again after
//! are tried again here, for so long as a restart may take.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use strata_e2e::Wire;
use strata_protocol::frame::encode_request;
use strata_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use strata_protocol::messages::fetch_response::PartitionData;
use strata_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use strata_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use strata_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use strata_protocol::messages::*;
use strata_protocol::records::{BatchBuilder, BuilderOptions, ControlType, DecompressLimit, batches};
use strata_protocol::{Records, Request, Str};
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};

pub const PARTITIONS: usize = 4;
pub const TOPIC: Str = Str::from_static("killed");
pub const GROUP: Str = Str::from_static("group");
pub const ID: Str = Str::from_static("id");

const TIMESTAMP: i64 = 1_700_000_000_000;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// From a restart to the last of its coordinators, and to the last marker that it owes.
const SETTLED_MAX: Duration = Duration::from_secs(30);
const PRODUCE_VERSION: i16 = 12;
const END_VERSION: i16 = 5;

/// What a client's library would send once more.
fn is_retriable(code: i16) -> bool {
    [
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::LeaderNotAvailable,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::ConcurrentTransactions,
        ErrorCode::UnstableOffsetCommit,
    ]
    .iter()
    .any(|error| error.code() == code)
}

/// Asks until the answer's code is none that is tried again after.
fn settle<R: Request>(
    wire: &mut Wire,
    version: i16,
    request: &R,
    code: impl Fn(&R::Response) -> i16,
) -> anyhow::Result<R::Response> {
    let began = Instant::now();
    loop {
        let response = wire.call(version, request)?;
        if !is_retriable(code(&response)) {
            return Ok(response);
        }
        ensure!(began.elapsed() < SETTLED_MAX, "still {} after {SETTLED_MAX:?}", code(&response));
    }
}

/// Has the broker make the topics of its coordinators.
pub fn find_coordinators(wire: &mut Wire) -> anyhow::Result<()> {
    for (key_type, key) in [(0, GROUP), (1, ID)] {
        let find = FindCoordinatorRequest { key, key_type, ..Default::default() };
        ensure!(settle(wire, 3, &find, |found| found.error_code)?.error_code == 0, "no coordinator");
    }
    Ok(())
}

/// A producer of transaction version 2 (KIP-890): the broker adds partitions, every end raises the epoch.
#[derive(Debug, Clone)]
pub struct Producer {
    id: i64,
    epoch: i16,
    sequences: [i32; PARTITIONS],
}

impl Producer {
    /// Takes over the transactional id.
    pub fn init(wire: &mut Wire) -> anyhow::Result<Self> {
        let request = InitProducerIdRequest {
            transactional_id: Some(ID),
            transaction_timeout_ms: 600_000,
            ..Default::default()
        };
        let given = settle(wire, 5, &request, |given| given.error_code)?;
        ensure!(given.error_code == 0, "InitProducerId is answered with {}", given.error_code);
        Ok(Self { id: given.producer_id, epoch: given.producer_epoch, sequences: [0; PARTITIONS] })
    }

    /// Sends a record and waits for its acknowledgement by all.
    pub fn send(&mut self, wire: &mut Wire, partition: usize, value: &str) -> anyhow::Result<()> {
        let request = self.produce(partition, value)?;
        let code = |answer: &ProduceResponse| answer.responses[0].partition_responses[0].error_code;
        let code = code(&settle(wire, PRODUCE_VERSION, &request, code)?);
        ensure!(code == 0, "Produce is answered with {code}");
        self.sequences[partition] += 1;
        Ok(())
    }

    /// Sends a record and waits for nothing. Sent again by [`Self::send`], it has the same sequence number.
    pub fn begin_to_send(&self, wire: &mut Wire, partition: usize, value: &str) -> anyhow::Result<()> {
        begin(wire, PRODUCE_VERSION, &self.produce(partition, value)?)
    }

    fn produce(&self, partition: usize, value: &str) -> anyhow::Result<ProduceRequest> {
        let mut batch = BatchBuilder::new(BuilderOptions {
            producer_id: ProducerId(self.id),
            producer_epoch: ProducerEpoch(self.epoch),
            base_sequence: self.sequences[partition],
            transactional: true,
            ..Default::default()
        });
        batch.push_next(TIMESTAMP, None, Some(value.as_bytes()), &[])?;
        let records = Some(Records::Bytes(batch.build()?));
        let data = PartitionProduceData { index: partition as i32, records, ..Default::default() };
        let topic = TopicProduceData { name: TOPIC, partition_data: vec![data], ..Default::default() };
        Ok(ProduceRequest {
            transactional_id: Some(ID),
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![topic],
            ..Default::default()
        })
    }

    /// Lets the group's offset be part of the transaction.
    pub fn send_offset(&self, wire: &mut Wire, offset: i64) -> anyhow::Result<()> {
        let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let request = TxnOffsetCommitRequest {
            transactional_id: ID,
            group_id: GROUP,
            producer_id: self.id,
            producer_epoch: self.epoch,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: TOPIC,
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        };
        let code = |answer: &TxnOffsetCommitResponse| answer.topics[0].partitions[0].error_code;
        let code = code(&settle(wire, 5, &request, code)?);
        ensure!(code == 0, "TxnOffsetCommit is answered with {code}");
        Ok(())
    }

    /// Ends the transaction, and has the epoch of the next one. The code is answered where the broker refuses.
    pub fn end(&mut self, wire: &mut Wire, commit: bool) -> anyhow::Result<Result<(), i16>> {
        let answer = settle(wire, END_VERSION, &self.end_request(commit), |answer| answer.error_code)?;
        if answer.error_code != 0 {
            return Ok(Err(answer.error_code));
        }
        *self = Self { id: answer.producer_id, epoch: answer.producer_epoch, sequences: [0; PARTITIONS] };
        Ok(Ok(()))
    }

    pub fn begin_to_end(&self, wire: &mut Wire, commit: bool) -> anyhow::Result<()> {
        begin(wire, END_VERSION, &self.end_request(commit))
    }

    fn end_request(&self, committed: bool) -> EndTxnRequest {
        EndTxnRequest {
            transactional_id: ID,
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
            ..Default::default()
        }
    }
}

/// Sends a request whose answer nobody will wait for.
fn begin<R: Request>(wire: &mut Wire, version: i16, request: &R) -> anyhow::Result<()> {
    wire.send(&encode_request(0, &Str::from_static("e2e"), version, request)?.to_bytes())
}

/// The values that a reader of committed records sees, once nothing of the partition is undecided.
pub fn committed_values(wire: &mut Wire, partition: usize) -> anyhow::Result<Vec<String>> {
    let (mut from, mut values, began) = (0, Vec::new(), Instant::now());
    loop {
        let data = fetch_committed(wire, partition, from)?;
        from = read_committed(&data, from, &mut values)?;
        if data.last_stable_offset == data.high_watermark && from == data.high_watermark {
            return Ok(values);
        }
        ensure!(
            began.elapsed() < SETTLED_MAX,
            "partition {partition} is stable up to {} of {} only, after {SETTLED_MAX:?}",
            data.last_stable_offset,
            data.high_watermark
        );
    }
}

fn fetch_committed(wire: &mut Wire, partition: usize, from: i64) -> anyhow::Result<PartitionData> {
    let wanted = FetchPartition {
        partition: partition as i32,
        fetch_offset: from,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic { topic: TOPIC, partitions: vec![wanted], ..Default::default() };
    let request =
        FetchRequest { isolation_level: 1, max_wait_ms: 0, topics: vec![topic], ..Default::default() };
    let code = |answer: &FetchResponse| answer.responses[0].partitions[0].error_code;
    let mut answer = settle(wire, 11, &request, code)?;
    ensure!(code(&answer) == 0, "Fetch is answered with {}", code(&answer));
    Ok(answer.responses.swap_remove(0).partitions.swap_remove(0))
}

/// Takes the committed values from an answer as consumers do: by the list of what was aborted and the markers in between.
/// Answers where the next fetch begins.
fn read_committed(data: &PartitionData, mut from: i64, values: &mut Vec<String>) -> anyhow::Result<i64> {
    let mut aborted: Vec<_> =
        data.aborted_transactions.iter().flatten().map(|one| (one.first_offset, one.producer_id)).collect();
    aborted.sort();
    let mut undone = BTreeSet::new();
    let records = data.records.as_ref().map(Records::to_bytes).transpose()?.unwrap_or_default();
    for batch in batches(records) {
        let batch = batch?;
        let (attributes, producer) = (batch.header().attributes, batch.header().producer_id.0);
        let begun = aborted.iter().take_while(|(first, _)| *first <= batch.last_offset().0).count();
        undone.extend(aborted.drain(..begun).map(|(_, producer)| producer));
        for record in batch.records(DecompressLimit(BATCH_BYTES_MAX))? {
            let record = record?;
            if attributes.is_control() {
                if ControlType::of(&record) == Some(ControlType::Abort) {
                    undone.remove(&producer);
                }
            } else if record.offset >= from && !(attributes.is_transactional() && undone.contains(&producer))
            {
                values.push(String::from_utf8(record.value.unwrap_or_default().to_vec())?);
            }
        }
        from = from.max(batch.next_offset().0);
    }
    Ok(from)
}

/// The group's offset, once no transaction holds another one back.
pub fn committed_offset(wire: &mut Wire) -> anyhow::Result<i64> {
    let topic = OffsetFetchRequestTopics { name: TOPIC, partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup { group_id: GROUP, topics: Some(vec![topic]), ..Default::default() };
    let request = OffsetFetchRequest { require_stable: true, groups: vec![group], ..Default::default() };
    let code = |answer: &OffsetFetchResponse| match answer.groups[0].error_code {
        0 => answer.groups[0].topics[0].partitions[0].error_code,
        code => code,
    };
    let answer = settle(wire, 8, &request, code)?;
    match code(&answer) {
        0 => Ok(answer.groups[0].topics[0].partitions[0].committed_offset),
        code => bail!("OffsetFetch is answered with {code}"),
    }
}
