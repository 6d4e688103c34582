//! The records of the metadata log, and Kafka's framing of them.
//!
//! ```text
//!   uvarint frame version (1) │ uvarint record type │ uvarint record version │ fields
//! ```
//!
//! Source: `org.apache.kafka.server.common.serialization.AbstractApiMessageSerde`, KIP-631.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strata_protocol::messages::{
    AccessControlEntryRecord, BrokerRegistrationChangeRecord, ClientQuotaRecord, ConfigRecord,
    DelegationTokenRecord, FeatureLevelRecord, FenceBrokerRecord, NoOpRecord, PartitionChangeRecord,
    PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord, RemoveAccessControlEntryRecord,
    RemoveDelegationTokenRecord, RemoveTopicRecord, RemoveUserScramCredentialRecord, TopicRecord,
    UnfenceBrokerRecord, UnregisterBrokerRecord, UserScramCredentialRecord,
};
use strata_protocol::{DecodeError, EncodeError, Encoder, Message};

/// The only framing there has ever been.
const FRAME_VERSION: u32 = 1;

/// The most bytes that an unsigned 32-bit varint takes.
const UVARINT_BYTES_MAX: usize = 5;

/// Why bytes are no metadata record.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecordError {
    #[error("the record's frame is cut short")]
    Truncated,
    #[error("frame version {0} is not known")]
    FrameVersion(u32),
    #[error("record type {0} is not known")]
    Type(u32),
    #[error("version {version} of {name} is not known")]
    Version { name: &'static str, version: u32 },
    #[error("{name}: {source}")]
    Fields { name: &'static str, source: DecodeError },
}

macro_rules! metadata_records {
    ($($(#[$doc:meta])* $variant:ident($record:ident) = $key:literal, written as $written:literal;)+) => {
        /// One record of the metadata log. A new kind of record goes at the end of this table and into `Image::apply`.
        #[derive(Debug, Clone, PartialEq)]
        pub enum MetadataRecord {
            $($(#[$doc])* $variant($record),)+
        }

        impl MetadataRecord {
            /// The record's type number in the log.
            pub fn key(&self) -> u32 {
                match self {
                    $(Self::$variant(_) => $key,)+
                }
            }

            /// The record's name in Kafka's definitions.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $record::NAME,)+
                }
            }

            /// The record as the log holds it.
            ///
            /// # Errors
            /// A field holds something that the version we write cannot carry; records made by this crate never do.
            pub fn encode(&self) -> Result<Bytes, EncodeError> {
                let mut frame = BytesMut::new();
                put_uvarint(&mut frame, FRAME_VERSION);
                let mut fields = Encoder::new();
                match self {
                    $(Self::$variant(record) => {
                        put_uvarint(&mut frame, $key);
                        put_uvarint(&mut frame, $written);
                        record.encode(&mut fields, $written)?;
                    })+
                }
                frame.extend_from_slice(&fields.finish().to_bytes());
                Ok(frame.freeze())
            }

            /// The record in `bytes`, which it must fill. Every version that Kafka has published is understood.
            pub fn decode(mut bytes: Bytes) -> Result<Self, RecordError> {
                let frame_version = get_uvarint(&mut bytes)?;
                if frame_version != FRAME_VERSION {
                    return Err(RecordError::FrameVersion(frame_version));
                }
                let key = get_uvarint(&mut bytes)?;
                let version = get_uvarint(&mut bytes)?;
                match key {
                    $($key => decode_fields::<$record>(bytes, version).map(Self::$variant),)+
                    _ => Err(RecordError::Type(key)),
                }
            }
        }

        $(impl From<$record> for MetadataRecord {
            fn from(record: $record) -> Self {
                Self::$variant(record)
            }
        })+
    };
}

// The versions are those that Kafka 4.3 writes at the metadata.version that `controller::bootstrap` sets.
metadata_records! {
    /// A broker, or a new incarnation of one, joins; fenced until it has caught up.
    RegisterBroker(RegisterBrokerRecord) = 0, written as 3;
    /// A broker leaves for good.
    UnregisterBroker(UnregisterBrokerRecord) = 1, written as 0;
    /// A topic exists from here on; its partitions follow in the same batch.
    Topic(TopicRecord) = 2, written as 0;
    /// A partition's whole state.
    Partition(PartitionRecord) = 3, written as 2;
    /// One config of one resource is set, or with a null value cleared.
    Config(ConfigRecord) = 4, written as 0;
    /// What of a partition's state changes; every one raises the partition epoch by one.
    PartitionChange(PartitionChangeRecord) = 5, written as 2;
    /// A broker may not lead (superseded by `BrokerRegistrationChange`, still read).
    FenceBroker(FenceBrokerRecord) = 7, written as 0;
    /// A broker may lead (superseded by `BrokerRegistrationChange`, still read).
    UnfenceBroker(UnfenceBrokerRecord) = 8, written as 0;
    /// A topic, its partitions and its configs are gone.
    RemoveTopic(RemoveTopicRecord) = 9, written as 0;
    /// A delegation token is issued, or lives longer or shorter.
    DelegationToken(DelegationTokenRecord) = 10, written as 0;
    /// A user's SCRAM credential.
    UserScramCredential(UserScramCredentialRecord) = 11, written as 0;
    /// A feature's finalized level.
    FeatureLevel(FeatureLevelRecord) = 12, written as 0;
    /// One quota of one entity is set or removed (KIP-546).
    ClientQuota(ClientQuotaRecord) = 14, written as 0;
    /// Every producer id below has been handed out in a block (KIP-730).
    ProducerIds(ProducerIdsRecord) = 15, written as 0;
    /// A broker's fencing or shutdown state changes.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord) = 17, written as 2;
    /// An access control entry exists.
    AccessControlEntry(AccessControlEntryRecord) = 18, written as 0;
    /// An access control entry is gone.
    RemoveAccessControlEntry(RemoveAccessControlEntryRecord) = 19, written as 0;
    /// A user's SCRAM credential is gone.
    RemoveUserScramCredential(RemoveUserScramCredentialRecord) = 22, written as 0;
    /// A delegation token is gone.
    RemoveDelegationToken(RemoveDelegationTokenRecord) = 26, written as 0;
    /// Nothing; keeps the log moving.
    NoOp(NoOpRecord) = 20, written as 0;
}

fn decode_fields<M: Message>(bytes: Bytes, version: u32) -> Result<M, RecordError> {
    let version = i16::try_from(version)
        .ok()
        .filter(|version| M::VERSIONS.contains(version))
        .ok_or(RecordError::Version { name: M::NAME, version })?;
    M::from_bytes(bytes, version).map_err(|source| RecordError::Fields { name: M::NAME, source })
}

fn put_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn get_uvarint(bytes: &mut Bytes) -> Result<u32, RecordError> {
    let mut value = 0u32;
    for place in 0..UVARINT_BYTES_MAX {
        if !bytes.has_remaining() {
            break;
        }
        let byte = bytes.get_u8();
        value |= u32::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(RecordError::Truncated)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_topic_record_is_framed_as_kafka_frames_it() {
        let record = MetadataRecord::from(TopicRecord {
            name: "ab".into(),
            topic_id: Uuid::from_u128(1),
            ..Default::default()
        });
        let bytes = record.encode().expect("a legal record");
        // frame version 1, type 2, version 0, compact string of 2, the id, no tagged fields
        let expected = [&[1, 2, 0, 3, b'a', b'b'][..], Uuid::from_u128(1).as_bytes(), &[0]].concat();
        assert_eq!(bytes, expected);
        assert_eq!(MetadataRecord::decode(bytes), Ok(record));
    }

    #[test]
    fn every_cut_of_a_record_is_an_error_and_no_panic() {
        let record = MetadataRecord::from(PartitionRecord {
            topic_id: Uuid::from_u128(7),
            replicas: vec![1, 2],
            isr: vec![1],
            leader: 1,
            directories: vec![Uuid::nil(), Uuid::nil()],
            ..Default::default()
        });
        let bytes = record.encode().expect("a legal record");
        for end in 0..bytes.len() {
            assert!(MetadataRecord::decode(bytes.slice(..end)).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        let decode = |bytes: &'static [u8]| MetadataRecord::decode(Bytes::from_static(bytes));
        assert_eq!(decode(&[2, 2, 0]), Err(RecordError::FrameVersion(2)));
        assert_eq!(decode(&[1, 99, 0]), Err(RecordError::Type(99)));
        assert_eq!(decode(&[1, 2, 9]), Err(RecordError::Version { name: "TopicRecord", version: 9 }));
        assert_eq!(decode(&[1, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(RecordError::Truncated));
        assert!(matches!(decode(&[1, 20, 0, 0, 0]), Err(RecordError::Fields { name: "NoOpRecord", .. })));
    }
}
