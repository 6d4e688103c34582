//! Record batches, and what comes out of their compressed sections.

use bytes::Bytes;
use strata_protocol::records::{
    Batch, Compression, DecompressLimit, HEADER_BYTES, MAGIC, Origin, TimestampType, ValidateOptions,
    batches, single_batch, validate, whole_batches_len,
};

use crate::Target;
use crate::memory::most_held;

/// What may come out of a decompression here.
const LIMIT: DecompressLimit = DecompressLimit(64 * 1024);
/// What codecs' windows and tables may take on Rust's heap, beside their output.
const CODEC_BYTES_MAX: usize = 9 * 1024 * 1024;
/// Where a batch's fields lie.
const LENGTH: std::ops::Range<usize> = 8..12;
const MAGIC_AT: usize = 16;
const CRC: std::ops::Range<usize> = 17..21;
const NOW: i64 = 1_700_000_000_000;

pub(crate) fn targets() -> Vec<Target> {
    vec![
        Target { name: "batches-any", run: any },
        Target { name: "batches-sealed", run: sealed },
        Target { name: "decompress-gzip", run: |input| decompress(Compression::Gzip, input) },
        Target { name: "decompress-snappy", run: |input| decompress(Compression::Snappy, input) },
        Target { name: "decompress-lz4", run: |input| decompress(Compression::Lz4, input) },
        Target { name: "decompress-zstd", run: |input| decompress(Compression::Zstd, input) },
        Target { name: "decompress-round-trip", run: round_trip },
    ]
}

/// Any bytes taken for a file's or a response's batches, wrong checksums and all.
fn any(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    assert!(whole_batches_len(&bytes) <= bytes.len());
    for batch in batches(bytes) {
        let Ok(batch) = batch else { return };
        let _ = batch.check_crc();
        look_into(&batch);
    }
}

/// The bytes of one batch whose frame and checksum are right, so that what lies behind them is reached: as a producer
/// sends it. What validation lets pass can be read record by record, and survives another compression.
fn sealed(input: &[u8]) {
    if input.len() < HEADER_BYTES {
        return;
    }
    let mut bytes = input.to_vec();
    let length = i32::try_from(bytes.len() - LENGTH.end).expect("inputs are small");
    bytes[LENGTH].copy_from_slice(&length.to_be_bytes());
    bytes[MAGIC_AT] = MAGIC.to_be_bytes()[0];
    let crc = crc32c::crc32c(&bytes[CRC.end..]);
    bytes[CRC].copy_from_slice(&crc.to_be_bytes());
    let Ok(batch) = single_batch(bytes.into(), true) else { return };
    assert!(batch.is_crc_valid());
    let options = options(batch.bytes().len());
    let (validated, held) = most_held(|| validate(&batch, &options));
    assert!(held <= CODEC_BYTES_MAX, "{held} bytes to validate {}", batch.bytes().len());
    if validated.is_err() {
        look_into(&batch);
        return;
    }
    let records: Vec<_> = batch
        .records(LIMIT)
        .expect("a valid batch has records")
        .collect::<Result<_, _>>()
        .expect("a valid batch has valid records");
    assert_eq!(records.len(), batch.header().records_count as usize);
    for codec in Compression::ALL {
        let other =
            batch.recompressed(codec, None, LIMIT).expect("a valid batch can be compressed another way");
        assert!(other.is_crc_valid());
        let same: Vec<_> = other.records(LIMIT).expect("records").collect::<Result<_, _>>().expect("records");
        assert_eq!(same, records, "{codec}");
        validate(&other, &self::options(other.bytes().len())).expect("it is as valid as it was");
    }
}

fn options(batch_bytes: usize) -> ValidateOptions {
    ValidateOptions {
        origin: Origin::Client,
        now: NOW,
        batch_bytes_max: batch_bytes,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        keys_required: false,
        decompress: LIMIT,
    }
}

/// Reads a batch that nobody has validated, as far as it can be read.
fn look_into(batch: &Batch) {
    let (records, held) =
        most_held(|| batch.records(LIMIT).map(|records| records.take_while(Result::is_ok).count()));
    // Vectors grow by doubling, so that for a moment two of them are there.
    assert!(held <= CODEC_BYTES_MAX + 4 * LIMIT.0, "{held} bytes for a batch of {}", batch.bytes().len());
    if let (Ok(read), Ok(section)) = (records, batch.record_section(LIMIT)) {
        assert!(read <= section.len(), "a record takes a byte or more");
    }
}

/// Hostile compressed bytes, as in batches and in pushed metrics (KIP-714): never more comes out than may, and the stream
/// agrees with the whole.
fn decompress(codec: Compression, input: &[u8]) {
    let input = Bytes::copy_from_slice(input);
    let (whole, held) = most_held(|| codec.decompress(&input, LIMIT));
    assert!(held <= CODEC_BYTES_MAX + 4 * LIMIT.0, "{held} bytes for {} compressed ones", input.len());
    let Ok(whole) = whole else { return };
    assert!(whole.len() <= LIMIT.0);
    let mut streamed = Vec::new();
    codec
        .reader(&input, LIMIT)
        .and_then(|mut reader| std::io::Read::read_to_end(&mut reader, &mut streamed))
        .expect("what came out whole comes out as a stream");
    assert_eq!(streamed, whole);
}

fn round_trip(input: &[u8]) {
    for codec in Compression::ALL {
        let compressed = codec.compress(input).expect("anything can be compressed");
        let back = codec.decompress(&compressed, DecompressLimit(input.len())).expect("and comes out again");
        assert_eq!(back, input, "{codec}");
    }
}
