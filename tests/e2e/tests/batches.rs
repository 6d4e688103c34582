//! Batches that lie about themselves, produced with acks=all. Every one is refused with the code that Apache Kafka 4.3
//! answers (or any, where Kafka stumbles into UNKNOWN_SERVER_ERROR), nothing of it is appended, and the partition takes
//! a good batch afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use strata_e2e::{Broker, BrokerOptions, Wire};
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use strata_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use strata_protocol::messages::{CreateTopicsRequest, ListOffsetsRequest, ProduceRequest};
use strata_protocol::records::{Attributes, BatchBuilder, BatchHeader, BuilderOptions, Compression};
use strata_protocol::{Records, Str};
use strata_types::{ErrorCode, Offset, ProducerEpoch, ProducerId};

const TOPIC: Str = Str::from_static("lies");
const TIMESTAMP: i64 = 1_700_000_000_000;
const LATEST: i64 = -1;
/// From a topic's creation to its partition's leader.
const LEADER_MAX: Duration = Duration::from_secs(10);

/// Three records, not compressed.
fn good() -> anyhow::Result<Vec<u8>> {
    let mut batch = BatchBuilder::new(BuilderOptions::default());
    for n in 0..3 {
        batch.push_next(TIMESTAMP + n, Some(b"key"), Some(b"value"), &[])?;
    }
    Ok(batch.build()?.to_vec())
}

/// The good batch with another header, and a CRC that fits it.
fn with_header(change: impl FnOnce(&mut BatchHeader)) -> anyhow::Result<Vec<u8>> {
    let batch = good()?;
    let mut header = BatchHeader::parse(&batch)?;
    change(&mut header);
    Ok(sealed([&header.encode()[..], &batch[BatchHeader::BYTES..]].concat()))
}

/// The good batch with other bytes after the header, and a length and CRC that fit them.
fn with_records(records: &[u8]) -> anyhow::Result<Vec<u8>> {
    let batch = good()?;
    let mut changed = [&batch[..BatchHeader::BYTES], records].concat();
    let length = i32::try_from(changed.len() - 12)?;
    changed[8..12].copy_from_slice(&length.to_be_bytes());
    Ok(sealed(changed))
}

fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn changed(at: usize, byte: u8) -> anyhow::Result<Vec<u8>> {
    let mut batch = good()?;
    batch[at] = byte;
    Ok(batch)
}

fn broker_with_topic() -> anyhow::Result<(Broker, Wire)> {
    let broker = Broker::start(BrokerOptions::default())?;
    let mut wire = broker.connect()?;
    let topic =
        CreatableTopic { name: TOPIC, num_partitions: 1, replication_factor: 1, ..Default::default() };
    let created =
        wire.call(5, &CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() })?;
    ensure!(created.topics[0].error_code == 0, "{created:?}");
    // A partition may lead only a moment after the topic's creation is answered.
    let not_yet = [ErrorCode::UnknownTopicOrPartition.code(), ErrorCode::NotLeaderOrFollower.code()];
    let began = Instant::now();
    loop {
        match produce(&mut wire, good()?)? {
            0 => return Ok((broker, wire)),
            code if not_yet.contains(&code) && began.elapsed() < LEADER_MAX => {}
            code => anyhow::bail!("a good batch is answered with {code}"),
        }
    }
}

/// The code that the batch is answered with.
fn produce(wire: &mut Wire, batch: Vec<u8>) -> anyhow::Result<i16> {
    let records = Some(Records::Bytes(Bytes::from(batch)));
    let partition = PartitionProduceData { index: 0, records, ..Default::default() };
    let topic = TopicProduceData { name: TOPIC, partition_data: vec![partition], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
    let response = wire.call(9, &request)?;
    Ok(response.responses[0].partition_responses[0].error_code)
}

fn end_offset(wire: &mut Wire) -> anyhow::Result<i64> {
    let partition = ListOffsetsPartition { timestamp: LATEST, ..Default::default() };
    let topic = ListOffsetsTopic { name: TOPIC, partitions: vec![partition], ..Default::default() };
    let response =
        wire.call(5, &ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() })?;
    Ok(response.topics[0].partitions[0].offset)
}

