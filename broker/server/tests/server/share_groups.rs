//! Share groups over the wire: from the first heartbeat to records, and what administrators do with groups.

use std::time::Duration;

use strata_protocol::Str;
use strata_protocol::messages::alter_share_group_offsets_request::{
    AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
};
use strata_protocol::messages::delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic;
use strata_protocol::messages::describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup;
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::share_fetch_request::{AcknowledgementBatch, FetchPartition, FetchTopic};
use strata_protocol::messages::{
    AlterShareGroupOffsetsRequest, DeleteGroupsRequest, DeleteShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequest, FindCoordinatorRequest, IncrementalAlterConfigsRequest,
    ListGroupsRequest, ShareFetchRequest, ShareGroupDescribeRequest, ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
};
use strata_types::ErrorCode;
use uuid::Uuid;

use crate::support::{Broker, Connection, PATIENCE, batch};

const MEMBER: &str = "2f0a1a5c-5d0b-4f53-8f0e-0d5f1a2b3c4d";

async fn heartbeat(
    connection: &mut Connection,
    epoch: i32,
    topics: Option<&[&str]>,
) -> ShareGroupHeartbeatResponse {
    let request = ShareGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: MEMBER.into(),
        member_epoch: epoch,
        subscribed_topic_names: topics.map(|topics| topics.iter().map(|topic| Str::from(*topic)).collect()),
        ..Default::default()
    };
    connection.call(1, &request).await
}

