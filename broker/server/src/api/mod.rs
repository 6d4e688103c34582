//! One file per API key. Each opens with what Kafka's clients see of it and what changed between its versions.

pub(crate) mod add_offsets_to_txn;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod add_raft_voter;
pub(crate) mod alter_client_quotas;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod alter_share_group_offsets;
pub(crate) mod alter_user_scram_credentials;
pub(crate) mod api_versions;
pub(crate) mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod create_acls;
pub(crate) mod create_delegation_token;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_acls;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_share_group_offsets;
pub(crate) mod delete_share_group_state;
pub(crate) mod delete_topics;
pub(crate) mod describe_acls;
pub(crate) mod describe_client_quotas;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_delegation_token;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_quorum;
pub(crate) mod describe_share_group_offsets;
pub(crate) mod describe_topic_partitions;
pub(crate) mod describe_transactions;
pub(crate) mod describe_user_scram_credentials;
pub(crate) mod elect_leaders;
pub(crate) mod end_txn;
pub(crate) mod expire_delegation_token;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod get_telemetry_subscriptions;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod initialize_share_group_state;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod list_transactions;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod push_telemetry;
pub(crate) mod read_share_group_state;
pub(crate) mod read_share_group_state_summary;
pub(crate) mod remove_raft_voter;
pub(crate) mod renew_delegation_token;
pub(crate) mod sasl_authenticate;
pub(crate) mod sasl_handshake;
pub(crate) mod share_acknowledge;
pub(crate) mod share_fetch;
pub(crate) mod share_group_describe;
pub(crate) mod share_group_heartbeat;
mod share_state;
pub(crate) mod streams_group_describe;
pub(crate) mod streams_group_heartbeat;
pub(crate) mod streams_group_topology_description_update;
pub(crate) mod sync_group;
pub(crate) mod txn_offset_commit;
pub(crate) mod unregister_broker;
pub(crate) mod unregister_controller;
pub(crate) mod update_features;
pub(crate) mod write_share_group_state;
pub(crate) mod write_txn_markers;

use strata_protocol::Str;
use strata_types::ErrorCode;

use crate::security::Resource;

/// What a response says of allowed operations when it was not asked.
pub(crate) const OPERATIONS_UNASKED: i32 = i32::MIN;
/// Kafka's words where an answer would need an authoriser.
pub(crate) const NO_AUTHORIZER: &str = "No Authorizer is configured.";
/// Where the sender may not do this to the cluster.
pub(crate) const NO_CLUSTER_ACCESS: &str = "Cluster authorization failed.";
/// Where the quorum did not take a change.
pub(crate) const NOT_CHANGED: &str = "the metadata could not be changed";

/// A message for a response's `error_message`.
pub(crate) fn message(text: impl Into<String>) -> Option<Str> {
    Some(Str::from(text.into()))
}

/// What a DescribeConfigs or AlterConfigs resource is to the authoriser; `None` for what has no settings anyway.
pub(crate) fn config_resource(resource_type: i8, name: &str) -> Option<Resource<'_>> {
    match resource_type {
        2 => Some(Resource::Topic(name)),
        32 => Some(Resource::Group(name)),
        4 | 8 | 16 => Some(Resource::Cluster),
        _ => None,
    }
}

/// Kafka's words for a denial.
pub(crate) fn denial(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TopicAuthorizationFailed => "Topic authorization failed.",
        ErrorCode::GroupAuthorizationFailed => "Group authorization failed.",
        ErrorCode::TransactionalIdAuthorizationFailed => "Transactional Id authorization failed.",
        _ => NO_CLUSTER_ACCESS,
    }
}
