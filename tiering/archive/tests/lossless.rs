//! What goes into the archive comes out again: any records, in any batches, under any codec.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use strata_archive::{
    ArchiveFile, ArchiveWriter, Footer, PartitionRange, RebuildOptions, RebuiltBatch, RowGroup,
    WriterOptions, rebuild, row_groups_from,
};
use strata_protocol::Str;
use strata_protocol::records::{
    Batch, BatchBuilder, BatchHeader, BuilderOptions, Compression, DecompressLimit, Header, Record,
    TimestampType,
};
use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicName};

/// A batch to be, without its address.
#[derive(Debug, Clone)]
struct Draft {
    offset_gap: i64,
    records: Vec<(i64, Record)>,
    compression: Compression,
    append_time: bool,
    new_epoch: bool,
    producer: Option<(i64, i16, i32)>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Committed,
    Aborted,
    Control,
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![vec(any::<u8>(), 0..20), Just(b"the same again".to_vec()), vec(Just(7), 0..3_000)]
        .prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = Record> {
    let header = (".{0,5}", option::of(bytes()))
        .prop_map(|(key, value): (String, _)| Header { key: Str::from(key), value });
    let timestamp = prop_oneof![Just(-1), 0..2_000_000_000_000_i64];
    (timestamp, option::of(bytes()), option::of(bytes()), vec(header, 0..4))
        .prop_map(|(timestamp, key, value, headers)| Record { offset: 0, timestamp, key, value, headers })
}

fn draft() -> impl Strategy<Value = Draft> {
    let codec = (0..5_u8).prop_map(|id| Compression::from_id(id).expect("0 to 4"));
    let kind = prop_oneof![
        4 => Just(Kind::Plain),
        2 => Just(Kind::Committed),
        1 => Just(Kind::Aborted),
        1 => Just(Kind::Control),
    ];
    let sequence = prop_oneof![Just(0), 0..i32::MAX, Just(i32::MAX), Just(i32::MAX - 1)];
    let producer = option::of((0..i64::MAX, 0..i16::MAX, sequence));
    (0..4_i64, vec((0..3_i64, record()), 1..8), codec, any::<bool>(), any::<bool>(), producer, kind).prop_map(
        |(offset_gap, records, compression, append_time, new_epoch, producer, kind)| Draft {
            offset_gap,
            records,
            compression,
            append_time,
            new_epoch,
            producer,
            kind,
        },
    )
}

/// The log that these drafts make, from `start` on.
fn log_of(drafts: &[Draft], start: i64) -> Vec<(Kind, Batch)> {
    let mut next = start;
    let mut epoch = 0;
    let mut log = Vec::new();
    for draft in drafts {
        next += draft.offset_gap;
        epoch += i32::from(draft.new_epoch);
        let (producer, producer_epoch, sequence) = draft.producer.unwrap_or((-1, -1, -1));
        let mut builder = BatchBuilder::new(BuilderOptions {
            base_offset: Offset(next),
            compression: draft.compression,
            timestamp_type: if draft.append_time {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            leader_epoch: LeaderEpoch(epoch),
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(producer_epoch),
            base_sequence: sequence,
            transactional: draft.kind != Kind::Plain,
            control: draft.kind == Kind::Control,
        });
        for (gap, record) in &draft.records {
            next += gap;
            builder.push(&Record { offset: next, ..record.clone() }).expect("offsets rise");
            next += 1;
        }
        let bytes = builder.build().expect("a batch of records");
        log.push((draft.kind, Batch::try_from_bytes(bytes).expect("a whole batch")));
    }
    log
}

fn records(batch: &Batch) -> Vec<Record> {
    batch
        .records(DecompressLimit::default())
        .expect("records")
        .map(|record| record.expect("a record"))
        .collect()
}

/// What is compared of a header: all that a consumer sees, or that says where a batch came from.
fn facts(header: &BatchHeader) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        (header.base_offset, header.last_offset(), header.records_count, header.leader_epoch),
        (header.timestamp_type(), header.max_timestamp),
        (header.producer_id, header.producer_epoch, header.base_sequence),
        header.is_control(),
    )
}