/// What is wrong, the code that says so, and the batch.
type Lie = (&'static str, ErrorCode, Vec<u8>);

/// Headers that do not fit what they stand before.
fn header_lies() -> anyhow::Result<Vec<Lie>> {
    use ErrorCode::{CorruptMessage, InvalidRecord, UnknownServerError as Any};
    Ok(vec![
        ("the CRC does not fit", CorruptMessage, changed(20, 0x55)?),
        ("magic 0", InvalidRecord, changed(16, 0)?),
        ("magic 1", InvalidRecord, changed(16, 1)?),
        ("magic 3", CorruptMessage, changed(16, 3)?),
        ("magic -1", CorruptMessage, changed(16, 0xff)?),
        ("a length of 2^31-1", Any, [&good()?[..8], &i32::MAX.to_be_bytes(), &good()?[12..]].concat()),
        ("a length of -1", CorruptMessage, [&good()?[..8], &(-1_i32).to_be_bytes(), &good()?[12..]].concat()),
        ("a length of 0", CorruptMessage, [&good()?[..8], &[0; 4], &good()?[12..]].concat()),
        (
            "the last offset is above the count",
            InvalidRecord,
            with_header(|header| header.last_offset_delta = 5)?,
        ),
        (
            "the last offset is below the count",
            InvalidRecord,
            with_header(|header| header.last_offset_delta = 1)?,
        ),
        ("a negative last offset", InvalidRecord, with_header(|header| header.last_offset_delta = -1)?),
        ("no records, says the count", InvalidRecord, with_header(|header| header.records_count = 0)?),
        ("a negative count", InvalidRecord, with_header(|header| header.records_count = -1)?),
        (
            "2^31-1 records, says the header",
            InvalidRecord,
            with_header(|header| {
                (header.records_count, header.last_offset_delta) = (i32::MAX, i32::MAX - 1);
            })?,
        ),
        (
            "four records, says the header",
            InvalidRecord,
            with_header(|header| {
                (header.records_count, header.last_offset_delta) = (4, 3);
            })?,
        ),
        (
            "two records, says the header",
            InvalidRecord,
            with_header(|header| {
                (header.records_count, header.last_offset_delta) = (2, 1);
            })?,
        ),
        ("a base offset of its own", InvalidRecord, with_header(|header| header.base_offset = Offset(5))?),
    ])
}

/// Attributes and contents that are not to be had.
fn content_lies() -> anyhow::Result<Vec<Lie>> {
    use ErrorCode::{
        CorruptMessage, InvalidRecord, TransactionalIdAuthorizationFailed, UnknownServerError as Any,
    };
    let records = good()?.split_off(BatchHeader::BYTES);
    let attributes = |bits: i16| with_header(|header| header.attributes = Attributes(bits));
    Ok(vec![
        ("a control batch", InvalidRecord, attributes(0x20)?),
        (
            "a producer without an epoch",
            InvalidRecord,
            with_header(|header| header.producer_id = ProducerId(7))?,
        ),
        (
            "a producer without a sequence",
            InvalidRecord,
            with_header(|header| {
                (header.producer_id, header.producer_epoch) = (ProducerId(7), ProducerEpoch(0));
            })?,
        ),
        ("a transaction without its id", TransactionalIdAuthorizationFailed, attributes(0x10)?),
        ("gzip, says the header", Any, attributes(1)?),
        ("snappy, says the header", Any, attributes(2)?),
        ("lz4, says the header", Any, attributes(3)?),
        ("zstd, says the header", Any, attributes(4)?),
        ("a codec that there is not", Any, attributes(5)?),
        ("nothing but a header", InvalidRecord, with_records(&[])?),
        ("half of the records", InvalidRecord, with_records(&records[..records.len() / 2])?),
        ("bytes after the records", InvalidRecord, with_records(&[&records[..], &[0; 7]].concat())?),
        ("a record of negative length", InvalidRecord, with_records(&[&[0x01][..], &records[1..]].concat())?),
        (
            "a record of 2^30 bytes",
            InvalidRecord,
            with_records(&[&[0x80, 0x80, 0x80, 0x80, 0x08][..], &records[1..]].concat())?,
        ),
        ("two batches", InvalidRecord, [good()?, good()?].concat()),
        ("no batch", InvalidRecord, vec![]),
        ("noise", CorruptMessage, vec![0x5a; 100]),
    ])
}

#[test]
fn batches_that_lie_are_refused_as_kafka_refuses_them() -> anyhow::Result<()> {
    let (broker, mut wire) = broker_with_topic()?;
    let end = end_offset(&mut wire)?;
    let mut wrong = Vec::new();
    for (name, expected, batch) in header_lies()?.into_iter().chain(content_lies()?) {
        // Some are answered by closing: the next one gets a connection of its own.
        let mut wire = broker.connect()?;
        match produce(&mut wire, batch) {
            Ok(code) if code == expected.code() || code != 0 && expected == ErrorCode::UnknownServerError => {
            }
            Ok(code) => wrong.push(format!("{name}: {code}, not {}", expected.code())),
            Err(error) => wrong.push(format!("{name}: {error:#}")),
        }
        let now = end_offset(&mut broker.connect()?).with_context(|| format!("after: {name}"))?;
        if now != end {
            anyhow::bail!("{name}: was appended");
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(produce(&mut wire, good()?)?, 0);
    assert_eq!(end_offset(&mut wire)?, end + 3);
    Ok(())
}

#[test]
fn batches_cut_anywhere_are_refused() -> anyhow::Result<()> {
    let (broker, mut wire) = broker_with_topic()?;
    let end = end_offset(&mut wire)?;
    let whole = good()?;
    for length in 0..whole.len() {
        let code = produce(&mut broker.connect()?, whole[..length].to_vec())
            .with_context(|| format!("cut to {length}"))?;
        ensure!(code != 0, "cut to {length}: accepted");
    }
    assert_eq!(end_offset(&mut wire)?, end);
    Ok(())
}

/// A zstd frame of 256 MiB zeros in 8 KiB: run-length blocks of 128 KiB. It begins as one record with a null key.
fn bomb() -> anyhow::Result<Vec<u8>> {
    const BLOCKS: usize = 2_048;
    const BLOCK_BYTES: usize = 128 << 10;
    let zeros = BLOCKS * BLOCK_BYTES;
    let mut record = vec![0, 0, 0, 1]; // attributes, timestamp and offset delta, key length -1
    varint(zeros - 1, &mut record); // the value; the last zero is the count of headers
    let mut section = Vec::new();
    varint(record.len() + zeros, &mut section);
    section.extend(record);

    let block = |kind: u32, bytes: usize, last: bool| u32::from(last) | (kind << 1) | ((bytes as u32) << 3);
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]; // magic, descriptor, a window of 2 MiB
    zstd.extend(&block(0, section.len(), false).to_le_bytes()[..3]);
    zstd.extend(section);
    for n in 1..=BLOCKS {
        zstd.extend(&block(1, BLOCK_BYTES, n == BLOCKS).to_le_bytes()[..3]);
        zstd.push(0);
    }
    let mut batch = with_records(&zstd)?;
    let mut header = BatchHeader::parse(&batch)?;
    header.attributes = Attributes(Compression::Zstd as i16);
    (header.records_count, header.last_offset_delta, header.max_timestamp) = (1, 0, TIMESTAMP);
    batch[..BatchHeader::BYTES].copy_from_slice(&header.encode());
    Ok(sealed(batch))
}

/// A zigzag varint, as records have them.
fn varint(value: usize, out: &mut Vec<u8>) {
    let mut rest = value << 1;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[test]
fn a_decompression_bomb_costs_little_memory() -> anyhow::Result<()> {
    const GROWTH_BYTES_MAX: u64 = 32 << 20;
    let (broker, mut wire) = broker_with_topic()?;
    let bomb = bomb()?;
    let before = broker.usage()?.resident_bytes;
    for _ in 0..4 {
        // Whether it is taken is the broker's business; that it lives is ours.
        produce(&mut broker.connect()?, bomb.clone())?;
    }
    let grown = broker.usage()?.resident_bytes.saturating_sub(before);
    ensure!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more for batches of {} bytes", bomb.len());
    assert_eq!(produce(&mut wire, good()?)?, 0);
    Ok(())
}
