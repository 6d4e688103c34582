//! Snapshots of the image: Kafka's checkpoint files.
//!
//! ```text
//!   00000000000000004711-0000000003.checkpoint        the first offset that it does not cover, and the last epoch that it does
//!     control batch   SnapshotHeaderRecord, VotersRecord(s)
//!     batches         the image, as metadata records
//!     control batch   SnapshotFooterRecord            a file without it is not whole
//! ```
//!
//! Raft's view of the same place stands in a header of the first record, [`POSITION_HEADER`].

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use strata_metadata::{Image, MetadataRecord};
use strata_protocol::Message;
use strata_protocol::messages::{SnapshotFooterRecord, SnapshotHeaderRecord};
use strata_protocol::records::{Batch, batches};
use strata_types::{LeaderEpoch, Offset, TimestampMs};

use crate::OpenError;
use crate::batch::{
    BatchFormatError, builder, control, control_key, control_type, membership, number_header, numbers_of,
    records_of, voters,
};
use crate::disk::{sync_parent, write_atomically};
use crate::raft::{LogId, StoredMembership, log_id};

const SUFFIX: &str = ".checkpoint";

/// Next offset; term and index of the last entry; term and index of the membership. Big-endian 64-bit numbers.
const POSITION_HEADER: &str = "raft-position";

/// A batch is closed when its records have this size.
const BATCH_BYTES: usize = 256 * 1024;

/// The state machine's state at one place of the log.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotState {
    pub(crate) image: Image,
    pub(crate) last: LogId,
    pub(crate) membership: StoredMembership,
}

/// Why bytes are no snapshot, or a state is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Batch(#[from] BatchFormatError),
    #[error("the snapshot is cut short or does not begin as one")]
    Incomplete,
    #[error("the snapshot does not say where it stands")]
    NoPosition,
    #[error("a record of the snapshot: {0}")]
    Record(String),
}

impl SnapshotState {
    /// The file that holds this snapshot.
    pub(crate) fn file_name(&self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.image.next_offset().0, self.last.leader_id.term)
    }

    /// The content of that file.
    pub(crate) fn encode(&self, now: TimestampMs) -> Result<Bytes, SnapshotError> {
        let epoch = crate::batch::epoch(self.last.leader_id.term)?;
        let mut file = BytesMut::new();
        let mut offset = Offset::ZERO;
        let mut header = vec![(control_key(control::SNAPSHOT_HEADER), snapshot_header(now)?)];
        for voters in voters(self.membership.membership())? {
            header.push((control_key(control::VOTERS), voters));
        }
        offset = self.put_control(&mut file, offset, epoch, now, &header)?;

        let mut batch = builder(offset, epoch, false);
        for record in self.image.to_records() {
            let value = record.encode().map_err(BatchFormatError::from)?;
            batch.push_next(now, None, Some(&value), &[]).map_err(BatchFormatError::from)?;
            offset = offset.next();
            if batch.bytes_len() >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, builder(offset, epoch, false));
                file.extend_from_slice(&full.build().map_err(BatchFormatError::from)?);
            }
        }
        if !batch.is_empty() {
            file.extend_from_slice(&batch.build().map_err(BatchFormatError::from)?);
        }
        let footer = SnapshotFooterRecord::default().to_bytes(0).map_err(BatchFormatError::from)?;
        self.put_control(&mut file, offset, epoch, now, &[(control_key(control::SNAPSHOT_FOOTER), footer)])?;
        Ok(file.freeze())
    }

    /// The state that a file's content stands for.
    pub(crate) fn decode(content: Bytes) -> Result<Self, SnapshotError> {
        let all: Vec<Batch> = batches(content).collect::<Result<_, _>>().map_err(BatchFormatError::from)?;
        let [first, middle @ .., last] = &all[..] else { return Err(SnapshotError::Incomplete) };
        for batch in &all {
            batch.check_crc().map_err(BatchFormatError::from)?;
        }
        let header = control_records(first, control::SNAPSHOT_HEADER)?;
        control_records(last, control::SNAPSHOT_FOOTER)?;
        let [next_offset, term, index, membership_term, membership_index] =
            numbers_of(&header[0], POSITION_HEADER).ok_or(SnapshotError::NoPosition)?;
        let membership = membership(&header[1..])?;
        let mut image = Image::default();
        for batch in middle {
            for record in records_of(batch)? {
                let value = record.value.ok_or(BatchFormatError::NoValue)?;
                let record = MetadataRecord::decode(value)
                    .map_err(|error| SnapshotError::Record(error.to_string()))?;
                image.apply(&record).map_err(|error| SnapshotError::Record(error.to_string()))?;
            }
        }
        let next_offset = i64::try_from(next_offset).map_err(|_| SnapshotError::NoPosition)?;
        let epoch = i32::try_from(term).map_err(|_| SnapshotError::NoPosition)?;
        image.set_position(Offset(next_offset), LeaderEpoch(epoch));
        let membership = StoredMembership::new(Some(log_id(membership_term, membership_index)), membership);
        Ok(Self { image, last: log_id(term, index), membership })
    }

    fn put_control(
        &self,
        file: &mut BytesMut,
        mut offset: Offset,
        epoch: LeaderEpoch,
        now: TimestampMs,
        records: &[(Bytes, Bytes)],
    ) -> Result<Offset, BatchFormatError> {
        let mut batch = builder(offset, epoch, true);
        let membership = self.membership.log_id().unwrap_or_default();
        let position = [
            self.image.next_offset().0.unsigned_abs(),
            self.last.leader_id.term,
            self.last.index,
            membership.leader_id.term,
            membership.index,
        ];
        let mut headers = vec![number_header(POSITION_HEADER, &position)];
        for (key, value) in records {
            batch.push_next(now, Some(key), Some(value), &headers)?;
            headers.clear();
            offset = offset.next();
        }
        file.extend_from_slice(&batch.build()?);
        Ok(offset)
    }
}

/// Writes a snapshot's file, and removes those before it.
pub(crate) fn save(dir: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    let path = dir.join(name);
    write_atomically(&path, content)?;
    for older in files(dir)? {
        if older < path {
            fs::remove_file(older)?;
        }
    }
    sync_parent(&path)
}

/// The newest snapshot of a folder, with its file's size in bytes.
pub(crate) fn load(dir: &Path) -> Result<Option<(SnapshotState, u64)>, OpenError> {
    let Some(path) = files(dir).map_err(OpenError::io(dir))?.pop() else { return Ok(None) };
    let content = Bytes::from(fs::read(&path).map_err(OpenError::io(&path))?);
    let bytes = content.len() as u64;
    let state =
        SnapshotState::decode(content).map_err(|error| OpenError::corrupt(&path, error.to_string()))?;
    Ok(Some((state, bytes)))
}

/// The snapshots of a folder, the oldest first: their names sort as their offsets do.
fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn snapshot_header(now: TimestampMs) -> Result<Bytes, BatchFormatError> {
    let header = SnapshotHeaderRecord { last_contained_log_timestamp: now, ..Default::default() };
    Ok(header.to_bytes(0)?)
}

fn control_records(
    batch: &Batch,
    expected: i16,
) -> Result<Vec<strata_protocol::records::Record>, SnapshotError> {
    let records = records_of(batch)?;
    match records.first() {
        Some(first) if batch.header().is_control() && control_type(first)? == expected => Ok(records),
        _ => Err(SnapshotError::Incomplete),
    }
}
