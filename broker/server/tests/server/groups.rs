//! Groups: the way from FindCoordinator to committed offsets, over the wire.

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use strata_protocol::messages::leave_group_request::MemberIdentity;
use strata_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use strata_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use strata_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use strata_protocol::messages::{
    DeleteGroupsRequest, DeleteTopicsRequest, DescribeGroupsRequest, FindCoordinatorRequest,
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use strata_types::ErrorCode;
use uuid::Uuid;

use crate::support::{Broker, Connection};

async fn find(connection: &mut Connection, group: &str) -> i32 {
    let request = FindCoordinatorRequest { coordinator_keys: vec![Str::from(group)], ..Default::default() };
    let response = connection.call(4, &request).await;
    assert_eq!(response.coordinators[0].error_code, 0);
    response.coordinators[0].node_id
}

fn join(group: &str, member: Str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from(group),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"subscription"),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Joins a group as its only member, and takes an assignment. Answers member id and generation.
async fn enter(connection: &mut Connection, group: &str) -> (Str, i32) {
    find(connection, group).await;
    let first = connection.call(7, &join(group, Str::default())).await;
    assert_eq!(first.error_code, ErrorCode::MemberIdRequired.code());
    let joined = connection.call(7, &join(group, first.member_id.clone())).await;
    assert_eq!((joined.error_code, &joined.leader), (0, &first.member_id));
    let assignment = Bytes::from_static(b"everything");
    let synced = connection
        .call(
            5,
            &SyncGroupRequest {
                group_id: Str::from(group),
                generation_id: joined.generation_id,
                member_id: first.member_id.clone(),
                assignments: vec![SyncGroupRequestAssignment {
                    member_id: first.member_id.clone(),
                    assignment: assignment.clone(),
                    ..Default::default()
                }],
                ..Default::default()
            },
        )
        .await;
    assert_eq!((synced.error_code, synced.assignment), (0, assignment));
    (first.member_id, joined.generation_id)
}

fn commit(group: &str, topic: &str, partition_index: i32, committed_offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    let partitions = vec![partition];
    OffsetCommitRequest {
        group_id: Str::from(group),
        topics: vec![OffsetCommitRequestTopic { name: Str::from(topic), partitions, ..Default::default() }],
        ..Default::default()
    }
}

async fn committed(connection: &mut Connection, group: &str, topic: &str, partition: i32) -> i64 {
    let topics = vec![OffsetFetchRequestTopics {
        name: Str::from(topic),
        partition_indexes: vec![partition],
        ..Default::default()
    }];
    let group =
        OffsetFetchRequestGroup { group_id: Str::from(group), topics: Some(topics), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let response = connection.call(8, &request).await;
    response.groups[0].topics[0].partitions[0].committed_offset
}

#[tokio::test]
async fn a_member_joins_commits_and_leaves() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 2, &[]).await;
    let (member_id, generation_id) = enter(&mut connection, "g").await;
    let heartbeat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.clone(),
        ..Default::default()
    };
    assert_eq!(connection.call(4, &heartbeat).await.error_code, 0);
    let request = OffsetCommitRequest {
        member_id: member_id.clone(),
        generation_id_or_member_epoch: generation_id,
        ..commit("g", "t", 1, 42)
    };
    let response = connection.call(8, &request).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&mut connection, "g", "t", 1).await, 42);
    assert_eq!(committed(&mut connection, "g", "t", 0).await, -1);

    let described =
        connection.call(5, &DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() }).await;
    let group = &described.groups[0];
    assert_eq!((&*group.group_state, &*group.protocol_type, group.members.len()), ("Stable", "consumer", 1));
    assert_eq!((&*group.members[0].client_id, &*group.members[0].client_host), ("test", "/127.0.0.1"));

    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![MemberIdentity { member_id, ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(connection.call(5, &leave).await.error_code, 0);
    let listed = connection.call(5, &ListGroupsRequest::default()).await;
    assert_eq!((&*listed.groups[0].group_id, &*listed.groups[0].group_state), ("g", "Empty"));
}

#[tokio::test]
async fn offsets_outlive_the_broker() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    for (group, offset) in [("a", 1), ("b", 2), ("c", 3)] {
        assert_eq!(find(&mut connection, group).await, 1);
        let response = connection.call(8, &commit(group, "t", 0, offset)).await;
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    }
    let broker = broker.restart().await;
    let mut connection = broker.connect().await;
    for (group, offset) in [("a", 1), ("b", 2), ("c", 3)] {
        assert_eq!(committed(&mut connection, group, "t", 0).await, offset);
    }
    let listed = connection.call(5, &ListGroupsRequest::default()).await;
    assert_eq!(listed.groups.len(), 3);
}