/// Joins, and sends heartbeats until there is something to read. Answers the member's epoch.
async fn join(connection: &mut Connection, topics: &[&str], topic_id: Uuid) -> i32 {
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    assert_eq!(connection.call(4, &find).await.coordinators[0].error_code, 0);
    let mut epoch = 0;
    let assigned = async {
        loop {
            let asked = if epoch == 0 { Some(topics) } else { None };
            let response = heartbeat(connection, epoch, asked).await;
            assert_eq!(response.error_code, 0, "{response:?}");
            epoch = response.member_epoch;
            let told = response.assignment.iter().flat_map(|told| &told.topic_partitions);
            if told.into_iter().any(|told| told.topic_id == topic_id && told.partitions == [0]) {
                return epoch;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, assigned).await.expect("the partition is assigned")
}

/// What the member acquires; it says that it accepts `accepted`.
async fn fetch(
    connection: &mut Connection,
    topic_id: Uuid,
    epoch: i32,
    accepted: &[(i64, i64)],
) -> Vec<(i64, i64)> {
    let acknowledgement_batches = accepted.iter().map(|&(first_offset, last_offset)| AcknowledgementBatch {
        first_offset,
        last_offset,
        acknowledge_types: vec![1],
        ..Default::default()
    });
    let partition =
        FetchPartition { acknowledgement_batches: acknowledgement_batches.collect(), ..Default::default() };
    let request = ShareFetchRequest {
        group_id: Some("g".into()),
        member_id: Some(MEMBER.into()),
        share_session_epoch: epoch,
        min_bytes: 1,
        max_bytes: 1 << 20,
        max_records: 500,
        batch_size: 500,
        topics: vec![FetchTopic { topic_id, partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    };
    let response = connection.call(1, &request).await;
    assert_eq!(response.error_code, 0);
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    let acquired = partitions.flat_map(|partition| {
        assert_eq!((partition.error_code, partition.acknowledge_error_code), (0, 0));
        partition.acquired_records.iter().map(|acquired| (acquired.first_offset, acquired.last_offset))
    });
    acquired.collect()
}

/// Start offset and lag of each partition of which something is known.
async fn offsets(connection: &mut Connection) -> Vec<(String, i64, i64)> {
    let group =
        DescribeShareGroupOffsetsRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let request = DescribeShareGroupOffsetsRequest { groups: vec![group], ..Default::default() };
    let response = connection.call(1, &request).await;
    assert_eq!(response.groups[0].error_code, 0, "{response:?}");
    let topics = response.groups[0].topics.iter();
    let partitions = topics.flat_map(|topic| {
        topic.partitions.iter().map(|p| (topic.topic_name.to_string(), p.start_offset, p.lag))
    });
    partitions.collect()
}

pub(super) async fn set(connection: &mut Connection, name: &str, value: &str) {
    let config = AlterableConfig { name: name.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: 32,
        resource_name: "g".into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(connection.call(1, &request).await.responses[0].error_code, 0);
}

async fn alter(connection: &mut Connection, topic: &str, start_offset: i64) -> (i16, i16) {
    let partition = AlterShareGroupOffsetsRequestPartition { start_offset, ..Default::default() };
    let topic = AlterShareGroupOffsetsRequestTopic {
        topic_name: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request =
        AlterShareGroupOffsetsRequest { group_id: "g".into(), topics: vec![topic], ..Default::default() };
    let response = connection.call(0, &request).await;
    let partition = response.responses.first().map_or(0, |topic| topic.partitions[0].error_code);
    (response.error_code, partition)
}

#[tokio::test]
async fn a_member_joins_reads_and_leaves_and_administrators_look_after_the_group() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let topic_id = connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["a", "b", "c"])).await;
    set(&mut connection, "share.auto.offset.reset", "earliest").await;
    let epoch = join(&mut connection, &["t"], topic_id).await;
    let stale = heartbeat(&mut connection, epoch + 5, None).await;
    assert_eq!(stale.error_code, ErrorCode::FencedMemberEpoch.code());

    assert_eq!(offsets(&mut connection).await, [("t".into(), -1, -1)]);
    assert_eq!(fetch(&mut connection, topic_id, 0, &[]).await, [(0, 2)]);
    assert_eq!(fetch(&mut connection, topic_id, 1, &[(0, 1)]).await, []);
    assert_eq!(offsets(&mut connection).await, [("t".into(), 0, 1)]);

    let described =
        ShareGroupDescribeRequest { group_ids: vec!["g".into(), "no".into()], ..Default::default() };
    let described = connection.call(1, &described).await;
    let group = &described.groups[0];
    assert_eq!((group.error_code, group.group_state.as_str(), group.members.len()), (0, "Stable", 1));
    assert_eq!((group.assignor_name.as_str(), group.members[0].member_epoch), ("simple", epoch));
    assert_eq!(group.members[0].assignment.topic_partitions[0].topic_name.as_str(), "t");
    assert_eq!(described.groups[1].error_code, ErrorCode::GroupIdNotFound.code());

    assert_eq!(alter(&mut connection, "t", 0).await.0, ErrorCode::NonEmptyGroup.code());
    assert_eq!(heartbeat(&mut connection, -1, None).await.error_code, 0);
    let listed = connection.call(5, &ListGroupsRequest::default()).await;
    let listed: Vec<_> =
        listed.groups.iter().map(|g| (g.group_state.to_string(), g.group_type.to_string())).collect();
    assert_eq!(listed, [("Empty".to_owned(), "share".to_owned())]);

    assert_eq!(alter(&mut connection, "no", 0).await, (0, ErrorCode::UnknownTopicOrPartition.code()));
    assert_eq!(alter(&mut connection, "t", 1).await, (0, 0));
    assert_eq!(offsets(&mut connection).await, [("t".into(), 1, 2)]);
    join(&mut connection, &["t"], topic_id).await;
    assert_eq!(fetch(&mut connection, topic_id, 0, &[]).await, [(1, 2)]);
    assert_eq!(heartbeat(&mut connection, -1, None).await.error_code, 0);

    let topics = vec![DeleteShareGroupOffsetsRequestTopic { topic_name: "t".into(), ..Default::default() }];
    let request = DeleteShareGroupOffsetsRequest { group_id: "g".into(), topics, ..Default::default() };
    let deleted = connection.call(0, &request).await;
    assert_eq!((deleted.error_code, deleted.responses[0].error_code), (0, 0));
    assert_eq!(offsets(&mut connection).await, []);
    join(&mut connection, &["t"], topic_id).await;
    assert_eq!(fetch(&mut connection, topic_id, 0, &[]).await, [(0, 2)], "from the beginning again");

    let delete = DeleteGroupsRequest { groups_names: vec!["g".into()], ..Default::default() };
    assert_eq!(connection.call(2, &delete).await.results[0].error_code, ErrorCode::NonEmptyGroup.code());
    assert_eq!(heartbeat(&mut connection, -1, None).await.error_code, 0);
    assert_eq!(connection.call(2, &delete).await.results[0].error_code, 0);
    let gone = heartbeat(&mut connection, 3, None).await;
    assert_eq!(gone.error_code, ErrorCode::GroupIdNotFound.code());
}

#[tokio::test]
async fn a_group_outlives_a_restart_with_what_it_has() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let topic_id = connection.create_topic("t", 1, &[]).await;
    let epoch = join(&mut connection, &["t"], topic_id).await;
    assert_eq!(fetch(&mut connection, topic_id, 0, &[]).await, []);
    connection.produce("t", 0, batch(&["a", "b"])).await;
    assert_eq!(fetch(&mut connection, topic_id, 1, &[]).await, [(0, 1)]);
    assert_eq!(fetch(&mut connection, topic_id, 2, &[(0, 0)]).await, []);
    let broker = broker.restart().await;
    let mut connection = broker.connect().await;
    let response = heartbeat(&mut connection, epoch, None).await;
    assert_eq!((response.error_code, response.member_epoch), (0, epoch), "{response:?}");
    assert_eq!(fetch(&mut connection, topic_id, 0, &[]).await, [(1, 1)]);
}
