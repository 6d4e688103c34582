//! Topics: Metadata, CreateTopics, DeleteTopics, CreatePartitions, DescribeTopicPartitions, DescribeCluster.

use strata_protocol::Str;
use strata_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use strata_protocol::messages::delete_topics_request::DeleteTopicState;
use strata_protocol::messages::describe_topic_partitions_request::TopicRequest;
use strata_protocol::messages::metadata_request::MetadataRequestTopic;
use strata_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeAclsRequest,
    DescribeClusterRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    ListConfigResourcesRequest, ListPartitionReassignmentsRequest, MetadataRequest, describe_quorum_request,
};
use strata_types::ErrorCode;
use uuid::Uuid;

use crate::support::{Broker, batch, create_topic, values};

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(Str::from(name)), ..Default::default() }
}

fn ask(topics: Vec<MetadataRequestTopic>, allow_auto_topic_creation: bool) -> MetadataRequest {
    MetadataRequest { topics: Some(topics), allow_auto_topic_creation, ..Default::default() }
}

#[tokio::test]
async fn metadata_names_the_broker_by_the_address_that_clients_reach() {
    let broker = Broker::start().await;
    let response = broker.connect().await.call(12, &ask(Vec::new(), false)).await;
    let address = broker.server.local_addr();
    let known: Vec<_> = response.brokers.iter().map(|b| (b.node_id, b.host.to_string(), b.port)).collect();
    assert_eq!(known, [(1, address.ip().to_string(), i32::from(address.port()))]);
    assert_eq!(response.cluster_id.as_deref(), Some(broker.server.cluster_id()));
    assert_eq!((response.controller_id, response.topics.len()), (1, 0));
    assert_eq!(broker.server.bootstrap(), address.to_string());
}

#[tokio::test]
async fn every_version_of_metadata_lists_topics() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let id = connection.create_topic("t", 3, &[]).await;
    for version in 0..=13 {
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        let response = connection.call(version, &MetadataRequest { topics, ..Default::default() }).await;
        let topic = &response.topics[0];
        assert_eq!((topic.name.as_deref(), topic.partitions.len()), (Some("t"), 3), "v{version}");
        assert_eq!(topic.topic_id, if version >= 10 { id } else { Uuid::nil() }, "v{version}");
    }
}

#[tokio::test]
async fn a_missing_topic_is_made_if_both_sides_allow_it() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let forbidden = connection.call(9, &ask(vec![named("auto")], false)).await;
    assert_eq!(forbidden.topics[0].error_code, unknown);
    let made = connection.call(9, &ask(vec![named("auto")], true)).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions[0].leader_id), (0, 1));
    assert_eq!(connection.produce("auto", 0, batch(&["x"])).await.error_code, 0);
    let bad = connection.call(9, &ask(vec![named("a b")], true)).await;
    assert_eq!(bad.topics[0].error_code, ErrorCode::InvalidTopicException.code());

    let broker = Broker::with(&["auto.create.topics.enable=false"]).await;
    let refused = broker.connect().await.call(9, &ask(vec![named("auto")], true)).await;
    assert_eq!(refused.topics[0].error_code, unknown);
}

#[tokio::test]
async fn topics_are_found_by_their_ids() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let topic_id = connection.create_topic("t", 1, &[]).await;
    let by_id = |topic_id| MetadataRequestTopic { topic_id, name: None, ..Default::default() };
    let response = connection.call(12, &ask(vec![by_id(topic_id), by_id(Uuid::from_u128(9))], false)).await;
    assert_eq!((response.topics[0].error_code, response.topics[0].name.as_deref()), (0, Some("t")));
    let unknown = &response.topics[1];
    assert_eq!((unknown.error_code, unknown.name.as_deref()), (ErrorCode::UnknownTopicId.code(), None));
}

#[tokio::test]
async fn each_topic_is_created_by_itself() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("there", 1, &[]).await;
    for (request, code) in [
        (create_topic("there", 1, &[]), ErrorCode::TopicAlreadyExists),
        (create_topic("", 1, &[]), ErrorCode::InvalidTopicException),
        (create_topic("..", 1, &[]), ErrorCode::InvalidTopicException),
        (create_topic("../x", 1, &[]), ErrorCode::InvalidTopicException),
        (create_topic(&"x".repeat(250), 1, &[]), ErrorCode::InvalidTopicException),
        (create_topic("none", 0, &[]), ErrorCode::InvalidPartitions),
        (create_topic("config", 1, &[("retention.ms", "x")]), ErrorCode::InvalidConfig),
        (create_topic("config", 1, &[("no.such", "1")]), ErrorCode::InvalidConfig),
        (create_topic("good", 2, &[("retention.ms", "1000")]), ErrorCode::None),
    ] {
        let response = connection.call(7, &request).await;
        assert_eq!(
            response.topics[0].error_code,
            code.code(),
            "{request:?}: {:?}",
            response.topics[0].error_message
        );
    }
    let mut replicas = create_topic("replicas", 1, &[]);
    replicas.topics[0].replication_factor = 2;
    let response = connection.call(7, &replicas).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::InvalidReplicationFactor.code());
    let only_asking = CreateTopicsRequest { validate_only: true, ..create_topic("asked", 1, &[]) };
    assert_eq!(connection.call(7, &only_asking).await.topics[0].error_code, 0);
    assert_eq!(connection.topic_names().await, ["good", "there"]);
}