#[tokio::test]
async fn partitions_that_do_not_exist_hold_up_no_commit() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    find(&mut connection, "g").await;
    let mut request = commit("g", "t", 0, 5);
    request.topics[0]
        .partitions
        .push(OffsetCommitRequestPartition { partition_index: 9, ..Default::default() });
    request.topics.extend(commit("g", "nope", 0, 5).topics);
    let response = connection.call(8, &request).await;
    let mut codes: Vec<_> = response
        .topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|p| (topic.name.to_string(), p.partition_index, p.error_code))
        })
        .collect();
    codes.sort();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(
        codes,
        [("nope".to_owned(), 0, unknown), ("t".to_owned(), 0, 0), ("t".to_owned(), 9, unknown)]
    );
    assert_eq!(committed(&mut connection, "g", "t", 0).await, 5);
}

#[tokio::test]
async fn offsets_go_by_topic_id_in_version_ten() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let topic_id = connection.create_topic("t", 1, &[]).await;
    find(&mut connection, "g").await;
    let mut request = commit("g", "", 0, 7);
    request.topics[0].topic_id = topic_id;
    let response = connection.call(10, &request).await;
    assert_eq!((response.topics[0].topic_id, response.topics[0].partitions[0].error_code), (topic_id, 0));
    request.topics[0].topic_id = Uuid::from_u128(4);
    let response = connection.call(10, &request).await;
    assert_eq!(response.topics[0].partitions[0].error_code, ErrorCode::UnknownTopicId.code());
    let group = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let response =
        connection.call(10, &OffsetFetchRequest { groups: vec![group], ..Default::default() }).await;
    let topic = &response.groups[0].topics[0];
    assert_eq!((topic.topic_id, topic.partitions[0].committed_offset), (topic_id, 7));
}

#[tokio::test]
async fn every_version_of_offset_fetch_answers() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    find(&mut connection, "g").await;
    connection.call(8, &commit("g", "t", 0, 7)).await;
    for version in 1..=7 {
        let request = OffsetFetchRequest {
            group_id: "g".into(),
            topics: Some(vec![strata_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic {
                name: "t".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        };
        let response = connection.call(version, &request).await;
        assert_eq!(response.topics[0].partitions[0].committed_offset, 7, "v{version}");
    }
}

#[tokio::test]
async fn a_deleted_topics_offsets_are_forgotten() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    find(&mut connection, "g").await;
    connection.call(8, &commit("g", "t", 0, 7)).await;
    connection.call(5, &DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() }).await;
    let forgotten = async {
        while committed(&mut connection, "g", "t", 0).await != -1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, forgotten).await.expect("the offset is still there");
}

#[tokio::test]
async fn an_empty_group_can_be_deleted() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    find(&mut connection, "g").await;
    connection.call(8, &commit("g", "t", 0, 7)).await;
    let request = DeleteGroupsRequest { groups_names: vec!["g".into(), "nope".into()], ..Default::default() };
    let response = connection.call(2, &request).await;
    let mut codes: Vec<_> = response.results.iter().map(|r| (r.group_id.to_string(), r.error_code)).collect();
    codes.sort();
    assert_eq!(codes, [("g".to_owned(), 0), ("nope".to_owned(), ErrorCode::GroupIdNotFound.code())]);
    assert!(connection.call(5, &ListGroupsRequest::default()).await.groups.is_empty());
}

#[tokio::test]
async fn coordinators_of_other_kinds_are_refused_for_now() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    for key_type in [2, 9] {
        let coordinator_keys = vec!["x".into()];
        let request = FindCoordinatorRequest { coordinator_keys, key_type, ..Default::default() };
        let response = connection.call(4, &request).await;
        assert_eq!(response.coordinators[0].error_code, ErrorCode::InvalidRequest.code());
        assert!(response.coordinators[0].error_message.is_some());
    }
}

#[tokio::test]
async fn without_a_coordinator_requests_are_sent_to_find_one() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let heartbeat = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
    assert_eq!(connection.call(4, &heartbeat).await.error_code, ErrorCode::NotCoordinator.code());
    assert!(connection.call(5, &ListGroupsRequest::default()).await.groups.is_empty());
}
