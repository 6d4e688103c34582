//! Every version of every API key that is advertised gets an answer that its own version can carry.

use std::ops::RangeInclusive;

use strata_protocol::messages::api_versions_response::ApiVersion;
use strata_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use strata_protocol::messages::*;
use strata_protocol::{ApiKey, Request, Str};

use crate::support::{Broker, Connection, batch, create_topic, fetch, produce};

/// Sends `request` in every version of `versions` that can carry it, and expects an answer to each.
async fn all<R: Request>(connection: &mut Connection, versions: &[ApiVersion], request: impl Fn(i16) -> R) {
    let advertised = versions.iter().find(|api| api.api_key == R::KEY as i16);
    let advertised: RangeInclusive<i16> = advertised.map(|api| api.min_version..=api.max_version).unwrap();
    for version in advertised.filter(|version| R::VERSIONS.contains(version)) {
        connection.call(version, &request(version)).await;
    }
}

/// A topic, partition 0 of it and one that is not there, and a group.
const TOPIC: Str = Str::from_static("t");
const GROUP: Str = Str::from_static("g");

#[tokio::test]
async fn every_advertised_version_is_answered() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let topic_id = connection.create_topic("t", 1, &[]).await;
    let c = &mut connection;
    let versions = c.call(0, &ApiVersionsRequest::default()).await.api_keys;
    let v = &versions;

    all(c, v, |_| produce("t", 0, -1, batch(&["x"]))).await;
    all(c, v, |_| fetch("t", 0, 0, 0)).await;
    all(c, v, |_| fetch("nope", 0, 0, 0)).await;
    for timestamp in [-1, -2, 0] {
        let partition = list_offsets_request::ListOffsetsPartition { timestamp, ..Default::default() };
        let topic = list_offsets_request::ListOffsetsTopic {
            name: TOPIC,
            partitions: vec![partition],
            ..Default::default()
        };
        all(c, v, |_| ListOffsetsRequest { topics: vec![topic.clone()], ..Default::default() }).await;
    }
    all(c, v, |version| MetadataRequest {
        topics: Some(vec![metadata_request::MetadataRequestTopic {
            name: Some("nope".into()),
            ..Default::default()
        }]),
        include_topic_authorized_operations: version >= 8,
        allow_auto_topic_creation: version < 4,
        ..Default::default()
    })
    .await;
    all(c, v, |version| FindCoordinatorRequest {
        key: if version < 4 { GROUP } else { Str::default() },
        coordinator_keys: if version < 4 { Vec::new() } else { vec![GROUP] },
        ..Default::default()
    })
    .await;
    all(c, v, |version| FindCoordinatorRequest { key_type: i8::from(version > 0), ..Default::default() })
        .await;
    topics(c, v).await;
    groups(c, v, topic_id).await;
    cluster(c, v).await;
    // What is not asked here is asked elsewhere, in its only version.
    let asked_elsewhere = [
        ApiKey::DescribeTopicPartitions,
        ApiKey::DescribeProducers,
        ApiKey::OffsetDelete,
        ApiKey::ListPartitionReassignments,
    ];
    assert_eq!(versions.len(), 33 + asked_elsewhere.len());
}

async fn topics(c: &mut Connection, v: &[ApiVersion]) {
    let resource = |resource_type, name: &str| describe_configs_request::DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: None,
        ..Default::default()
    };
    all(c, v, |version| ApiVersionsRequest {
        client_software_name: if version < 3 { Str::default() } else { "test".into() },
        client_software_version: if version < 3 { Str::default() } else { "1".into() },
        ..Default::default()
    })
    .await;
    all(c, v, |version| create_topic(&format!("made-{version}"), 1, &[])).await;
    all(c, v, |version| DeleteTopicsRequest {
        topic_names: if version < 6 { vec!["nope".into()] } else { Vec::new() },
        ..Default::default()
    })
    .await;
    let partitions =
        vec![delete_records_request::DeleteRecordsPartition { offset: -1, ..Default::default() }];
    let topic = delete_records_request::DeleteRecordsTopic { name: TOPIC, partitions, ..Default::default() };
    all(c, v, |_| DeleteRecordsRequest { topics: vec![topic.clone()], ..Default::default() }).await;
    all(c, v, |_| InitProducerIdRequest { transactional_id: None, ..Default::default() }).await;
    all(c, v, |_| InitProducerIdRequest { transactional_id: Some("x".into()), ..Default::default() }).await;
    let partitions = vec![offset_for_leader_epoch_request::OffsetForLeaderPartition::default()];
    let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic {
        topic: TOPIC,
        partitions,
        ..Default::default()
    };
    all(c, v, |_| OffsetForLeaderEpochRequest { topics: vec![topic.clone()], ..Default::default() }).await;
    all(c, v, |version| DescribeConfigsRequest {
        resources: vec![resource(2, "t"), resource(4, "1"), resource(2, "nope")],
        include_synonyms: true,
        include_documentation: version >= 3,
        ..Default::default()
    })
    .await;
    let change = alter_configs_request::AlterConfigsResource {
        resource_type: 2,
        resource_name: TOPIC,
        ..Default::default()
    };
    all(c, v, |_| AlterConfigsRequest { resources: vec![change.clone()], ..Default::default() }).await;
    all(c, v, |_| DescribeLogDirsRequest { topics: None, ..Default::default() }).await;
    let more = create_partitions_request::CreatePartitionsTopic {
        name: TOPIC,
        count: 1,
        assignments: None,
        ..Default::default()
    };
    all(c, v, |_| CreatePartitionsRequest { topics: vec![more.clone()], ..Default::default() }).await;
    let change = incremental_alter_configs_request::AlterConfigsResource {
        resource_type: 2,
        resource_name: "nope".into(),
        ..Default::default()
    };
    all(c, v, |_| IncrementalAlterConfigsRequest { resources: vec![change.clone()], ..Default::default() })
        .await;
    all(c, v, |version| DescribeClusterRequest {
        include_fenced_brokers: version >= 2,
        ..Default::default()
    })
    .await;
}

