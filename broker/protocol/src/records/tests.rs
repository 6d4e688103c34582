use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use strata_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::*;

const LIMIT: DecompressLimit = DecompressLimit(1 << 20);

fn field() -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn record() -> impl Strategy<Value = Record> {
    let header = ("[a-z]{0,8}", field()).prop_map(|(key, value)| Header { key: key.as_str().into(), value });
    (0..1000_i64, -1..1_700_000_000_000_i64, field(), field(), vec(header, 0..4)).prop_map(
        |(offset, timestamp, key, value, headers)| Record { offset, timestamp, key, value, headers },
    )
}

/// Records whose offsets rise from 5, with gaps where `gaps` says so.
fn records(gaps: bool) -> impl Strategy<Value = Vec<Record>> {
    vec(record(), 1..30).prop_map(move |mut records| {
        let mut next = 5;
        for record in &mut records {
            next += if gaps { record.offset % 7 } else { 0 };
            record.offset = next;
            next += 1;
        }
        records
    })
}

fn codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

fn build(options: BuilderOptions, records: &[Record]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        builder.push(record).unwrap();
    }
    builder.build().unwrap()
}

fn parse(bytes: Bytes) -> Batch {
    Batch::try_from_bytes(bytes).unwrap()
}

fn read(batch: &Batch) -> Result<Vec<Record>, BatchError> {
    batch.records(LIMIT)?.collect()
}

