//! The records of `__share_group_state`, in Kafka's own format: a snapshot holds all of a share partition's state, an
//! update what has changed since.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strata_protocol::messages::{
    ShareSnapshotKey, ShareSnapshotValue, ShareUpdateKey, ShareUpdateValue, share_snapshot_value,
    share_update_value,
};
use strata_protocol::{EncodeError, Message, TypedRecord};

use super::SharePartitionKey;
use crate::shard::{RawRecord, ReplayError};
use crate::share::partition::{DeliveryState, StateBatch};

/// A record with its meaning; no value is a tombstone.
#[derive(Debug, Clone, PartialEq)]
pub enum PersisterRecord {
    Snapshot { key: SharePartitionKey, value: Option<ShareSnapshotValue> },
    Update { key: SharePartitionKey, value: Option<ShareUpdateValue> },
}

/// The only version of either value.
const VALUE_VERSION: i16 = 0;

impl PersisterRecord {
    pub(super) fn encode(&self) -> Result<RawRecord, EncodeError> {
        match self {
            Self::Snapshot { key, value } => {
                let key = ShareSnapshotKey {
                    group_id: key.group.clone(),
                    topic_id: key.topic_id,
                    partition: key.partition,
                };
                raw(ShareSnapshotKey::TYPE, &key, value.as_ref())
            }
            Self::Update { key, value } => {
                let key = ShareUpdateKey {
                    group_id: key.group.clone(),
                    topic_id: key.topic_id,
                    partition: key.partition,
                };
                raw(ShareUpdateKey::TYPE, &key, value.as_ref())
            }
        }
    }

    pub(super) fn decode(mut key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, ReplayError> {
        match key.try_get_i16().map_err(|_| ReplayError::Truncated)? {
            ShareSnapshotKey::TYPE => {
                let ShareSnapshotKey { group_id, topic_id, partition, .. } = message(key, 0)?;
                let key = SharePartitionKey { group: group_id.detached(), topic_id, partition };
                Ok(Some(Self::Snapshot { key, value: value.map(versioned).transpose()? }))
            }
            ShareUpdateKey::TYPE => {
                let ShareUpdateKey { group_id, topic_id, partition, .. } = message(key, 0)?;
                let key = SharePartitionKey { group: group_id.detached(), topic_id, partition };
                Ok(Some(Self::Update { key, value: value.map(versioned).transpose()? }))
            }
            other => {
                tracing::debug!(
                    record_type = other,
                    "passing over a share coordinator's record of another kind"
                );
                Ok(None)
            }
        }
    }
}

pub(super) fn to_snapshot(batch: &StateBatch) -> share_snapshot_value::StateBatch {
    share_snapshot_value::StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.state.id(),
        delivery_count: batch.delivery_count,
        ..Default::default()
    }
}

pub(super) fn to_update(batch: &StateBatch) -> share_update_value::StateBatch {
    share_update_value::StateBatch {
        first_offset: batch.first_offset,
        last_offset: batch.last_offset,
        delivery_state: batch.state.id(),
        delivery_count: batch.delivery_count,
        ..Default::default()
    }
}

/// A state that a newer Kafka wrote and that we do not know counts as available: delivered once more rather than lost.
pub(super) fn state(first_offset: i64, last_offset: i64, state: i8, delivery_count: i16) -> StateBatch {
    let state = DeliveryState::from_id(state).unwrap_or(DeliveryState::Available);
    StateBatch { first_offset, last_offset, state, delivery_count }
}

fn raw<K: Message, V: Message>(
    record_type: i16,
    key: &K,
    value: Option<&V>,
) -> Result<RawRecord, EncodeError> {
    let value = value.map(|value| Ok(prefixed(VALUE_VERSION, &value.to_bytes(VALUE_VERSION)?)));
    Ok(RawRecord { key: prefixed(record_type, &key.to_bytes(0)?), value: value.transpose()? })
}

fn versioned<M: Message>(mut value: Bytes) -> Result<M, ReplayError> {
    let version = value.try_get_i16().map_err(|_| ReplayError::Truncated)?;
    if !M::VERSIONS.contains(&version) {
        return Err(ReplayError::UnknownVersion { record: M::NAME, version });
    }
    message(value, version)
}

fn message<M: Message>(bytes: Bytes, version: i16) -> Result<M, ReplayError> {
    M::from_bytes(bytes, version).map_err(|source| ReplayError::Malformed { record: M::NAME, source })
}

fn prefixed(prefix: i16, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + message.len());
    bytes.put_i16(prefix);
    bytes.extend_from_slice(message);
    bytes.freeze()
}
