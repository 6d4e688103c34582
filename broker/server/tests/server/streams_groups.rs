//! Streams groups over the wire (KIP-1071): StreamsGroupHeartbeat and StreamsGroupDescribe in all their versions.

use std::time::Duration;

use strata_protocol::messages::streams_group_heartbeat_request::{Subtopology, TaskIds, TopicInfo, Topology};
use strata_protocol::messages::{
    DeleteGroupsRequest, FindCoordinatorRequest, ListGroupsRequest, StreamsGroupDescribeRequest,
    StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse, streams_group_describe_response,
};
use strata_types::ErrorCode;

use crate::support::{Broker, Connection, PATIENCE};

const GROUP: &str = "word-count";
const MEMBER: &str = "7f0a1a5c-5d0b-4f53-8f0e-0d5f1a2b3c4d";
const CHANGELOG: &str = "word-count-counts-changelog";
const PROMPT: &[&str] =
    &["group.streams.initial.rebalance.delay.ms=0", "group.streams.assignment.interval.ms=0"];

/// What an application says when it joins.
fn join(source: &str) -> StreamsGroupHeartbeatRequest {
    let changelog = TopicInfo { name: CHANGELOG.into(), ..Default::default() };
    let subtopology = Subtopology {
        subtopology_id: "0".into(),
        source_topics: vec![source.into()],
        state_changelog_topics: vec![changelog],
        ..Default::default()
    };
    StreamsGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: MEMBER.into(),
        rebalance_timeout_ms: 60_000,
        topology: Some(Topology { epoch: 0, subtopologies: vec![subtopology], ..Default::default() }),
        active_tasks: Some(Vec::new()),
        standby_tasks: Some(Vec::new()),
        warmup_tasks: Some(Vec::new()),
        process_id: Some("p".into()),
        ..Default::default()
    }
}

