//! The state that the metadata log adds up to.
//!
//! An [`Image`] is a value: cloning it costs a few reference counts, and a clone never changes under its reader. Trees of
//! two images that come from one another share what did not change, so comparing them costs what did.

mod apply;
mod broker;
mod config;
mod credentials;
mod quota;
mod topic;

use std::sync::Arc;

use imbl::OrdMap;
use strata_protocol::Str;
use strata_protocol::messages::{ConfigRecord, FeatureLevelRecord, ProducerIdsRecord, TopicRecord};
use strata_types::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, TopicId, TopicName};

pub use apply::ApplyError;
pub use broker::{Broker, BrokerFeature, Endpoint};
pub use config::{ConfigMap, ConfigResource, UnknownResource};
pub use credentials::{DelegationToken, ScramCredential, ScramMechanism};
pub use quota::{NoQuotaEntity, QuotaEntity, QuotaMap, QuotaName};
pub(crate) use topic::{
    LOST_DIRECTORY, NO_LEADER, NO_LEADER_CHANGE, NO_RECOVERY_CHANGE, RECOVERED, RECOVERING,
};
pub use topic::{Partition, Topic};

use crate::MetadataRecord;
use crate::acl::AclSet;
use crate::controller::METADATA_VERSION_FEATURE;

/// The cluster's metadata after some prefix of the log.
#[derive(Debug, Clone, Default)]
pub struct Image {
    next_offset: Offset,
    epoch: LeaderEpoch,
    pub(crate) topics: OrdMap<TopicName, Arc<Topic>>,
    topic_names: OrdMap<TopicId, TopicName>,
    pub(crate) brokers: OrdMap<NodeId, Arc<Broker>>,
    pub(crate) configs: OrdMap<ConfigResource, ConfigMap>,
    pub(crate) client_quotas: OrdMap<QuotaEntity, QuotaMap>,
    features: OrdMap<Str, i16>,
    producer_ids: Option<ProducerIdBlock>,
    acls: AclSet,
    scram: OrdMap<(Str, ScramMechanism), Arc<ScramCredential>>,
    tokens: OrdMap<Str, Arc<DelegationToken>>,
}

/// The last block of producer ids that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProducerIdBlock {
    broker_id: NodeId,
    broker_epoch: i64,
    next_producer_id: ProducerId,
}

/// Two images are equal if they hold the same state, wherever in the log they stand.
impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.topics == other.topics
            && self.brokers == other.brokers
            && self.configs == other.configs
            && self.client_quotas == other.client_quotas
            && self.features == other.features
            && self.producer_ids == other.producer_ids
            && self.acls == other.acls
            && self.scram == other.scram
            && self.tokens == other.tokens
    }
}

impl Image {
    /// The offset of the first record of the metadata log that this image does not contain.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The epoch of the quorum's leader that wrote the last record.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Says which place in the log this image stands for. The log's reader calls it after each batch.
    pub fn set_position(&mut self, next_offset: Offset, epoch: LeaderEpoch) {
        self.next_offset = next_offset;
        self.epoch = epoch;
    }

