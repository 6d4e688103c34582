//! A cluster for tests: an image, and the records that led to it.

#![allow(dead_code)] // each test file uses its own part

use std::collections::BTreeMap;

use strata_metadata::controller::{self, ConfigRules, Decision, InvalidConfig, TopicDefaults};
use strata_metadata::{ConfigResource, Image, MetadataRecord};
use strata_protocol::Str;
use strata_protocol::messages::broker_registration_request::{Feature, Listener};
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use strata_protocol::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, CreateTopicsRequest,
    CreateTopicsResponse,
};
use strata_types::ErrorCode;
use uuid::Uuid;

pub const CLUSTER: &str = "cluster";

pub struct Cluster {
    pub image: Image,
    pub log: Vec<MetadataRecord>,
    ids: u128,
    seed: u64,
}

/// Rules with one list, one number, and names that begin with `bad` refused.
pub struct Rules;

impl ConfigRules for Rules {
    fn validate(&self, _: &ConfigResource, overrides: &BTreeMap<Str, Str>) -> Result<(), InvalidConfig> {
        match overrides.keys().find(|name| name.starts_with("bad")) {
            Some(name) => Err(InvalidConfig {
                code: ErrorCode::InvalidConfig,
                why: format!("Unknown topic config name: {name}"),
            }),
            None => Ok(()),
        }
    }

    fn is_list(&self, _: &ConfigResource, key: &str) -> bool {
        key == "cleanup.policy"
    }

    fn default_value(&self, _: &ConfigResource, key: &str) -> Option<Str> {
        (key == "cleanup.policy").then(|| "delete".into())
    }

    fn describe_topic(&self, overrides: &BTreeMap<Str, Str>) -> Vec<CreatableTopicConfigs> {
        let config = |(name, value): (&Str, &Str)| CreatableTopicConfigs {
            name: name.clone(),
            value: Some(value.clone()),
            config_source: 1,
            ..Default::default()
        };
        overrides.iter().map(config).collect()
    }
}

impl Cluster {
    /// A cluster of active brokers, numbered from 1.
    pub fn of(brokers: i32) -> Self {
        let mut cluster = Self { image: Image::default(), log: Vec::new(), ids: 1000, seed: 0 };
        cluster.commit(controller::bootstrap(&Image::default(), &[("group.version", 1)], &[]));
        for id in 1..=brokers {
            cluster.register(id);
            assert!(!cluster.heartbeat(id, false, false).is_fenced);
        }
        cluster
    }

    /// Commits a decision as the quorum would, and answers its response.
    pub fn commit<R>(&mut self, (records, response): Decision<R>) -> R {
        for record in records {
            let encoded = record.encode().expect("the controller's records can be written");
            assert_eq!(MetadataRecord::decode(encoded).expect("and read"), record);
            self.image.apply(&record).expect("and fit");
            self.log.push(record);
            self.image.set_position(self.image.next_offset().next(), self.image.epoch());
        }
        response
    }

    pub fn registration(&mut self, broker_id: i32) -> BrokerRegistrationRequest {
        self.ids += 1;
        let feature = |name: &'static str, max| Feature {
            name: name.into(),
            min_supported_version: 0,
            max_supported_version: max,
            ..Default::default()
        };
        BrokerRegistrationRequest {
            broker_id,
            cluster_id: CLUSTER.into(),
            incarnation_id: Uuid::from_u128(self.ids),
            listeners: vec![Listener {
                name: "PLAINTEXT".into(),
                host: "h".into(),
                port: 9092,
                ..Default::default()
            }],
            features: vec![feature("metadata.version", 30), feature("group.version", 1)],
            rack: Some(format!("rack{}", broker_id % 2).into()),
            log_dirs: vec![Uuid::from_u128(500 + broker_id as u128)],
            ..Default::default()
        }
    }

    /// A new incarnation of a broker registers. Answers its epoch.
    pub fn register(&mut self, broker_id: i32) -> i64 {
        let request = self.registration(broker_id);
        let response = self.commit(controller::register_broker(&self.image, CLUSTER, &request, false));
        assert_eq!(response.error_code, 0);
        response.broker_epoch
    }

    pub fn heartbeat(
        &mut self,
        broker_id: i32,
        want_fence: bool,
        want_shut_down: bool,
    ) -> BrokerHeartbeatResponse {
        let request = BrokerHeartbeatRequest {
            broker_id,
            broker_epoch: self.image.broker(broker_id).map_or(-1, |broker| broker.epoch),
            current_metadata_offset: self.image.next_offset().0 - 1,
            want_fence,
            want_shut_down,
            ..Default::default()
        };
        let decision = controller::broker_heartbeat(&self.image, &request);
        self.commit(decision)
    }

    pub fn create_topics(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let defaults = TopicDefaults { num_partitions: 2, replication_factor: 1 };
        let ids = &mut self.ids;
        let mut new_ids = std::iter::from_fn(|| {
            *ids += 1;
            Some(Uuid::from_u128(*ids))
        });
        self.seed += 1;
        let decision =
            controller::create_topics(&self.image, request, &defaults, &Rules, &mut new_ids, self.seed);
        self.commit(decision)
    }

    /// Creates one topic and answers its result.
    pub fn create(&mut self, topic: CreatableTopic) -> CreatableTopicResult {
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        self.create_topics(&request).topics.remove(0)
    }

    /// Creates a topic that must succeed.
    pub fn create_ok(&mut self, name: &str, num_partitions: i32, replication_factor: i16) -> Uuid {
        let result = self.create(topic(name, num_partitions, replication_factor));
        assert_eq!(result.error_code, 0, "{result:?}");
        result.topic_id
    }
}

pub fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor, ..Default::default() }
}

/// An error code's number with a message, as responses carry them.
pub fn error(code: ErrorCode, message: &str) -> (i16, Option<Str>) {
    (code.code(), Some(message.into()))
}