fn beat(epoch: i32) -> StreamsGroupHeartbeatRequest {
    StreamsGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: MEMBER.into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

async fn find(connection: &mut Connection) {
    let find = FindCoordinatorRequest { coordinator_keys: vec![GROUP.into()], ..Default::default() };
    assert_eq!(connection.call(4, &find).await.coordinators[0].error_code, 0);
}

/// Joins, and sends heartbeats until it has its tasks.
async fn run(connection: &mut Connection, version: i16) -> StreamsGroupHeartbeatResponse {
    let mut response = connection.call(version, &join("lines")).await;
    let assigned = async {
        loop {
            assert_eq!(response.error_code, 0, "{response:?}");
            if response.active_tasks.as_ref().is_some_and(|tasks| !tasks.is_empty()) {
                return response;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            response = connection.call(version, &beat(response.member_epoch)).await;
        }
    };
    tokio::time::timeout(PATIENCE, assigned).await.expect("the tasks are assigned")
}

async fn describe(
    connection: &mut Connection,
    version: i16,
    group: &str,
) -> streams_group_describe_response::DescribedGroup {
    let request = StreamsGroupDescribeRequest {
        group_ids: vec![group.into()],
        include_authorized_operations: true,
        ..Default::default()
    };
    connection.call(version, &request).await.groups.remove(0)
}

#[tokio::test]
async fn an_application_joins_gets_its_topics_and_tasks_and_is_described() {
    for version in 0..=1 {
        let broker = Broker::with(PROMPT).await;
        let mut connection = broker.connect().await;
        connection.create_topic("lines", 2, &[]).await;
        find(&mut connection).await;
        let assigned = run(&mut connection, version).await;
        let tasks = assigned.active_tasks.expect("tasks");
        assert_eq!((tasks.len(), &*tasks[0].subtopology_id, &tasks[0].partitions[..]), (1, "0", &[0, 1][..]));
        assert_eq!(assigned.acceptable_recovery_lag, if version == 0 { -1 } else { 10_000 });
        assert!(assigned.heartbeat_interval_ms > 0 && assigned.member_epoch > 0);
        assert!(connection.topic_names().await.iter().any(|name| name == CHANGELOG));

        let has = TaskIds { subtopology_id: "0".into(), partitions: vec![0, 1], ..Default::default() };
        let owns = StreamsGroupHeartbeatRequest {
            active_tasks: Some(vec![has]),
            standby_tasks: Some(Vec::new()),
            warmup_tasks: Some(Vec::new()),
            ..beat(assigned.member_epoch)
        };
        assert_eq!(connection.call(version, &owns).await.error_code, 0);
        let group = describe(&mut connection, version, GROUP).await;
        assert_eq!((group.error_code, &*group.group_state), (0, "Stable"), "{group:?}");
        assert!(group.authorized_operations != i32::MIN);
        let topology = group.topology.expect("a topology");
        let subtopology = &topology.subtopologies.as_ref().expect("subtopologies")[0];
        assert_eq!(subtopology.source_topics, ["lines"]);
        assert_eq!(subtopology.state_changelog_topics[0].partitions, 2);
        let [member] = group.members.as_slice() else { panic!("{:?}", group.members) };
        assert_eq!((&*member.member_id, &*member.process_id, &*member.client_id), (MEMBER, "p", "test"));
        assert_eq!(member.assignment.active_tasks[0].partitions, [0, 1]);
    }
}

#[tokio::test]
async fn an_application_leaves_and_its_group_can_be_deleted() {
    let broker = Broker::with(PROMPT).await;
    let mut connection = broker.connect().await;
    connection.create_topic("lines", 1, &[]).await;
    find(&mut connection).await;
    run(&mut connection, 1).await;
    let listed = connection.call(5, &ListGroupsRequest::default()).await;
    assert_eq!((&*listed.groups[0].group_id, &*listed.groups[0].group_type), (GROUP, "streams"));
    let delete = DeleteGroupsRequest { groups_names: vec![GROUP.into()], ..Default::default() };
    let refused = connection.call(2, &delete).await;
    assert_eq!(refused.results[0].error_code, ErrorCode::NonEmptyGroup.code());
    let left = connection.call(1, &beat(-1)).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    let group = describe(&mut connection, 1, GROUP).await;
    assert_eq!((&*group.group_state, group.members.len()), ("Empty", 0));
    assert_eq!(connection.call(2, &delete).await.results[0].error_code, 0);
    assert_eq!(describe(&mut connection, 1, GROUP).await.error_code, ErrorCode::GroupIdNotFound.code());
}

#[tokio::test]
async fn what_is_wrong_with_a_heartbeat_is_said_in_codes_of_its_own() {
    let broker = Broker::with(PROMPT).await;
    let mut connection = broker.connect().await;
    connection.create_topic("lines", 1, &[]).await;
    find(&mut connection).await;
    let code = |response: StreamsGroupHeartbeatResponse| ErrorCode::from_code(response.error_code).unwrap();
    let internal = connection.call(1, &join("__consumer_offsets")).await;
    assert_eq!(code(internal), ErrorCode::StreamsInvalidTopology);
    assert_eq!(code(connection.call(1, &join("what is this")).await), ErrorCode::StreamsInvalidTopology);
    assert_eq!(code(connection.call(1, &beat(3)).await), ErrorCode::GroupIdNotFound);
    let without = StreamsGroupHeartbeatRequest { topology: None, ..join("lines") };
    assert_eq!(code(connection.call(1, &without).await), ErrorCode::InvalidRequest);
    let missing = connection.call(1, &join("nowhere")).await;
    let status = missing.status.as_ref().and_then(|all| all.first()).expect("a status");
    assert_eq!((missing.error_code, status.status_code), (0, 1), "{missing:?}");
    assert_eq!(code(connection.call(1, &beat(missing.member_epoch + 7)).await), ErrorCode::FencedMemberEpoch);
    assert_eq!(describe(&mut connection, 0, "").await.error_code, ErrorCode::InvalidGroupId.code());
    assert_eq!(describe(&mut connection, 0, "unknown").await.error_code, ErrorCode::GroupIdNotFound.code());
}
