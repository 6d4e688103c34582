//! The controller: requests in, records and responses out.
//!
//! Every function here is pure: it reads an [`Image`] and a request, and returns a [`Decision`], the records to
//! commit and the response to send once they are committed. Whatever is random or configured comes in as an argument.
//! Authorisation happens before the call; a response lists the request's items in the request's order.
//!
//! One file for each kind of request. Source: KIP-500, KIP-631 and the answers of Apache Kafka 4.3.

mod acls;
mod allocate_producer_ids;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition;
mod alter_partition_reassignments;
mod bootstrap;
mod broker_heartbeat;
mod create_partitions;
mod create_topics;
mod delegation_tokens;
mod delete_topics;
mod elect_leaders;
mod election;
mod incremental_alter_configs;
mod placement;
mod register_broker;
mod scram;
mod unregister_broker;
mod update_features;

use std::collections::{BTreeMap, BTreeSet};

use strata_protocol::Str;
use strata_protocol::messages::create_topics_response::CreatableTopicConfigs;
use strata_types::ErrorCode;

pub use acls::{ACLS_PER_REQUEST_MAX, create_acls, delete_acls};
pub use allocate_producer_ids::{PRODUCER_ID_BLOCK_LEN, allocate_producer_ids};
pub use alter_client_quotas::{QUOTA_CHANGES_PER_REQUEST_MAX, alter_client_quotas};
pub use alter_configs::alter_configs;
pub use alter_partition::alter_partition;
pub use alter_partition_reassignments::alter_partition_reassignments;
pub use bootstrap::{METADATA_VERSION, METADATA_VERSION_FEATURE, bootstrap};
pub use broker_heartbeat::broker_heartbeat;
pub use create_partitions::create_partitions;
pub use create_topics::create_topics;
pub use delegation_tokens::{
    DELEGATION_TOKENS_MAX, create_delegation_token, expire_delegation_token, renew_delegation_token,
    sweep_delegation_tokens,
};
pub use delete_topics::delete_topics;
pub use elect_leaders::elect_leaders;
pub use election::logs_lost;
pub use incremental_alter_configs::incremental_alter_configs;
pub use register_broker::register_broker;
pub use scram::{
    SCRAM_ITERATIONS_MAX, SCRAM_ITERATIONS_MIN, ScramKeys, alter_user_scram_credentials,
    describe_user_scram_credentials,
};
pub use unregister_broker::unregister_broker;
pub use update_features::{SupportedFeature, update_features};

use crate::{ConfigResource, MetadataRecord};

/// Kafka's limit: the most partitions that one request may create.
pub const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

/// The most topics that one request may name. Kafka's limit of 10,000 records a request comes to the same.
pub const TOPICS_PER_REQUEST_MAX: usize = 10_000;

/// The longest value of a config (`Short.MAX_VALUE`).
pub const CONFIG_VALUE_BYTES_MAX: usize = 32_767;

/// Records to commit, and the response to send once they are.
pub type Decision<R> = (Vec<MetadataRecord>, R);

/// Why a config cannot be set: the error and the words for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidConfig {
    pub code: ErrorCode,
    pub why: String,
}

/// What the controller asks about configs; whoever owns the tables of configs answers.
pub trait ConfigRules {
    /// Whether a resource may have these values set.
    fn validate(
        &self,
        resource: &ConfigResource,
        overrides: &BTreeMap<Str, Str>,
    ) -> Result<(), InvalidConfig>;

    /// Whether the config is a list, so that values can be appended and subtracted.
    fn is_list(&self, resource: &ConfigResource, key: &str) -> bool;

    /// The value that holds where the resource sets none.
    fn default_value(&self, resource: &ConfigResource, key: &str) -> Option<Str>;

    /// Every config of a topic that sets these values, as CreateTopics answers from version 5 (KIP-525).
    fn describe_topic(&self, overrides: &BTreeMap<Str, Str>) -> Vec<CreatableTopicConfigs>;
}

/// What a topic gets that does not say (`num.partitions`, `default.replication.factor`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicDefaults {
    pub num_partitions: i32,
    pub replication_factor: i16,
}

/// An error as it stands in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    code: ErrorCode,
    message: Option<Str>,
}

impl ApiError {
    fn new(code: ErrorCode, message: impl Into<Str>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// What a request gets that is too big to be one batch of the log.
    fn too_many(message: &'static str) -> Self {
        Self::new(ErrorCode::PolicyViolation, message)
    }
}

/// The two fields of a response that say how an item went.
fn outcome(result: Result<(), ApiError>) -> (i16, Option<Str>) {
    match result {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(error) => (error.code.code(), error.message),
    }
}

/// The items that occur more than once.
fn duplicates<T: Ord>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for item in items {
        if seen.contains(&item) {
            twice.insert(item);
        } else {
            seen.insert(item);
        }
    }
    twice
}
