//! What members of a group tell each other: the consumer protocol inside JoinGroup and SyncGroup, behind a version.

use bytes::Bytes;
use strata_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment as assignment,
    consumer_protocol_subscription as subscription,
};
use strata_protocol::{Decoder, Encoder, Message};
use strata_types::{TopicName, TopicPartition};

use super::assignor::GroupMember;
use crate::error::Result;

/// The protocol type of consumers.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

pub(crate) fn encode_subscription(
    topics: &[TopicName],
    owned: &[TopicPartition],
    generation: i32,
) -> Result<Bytes> {
    let owned = by_topic(owned)
        .into_iter()
        .map(|(topic, partitions)| subscription::TopicPartition { topic: topic.as_str().into(), partitions });
    let message = ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| topic.as_str().into()).collect(),
        owned_partitions: owned.collect(),
        generation_id: generation,
        ..Default::default()
    };
    versioned(&message)
}

pub(crate) fn decode_member(id: &str, instance_id: Option<&str>, metadata: &Bytes) -> Result<GroupMember> {
    let message: ConsumerProtocolSubscription = unversioned(metadata)?;
    let owned = message.owned_partitions.iter().map(|owned| (&*owned.topic, owned.partitions.as_slice()));
    Ok(GroupMember {
        id: id.to_owned(),
        instance_id: instance_id.map(str::to_owned),
        topics: message.topics.iter().filter_map(|topic| TopicName::new(topic).ok()).collect(),
        owned: flat(owned),
        generation: message.generation_id,
    })
}

pub(crate) fn encode_assignment(partitions: &[TopicPartition]) -> Result<Bytes> {
    let topics = by_topic(partitions)
        .into_iter()
        .map(|(topic, partitions)| assignment::TopicPartition { topic: topic.as_str().into(), partitions });
    versioned(&ConsumerProtocolAssignment { assigned_partitions: topics.collect(), user_data: None })
}

/// No bytes at all mean no partitions.
pub(crate) fn decode_assignment(bytes: &Bytes) -> Result<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let message: ConsumerProtocolAssignment = unversioned(bytes)?;
    let assigned = message.assigned_partitions.iter();
    Ok(flat(assigned.map(|assigned| (&*assigned.topic, assigned.partitions.as_slice()))))
}

fn versioned<M: Message>(message: &M) -> Result<Bytes> {
    let version = *M::VERSIONS.end();
    let mut e = Encoder::new();
    e.i16(version);
    message.encode(&mut e, version)?;
    Ok(e.finish().to_bytes())
}

/// A later version may have more behind what we know.
fn unversioned<M: Message>(bytes: &Bytes) -> Result<M> {
    let mut d = Decoder::new(bytes.clone());
    let version = d.i16()?.min(*M::VERSIONS.end());
    Ok(M::decode(&mut d, version)?)
}

fn by_topic(partitions: &[TopicPartition]) -> Vec<(&TopicName, Vec<i32>)> {
    let mut topics: Vec<(&TopicName, Vec<i32>)> = Vec::new();
    for partition in partitions {
        match topics.iter_mut().find(|(topic, _)| **topic == partition.topic) {
            Some((_, numbers)) => numbers.push(partition.partition),
            None => topics.push((&partition.topic, vec![partition.partition])),
        }
    }
    topics
}

fn flat<'a>(topics: impl Iterator<Item = (&'a str, &'a [i32])>) -> Vec<TopicPartition> {
    let mut all = Vec::new();
    for (topic, partitions) in topics {
        let Ok(topic) = TopicName::new(topic) else { continue };
        all.extend(partitions.iter().map(|partition| TopicPartition::new(topic.clone(), *partition)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions() -> Vec<TopicPartition> {
        [("a", 0), ("b", 2), ("a", 1)]
            .map(|(t, p)| TopicPartition::new(TopicName::new(t).unwrap(), p))
            .to_vec()
    }

    #[test]
    fn assignments_and_subscriptions_read_back() {
        let mut back = decode_assignment(&encode_assignment(&partitions()).unwrap()).unwrap();
        back.sort();
        let mut sorted = partitions();
        sorted.sort();
        assert_eq!(back, sorted);
        let topics = [TopicName::new("a").unwrap()];
        let metadata = encode_subscription(&topics, &partitions(), 7).unwrap();
        let member = decode_member("id", None, &metadata).unwrap();
        assert_eq!((member.topics, member.generation, member.owned.len()), (topics.to_vec(), 7, 3));
    }

    #[test]
    fn an_empty_assignment_may_be_no_bytes() {
        assert_eq!(decode_assignment(&Bytes::new()).unwrap(), []);
        assert!(decode_assignment(&Bytes::from_static(&[0])).is_err());
    }
}
