//! The records of `__consumer_offsets` that a group shard keeps, in Kafka's own format.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strata_protocol::messages::*;
use strata_protocol::{EncodeError, Message, Str, TypedRecord};
use strata_types::PartitionId;

use crate::shard::{RawRecord, ReplayError};

/// The version that a record's value is written in: what Kafka 4.3 writes.
trait WrittenAs: Message {
    fn version(&self) -> i16 {
        0
    }
}

/// Declares [`GroupRecord`] with a variant per kind of record, and how each is read and written.
macro_rules! group_records {
    ($($variant:ident: $key:ident => $value:ident,)+) => {
        /// A record with its meaning; no value is a tombstone.
        #[derive(Debug, Clone, PartialEq)]
        pub enum GroupRecord {
            $($variant { key: $key, value: Option<$value> },)+
        }

        impl GroupRecord {
            pub(super) fn encode(&self) -> Result<RawRecord, EncodeError> {
                match self {
                    $(Self::$variant { key, value } => Ok(RawRecord {
                        key: prefixed($key::TYPE, &key.to_bytes(0)?),
                        value: value.as_ref().map(encode_value).transpose()?,
                    }),)+
                }
            }

            /// `None` for a kind of record that is not kept here.
            pub(super) fn decode(mut key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, ReplayError> {
                match key.try_get_i16().map_err(|_| ReplayError::Truncated)? {
                    $($key::TYPE => Ok(Some(Self::$variant {
                        key: decode_message::<$key>(key, 0)?,
                        value: value.map(decode_value).transpose()?,
                    })),)+
                    other => {
                        tracing::debug!(record_type = other, "passing over a coordinator record of another kind");
                        Ok(None)
                    }
                }
            }
        }
    };
}

group_records! {
    Offset: OffsetCommitKey => OffsetCommitValue,
    Group: GroupMetadataKey => GroupMetadataValue,
    ConsumerGroup: ConsumerGroupMetadataKey => ConsumerGroupMetadataValue,
    ConsumerMember: ConsumerGroupMemberMetadataKey => ConsumerGroupMemberMetadataValue,
    ConsumerTarget: ConsumerGroupTargetAssignmentMetadataKey => ConsumerGroupTargetAssignmentMetadataValue,
    ConsumerTargetMember: ConsumerGroupTargetAssignmentMemberKey => ConsumerGroupTargetAssignmentMemberValue,
    ConsumerCurrent: ConsumerGroupCurrentMemberAssignmentKey => ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerRegex: ConsumerGroupRegularExpressionKey => ConsumerGroupRegularExpressionValue,
    ShareGroup: ShareGroupMetadataKey => ShareGroupMetadataValue,
    ShareMember: ShareGroupMemberMetadataKey => ShareGroupMemberMetadataValue,
    ShareTarget: ShareGroupTargetAssignmentMetadataKey => ShareGroupTargetAssignmentMetadataValue,
    ShareTargetMember: ShareGroupTargetAssignmentMemberKey => ShareGroupTargetAssignmentMemberValue,
    ShareCurrent: ShareGroupCurrentMemberAssignmentKey => ShareGroupCurrentMemberAssignmentValue,
    ShareState: ShareGroupStatePartitionMetadataKey => ShareGroupStatePartitionMetadataValue,
    StreamsGroup: StreamsGroupMetadataKey => StreamsGroupMetadataValue,
    StreamsTopology: StreamsGroupTopologyKey => StreamsGroupTopologyValue,
    StreamsMember: StreamsGroupMemberMetadataKey => StreamsGroupMemberMetadataValue,
    StreamsTarget: StreamsGroupTargetAssignmentMetadataKey => StreamsGroupTargetAssignmentMetadataValue,
    StreamsTargetMember: StreamsGroupTargetAssignmentMemberKey => StreamsGroupTargetAssignmentMemberValue,
    StreamsCurrent: StreamsGroupCurrentMemberAssignmentKey => StreamsGroupCurrentMemberAssignmentValue,
}

impl WrittenAs for GroupMetadataValue {
    fn version(&self) -> i16 {
        3
    }
}

impl WrittenAs for OffsetCommitValue {
    /// 4 can carry the topic id; 1 is the one version that can say when this very commit expires (OffsetCommit v2 to v4).
    fn version(&self) -> i16 {
        if self.expire_timestamp != -1 { 1 } else { 4 }
    }
}

impl WrittenAs for ConsumerGroupMetadataValue {}
impl WrittenAs for ConsumerGroupMemberMetadataValue {}
impl WrittenAs for ConsumerGroupTargetAssignmentMetadataValue {}
impl WrittenAs for ConsumerGroupTargetAssignmentMemberValue {}
impl WrittenAs for ConsumerGroupCurrentMemberAssignmentValue {}
impl WrittenAs for ConsumerGroupRegularExpressionValue {}
impl WrittenAs for ShareGroupMetadataValue {}
impl WrittenAs for ShareGroupMemberMetadataValue {}
impl WrittenAs for ShareGroupTargetAssignmentMetadataValue {}
impl WrittenAs for ShareGroupTargetAssignmentMemberValue {}
impl WrittenAs for ShareGroupCurrentMemberAssignmentValue {}
impl WrittenAs for ShareGroupStatePartitionMetadataValue {}
impl WrittenAs for StreamsGroupMetadataValue {}
impl WrittenAs for StreamsGroupTopologyValue {}
impl WrittenAs for StreamsGroupMemberMetadataValue {}
impl WrittenAs for StreamsGroupTargetAssignmentMetadataValue {}
impl WrittenAs for StreamsGroupTargetAssignmentMemberValue {}
impl WrittenAs for StreamsGroupCurrentMemberAssignmentValue {}

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
}

fn encode_value<M: WrittenAs>(value: &M) -> Result<Bytes, EncodeError> {
    let version = value.version();
    Ok(prefixed(version, &value.to_bytes(version)?))
}

fn decode_value<M: Message>(mut value: Bytes) -> Result<M, ReplayError> {
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
