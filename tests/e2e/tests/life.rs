//! Starting, stopping and being killed: what was acknowledged is there afterwards.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use bytes::Bytes;
use strata_e2e::{Broker, BrokerOptions, Wire};
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use strata_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use strata_protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest};
use strata_protocol::records::{BatchBuilder, BuilderOptions, DecompressLimit, batches};
use strata_protocol::{Records, Str};
use strata_types::ErrorCode;

const TOPIC: Str = Str::from_static("life");
const TIMESTAMP: i64 = 1_700_000_000_000;
/// From a topic's creation, or a restart, to its partition's leader.
const LEADER_MAX: Duration = Duration::from_secs(10);
const BATCH_BYTES_MAX: usize = 1 << 20;

fn create_topic(wire: &mut Wire) -> anyhow::Result<()> {
    let topic =
        CreatableTopic { name: TOPIC, num_partitions: 1, replication_factor: 1, ..Default::default() };
    let created =
        wire.call(5, &CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() })?;
    ensure!(created.topics[0].error_code == 0, "{created:?}");
    Ok(())
}

fn led_by_nobody_yet(code: i16) -> bool {
    [ErrorCode::UnknownTopicOrPartition, ErrorCode::NotLeaderOrFollower, ErrorCode::LeaderNotAvailable]
        .iter()
        .any(|error| error.code() == code)
}

/// Produces one record with acks=all, and answers its offset.
fn produce(wire: &mut Wire, value: &str) -> anyhow::Result<i64> {
    let mut batch = BatchBuilder::new(BuilderOptions::default());
    batch.push_next(TIMESTAMP, None, Some(value.as_bytes()), &[])?;
    let records = Some(Records::Bytes(batch.build()?));
    let partition = PartitionProduceData { index: 0, records, ..Default::default() };
    let topic = TopicProduceData { name: TOPIC, partition_data: vec![partition], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
    let began = Instant::now();
    loop {
        let response = wire.call(9, &request)?;
        let answer = &response.responses[0].partition_responses[0];
        match answer.error_code {
            0 => return Ok(answer.base_offset),
            code if led_by_nobody_yet(code) && began.elapsed() < LEADER_MAX => {}
            code => bail!("produce is answered with {code}"),
        }
    }
}

/// Every value of the partition, in order of offsets that follow one another.
fn consume(wire: &mut Wire) -> anyhow::Result<Vec<Bytes>> {
    let (mut found, began) = (Vec::new(), Instant::now());
    loop {
        let from = i64::try_from(found.len())?;
        let partition =
            FetchPartition { fetch_offset: from, partition_max_bytes: 1 << 20, ..Default::default() };
        let topic = FetchTopic { topic: TOPIC, partitions: vec![partition], ..Default::default() };
        let response =
            wire.call(11, &FetchRequest { max_wait_ms: 0, topics: vec![topic], ..Default::default() })?;
        let answer = &response.responses[0].partitions[0];
        if led_by_nobody_yet(answer.error_code) && began.elapsed() < LEADER_MAX {
            continue;
        }
        ensure!(answer.error_code == 0, "fetch is answered with {}", answer.error_code);
        let records = answer.records.as_ref().map(Records::to_bytes).transpose()?.unwrap_or_default();
        for batch in batches(records) {
            for record in batch?.records(DecompressLimit(BATCH_BYTES_MAX))? {
                let record = record?;
                ensure!(
                    record.offset == i64::try_from(found.len())?,
                    "offset {} after {}",
                    record.offset,
                    found.len()
                );
                found.push(record.value.unwrap_or_default());
            }
        }
        if i64::try_from(found.len())? >= answer.high_watermark {
            return Ok(found);
        }
    }
}

#[test]
fn sigterm_ends_the_process_with_status_zero() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    broker.connect()?.api_versions()?;
    assert_eq!(broker.stop()?.code(), Some(0));
    Ok(())
}

#[test]
fn records_are_there_after_a_stop_and_a_start() -> anyhow::Result<()> {
    let broker = Broker::start(BrokerOptions::default())?;
    let mut wire = broker.connect()?;
    create_topic(&mut wire)?;
    for n in 0..10 {
        assert_eq!(produce(&mut wire, &n.to_string())?, n);
    }
    let broker = broker.stop_and_restart()?;
    let mut wire = broker.connect()?;
    assert_eq!(consume(&mut wire)?, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(produce(&mut wire, "more")?, 10);
    Ok(())
}

/// Each round, a thread produces one record after another until the broker is killed under it. At most the last record
/// that was sent may be there without an acknowledgement.
#[test]
fn what_was_acknowledged_survives_sigkill() -> anyhow::Result<()> {
    const ROUNDS: u64 = 3;
    let mut broker = Broker::start(BrokerOptions::default())?;
    create_topic(&mut broker.connect()?)?;
    let mut expected: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let mut wire = broker.connect()?;
        let producer = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            loop {
                let value = format!("{round}/{}", acknowledged.len());
                match produce(&mut wire, &value) {
                    Ok(_) => acknowledged.push(value),
                    Err(_) => return (acknowledged, value), // the broker is gone
                }
            }
        });
        // Not a wait for anything: the kill has to come at some moment, and this is the moment.
        thread::sleep(Duration::from_millis(100 + 137 * round));
        broker = broker.kill_and_restart()?;
        let Ok((acknowledged, in_flight)) = producer.join() else { bail!("the producer panicked") };
        expected.extend(acknowledged);
        let found = consume(&mut broker.connect()?)?;
        if found.len() == expected.len() + 1 {
            expected.push(in_flight);
        }
        assert_eq!(found, expected, "round {round}");
    }
    ensure!(!expected.is_empty(), "nothing was acknowledged");
    Ok(())
}