    /// The topic with this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_names.get(&id)?.as_str())
    }

    /// Every topic, in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// How many topics there are.
    pub fn topics_count(&self) -> usize {
        self.topics.len()
    }

    /// One partition of a topic.
    pub fn partition(&self, name: &str, partition: PartitionId) -> Option<&Partition> {
        self.topic(name)?.partition(partition)
    }

    /// The broker with this id, fenced or not.
    pub fn broker(&self, id: NodeId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// Every registered broker, in the order of their ids, fenced ones too.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// Whether this broker may lead partitions now.
    pub fn is_active(&self, id: NodeId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    /// The replicas of a partition that cannot serve it: their brokers are not there, or their logs.
    pub fn offline_replicas(&self, partition: &Partition) -> Vec<NodeId> {
        let is_there = |node: &NodeId| self.broker(*node).is_some_and(|broker| !broker.fenced);
        let replicas = partition.replicas.iter().copied();
        replicas.filter(|node| !is_there(node) || partition.is_lost(*node)).collect()
    }

    /// What is set on a resource; empty where nothing is.
    pub fn config(&self, resource: &ConfigResource) -> ConfigMap {
        self.configs.get(resource).cloned().unwrap_or_default()
    }

    /// What is set on a topic; empty where nothing is.
    pub fn topic_config(&self, name: &str) -> ConfigMap {
        TopicName::new(name).map(|name| self.config(&ConfigResource::Topic(name))).unwrap_or_default()
    }

    /// Every resource on which something is set.
    pub fn configs(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> {
        self.configs.iter()
    }

    /// What quotas an entity itself has; empty where none are set.
    pub fn client_quota(&self, entity: &QuotaEntity) -> QuotaMap {
        self.client_quotas.get(entity).cloned().unwrap_or_default()
    }

    /// Every entity that has quotas, with them.
    pub fn client_quotas(&self) -> impl Iterator<Item = (&QuotaEntity, &QuotaMap)> {
        self.client_quotas.iter()
    }

    /// A feature's finalized level; none stands for 0.
    pub fn feature(&self, name: &str) -> Option<i16> {
        self.features.get(name).copied()
    }

    /// The finalized features with their levels, in the order of their names.
    pub fn features(&self) -> impl Iterator<Item = (&Str, i16)> {
        self.features.iter().map(|(name, &level)| (name, level))
    }

    /// The first producer id that is in no block yet.
    pub fn next_producer_id(&self) -> ProducerId {
        self.producer_ids.as_ref().map_or(ProducerId(0), |block| block.next_producer_id)
    }

    /// The access control entries.
    pub fn acls(&self) -> &AclSet {
        &self.acls
    }

    /// A user's SCRAM credential.
    pub fn scram_credential(&self, user: &str, mechanism: ScramMechanism) -> Option<&ScramCredential> {
        self.scram.get(&(Str::from(user), mechanism)).map(Arc::as_ref)
    }

    /// Every SCRAM credential, in the order of the users' names.
    pub fn scram_credentials(&self) -> impl Iterator<Item = (&Str, ScramMechanism, &ScramCredential)> {
        self.scram.iter().map(|((name, mechanism), credential)| (name, *mechanism, credential.as_ref()))
    }

    /// The delegation token with this id, expired or not.
    pub fn delegation_token(&self, id: &str) -> Option<&DelegationToken> {
        self.tokens.get(id).map(Arc::as_ref)
    }

    /// Every delegation token that is not removed yet.
    pub fn delegation_tokens(&self) -> impl Iterator<Item = &DelegationToken> {
        self.tokens.values().map(Arc::as_ref)
    }

    /// Records that rebuild this image from nothing: a snapshot's content.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records: Vec<MetadataRecord> = Vec::new();
        // The metadata version comes first: it says how to read the rest.
        let (version, others): (Vec<_>, Vec<_>) =
            self.features.iter().partition(|(name, _)| name.as_str() == METADATA_VERSION_FEATURE);
        for (name, &feature_level) in version.into_iter().chain(others) {
            records
                .push(FeatureLevelRecord { name: name.clone(), feature_level, ..Default::default() }.into());
        }
        records.extend(self.brokers.values().map(|broker| broker.to_record().into()));
        for topic in self.topics.values() {
            let name = topic.name.as_str().into();
            records.push(TopicRecord { name, topic_id: topic.id.0, ..Default::default() }.into());
            records
                .extend(topic.partitions().map(|(id, partition)| partition.to_record(topic.id, id).into()));
        }
        for (resource, configs) in &self.configs {
            records.extend(
                configs.iter().map(|(name, value)| config_record(resource, name, Some(value)).into()),
            );
        }
        for (entity, quotas) in &self.client_quotas {
            records.extend(quotas.iter().map(|(key, &value)| entity.record(key, Some(value)).into()));
        }
        if let Some(block) = &self.producer_ids {
            records.push(
                ProducerIdsRecord {
                    broker_id: block.broker_id,
                    broker_epoch: block.broker_epoch,
                    next_producer_id: block.next_producer_id.0,
                    ..Default::default()
                }
                .into(),
            );
        }
        let scram = self.scram_credentials();
        records
            .extend(scram.map(|(name, mechanism, credential)| credential.to_record(name, mechanism).into()));
        records.extend(self.delegation_tokens().map(|token| token.to_record().into()));
        records.extend(self.acls.iter().map(|(acl, id)| acl.to_record(id).into()));
        records
    }
}

/// The record that sets a config, or with no value clears it.
pub(crate) fn config_record(resource: &ConfigResource, name: &Str, value: Option<&Str>) -> ConfigRecord {
    ConfigRecord {
        resource_type: resource.resource_type(),
        resource_name: resource.resource_name(),
        name: name.clone(),
        value: value.cloned(),
        ..Default::default()
    }
}
