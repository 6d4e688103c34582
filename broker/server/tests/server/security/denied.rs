//! Every API key, asked by somebody who may do nothing. A key that is served and has no row here fails the test.

use strata_protocol::ApiKey;
use strata_protocol::messages::*;
use strata_types::ErrorCode;
use uuid::Uuid;

use super::super::support::{batch, create_topic, fetch, produce};
use super::*;

const OPEN: i16 = 0;
const TOPIC: i16 = ErrorCode::TopicAuthorizationFailed as i16;
const GROUP: i16 = ErrorCode::GroupAuthorizationFailed as i16;
const CLUSTER: i16 = ErrorCode::ClusterAuthorizationFailed as i16;
const TRANSACTION: i16 = ErrorCode::TransactionalIdAuthorizationFailed as i16;
/// The answer only leaves out what may not be seen.
const NOTHING: i16 = i16::MIN;

/// One row per key: how it is asked, and every code in the answer. `topic_id` is the id of the topic `t`.
macro_rules! rows {
    (($topic_id:ident) $($key:ident($version:literal) $request:expr => $expected:expr, |$answer:ident| $codes:expr;)+) => {
        async fn ask(connection: &mut Connection, key: ApiKey, $topic_id: Uuid) -> Option<(i16, Vec<i16>)> {
            match key {
                $(ApiKey::$key => {
                    let $answer = connection.call($version, &$request).await;
                    Some(($expected, $codes))
                })+
                _ => None,
            }
        }
    };
}

fn all<T>(items: impl IntoIterator<Item = T>, code: impl Fn(T) -> i16) -> Vec<i16> {
    items.into_iter().map(code).collect()
}

/// A list that must be empty.
fn unseen<T>(items: Vec<T>) -> Vec<i16> {
    all(items, |_| OPEN)
}

