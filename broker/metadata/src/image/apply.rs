//! How each kind of record changes an image. Total: a record that does not fit is an error and changes nothing.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::{
    BrokerRegistrationChangeRecord, ClientQuotaRecord, ConfigRecord, FeatureLevelRecord,
    PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord, RemoveTopicRecord,
    TopicRecord,
};
use strata_types::{InvalidTopicName, NodeId, PartitionId, ProducerId, TopicId, TopicName};

use super::broker::UnknownStateChange;
use super::topic::BrokenPartition;
use super::{
    Broker, ConfigResource, DelegationToken, Image, NoQuotaEntity, Partition, ProducerIdBlock, QuotaEntity,
    ScramCredential, ScramMechanism, Topic, UnknownResource,
};
use crate::MetadataRecord;
use crate::acl::{Acl, AclError, InvalidAcl};

/// Why a record does not fit an image. In a committed log it means that the log or the program is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("the topic name is not a legal one: {0}")]
    TopicName(#[from] InvalidTopicName),
    #[error("topic {name} has no id")]
    NoTopicId { name: TopicName },
    #[error("topic {name} exists already")]
    TopicExists { name: TopicName },
    #[error("topic id {id} is taken by {name}")]
    TopicIdTaken { id: TopicId, name: TopicName },
    #[error("there is no topic with id {0}")]
    UnknownTopicId(TopicId),
    #[error("there is no topic {0}")]
    UnknownTopic(TopicName),
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition { topic: TopicName, partition: PartitionId },
    #[error("partition {partition} of topic {topic} would leave a gap: it has {partitions} partitions")]
    PartitionGap { topic: TopicName, partition: PartitionId, partitions: usize },
    #[error("partition {partition} of topic {topic}: {broken}")]
    Partition { topic: TopicName, partition: PartitionId, broken: BrokenPartition },
    #[error("broker {broker} with epoch {epoch} is not registered")]
    UnknownBroker { broker: NodeId, epoch: i64 },
    #[error("broker {broker} is registered with epoch {registered}, {epoch} is not later")]
    StaleBroker { broker: NodeId, registered: i64, epoch: i64 },
    #[error("broker {broker}: {unknown}")]
    BrokerState { broker: NodeId, unknown: UnknownStateChange },
    #[error("the config names no resource: {0}")]
    Resource(#[from] UnknownResource),
    #[error("the quota is nobody's: {0}")]
    Quota(#[from] NoQuotaEntity),
    #[error("producer ids would go back from {from} to {to}")]
    ProducerIds { from: ProducerId, to: ProducerId },
    #[error("there is no SCRAM mechanism {0}")]
    ScramMechanism(i8),
    #[error(transparent)]
    InvalidAcl(#[from] InvalidAcl),
    #[error(transparent)]
    Acl(#[from] AclError),
    #[error("feature {name} cannot have level {level}")]
    FeatureLevel { name: Str, level: i16 },
}

impl Image {
    /// The next record of the log. On an error the image is as it was. Strings that stay are copied, so that the image
    /// does not keep the frame alive in which they came.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Topic(record) => self.apply_topic(record),
            MetadataRecord::Partition(record) => self.apply_partition(record),
            MetadataRecord::PartitionChange(record) => self.apply_partition_change(record),
            MetadataRecord::RemoveTopic(record) => self.apply_remove_topic(record),
            MetadataRecord::Config(record) => self.apply_config(record),
            MetadataRecord::RegisterBroker(record) => self.apply_register_broker(record),
            MetadataRecord::UnregisterBroker(record) => {
                self.registered(record.broker_id, record.broker_epoch)?;
                self.brokers.remove(&record.broker_id);
                Ok(())
            }
            MetadataRecord::FenceBroker(record) => self.apply_fencing(record.id, record.epoch, true),
            MetadataRecord::UnfenceBroker(record) => self.apply_fencing(record.id, record.epoch, false),
            MetadataRecord::BrokerRegistrationChange(record) => self.apply_broker_change(record),
            MetadataRecord::ClientQuota(record) => self.apply_client_quota(record),
            MetadataRecord::ProducerIds(record) => self.apply_producer_ids(record),
            MetadataRecord::FeatureLevel(record) => self.apply_feature_level(record),
            MetadataRecord::UserScramCredential(record) => {
                let mechanism = self.scram_mechanism(record.mechanism)?;
                let credential = Arc::new(ScramCredential::from_record(record));
                self.scram.insert((record.name.detached(), mechanism), credential);
                Ok(())
            }
            MetadataRecord::RemoveUserScramCredential(record) => {
                let mechanism = self.scram_mechanism(record.mechanism)?;
                self.scram.remove(&(record.name.clone(), mechanism));
                Ok(())
            }
            MetadataRecord::DelegationToken(record) => {
                let token = Arc::new(DelegationToken::from_record(record));
                self.tokens.insert(token.token_id.clone(), token);
                Ok(())
            }
            MetadataRecord::RemoveDelegationToken(record) => {
                self.tokens.remove(&record.token_id);
                Ok(())
            }
            MetadataRecord::AccessControlEntry(record) => {
                Ok(self.acls.insert(record.id, Acl::from_record(record)?)?)
            }
            MetadataRecord::RemoveAccessControlEntry(record) => Ok(self.acls.remove(record.id)?),
            MetadataRecord::NoOp(_) => Ok(()),
        }
    }

    fn apply_topic(&mut self, record: &TopicRecord) -> Result<(), ApplyError> {
        let name = TopicName::new(&record.name)?;
        let id = TopicId(record.topic_id);
        if id.is_zero() {
            return Err(ApplyError::NoTopicId { name });
        }
        if self.topics.contains_key(&name) {
            return Err(ApplyError::TopicExists { name });
        }
        if let Some(name) = self.topic_names.get(&id) {
            return Err(ApplyError::TopicIdTaken { id, name: name.clone() });
        }
        self.topic_names.insert(id, name.clone());
        self.topics.insert(name.clone(), Arc::new(Topic { id, name, partitions: Vec::new() }));
        Ok(())
    }

    fn apply_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        let topic = self.topic_mut(TopicId(record.topic_id))?;
        let partition = Partition::from_record(record).map_err(|broken| ApplyError::Partition {
            topic: topic.name.clone(),
            partition: record.partition_id,
            broken,
        })?;
        match usize::try_from(record.partition_id) {
            Ok(index) if index < topic.partitions.len() => topic.partitions[index] = Arc::new(partition),
            Ok(index) if index == topic.partitions.len() => topic.partitions.push(Arc::new(partition)),
            _ => {
                return Err(ApplyError::PartitionGap {
                    topic: topic.name.clone(),
                    partition: record.partition_id,
                    partitions: topic.partitions.len(),
                });
            }
        }
        Ok(())
    }

    fn apply_partition_change(&mut self, record: &PartitionChangeRecord) -> Result<(), ApplyError> {
        let topic = self.topic_mut(TopicId(record.topic_id))?;
        let name = topic.name.clone();
        let place =
            usize::try_from(record.partition_id).ok().and_then(|index| topic.partitions.get_mut(index));
        let partition = record.partition_id;
        let place = place.ok_or_else(|| ApplyError::UnknownPartition { topic: name.clone(), partition })?;
        let changed = place.changed(record);
        *place =
            Arc::new(changed.map_err(|broken| ApplyError::Partition { topic: name, partition, broken })?);
        Ok(())
    }

    fn apply_remove_topic(&mut self, record: &RemoveTopicRecord) -> Result<(), ApplyError> {
        let id = TopicId(record.topic_id);
        let name = self.topic_names.remove(&id).ok_or(ApplyError::UnknownTopicId(id))?;
        self.topics.remove(&name);
        self.configs.remove(&ConfigResource::Topic(name));
        Ok(())
    }

    fn apply_config(&mut self, record: &ConfigRecord) -> Result<(), ApplyError> {
        let resource = ConfigResource::parse(record.resource_type, &record.resource_name)?;
        if let ConfigResource::Topic(name) = &resource
            && !self.topics.contains_key(name)
        {
            return Err(ApplyError::UnknownTopic(name.clone()));
        }
        let mut configs = self.configs.get(&resource).cloned().unwrap_or_default();
        match &record.value {
            Some(value) => {
                Arc::make_mut(&mut configs).insert(record.name.detached(), value.detached());
            }
            None => {
                Arc::make_mut(&mut configs).remove(&record.name);
            }
        }
        match configs.is_empty() {
            true => self.configs.remove(&resource),
            false => self.configs.insert(resource, configs),
        };
        Ok(())
    }

    fn apply_register_broker(&mut self, record: &RegisterBrokerRecord) -> Result<(), ApplyError> {
        let next = Broker::from_record(record);
        if let Some(before) = self.brokers.get(&next.id) {
            // The same incarnation may register again under its epoch, with other endpoints for instance.
            let same = before.incarnation_id == next.incarnation_id && before.epoch == next.epoch;
            if !same && next.epoch <= before.epoch {
                let (broker, registered, epoch) = (next.id, before.epoch, next.epoch);
                return Err(ApplyError::StaleBroker { broker, registered, epoch });
            }
        }
        self.brokers.insert(next.id, Arc::new(next));
        Ok(())
    }

    fn apply_fencing(&mut self, id: NodeId, epoch: i64, fenced: bool) -> Result<(), ApplyError> {
        let mut next = Broker::clone(self.registered(id, epoch)?);
        next.fenced = fenced;
        self.brokers.insert(id, Arc::new(next));
        Ok(())
    }

    fn apply_broker_change(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<(), ApplyError> {
        let broker = record.broker_id;
        let next = self.registered(broker, record.broker_epoch)?.changed(record);
        let next = next.map_err(|unknown| ApplyError::BrokerState { broker, unknown })?;
        self.brokers.insert(broker, Arc::new(next));
        Ok(())
    }

    fn apply_producer_ids(&mut self, record: &ProducerIdsRecord) -> Result<(), ApplyError> {
        let (from, to) = (self.next_producer_id(), ProducerId(record.next_producer_id));
        if to <= from {
            return Err(ApplyError::ProducerIds { from, to });
        }
        self.producer_ids = Some(ProducerIdBlock {
            broker_id: record.broker_id,
            broker_epoch: record.broker_epoch,
            next_producer_id: to,
        });
        Ok(())
    }

    fn apply_client_quota(&mut self, record: &ClientQuotaRecord) -> Result<(), ApplyError> {
        let parts = record.entity.iter().map(|part| (&part.entity_type, part.entity_name.as_ref()));
        let entity = QuotaEntity::parse(parts)?;
        let mut quotas = self.client_quotas.get(&entity).cloned().unwrap_or_default();
        match record.remove {
            true => Arc::make_mut(&mut quotas).remove(&record.key),
            false => Arc::make_mut(&mut quotas).insert(record.key.detached(), record.value),
        };
        match quotas.is_empty() {
            true => self.client_quotas.remove(&entity),
            false => self.client_quotas.insert(entity, quotas),
        };
        Ok(())
    }

    fn apply_feature_level(&mut self, record: &FeatureLevelRecord) -> Result<(), ApplyError> {
        match record.feature_level {
            level @ ..0 => return Err(ApplyError::FeatureLevel { name: record.name.clone(), level }),
            0 => self.features.remove(&record.name),
            level => self.features.insert(record.name.detached(), level),
        };
        Ok(())
    }

    fn scram_mechanism(&self, code: i8) -> Result<ScramMechanism, ApplyError> {
        ScramMechanism::from_code(code).ok_or(ApplyError::ScramMechanism(code))
    }

    fn topic_mut(&mut self, id: TopicId) -> Result<&mut Topic, ApplyError> {
        let name = self.topic_names.get(&id).ok_or(ApplyError::UnknownTopicId(id))?;
        self.topics.get_mut(name).map(Arc::make_mut).ok_or(ApplyError::UnknownTopicId(id))
    }

    fn registered(&self, broker: NodeId, epoch: i64) -> Result<&Broker, ApplyError> {
        let found = self.brokers.get(&broker).filter(|found| found.epoch == epoch);
        found.map(Arc::as_ref).ok_or(ApplyError::UnknownBroker { broker, epoch })
    }
}
