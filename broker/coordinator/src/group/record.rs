//! The records of `__consumer_offsets` that a group shard keeps, in Kafka's own format.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strata_protocol::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use strata_protocol::{EncodeError, Message, Str, TypedRecord};
use strata_types::PartitionId;

use crate::shard::{RawRecord, ReplayError};

/// A record with its meaning; no value is a tombstone.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupRecord {
    Offset { key: OffsetCommitKey, value: Option<OffsetCommitValue> },
    Group { key: GroupMetadataKey, value: Option<GroupMetadataValue> },
}

/// What Kafka 4.3 writes (`GROUP_METADATA_VALUE_VERSION`).
const GROUP_METADATA_VALUE_VERSION: i16 = 3;
/// What Kafka 4.3 writes for commits that expire as the broker says; it can carry the topic id.
const OFFSET_COMMIT_VALUE_VERSION: i16 = 4;
/// The one version that can say when this very commit expires (OffsetCommit v2 to v4).
const OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY: i16 = 1;

impl GroupRecord {
    pub(super) fn offset(
        group: &Str,
        topic: &Str,
        partition: PartitionId,
        value: Option<OffsetCommitValue>,
    ) -> Self {
        Self::Offset { key: OffsetCommitKey { group: group.clone(), topic: topic.clone(), partition }, value }
    }

    pub(super) fn group(group: &Str, value: Option<GroupMetadataValue>) -> Self {
        Self::Group { key: GroupMetadataKey { group: group.clone() }, value }
    }

    pub(super) fn encode(&self) -> Result<RawRecord, EncodeError> {
        match self {
            Self::Offset { key, value } => Ok(RawRecord {
                key: prefixed(OffsetCommitKey::TYPE, &key.to_bytes(0)?),
                value: value.as_ref().map(encode_offset).transpose()?,
            }),
            Self::Group { key, value } => Ok(RawRecord {
                key: prefixed(GroupMetadataKey::TYPE, &key.to_bytes(0)?),
                value: value
                    .as_ref()
                    .map(|value| encode_versioned(value, GROUP_METADATA_VALUE_VERSION))
                    .transpose()?,
            }),
        }
    }

    pub(super) fn decode(mut key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, ReplayError> {
        match key.try_get_i16().map_err(|_| ReplayError::Truncated)? {
            OffsetCommitKey::TYPE => {
                let key = decode_message::<OffsetCommitKey>(key, 0)?;
                Ok(Some(Self::Offset { key, value: value.map(decode_versioned).transpose()? }))
            }
            GroupMetadataKey::TYPE => {
                let key = decode_message::<GroupMetadataKey>(key, 0)?;
                Ok(Some(Self::Group { key, value: value.map(decode_versioned).transpose()? }))
            }
            other => {
                tracing::debug!(record_type = other, "passing over a coordinator record of another kind");
                Ok(None)
            }
        }
    }
}

fn encode_offset(value: &OffsetCommitValue) -> Result<Bytes, EncodeError> {
    let expires = value.expire_timestamp != -1;
    let version = if expires { OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY } else { OFFSET_COMMIT_VALUE_VERSION };
    encode_versioned(value, version)
}

fn encode_versioned<M: Message>(value: &M, version: i16) -> Result<Bytes, EncodeError> {
    Ok(prefixed(version, &value.to_bytes(version)?))
}

fn decode_versioned<M: Message>(mut value: Bytes) -> Result<M, ReplayError> {
    let version = value.try_get_i16().map_err(|_| ReplayError::Truncated)?;
    if !M::VERSIONS.contains(&version) {
        return Err(ReplayError::UnknownVersion { record: M::NAME, version });
    }
    decode_message(value, version)
}

fn decode_message<M: Message>(bytes: Bytes, version: i16) -> Result<M, ReplayError> {
    M::from_bytes(bytes, version).map_err(|source| ReplayError::Malformed { record: M::NAME, source })
}

fn prefixed(prefix: i16, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + message.len());
    bytes.put_i16(prefix);
    bytes.extend_from_slice(message);
    bytes.freeze()
}
