use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use super::{BatchError, Compression};

/// The only record batch format there is since Kafka 4.0 (KIP-724).
pub const MAGIC: i8 = 2;

/// What stands before a batch's own length counts: base offset and length.
pub const LOG_OVERHEAD_BYTES: usize = 12;

/// A batch's header; the records follow.
pub const HEADER_BYTES: usize = 61;

/// Offsets above this would overflow with the largest delta that a batch can have.
const BASE_OFFSET_MAX: i64 = i64::MAX - (1 << 32);

/// Whether a record's timestamp is its producer's word or the time of the append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    #[default]
    CreateTime,
    LogAppendTime,
}

impl TimestampType {
    /// The number that the record format and the archive use.
    pub const fn id(self) -> i8 {
        self as i8
    }

    /// Kafka's name, as the topic config has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateTime => "CreateTime",
            Self::LogAppendTime => "LogAppendTime",
        }
    }
}

/// A batch's attribute bits. Reserved bits are kept as they came, as Kafka keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// The bits of a batch with these properties.
    pub const fn new(
        compression: Compression,
        timestamp_type: TimestampType,
        transactional: bool,
        control: bool,
    ) -> Self {
        let mut bits = compression.id() as i16;
        if matches!(timestamp_type, TimestampType::LogAppendTime) {
            bits |= Self::LOG_APPEND_TIME;
        }
        if transactional {
            bits |= Self::TRANSACTIONAL;
        }
        if control {
            bits |= Self::CONTROL;
        }
        Self(bits)
    }

    /// How the record section is compressed.
    pub const fn compression(self) -> Result<Compression, BatchError> {
        let id = (self.0 & Self::COMPRESSION) as u8;
        match Compression::from_id(id) {
            Some(compression) => Ok(compression),
            None => Err(BatchError::UnknownCompression(id)),
        }
    }

    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the records are markers of the broker, which no consumer sees.
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time after which the cleaner may drop tombstones (KIP-534).
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same bits, saying whether the base timestamp is a delete horizon.
    #[must_use]
    pub const fn with_delete_horizon(self, has: bool) -> Self {
        if has { Self(self.0 | Self::DELETE_HORIZON) } else { Self(self.0 & !Self::DELETE_HORIZON) }
    }

    /// The same bits with another timestamp type.
    #[must_use]
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// The same bits with another compression.
    #[must_use]
    pub const fn with_compression(self, compression: Compression) -> Self {
        Self((self.0 & !Self::COMPRESSION) | compression.id() as i16)
    }
}

/// The fixed part of a batch. What [`BatchHeader::parse`] let through has a known codec and offsets that do not
/// overflow; the CRC and the records are not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// The whole batch, with the base offset and the length themselves.
    pub batch_bytes: usize,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    /// The largest timestamp of the records, or the append time of all of them.
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub records_count: i32,
}

impl BatchHeader {
    /// The header's size.
    pub const BYTES: usize = HEADER_BYTES;

    /// Reads the header at the start of `bytes`; the records need not be there yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let batch_bytes = batch_bytes(bytes)?;
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { expected: batch_bytes, found: bytes.len() });
        };
        let parsed = Self {
            base_offset: Offset(i64_at(header, 0)),
            batch_bytes,
            leader_epoch: LeaderEpoch(i32_at(header, 12)),
            magic: header[16] as i8,
            crc: i32_at(header, 17) as u32,
            attributes: Attributes(i16_at(header, 21)),
            last_offset_delta: i32_at(header, 23),
            base_timestamp: i64_at(header, 27),
            max_timestamp: i64_at(header, 35),
            producer_id: ProducerId(i64_at(header, 43)),
            producer_epoch: ProducerEpoch(i16_at(header, 51)),
            base_sequence: i32_at(header, 53),
            records_count: i32_at(header, 57),
        };
        parsed.attributes.compression()?;
        let bad = |field, value| Err(BatchError::BadField { field, value });
        match parsed {
            Self { base_offset: Offset(value), .. } if !(0..=BASE_OFFSET_MAX).contains(&value) => {
                bad("base offset", value)
            }
            Self { last_offset_delta: value @ ..0, .. } => bad("last offset delta", value.into()),
            Self { records_count: value @ ..0, .. } => bad("records count", value.into()),
            _ => Ok(parsed),
        }
    }

    /// The header's bytes, with the CRC as it stands in the field.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let length = (self.batch_bytes - LOG_OVERHEAD_BYTES) as i32;
        out[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        out[8..12].copy_from_slice(&length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        out[16] = self.magic as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        out
    }

    /// The offset of the last record (which compaction may have removed).
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0 + self.last_offset_delta as i64)
    }

    /// Where the next batch starts at the earliest.
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// How the record section is compressed.
    pub fn compression(&self) -> Compression {
        // An unknown one does not pass `parse`.
        self.attributes.compression().unwrap_or_default()
    }

    pub const fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    pub const fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    pub const fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// From when on the cleaner may drop the batch's tombstones, or its marker (KIP-534); `None`: it has not seen them yet.
    pub const fn delete_horizon_ms(&self) -> Option<i64> {
        if self.attributes.has_delete_horizon() { Some(self.base_timestamp) } else { None }
    }

    /// Whether an idempotent or transactional producer wrote it.
    pub const fn has_producer(&self) -> bool {
        self.producer_id.is_some()
    }

    /// The sequence number of the last record. Sequences go on with 0 after 2³¹−1.
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        ((self.base_sequence as i64 + self.last_offset_delta as i64) & i32::MAX as i64) as i32
    }
}

/// The size of the batch that starts here: its length is plausible and its magic supported.
pub(super) fn batch_bytes(bytes: &[u8]) -> Result<usize, BatchError> {
    // The magic stands in the same place in all formats, so an old one is told apart from a cut one.
    if bytes.len() <= 16 {
        return Err(BatchError::Truncated { expected: HEADER_BYTES, found: bytes.len() });
    }
    let magic = bytes[16] as i8;
    if magic != MAGIC {
        return Err(BatchError::UnsupportedMagic(magic));
    }
    let length = i32_at(bytes, 8);
    if length < (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i32 || length > i32::MAX - LOG_OVERHEAD_BYTES as i32 {
        return Err(BatchError::BadLength(length));
    }
    Ok(length as usize + LOG_OVERHEAD_BYTES)
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    (i64::from(i32_at(bytes, at)) << 32) | i64::from(i32_at(bytes, at + 4) as u32)
}