#[tokio::test]
async fn a_deleted_topic_is_gone_with_its_records() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let first = connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["old"])).await;
    let names = DeleteTopicsRequest { topic_names: vec!["t".into(), "nope".into()], ..Default::default() };
    let codes: Vec<_> = connection.call(5, &names).await.responses.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    let gone = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(connection.produce("t", 0, batch(&["x"])).await.error_code, gone);
    // The same name again is another topic.
    let second = connection.create_topic("t", 1, &[]).await;
    assert_ne!(first, second);
    assert_eq!(values(&connection.fetch("t", 0, 0).await), []);
    let state = DeleteTopicState { name: None, topic_id: second, ..Default::default() };
    let by_id = DeleteTopicsRequest { topics: vec![state], ..Default::default() };
    assert_eq!(connection.call(6, &by_id).await.responses[0].error_code, 0);
    assert!(connection.topic_names().await.is_empty());
}

#[tokio::test]
async fn deletion_may_be_forbidden() {
    let broker = Broker::with(&["delete.topic.enable=false"]).await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let names = DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
    let response = connection.call(5, &names).await;
    assert_eq!(response.responses[0].error_code, ErrorCode::TopicDeletionDisabled.code());
}

#[tokio::test]
async fn a_topic_gets_more_partitions_and_keeps_its_records() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["a"])).await;
    let grow = |count| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "t".into(),
            count,
            assignments: None,
            ..Default::default()
        }],
        timeout_ms: 1000,
        ..Default::default()
    };
    assert_eq!(connection.call(3, &grow(3)).await.results[0].error_code, 0);
    assert_eq!(connection.produce("t", 2, batch(&["b"])).await.error_code, 0);
    assert_eq!(values(&connection.fetch("t", 0, 0).await).len(), 1);
    let fewer = connection.call(3, &grow(2)).await;
    assert_eq!(fewer.results[0].error_code, ErrorCode::InvalidPartitions.code());
}

#[tokio::test]
async fn topics_are_described_page_by_page() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    for name in ["a", "b", "c"] {
        connection.create_topic(name, 3, &[]).await;
    }
    let mut request = DescribeTopicPartitionsRequest { response_partition_limit: 4, ..Default::default() };
    let mut pages = Vec::new();
    loop {
        let page = connection.call(0, &request).await;
        let name = |topic: &strata_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic| {
            (topic.name.as_ref().unwrap().to_string(), topic.partitions.len())
        };
        pages.push(page.topics.iter().map(name).collect::<Vec<_>>());
        let Some(cursor) = page.next_cursor else { break };
        request.cursor = Some(strata_protocol::messages::describe_topic_partitions_request::Cursor {
            topic_name: cursor.topic_name,
            partition_index: cursor.partition_index,
            ..Default::default()
        });
    }
    let page = |topics: &[(&str, usize)]| topics.iter().map(|(n, c)| (n.to_string(), *c)).collect::<Vec<_>>();
    assert_eq!(pages, [page(&[("a", 3), ("b", 1)]), page(&[("b", 2), ("c", 2)]), page(&[("c", 1)])]);
    let missing = TopicRequest { name: "nope".into(), ..Default::default() };
    let request = DescribeTopicPartitionsRequest { topics: vec![missing], ..Default::default() };
    let response = connection.call(0, &request).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn the_cluster_is_described() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let request =
        DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
    let response = connection.call(1, &request).await;
    assert_eq!((&*response.cluster_id, response.controller_id), (broker.server.cluster_id(), 1));
    assert_eq!((response.brokers.len(), response.cluster_authorized_operations), (1, 8096));
    let controllers = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    let response = connection.call(1, &controllers).await;
    assert_eq!(response.error_code, ErrorCode::MismatchedEndpointType.code());
}

#[tokio::test]
async fn nothing_moves_between_brokers_on_one_node() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let response = connection.call(0, &ListPartitionReassignmentsRequest::default()).await;
    assert_eq!((response.error_code, response.topics.len()), (0, 0));
}

#[tokio::test]
async fn the_quorum_is_this_node() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let ask = |topic_name: &str| DescribeQuorumRequest {
        topics: vec![describe_quorum_request::TopicData {
            topic_name: topic_name.into(),
            partitions: vec![describe_quorum_request::PartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = connection.call(2, &ask("__cluster_metadata")).await;
    let partition = &response.topics[0].partitions[0];
    assert_eq!(
        (partition.error_code, partition.leader_id, partition.current_voters[0].replica_id),
        (0, 1, 1)
    );
    assert!(partition.high_watermark > 0 && partition.leader_epoch > 0);
    let response = connection.call(2, &ask("t")).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn what_has_settings_is_listed_by_type() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    for (resource_types, count) in [(vec![], 3), (vec![2], 1), (vec![4], 1), (vec![8], 1), (vec![16, 32], 0)]
    {
        let request = ListConfigResourcesRequest { resource_types, ..Default::default() };
        let response = connection.call(1, &request).await;
        assert_eq!((response.error_code, response.config_resources.len()), (0, count), "{request:?}");
    }
}

#[tokio::test]
async fn without_an_authoriser_there_are_no_acls_to_ask_for() {
    let broker = Broker::start().await;
    let response = broker.connect().await.call(3, &DescribeAclsRequest::default()).await;
    assert_eq!(response.error_code, ErrorCode::SecurityDisabled.code());
}
