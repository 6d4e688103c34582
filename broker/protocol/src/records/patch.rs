use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::{Batch, BatchError, BatchHeader, HEADER_BYTES, TimestampType};

/// What a broker writes into a produced batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    /// The topic has `message.timestamp.type=LogAppendTime`: all records get this time.
    pub append_time: Option<TimestampMs>,
    /// What the records' timestamps really rise to, where the producer said otherwise.
    pub max_timestamp: Option<TimestampMs>,
}

/// Patches a batch in place.
pub fn patch(batch: &mut [u8], patch: &Patch) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    if batch.len() != header.batch_bytes {
        return Err(BatchError::Truncated { expected: header.batch_bytes, found: batch.len() });
    }
    let patched = apply(&header, &batch[HEADER_BYTES..], patch);
    batch[..HEADER_BYTES].copy_from_slice(&patched);
    Ok(())
}

/// The header that the patched batch has. Written before `batch.bytes()[61..]`, it makes the patched batch without
/// a copy of the records, whose buffer may be shared.
pub fn patched_header(batch: &Batch, patch: &Patch) -> [u8; HEADER_BYTES] {
    apply(batch.header(), &batch.bytes()[HEADER_BYTES..], patch)
}

/// Gives a batch its place in a producer's order (KIP-98), in place. Batches can so be built before it is known.
pub fn set_producer(
    batch: &mut [u8],
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let header = BatchHeader { producer_id, producer_epoch, base_sequence, ..header };
    let sealed = seal(header, &batch[HEADER_BYTES..]);
    batch[..HEADER_BYTES].copy_from_slice(&sealed);
    Ok(())
}

fn apply(header: &BatchHeader, records: &[u8], patch: &Patch) -> [u8; HEADER_BYTES] {
    let mut patched =
        BatchHeader { base_offset: patch.base_offset, leader_epoch: patch.leader_epoch, ..*header };
    if let Some(time) = patch.append_time {
        patched.attributes = patched.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        patched.max_timestamp = time;
    } else if let Some(max_timestamp) = patch.max_timestamp {
        patched.attributes = patched.attributes.with_timestamp_type(TimestampType::CreateTime);
        patched.max_timestamp = max_timestamp;
    }
    let covered_changed =
        patched.attributes != header.attributes || patched.max_timestamp != header.max_timestamp;
    if covered_changed { seal(patched, records) } else { patched.encode() }
}

/// The header's bytes with the CRC that belongs to it and these records.
pub(super) fn seal(header: BatchHeader, records: &[u8]) -> [u8; HEADER_BYTES] {
    let mut bytes = header.encode();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[CRC_COVERS_FROM..]), records);
    bytes[CRC_COVERS_FROM - 4..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Where the CRC's cover begins: at the attributes.
pub(super) const CRC_COVERS_FROM: usize = 21;