/// Three plain records from offset 0, as a client sends them.
fn produced(options: BuilderOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for n in 0..3_u8 {
        builder.push_next(1000 + i64::from(n), Some(&[n]), Some(&[n; 100]), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn client() -> ValidateOptions {
    ValidateOptions {
        origin: Origin::Client,
        now: 1_000,
        batch_bytes_max: 1 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        keys_required: false,
        decompress: LIMIT,
    }
}

/// Changes a batch's bytes and gives it the CRC that fits.
fn forged(batch: &Bytes, change: impl FnOnce(&mut Vec<u8>)) -> Batch {
    let mut bytes = batch.to_vec();
    change(&mut bytes);
    let length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    parse(bytes.into())
}

fn refusal(batch: &Batch, options: &ValidateOptions) -> ErrorCode {
    validate(batch, options).unwrap_err().error
}

fn config() -> ProptestConfig {
    // A failing seed belongs in a test of its own, not in a file beside the sources.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn records_come_back_in_every_codec(records in records(true), compression in codec(), epoch: i32) {
        let leader_epoch = LeaderEpoch(epoch);
        let options = BuilderOptions { base_offset: Offset(3), compression, leader_epoch, ..Default::default() };
        let batch = parse(build(options, &records));
        prop_assert!(batch.is_crc_valid());
        prop_assert_eq!(batch.header().leader_epoch, leader_epoch);
        prop_assert_eq!(batch.last_offset().0, records.last().unwrap().offset);
        prop_assert_eq!(read(&batch).unwrap(), records.clone());
        let plain = batch.recompressed(Compression::None, None, LIMIT).unwrap();
        prop_assert!(plain.is_crc_valid());
        prop_assert_eq!(read(&plain).unwrap(), records);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200), plausible: bool) {
        if plausible && bytes.len() > 61 {
            let length = (bytes.len() - 12) as i32;
            bytes[..8].fill(0);
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[22] &= 0xf8 | (bytes[30] % 5);
            bytes[23] = 0;
            bytes[57..60].fill(0);
        }
        whole_batches_len(&bytes);
        for batch in batches(bytes.into()).flatten() {
            let _ = read(&batch);
            let _ = validate(&batch, &client());
            let _ = validate(&forged(batch.bytes(), |_| ()), &ValidateOptions { origin: Origin::Coordinator, ..client() });
        }
    }

    #[test]
    fn damaged_sections_never_panic(records in records(false), compression in codec(), at: prop::sample::Index, byte: u8) {
        let bytes = build(BuilderOptions { base_offset: Offset(5), compression, ..Default::default() }, &records);
        let batch = forged(&bytes, |bytes| { let at = 61 + at.index(bytes.len() - 61); bytes[at] = byte });
        let _ = read(&batch);
        let _ = validate(&batch, &ValidateOptions { origin: Origin::Coordinator, ..client() });
    }

    #[test]
    fn records_in_memory_are_seen_as_those_of_a_stream(records in records(true), at: prop::sample::Index, byte: u8) {
        let whole = build(BuilderOptions { base_offset: Offset(5), ..Default::default() }, &records);
        let damaged = forged(&whole, |bytes| { let at = 61 + at.index(bytes.len() - 61); bytes[at] = byte });
        let (header, section) = (damaged.header(), damaged.compressed_section());
        let (mut in_memory, mut streamed) = (Vec::new(), Vec::new());
        let limit = DecompressLimit::default();
        let memory = walk::walk(header, &section, limit, |shape| in_memory.push(shape));
        let stream = walk::walk_stream(header, 0, section.as_ref(), limit, &mut |shape| streamed.push(shape));
        prop_assert_eq!((memory, in_memory), (stream, streamed));
    }

    #[test]
    fn a_batch_cut_anywhere_is_an_error(records in records(false), compression in codec(), at: prop::sample::Index) {
        let whole = build(BuilderOptions { base_offset: Offset(5), compression, ..Default::default() }, &records);
        let cut = whole.slice(..at.index(whole.len()));
        prop_assert_eq!(whole_batches_len(&cut), 0);
        prop_assert!(Batch::try_from_bytes(cut.clone()).is_err());
        let two: Bytes = [whole.as_ref(), &cut].concat().into();
        prop_assert_eq!(whole_batches_len(&two), whole.len());
        let found: Vec<_> = batches(two).collect();
        prop_assert!(found[0].is_ok());
        prop_assert_eq!(found.len(), if cut.is_empty() { 1 } else { 2 });
        let truncated = |cut: &Result<_, _>| matches!(cut, Err(BatchError::Truncated { .. }));
        prop_assert!(found[1..].iter().all(truncated));
    }

    #[test]
    fn a_section_cut_anywhere_is_an_error(records in records(false), compression in codec(), at: prop::sample::Index) {
        let whole = build(BuilderOptions { base_offset: Offset(5), compression, ..Default::default() }, &records);
        let cut = forged(&whole, |bytes| bytes.truncate(61 + at.index(bytes.len() - 61)));
        let options = ValidateOptions { origin: Origin::Coordinator, ..client() };
        // Without (all of) its end mark, lz4 still gives every byte.
        if compression == Compression::Lz4 && cut.bytes().len() >= whole.len() - 4 {
            prop_assert!(read(&cut).is_err() || read(&cut) == Ok(records));
        } else {
            prop_assert!(read(&cut).is_err());
            prop_assert!(validate(&cut, &options).is_err());
        }
    }
}

#[test]
fn offsets_and_epoch_are_patched_without_touching_the_crc() {
    let bytes = produced(BuilderOptions::default());
    let change = Patch {
        base_offset: Offset(77),
        leader_epoch: LeaderEpoch(4),
        append_time: None,
        max_timestamp: Some(1002),
    };
    let batch = parse(bytes.clone());
    let mut patched = bytes.to_vec();
    patch(&mut patched, &change).unwrap();
    assert_eq!(patched[..61], patched_header(&batch, &change));
    let patched = parse(patched.into());
    assert_eq!(patched.header().crc, batch.header().crc);
    assert!(patched.is_crc_valid());
    assert_eq!((patched.base_offset(), patched.next_offset()), (Offset(77), Offset(80)));
    assert_eq!(patched.header().leader_epoch, LeaderEpoch(4));
}

#[test]
fn append_time_becomes_the_time_of_every_record() {
    let mut bytes = produced(BuilderOptions { compression: Compression::Lz4, ..Default::default() }).to_vec();
    let change = Patch {
        base_offset: Offset(1),
        leader_epoch: LeaderEpoch(0),
        append_time: Some(9_999),
        max_timestamp: None,
    };
    patch(&mut bytes, &change).unwrap();
    let batch = parse(bytes.into());
    assert!(batch.is_crc_valid());
    assert_eq!(batch.header().timestamp_type(), TimestampType::LogAppendTime);
    assert!(read(&batch).unwrap().iter().all(|record| record.timestamp == 9_999));
}

#[test]
fn keys_and_values_are_slices_of_the_batch() {
    let batch = parse(produced(BuilderOptions::default()));
    let range = batch.bytes().as_ptr_range();
    for record in read(&batch).unwrap() {
        assert!(range.contains(&record.value.unwrap().as_ptr()));
    }
}

#[test]
fn a_bomb_stops_at_the_limit_in_every_codec() {
    let zeros = vec![0; 4 << 20];
    for codec in Compression::ALL {
        let bomb = codec.compress(&zeros).unwrap();
        let limit = DecompressLimit(100_000);
        assert_eq!(
            codec.decompress(&bomb, limit),
            Err(BatchError::TooLarge { limit_bytes: 100_000 }),
            "{codec}"
        );
        assert_eq!(codec.decompress(&bomb, DecompressLimit(zeros.len())).unwrap().len(), zeros.len());
    }
}

#[test]
fn raw_snappy_is_read_and_its_announced_length_is_not_believed() {
    let raw = snap::raw::Encoder::new().compress_vec(&[7; 1000]).unwrap();
    assert_eq!(Compression::Snappy.decompress(&raw.into(), LIMIT).unwrap(), vec![7; 1000]);
    // A block of six bytes that announces four GiB.
    let liar = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]);
    let refused = Compression::Snappy.decompress(&liar, DecompressLimit(usize::MAX));
    assert!(matches!(refused, Err(BatchError::Decompress { .. })), "{refused:?}");
}

