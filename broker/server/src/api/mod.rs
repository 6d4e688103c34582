//! One file per API key. Each opens with what Kafka's clients see of it and what changed between its versions.

pub(crate) mod add_raft_voter;
pub(crate) mod alter_client_quotas;
pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
pub(crate) mod api_versions;
pub(crate) mod create_acls;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_acls;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_acls;
pub(crate) mod describe_client_quotas;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_quorum;
pub(crate) mod describe_topic_partitions;
pub(crate) mod elect_leaders;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod remove_raft_voter;
pub(crate) mod sync_group;
pub(crate) mod unregister_broker;
pub(crate) mod unregister_controller;
pub(crate) mod update_features;

use strata_protocol::Str;

/// What a response says of allowed operations when it was not asked.
pub(crate) const OPERATIONS_UNASKED: i32 = i32::MIN;
/// Everything that can be done to a topic: read, write, create, delete, alter, describe, and both for its settings. One
/// bit per operation, at the number that `AclOperation` gives it. Without an authoriser, everybody may do everything.
pub(crate) const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// The same of a group: read, delete, describe, and both for its settings.
pub(crate) const GROUP_OPERATIONS: i32 = bits(&[3, 6, 8, 10, 11]);
/// The same of the cluster: create, alter, describe, cluster action, both for its settings, idempotent write.
pub(crate) const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

const fn bits(operations: &[i32]) -> i32 {
    let (mut bits, mut i) = (0, 0);
    while i < operations.len() {
        bits |= 1 << operations[i];
        i += 1;
    }
    bits
}

/// Kafka's words where an answer would need an authoriser.
pub(crate) const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// A message for a response's `error_message`.
pub(crate) fn message(text: impl Into<String>) -> Option<Str> {
    Some(Str::from(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_operations_are_those_that_apache_kafka_answers() {
        assert_eq!((TOPIC_OPERATIONS, GROUP_OPERATIONS, CLUSTER_OPERATIONS), (3576, 3400, 8096));
    }
}
