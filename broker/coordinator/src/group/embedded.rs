//! The consumers' protocol that is embedded in the classic group protocol: subscriptions and assignments, as bytes with
//! their version in front.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strata_protocol::messages::consumer_protocol_assignment::TopicPartition;
use strata_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use strata_protocol::{Decoder, Message};

use super::metadata::MetadataView;
use super::modern::TopicPartitions;

/// What a member says in its protocol's metadata; `None` if it cannot be read.
pub(super) fn subscription(metadata: &Bytes) -> Option<ConsumerProtocolSubscription> {
    decode(metadata).map(|(_, subscription)| subscription)
}

/// What a member was assigned; `None` if it cannot be read. No bytes at all are an empty assignment.
pub(super) fn assignment(bytes: &Bytes) -> Option<ConsumerProtocolAssignment> {
    if bytes.is_empty() {
        return Some(ConsumerProtocolAssignment::default());
    }
    decode(bytes).map(|(_, assignment)| assignment)
}

/// The version that the metadata are written in.
pub(super) fn version(metadata: &Bytes) -> Option<i16> {
    metadata.clone().try_get_i16().ok()
}

/// The assignment as a member gets it, in the version of its subscription. Topics that are gone are left out.
pub(super) fn encode_assignment(
    partitions: &TopicPartitions,
    view: &dyn MetadataView,
    version: i16,
) -> Bytes {
    let version = version
        .clamp(*ConsumerProtocolAssignment::VERSIONS.start(), *ConsumerProtocolAssignment::VERSIONS.end());
    let topics = partitions.topics().filter_map(|(id, partitions)| {
        let topic = view.topic_by_id(id)?.name;
        Some(TopicPartition { topic, partitions: partitions.iter().copied().collect(), ..Default::default() })
    });
    let assignment =
        ConsumerProtocolAssignment { assigned_partitions: topics.collect(), ..Default::default() };
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    // Names and lists that came out of the metadata fit into Kafka's lengths.
    bytes.extend_from_slice(&assignment.to_bytes(version).unwrap_or_default());
    bytes.freeze()
}

/// Newer versions than ours are read as ours: they only ever add at the end.
fn decode<M: Message>(bytes: &Bytes) -> Option<(i16, M)> {
    let mut bytes = bytes.clone();
    let version = bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    let known = version.min(*M::VERSIONS.end());
    M::decode(&mut Decoder::new(bytes), known).ok().map(|message| (version, message))
}