fn archive(logs: &[Vec<(Kind, Batch)>], start: i64, options: WriterOptions) -> ArchiveFile {
    let topic = TopicName::new("orders").expect("a name");
    let mut writer = ArchiveWriter::new(&topic, TopicId::ZERO, options).expect("a writer");
    for (partition, log) in logs.iter().enumerate() {
        writer.start_partition(partition as i32, Offset(start)).expect("a new partition");
        let aborted: Vec<_> = log
            .iter()
            .filter(|(kind, _)| *kind == Kind::Aborted)
            .map(|(_, batch)| batch.base_offset())
            .collect();
        for (_, batch) in log {
            writer
                .push(batch.bytes().clone(), &mut |header| aborted.contains(&header.base_offset))
                .expect("batches in order");
        }
    }
    writer.finish().expect("a file")
}

fn footer_of(file: &ArchiveFile) -> Footer {
    let at = file.bytes.len() - file.footer_bytes as usize;
    Footer::parse(&file.bytes.slice(at..), file.bytes.len() as u64).expect("a footer")
}

fn group_bytes(file: &ArchiveFile, group: &RowGroup) -> Bytes {
    file.bytes.slice(group.file_offset as usize..(group.file_offset + group.bytes) as usize)
}

fn rebuilt(file: &ArchiveFile, footer: &Footer, range: &PartitionRange) -> Vec<RebuiltBatch> {
    let options = RebuildOptions { uncompressed_batch_bytes_max: 4_000 };
    row_groups_from(range, range.start_offset, u64::MAX)
        .iter()
        .flat_map(|group| rebuild(footer, group, group_bytes(file, group), &options).expect("batches"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn batches_are_rebuilt_as_they_were(
        drafts in vec(vec(draft(), 1..12), 1..3),
        start in 0..1_000_000_i64,
        rows_max in 1..30_usize,
        bytes_max in 1..5_000_usize,
    ) {
        let logs: Vec<_> = drafts.iter().map(|drafts| log_of(drafts, start)).collect();
        let options = WriterOptions {
            row_group_rows_max: rows_max,
            row_group_bytes_max: bytes_max,
            page_rows_max: 4,
            ..WriterOptions::default()
        };
        let file = archive(&logs, start, options);
        let footer = footer_of(&file);
        prop_assert_eq!(footer.ranges(), &file.ranges[..]);
        prop_assert_eq!(footer.topic_id(), TopicId::ZERO);
        for (log, range) in logs.iter().zip(&file.ranges) {
            let kept: Vec<_> = log
                .iter()
                .filter(|(kind, _)| matches!(kind, Kind::Plain | Kind::Committed))
                .map(|(_, batch)| batch)
                .collect();
            let batches = rebuilt(&file, &footer, range);
            prop_assert_eq!(batches.len(), kept.len());
            for (batch, original) in batches.iter().zip(&kept) {
                let bare = Batch::try_from_bytes(batch.bytes.clone()).expect("a whole batch");
                bare.check_crc().expect("the CRC is right");
                prop_assert_eq!(facts(bare.header()), facts(original.header()));
                prop_assert!(!bare.header().is_transactional());
                prop_assert_eq!(records(&bare), records(original));
                prop_assert_eq!(batch.max_timestamp, original.header().max_timestamp);
            }
            check_range(range, log, &kept);
        }
    }
}

/// The range's own figures follow from the batches.
fn check_range(range: &PartitionRange, log: &[(Kind, Batch)], kept: &[&Batch]) {
    assert_eq!(range.end_offset, log.last().expect("a batch").1.next_offset());
    let all: Vec<Record> = kept.iter().flat_map(|batch| records(batch)).collect();
    assert_eq!(range.rows, all.len() as u64);
    let max = all.iter().map(|record| record.timestamp).max();
    assert_eq!(range.max_timestamp, max.unwrap_or(-1));
    if let Some(max) = max {
        let first = all.iter().find(|record| record.timestamp == max).expect("it is there");
        assert_eq!(range.max_timestamp_offset, Offset(first.offset));
    }
    for batch in kept {
        assert_eq!(range.leader_epoch(batch.base_offset()), Some(batch.header().leader_epoch));
        let group = row_groups_from(range, batch.last_offset(), 0).first().expect("a group");
        assert!(group.base_offset <= batch.base_offset() && batch.last_offset() <= group.last_offset);
    }
}
