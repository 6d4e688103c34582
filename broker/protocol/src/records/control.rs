use bytes::Bytes;
use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::{BatchBuilder, BuildError, BuilderOptions, Record};

/// The version of control records' keys and values.
const CONTROL_VERSION: i16 = 0;

/// What a control record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    /// The producer's transaction is undone: consumers of committed records skip it.
    Abort,
    Commit,
    /// A marker of the metadata quorum, or one that we do not know: it is kept and skipped.
    Other(i16),
}

impl ControlType {
    /// What the key of a control batch's record says; `None` if it is no such key.
    pub fn of(record: &Record) -> Option<Self> {
        let key = record.key.as_deref()?;
        let (&version, rest) = key.split_first_chunk::<2>()?;
        let (&kind, _) = rest.split_first_chunk::<2>()?;
        if i16::from_be_bytes(version) < 0 {
            return None;
        }
        Some(match i16::from_be_bytes(kind) {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }

    const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(id) => id,
        }
    }
}

/// The end of a producer's transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub commit: bool,
    pub coordinator_epoch: i32,
    pub timestamp: TimestampMs,
}

/// The control batch for a marker.
pub fn end_transaction_marker(marker: &EndTxnMarker) -> Result<Bytes, BuildError> {
    let kind = if marker.commit { ControlType::Commit } else { ControlType::Abort };
    let key = [CONTROL_VERSION.to_be_bytes(), kind.id().to_be_bytes()].concat();
    let mut value = CONTROL_VERSION.to_be_bytes().to_vec();
    value.extend_from_slice(&marker.coordinator_epoch.to_be_bytes());
    let mut builder = BatchBuilder::new(BuilderOptions {
        base_offset: marker.base_offset,
        leader_epoch: marker.leader_epoch,
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        transactional: true,
        control: true,
        ..BuilderOptions::default()
    });
    builder.push_next(marker.timestamp, Some(&key), Some(&value), &[])?;
    builder.build()
}