#[test]
fn a_good_batch_passes_and_tells_its_largest_timestamp() {
    for compression in Compression::ALL {
        let batch = parse(produced(BuilderOptions { compression, ..Default::default() }));
        assert_eq!(validate(&batch, &client()), Ok(Validated { max_timestamp: 1002 }));
    }
}

#[test]
fn the_header_may_not_lie_about_the_largest_timestamp() {
    let batch =
        forged(&produced(BuilderOptions::default()), |b| b[35..43].copy_from_slice(&7_i64.to_be_bytes()));
    assert_eq!(validate(&batch, &client()), Ok(Validated { max_timestamp: 1002 }));
}

#[test]
fn damage_is_refused_with_kafkas_codes() {
    let good = produced(BuilderOptions::default());
    let flipped = {
        let mut bytes = good.to_vec();
        bytes[100] ^= 1;
        parse(bytes.into())
    };
    assert_eq!(refusal(&flipped, &client()), ErrorCode::CorruptMessage);
    assert_eq!(
        refusal(&flipped, &ValidateOptions { origin: Origin::Replica, ..client() }),
        ErrorCode::CorruptMessage
    );
    let shifted = forged(&good, |b| b[7] = 1);
    assert_eq!(refusal(&shifted, &client()), ErrorCode::InvalidRecord);
    let control = forged(&good, |b| b[22] |= 0x20);
    assert_eq!(refusal(&control, &client()), ErrorCode::InvalidRecord);
    let count = forged(&good, |b| b[60] = 4);
    assert_eq!(refusal(&count, &client()), ErrorCode::InvalidRecord);
    let count_and_delta = forged(&good, |b| (b[26], b[60]) = (3, 4));
    assert_eq!(refusal(&count_and_delta, &client()), ErrorCode::InvalidRecord);
    let fewer = forged(&good, |b| (b[26], b[60]) = (1, 2));
    assert_eq!(refusal(&fewer, &client()), ErrorCode::InvalidRecord);
    let small = ValidateOptions { batch_bytes_max: 100, ..client() };
    assert_eq!(refusal(&parse(good), &small), ErrorCode::MessageTooLarge);
}

#[test]
fn impossible_headers_do_not_parse() {
    let good = produced(BuilderOptions::default());
    let parse_with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        Batch::try_from_bytes(bytes.into()).unwrap_err()
    };
    assert!(matches!(parse_with(23, 0x80), BatchError::BadField { field: "last offset delta", .. }));
    assert!(matches!(parse_with(57, 0xff), BatchError::BadField { field: "records count", .. }));
    assert!(matches!(parse_with(0, 0x80), BatchError::BadField { field: "base offset", .. }));
    assert!(matches!(parse_with(22, 0x05), BatchError::UnknownCompression(5)));
    assert!(matches!(parse_with(8, 0xff), BatchError::BadLength(_)));
    for magic in [0, 1, 3] {
        assert_eq!(parse_with(16, magic), BatchError::UnsupportedMagic(magic as i8));
    }
}

#[test]
fn sequences_need_a_producer_and_an_epoch() {
    let idempotent = BuilderOptions {
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        ..Default::default()
    };
    assert!(validate(&parse(produced(idempotent)), &client()).is_ok());
    let no_sequence = BuilderOptions { base_sequence: -1, ..idempotent };
    assert_eq!(refusal(&parse(produced(no_sequence)), &client()), ErrorCode::InvalidRecord);
    let no_epoch = BuilderOptions { producer_epoch: ProducerEpoch(-1), ..idempotent };
    assert_eq!(refusal(&parse(produced(no_epoch)), &client()), ErrorCode::InvalidRecord);
    let no_producer = BuilderOptions { transactional: true, ..Default::default() };
    assert_eq!(refusal(&parse(produced(no_producer)), &client()), ErrorCode::InvalidRecord);
}

#[test]
fn sequences_wrap_after_the_largest() {
    let options = BuilderOptions {
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(0),
        base_sequence: i32::MAX - 1,
        ..Default::default()
    };
    assert_eq!(parse(produced(options)).header().last_sequence(), 0);
}

