//! What the archive will not take, and what it will not give back.

use bytes::Bytes;
use strata_archive::{
    AbortedTransactions, ArchiveError, ArchiveFile, ArchiveWriter, Footer, RebuildOptions, WriterOptions,
    gap_batch, rebuild,
};
use strata_protocol::records::{Batch, BatchBuilder, BatchHeader, BuilderOptions, DecompressLimit};
use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicName};

fn batch(base: i64, count: i64) -> Bytes {
    let mut builder =
        BatchBuilder::new(BuilderOptions { base_offset: Offset(base), ..BuilderOptions::default() });
    for offset in base..base + count {
        builder.append(offset, 1_000 + offset, Some(b"key"), Some(b"value"), &[]).expect("offsets rise");
    }
    builder.build().expect("a batch")
}

fn writer(start: i64) -> ArchiveWriter {
    let topic = TopicName::new("orders").expect("a name");
    let mut writer = ArchiveWriter::new(&topic, TopicId::ZERO, WriterOptions::default()).expect("a writer");
    writer.start_partition(0, Offset(start)).expect("a new partition");
    writer
}

fn file() -> ArchiveFile {
    let mut writer = writer(0);
    writer.push(batch(0, 10), &mut |_| false).expect("a batch in order");
    writer.finish().expect("a file")
}

fn footer(file: &ArchiveFile) -> Bytes {
    file.bytes.slice(file.bytes.len() - file.footer_bytes as usize..)
}

#[test]
fn a_damaged_batch_does_not_reach_the_archive() {
    let mut bytes = batch(0, 3).to_vec();
    *bytes.last_mut().expect("bytes") ^= 1;
    let error = writer(0).push(bytes.into(), &mut |_| false).expect_err("the CRC is wrong");
    assert!(matches!(error, ArchiveError::Batch { offset: Offset(0), .. }), "{error}");
}

#[test]
fn a_cut_batch_does_not_reach_the_archive() {
    let bytes = batch(0, 3);
    let error = writer(0).push(bytes.slice(..bytes.len() - 1), &mut |_| false).expect_err("it is cut");
    assert!(matches!(error, ArchiveError::Batch { .. }), "{error}");
}

#[test]
fn batches_come_once_and_in_order() {
    let mut writer = writer(0);
    writer.push(batch(0, 3), &mut |_| false).expect("the first");
    for base in [0, 2] {
        let error = writer.push(batch(base, 3), &mut |_| false).expect_err("it was there before");
        assert!(matches!(error, ArchiveError::NotInOrder { expected: Offset(3), .. }), "{error}");
    }
    let error = writer.start_partition(0, Offset(9)).expect_err("a partition comes once");
    assert!(matches!(error, ArchiveError::WrongPartition(0)), "{error}");
}

#[test]
fn a_range_that_starts_within_a_batch_has_the_rest_of_it() {
    let mut writer = writer(4);
    writer.push(batch(0, 10), &mut |_| false).expect("it holds the start");
    let file = writer.finish().expect("a file");
    assert_eq!((file.ranges[0].rows, file.ranges[0].end_offset), (6, Offset(10)));
    let footer = Footer::parse(&footer(&file), file.bytes.len() as u64).expect("a footer");
    let group = &file.ranges[0].row_groups[0];
    let bytes = file.bytes.slice(group.file_offset as usize..(group.file_offset + group.bytes) as usize);
    let batches = rebuild(&footer, group, bytes, &RebuildOptions::default()).expect("batches");
    assert_eq!((batches[0].base_offset, batches[0].last_offset), (Offset(0), Offset(9)));
    let batch = Batch::try_from_bytes(batches[0].bytes.clone()).expect("a batch");
    let records = batch.records(DecompressLimit::default()).expect("records");
    assert_eq!(
        records.map(|record| record.expect("a record").offset).collect::<Vec<_>>(),
        [4, 5, 6, 7, 8, 9]
    );
}

#[test]
fn a_flipped_bit_of_a_row_group_is_found() {
    let file = file();
    let footer = Footer::parse(&footer(&file), file.bytes.len() as u64).expect("a footer");
    let group = &file.ranges[0].row_groups[0];
    let range = group.file_offset as usize..(group.file_offset + group.bytes) as usize;
    for at in range.clone() {
        let mut bytes = file.bytes[range.clone()].to_vec();
        bytes[at - range.start] ^= 0x10;
        let error =
            rebuild(&footer, group, bytes.into(), &RebuildOptions::default()).expect_err("a bit flipped");
        assert!(error.is_corrupt_object(), "{error}");
    }
    let cut = file.bytes.slice(range.start..range.end - 1);
    assert!(rebuild(&footer, group, cut, &RebuildOptions::default()).is_err());
}

#[test]
fn a_damaged_footer_is_an_error_and_no_panic() {
    let file = file();
    let (good, file_bytes) = (footer(&file), file.bytes.len() as u64);
    for cut in 0..good.len() {
        assert!(Footer::parse(&good.slice(cut + 1..), file_bytes).is_err(), "cut by {cut}");
    }
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0xff;
        // A flipped byte within a text may still parse: what counts is that nothing panics.
        let _ = Footer::parse(&bytes.into(), file_bytes);
    }
}

#[test]
fn a_gap_batch_covers_its_offsets_and_shows_no_record() {
    let bytes = gap_batch(Offset(10), Offset(14), LeaderEpoch(2)).expect("a batch");
    let batch = Batch::try_from_bytes(bytes).expect("a whole batch");
    batch.check_crc().expect("the CRC is right");
    let header = batch.header();
    assert!(header.is_control());
    assert_eq!((header.base_offset, header.last_offset()), (Offset(10), Offset(14)));
    assert_eq!(header.leader_epoch, LeaderEpoch(2));
}

#[test]
fn only_the_aborted_stretch_of_a_producer_is_left_out() {
    let aborted: AbortedTransactions = [(ProducerId(7), Offset(10), Offset(20))].into_iter().collect();
    let header = |producer: i64, base: i64, transactional: bool| -> BatchHeader {
        let mut builder = BatchBuilder::new(BuilderOptions {
            base_offset: Offset(base),
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            transactional,
            ..BuilderOptions::default()
        });
        builder.append(base, 0, None, None, &[]).expect("a record");
        *Batch::try_from_bytes(builder.build().expect("a batch")).expect("a batch").header()
    };
    assert!(aborted.skips(&header(7, 10, true)));
    assert!(!aborted.skips(&header(7, 9, true)), "its transaction before");
    assert!(!aborted.skips(&header(7, 21, true)), "its transaction after");
    assert!(!aborted.skips(&header(8, 12, true)), "another producer");
    assert!(!aborted.skips(&header(7, 12, false)), "not in a transaction");
}