async fn groups(c: &mut Connection, v: &[ApiVersion], topic_id: uuid::Uuid) {
    let commit = |version: i16| OffsetCommitRequest {
        group_id: GROUP,
        topics: vec![offset_commit_request::OffsetCommitRequestTopic {
            name: TOPIC,
            topic_id: if version >= 10 { topic_id } else { uuid::Uuid::nil() },
            partitions: vec![offset_commit_request::OffsetCommitRequestPartition::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    all(c, v, commit).await;
    all(c, v, |version| {
        let groups = vec![offset_fetch_request::OffsetFetchRequestGroup {
            group_id: GROUP,
            topics: None,
            ..Default::default()
        }];
        match version {
            8.. => OffsetFetchRequest { groups, ..Default::default() },
            2.. => OffsetFetchRequest { group_id: GROUP, topics: None, ..Default::default() },
            _ => OffsetFetchRequest { group_id: GROUP, ..Default::default() },
        }
    })
    .await;
    // A group of its own for each: one member must not wait for another.
    let join = |version: i16| JoinGroupRequest {
        group_id: format!("members-{version}").into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 100,
        protocol_type: "consumer".into(),
        protocols: vec![join_group_request::JoinGroupRequestProtocol {
            name: "range".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    all(c, v, join).await;
    all(c, v, |_| SyncGroupRequest { group_id: GROUP, member_id: "x".into(), ..Default::default() }).await;
    all(c, v, |_| HeartbeatRequest { group_id: GROUP, member_id: "x".into(), ..Default::default() }).await;
    all(c, v, |version| LeaveGroupRequest {
        group_id: GROUP,
        member_id: if version < 3 { "x".into() } else { Str::default() },
        members: match version {
            3.. => vec![leave_group_request::MemberIdentity { member_id: "x".into(), ..Default::default() }],
            _ => Vec::new(),
        },
        ..Default::default()
    })
    .await;
    all(c, v, |_| DescribeGroupsRequest { groups: vec![GROUP, "nope".into()], ..Default::default() }).await;
    all(c, v, |_| ListGroupsRequest::default()).await;
    all(c, v, |_| DeleteGroupsRequest { groups_names: vec!["nope".into()], ..Default::default() }).await;
}

async fn cluster(c: &mut Connection, v: &[ApiVersion]) {
    all(c, v, |_| DescribeAclsRequest::default()).await;
    let creations = vec![create_acls_request::AclCreation::default()];
    all(c, v, |_| CreateAclsRequest { creations: creations.clone(), ..Default::default() }).await;
    let filters = vec![delete_acls_request::DeleteAclsFilter::default()];
    all(c, v, |_| DeleteAclsRequest { filters: filters.clone(), ..Default::default() }).await;
    all(c, v, |_| ElectLeadersRequest { topic_partitions: None, ..Default::default() }).await;
    all(c, v, |_| DescribeClientQuotasRequest::default()).await;
    let partitions = vec![describe_quorum_request::PartitionData::default()];
    let topic_name = Str::from_static("__cluster_metadata");
    let topics = vec![describe_quorum_request::TopicData { topic_name, partitions, ..Default::default() }];
    all(c, v, |_| DescribeQuorumRequest { topics: topics.clone(), ..Default::default() }).await;
    all(c, v, |_| ListConfigResourcesRequest::default()).await;
}