rows! {
    (topic_id)
    Produce(9) produce("t", 0, -1, batch(&["x"])) => TOPIC, |r| all(&r.responses[0].partition_responses, |p| p.error_code);
    Fetch(12) fetch("t", 0, 0, 0) => TOPIC, |r| all(&r.responses[0].partitions, |p| p.error_code);
    ListOffsets(7) ListOffsetsRequest {
        topics: vec![list_offsets_request::ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => TOPIC, |r| all(&r.topics[0].partitions, |p| p.error_code);
    Metadata(12) MetadataRequest {
        topics: Some(vec![metadata_request::MetadataRequestTopic {
            name: Some("t".into()),
            ..Default::default()
        }]),
        ..Default::default()
    } => TOPIC, |r| all(&r.topics, |t| t.error_code);
    OffsetCommit(8) OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![offset_commit_request::OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => GROUP, |r| all(&r.topics[0].partitions, |p| p.error_code);
    OffsetFetch(8) OffsetFetchRequest {
        groups: vec![offset_fetch_request::OffsetFetchRequestGroup {
            group_id: "g".into(),
            ..Default::default()
        }],
        ..Default::default()
    } => GROUP, |r| all(&r.groups, |g| g.error_code);
    FindCoordinator(4) FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() }
        => GROUP, |r| all(&r.coordinators, |c| c.error_code);
    JoinGroup(9) JoinGroupRequest { group_id: "g".into(), ..Default::default() } => GROUP, |r| vec![r.error_code];
    Heartbeat(4) HeartbeatRequest { group_id: "g".into(), ..Default::default() } => GROUP, |r| vec![r.error_code];
    LeaveGroup(5) LeaveGroupRequest { group_id: "g".into(), ..Default::default() } => GROUP, |r| vec![r.error_code];
    SyncGroup(5) SyncGroupRequest { group_id: "g".into(), ..Default::default() } => GROUP, |r| vec![r.error_code];
    DescribeGroups(5) DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() }
        => GROUP, |r| all(&r.groups, |g| g.error_code);
    ListGroups(4) ListGroupsRequest::default() => NOTHING, |r| unseen(r.groups);
    CreateTopics(7) create_topic("new", 1, &[]) => TOPIC, |r| all(&r.topics, |t| t.error_code);
    DeleteTopics(6) DeleteTopicsRequest {
        topics: vec![
            delete_topics_request::DeleteTopicState { name: Some("t".into()), ..Default::default() },
            delete_topics_request::DeleteTopicState { topic_id, name: None, ..Default::default() },
        ],
        ..Default::default()
    } => TOPIC, |r| all(&r.responses, |t| t.error_code);
    DeleteRecords(2) DeleteRecordsRequest {
        topics: vec![delete_records_request::DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => TOPIC, |r| all(&r.topics[0].partitions, |p| p.error_code);
    InitProducerId(4) InitProducerIdRequest { transactional_id: None, ..Default::default() }
        => CLUSTER, |r| vec![r.error_code];
    OffsetForLeaderEpoch(4) OffsetForLeaderEpochRequest {
        topics: vec![offset_for_leader_epoch_request::OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => TOPIC, |r| all(&r.topics[0].partitions, |p| p.error_code);
    AddPartitionsToTxn(3) AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "x".into(),
        v3_and_below_topics: vec![add_partitions_to_txn_request::AddPartitionsToTxnTopic {
            name: "t".into(),
            partitions: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    } => TRANSACTION, |r| all(&r.results_by_topic_v3_and_below[0].results_by_partition, |p| p.partition_error_code);
    AddOffsetsToTxn(3) AddOffsetsToTxnRequest { transactional_id: "x".into(), group_id: "g".into(), ..Default::default() }
        => TRANSACTION, |r| vec![r.error_code];
    EndTxn(3) EndTxnRequest { transactional_id: "x".into(), ..Default::default() } => TRANSACTION, |r| vec![r.error_code];
    WriteTxnMarkers(1) WriteTxnMarkersRequest {
        markers: vec![write_txn_markers_request::WritableTxnMarker {
            topics: vec![write_txn_markers_request::WritableTxnMarkerTopic {
                name: "t".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.markers[0].topics[0].partitions, |p| p.error_code);
    TxnOffsetCommit(3) TxnOffsetCommitRequest {
        transactional_id: "x".into(),
        group_id: "g".into(),
        topics: vec![txn_offset_commit_request::TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => TRANSACTION, |r| all(&r.topics[0].partitions, |p| p.error_code);
    DescribeAcls(3) DescribeAclsRequest {
        resource_type_filter: 1,
        pattern_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    } => CLUSTER, |r| vec![r.error_code];
    CreateAcls(3) CreateAclsRequest { creations: vec![Default::default()], ..Default::default() }
        => CLUSTER, |r| all(&r.results, |a| a.error_code);
    DeleteAcls(3) DeleteAclsRequest { filters: vec![Default::default()], ..Default::default() }
        => CLUSTER, |r| all(&r.filter_results, |f| f.error_code);
    DescribeConfigs(4) DescribeConfigsRequest {
        resources: vec![describe_configs_request::DescribeConfigsResource {
            resource_type: 4,
            resource_name: "1".into(),
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.results, |c| c.error_code);
    AlterConfigs(2) AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            ..Default::default()
        }],
        ..Default::default()
    } => TOPIC, |r| all(&r.responses, |c| c.error_code);
    IncrementalAlterConfigs(1) IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type: 4,
            resource_name: "1".into(),
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.responses, |c| c.error_code);
    AlterReplicaLogDirs(2) AlterReplicaLogDirsRequest {
        dirs: vec![alter_replica_log_dirs_request::AlterReplicaLogDir {
            path: "/x".into(),
            topics: vec![alter_replica_log_dirs_request::AlterReplicaLogDirTopic {
                name: "t".into(),
                partitions: vec![0],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.results[0].partitions, |p| p.error_code);
    DescribeLogDirs(4) DescribeLogDirsRequest { topics: None, ..Default::default() } => CLUSTER, |r| vec![r.error_code];
    CreatePartitions(3) CreatePartitionsRequest {
        topics: vec![create_partitions_request::CreatePartitionsTopic {
            name: "t".into(),
            count: 2,
            ..Default::default()
        }],
        ..Default::default()
    } => TOPIC, |r| all(&r.results, |t| t.error_code);
    DeleteGroups(2) DeleteGroupsRequest { groups_names: vec!["g".into()], ..Default::default() }
        => GROUP, |r| all(&r.results, |g| g.error_code);
    ElectLeaders(2) ElectLeadersRequest { topic_partitions: None, ..Default::default() } => CLUSTER, |r| vec![r.error_code];
    AlterPartitionReassignments(0) AlterPartitionReassignmentsRequest::default() => CLUSTER, |r| vec![r.error_code];
    ListPartitionReassignments(0) ListPartitionReassignmentsRequest { topics: None, ..Default::default() }
        => CLUSTER, |r| vec![r.error_code];
    OffsetDelete(0) OffsetDeleteRequest { group_id: "g".into(), ..Default::default() } => GROUP, |r| vec![r.error_code];
    DescribeClientQuotas(1) DescribeClientQuotasRequest::default() => CLUSTER, |r| vec![r.error_code];
    AlterClientQuotas(1) AlterClientQuotasRequest { entries: vec![Default::default()], ..Default::default() }
        => CLUSTER, |r| all(&r.entries, |e| e.error_code);
    DescribeUserScramCredentials(0) DescribeUserScramCredentialsRequest { users: None, ..Default::default() }
        => CLUSTER, |r| vec![r.error_code];
    AlterUserScramCredentials(0) AlterUserScramCredentialsRequest {
        deletions: vec![Default::default()],
        ..Default::default()
    } => CLUSTER, |r| all(&r.results, |u| u.error_code);
    DescribeQuorum(2) DescribeQuorumRequest::default() => CLUSTER, |r| vec![r.error_code];
    UpdateFeatures(1) UpdateFeaturesRequest::default() => CLUSTER, |r| vec![r.error_code];
    DescribeProducers(0) DescribeProducersRequest {
        topics: vec![describe_producers_request::TopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
            ..Default::default()
        }],
        ..Default::default()
    } => TOPIC, |r| all(&r.topics[0].partitions, |p| p.error_code);
    UnregisterBroker(0) UnregisterBrokerRequest { broker_id: 99, ..Default::default() } => CLUSTER, |r| vec![r.error_code];
    DescribeTransactions(0) DescribeTransactionsRequest { transactional_ids: vec!["x".into()], ..Default::default() }
        => TRANSACTION, |r| all(&r.transaction_states, |t| t.error_code);
    ListTransactions(1) ListTransactionsRequest::default() => NOTHING, |r| unseen(r.transaction_states);
    ListConfigResources(1) ListConfigResourcesRequest::default() => CLUSTER, |r| vec![r.error_code];
    DescribeTopicPartitions(0) DescribeTopicPartitionsRequest {
        topics: vec![describe_topic_partitions_request::TopicRequest { name: "t".into(), ..Default::default() }],
        response_partition_limit: 10,
        ..Default::default()
    } => TOPIC, |r| all(&r.topics, |t| t.error_code);
    ConsumerGroupHeartbeat(0) ConsumerGroupHeartbeatRequest { group_id: "g".into(), ..Default::default() }
        => GROUP, |r| vec![r.error_code];
    ConsumerGroupDescribe(0) ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() }
        => GROUP, |r| all(&r.groups, |g| g.error_code);
    ShareGroupHeartbeat(1) ShareGroupHeartbeatRequest { group_id: "g".into(), ..Default::default() }
        => GROUP, |r| vec![r.error_code];
    ShareGroupDescribe(1) ShareGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() }
        => GROUP, |r| all(&r.groups, |g| g.error_code);
    ShareFetch(1) ShareFetchRequest { group_id: Some("g".into()), member_id: Some("m".into()), ..Default::default() }
        => GROUP, |r| vec![r.error_code];
    ShareAcknowledge(1) ShareAcknowledgeRequest { group_id: Some("g".into()), member_id: Some("m".into()), ..Default::default() }
        => GROUP, |r| vec![r.error_code];
    AddRaftVoter(0) AddRaftVoterRequest::default() => CLUSTER, |r| vec![r.error_code];
    RemoveRaftVoter(0) RemoveRaftVoterRequest::default() => CLUSTER, |r| vec![r.error_code];
    InitializeShareGroupState(0) InitializeShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![initialize_share_group_state_request::InitializeStateData {
            topic_id,
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.results[0].partitions, |p| p.error_code);
    ReadShareGroupState(0) ReadShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![read_share_group_state_request::ReadStateData {
            topic_id,
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.results[0].partitions, |p| p.error_code);
    WriteShareGroupState(0) WriteShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![write_share_group_state_request::WriteStateData {
            topic_id,
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.results[0].partitions, |p| p.error_code);
    DeleteShareGroupState(0) DeleteShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![delete_share_group_state_request::DeleteStateData {
            topic_id,
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.results[0].partitions, |p| p.error_code);
    ReadShareGroupStateSummary(0) ReadShareGroupStateSummaryRequest {
        group_id: "g".into(),
        topics: vec![read_share_group_state_summary_request::ReadStateSummaryData {
            topic_id,
            partitions: vec![Default::default()],
            ..Default::default()
        }],
        ..Default::default()
    } => CLUSTER, |r| all(&r.results[0].partitions, |p| p.error_code);
    StreamsGroupHeartbeat(0) StreamsGroupHeartbeatRequest { group_id: "g".into(), ..Default::default() }
        => GROUP, |r| vec![r.error_code];
    StreamsGroupDescribe(0) StreamsGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() }
        => GROUP, |r| all(&r.groups, |g| g.error_code);
    DescribeShareGroupOffsets(0) DescribeShareGroupOffsetsRequest {
        groups: vec![describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup {
            group_id: "g".into(),
            ..Default::default()
        }],
        ..Default::default()
    } => GROUP, |r| all(&r.groups, |g| g.error_code);
    AlterShareGroupOffsets(0) AlterShareGroupOffsetsRequest { group_id: "g".into(), ..Default::default() }
        => GROUP, |r| vec![r.error_code];
    DeleteShareGroupOffsets(0) DeleteShareGroupOffsetsRequest { group_id: "g".into(), ..Default::default() }
        => GROUP, |r| vec![r.error_code];
    StreamsGroupTopologyDescriptionUpdate(0)
        StreamsGroupTopologyDescriptionUpdateRequest { group_id: "g".into(), ..Default::default() }
        => GROUP, |r| vec![r.error_code];
    UnregisterController(0) UnregisterControllerRequest::default() => CLUSTER, |r| vec![r.error_code];
}

/// The keys that are open to whoever may connect, each with its reason.
const OPEN_TO_ALL: &[(ApiKey, &str)] = &[
    (ApiKey::ApiVersions, "asked before anything else is known"),
    (ApiKey::SaslHandshake, "how one becomes somebody"),
    (ApiKey::SaslAuthenticate, "how one becomes somebody"),
    (ApiKey::DescribeCluster, "what Metadata tells of brokers; operations are those of the asker"),
    (ApiKey::CreateDelegationToken, "one's own; another's needs CreateTokens"),
    (ApiKey::RenewDelegationToken, "who has the secret and is its owner or renewer"),
    (ApiKey::ExpireDelegationToken, "who has the secret and is its owner or renewer"),
    (ApiKey::DescribeDelegationToken, "one's own; others' need Describe"),
    (ApiKey::GetTelemetrySubscriptions, "a client's own metrics (KIP-714)"),
    (ApiKey::PushTelemetry, "a client's own metrics (KIP-714)"),
];

const ACLS: &str = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";

async fn served(connection: &mut Connection) -> Vec<ApiKey> {
    let answer = connection.call(0, &ApiVersionsRequest::default()).await;
    answer.api_keys.iter().map(|api| ApiKey::from_i16(api.api_key).unwrap()).collect()
}

#[tokio::test]
async fn cve_2018_1288_and_2018_17196_every_api_key_is_denied_to_whoever_may_do_nothing() {
    let settings = [&SASL[..], &[ACLS, "super.users=User:admin"]].concat();
    let broker = Broker::with(&settings).await;
    let mut admin = connect_as(&broker, "admin", "a-secret").await;
    let topic_id = admin.create_topic("t", 1, &[]).await;
    let mut alice = connect_as(&broker, "alice", "b-secret").await;
    for key in served(&mut admin).await {
        if OPEN_TO_ALL.iter().any(|(open, _)| *open == key) {
            continue;
        }
        let (expected, codes) =
            ask(&mut alice, key, topic_id).await.unwrap_or_else(|| panic!("{key} has no authorisation row"));
        match expected {
            NOTHING => assert_eq!(codes, [0i16; 0], "{key} shows what may not be seen"),
            expected => {
                assert!(!codes.is_empty(), "{key}: the answer has no code");
                assert!(
                    codes.iter().all(|code| *code == expected),
                    "{key} answers {codes:?}, not {expected}"
                );
            }
        }
    }
    // A follower's fetch is the cluster's business, whoever may read the topic.
    let mut follower = fetch("t", 0, 0, 0);
    follower.replica_id = 1;
    let answer = alice.call(12, &follower).await;
    assert!(answer.responses[0].partitions.iter().all(|p| p.error_code == TOPIC));
    assert_eq!(admin.topic_names().await, ["t"], "nothing was made or deleted");
    assert_eq!(alice.topic_names().await, [""; 0], "nor is it seen");
}

#[tokio::test]
async fn what_entries_allow_is_allowed_and_shown() {
    let settings = [&SASL[..], &[ACLS, "super.users=User:admin"]].concat();
    let broker = Broker::with(&settings).await;
    let mut admin = connect_as(&broker, "admin", "a-secret").await;
    admin.create_topic("orders-1", 1, &[]).await;
    admin.create_topic("other", 1, &[]).await;
    let creation = |name: &str, pattern, operation, permission_type| create_acls_request::AclCreation {
        resource_type: 2,
        resource_name: name.into(),
        resource_pattern_type: pattern,
        principal: "User:alice".into(),
        host: "*".into(),
        operation,
        permission_type,
        ..Default::default()
    };
    let (read, write, literal, prefixed, allow, deny) = (3, 4, 3, 4, 3, 2);
    let creations = vec![
        creation("orders-", prefixed, read, allow),
        creation("orders-", prefixed, write, allow),
        creation("orders-1", literal, write, deny),
        creation("", literal, read, allow),
    ];
    let created = admin.call(3, &CreateAclsRequest { creations, ..Default::default() }).await;
    let codes = all(&created.results, |result| result.error_code);
    assert_eq!(codes, [0, 0, 0, ErrorCode::InvalidRequest.code()]);

    let mut alice = connect_as(&broker, "alice", "b-secret").await;
    assert_eq!(alice.topic_names().await, ["orders-1"]);
    assert_eq!(alice.fetch("orders-1", 0, 0).await.error_code, 0);
    assert_eq!(alice.fetch("other", 0, 0).await.error_code, TOPIC);
    assert_eq!(alice.produce("orders-1", 0, batch(&["x"])).await.error_code, TOPIC);
    let ask =
        MetadataRequest { topics: None, include_topic_authorized_operations: true, ..Default::default() };
    let operations = alice.call(12, &ask).await.topics[0].topic_authorized_operations;
    assert_eq!(operations, 1 << 3 | 1 << 8, "read, and describe that follows from it");

    // Another connection sees the same; what is deleted is gone at once, and the broker keeps it over a restart.
    let filter = delete_acls_request::DeleteAclsFilter {
        resource_type_filter: 2,
        resource_name_filter: None,
        pattern_type_filter: 1,
        principal_filter: None,
        host_filter: None,
        operation: write,
        permission_type: deny,
        ..Default::default()
    };
    let deleted = admin.call(3, &DeleteAclsRequest { filters: vec![filter], ..Default::default() }).await;
    assert_eq!(deleted.filter_results[0].matching_acls.len(), 1);
    assert_eq!(alice.produce("orders-1", 0, batch(&["x"])).await.error_code, 0);
}