#[test]
fn single_records_are_named_in_a_refusal() {
    let mut builder =
        BatchBuilder::new(BuilderOptions { compression: Compression::Zstd, ..Default::default() });
    builder.push_next(1_000, Some(b"k"), None, &[]).unwrap();
    builder.push_next(1_000, None, Some(b"v"), &[]).unwrap();
    let batch = parse(builder.build().unwrap());
    assert!(validate(&batch, &client()).is_ok());
    let refused = validate(&batch, &ValidateOptions { keys_required: true, ..client() }).unwrap_err();
    assert_eq!(refused.error, ErrorCode::InvalidRecord);
    assert_eq!(refused.record_errors.iter().map(|e| e.batch_index).collect::<Vec<_>>(), [1]);
}

#[test]
fn timestamps_outside_the_topics_bounds_are_refused() {
    let batch = parse(produced(BuilderOptions::default()));
    let too_late = ValidateOptions { now: 0, timestamp_after_max_ms: 1_000, ..client() };
    let refused = validate(&batch, &too_late).unwrap_err();
    assert_eq!(refused.error, ErrorCode::InvalidTimestamp);
    assert_eq!(refused.record_errors.iter().map(|e| e.batch_index).collect::<Vec<_>>(), [1, 2]);
    let too_old = ValidateOptions { now: 5_000, timestamp_before_max_ms: 1_000, ..client() };
    assert_eq!(refusal(&batch, &too_old), ErrorCode::InvalidTimestamp);
    let append_time = ValidateOptions { timestamp_type: TimestampType::LogAppendTime, ..too_old };
    assert!(validate(&batch, &append_time).is_ok());
}

#[test]
fn offset_deltas_of_a_produced_batch_are_consecutive() {
    let records = [0, 2].map(|offset| Record { offset, ..Default::default() });
    let gap = forged(&build(BuilderOptions::default(), &records), |b| b[26] = 1);
    assert_eq!(refusal(&gap, &client()), ErrorCode::InvalidRecord);
}

#[test]
fn a_produce_request_holds_one_batch() {
    let batch = produced(BuilderOptions { compression: Compression::Zstd, ..Default::default() });
    assert!(single_batch(batch.clone(), true).is_ok());
    let code = |bytes: Bytes, zstd| single_batch(bytes, zstd).unwrap_err().error;
    assert_eq!(code(batch.clone(), false), ErrorCode::UnsupportedCompressionType);
    assert_eq!(code(Bytes::new(), true), ErrorCode::InvalidRecord);
    assert_eq!(code([batch.as_ref(), &batch].concat().into(), true), ErrorCode::InvalidRecord);
    let mut old = batch.to_vec();
    old[16] = 1;
    assert_eq!(code(old.into(), true), ErrorCode::InvalidRecord);
}

#[test]
fn a_transaction_marker_reads_as_what_it_says() {
    for (commit, kind) in [(true, ControlType::Commit), (false, ControlType::Abort)] {
        let marker = EndTxnMarker {
            base_offset: Offset(12),
            leader_epoch: LeaderEpoch(1),
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(2),
            commit,
            coordinator_epoch: 3,
            timestamp: 44,
        };
        let batch = parse(end_transaction_marker(&marker).unwrap());
        assert!(batch.header().is_control() && batch.header().is_transactional());
        assert_eq!(ControlType::of(&read(&batch).unwrap()[0]), Some(kind));
        let client_sent = forged(batch.bytes(), |b| b[..8].fill(0));
        assert_eq!(refusal(&client_sent, &client()), ErrorCode::InvalidRecord);
        assert!(validate(&batch, &ValidateOptions { origin: Origin::Coordinator, ..client() }).is_ok());
    }
}

#[test]
fn header_names_that_are_not_utf8_are_replaced() {
    let header = Header { key: "né".into(), value: None };
    let mut builder = BatchBuilder::new(BuilderOptions::default());
    builder.push_next(0, None, None, &[header]).unwrap();
    let batch = forged(&builder.build().unwrap(), |bytes| {
        let at = bytes.iter().rposition(|byte| *byte == 0xa9).unwrap();
        bytes[at] = b'x';
    });
    assert_eq!(&*read(&batch).unwrap()[0].headers[0].key, "n\u{fffd}x");
}

#[test]
fn an_empty_batch_can_only_be_built_on_purpose() {
    assert_eq!(BatchBuilder::new(BuilderOptions::default()).build(), Err(BuildError::Empty));
    let kept = BatchBuilder::new(BuilderOptions::default()).build_with_last_offset(Offset(4)).unwrap();
    let batch = parse(kept);
    assert_eq!(batch.next_offset(), Offset(5));
    assert!(read(&batch).unwrap().is_empty());
}
