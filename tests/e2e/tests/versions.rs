//! Every version of every API key that ApiVersions tells of is answered, with content: old clients speak the first ones,
//! new clients the last, and a field that a version lacks must not cost them the connection.

#[path = "versions/others.rs"]
mod others;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use strata_e2e::{Broker, BrokerOptions, Wire};
use strata_protocol::messages::*;
use strata_protocol::records::{BatchBuilder, BuilderOptions};
use strata_protocol::{Message, Records, Request, Str};
use uuid::Uuid;

const TOPIC: Str = Str::from_static("versions");
const TIMESTAMP: i64 = 1_700_000_000_000;
const MEMBER_ID_REQUIRED: i16 = 79;
const SECURITY_DISABLED: i16 = 54;
const TOPIC_RESOURCE: i8 = 2;
/// LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR.
const NOT_YET: [i16; 5] = [5, 6, 14, 15, 16];
/// From a start to leaders and coordinators.
const SETTLE_MAX: Duration = Duration::from_secs(20);

/// Asks in every version that both sides know, and remembers which keys were asked.
struct Asker {
    broker: Broker,
    wire: Wire,
    advertised: BTreeMap<i16, RangeInclusive<i16>>,
    asked: BTreeSet<i16>,
}

impl Asker {
    fn start() -> anyhow::Result<Self> {
        let broker = Broker::start(BrokerOptions::default().with("group.initial.rebalance.delay.ms=0"))?;
        let mut wire = broker.connect()?;
        let advertised = wire.api_versions()?.api_keys;
        let advertised =
            advertised.iter().map(|range| (range.api_key, range.min_version..=range.max_version)).collect();
        Ok(Self { broker, wire, advertised, asked: BTreeSet::new() })
    }

    fn versions<R: Request>(&mut self) -> RangeInclusive<i16> {
        self.asked.insert(R::KEY as i16);
        match self.advertised.get(&(R::KEY as i16)) {
            Some(range) => *range.start().max(R::VERSIONS.start())..=*range.end().min(R::VERSIONS.end()),
            None => RangeInclusive::new(1, 0), // no versions: the key is not there
        }
    }

    fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        self.wire.call(version, request).with_context(|| format!("{} of version {version}", R::KEY.name()))
    }

    /// Asks again as long as the answer is that a leader or coordinator is not there yet.
    fn settled<R: Request>(
        &mut self,
        version: i16,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> anyhow::Result<R::Response> {
        let began = Instant::now();
        loop {
            let response = self.call(version, request)?;
            if !NOT_YET.contains(&code(&response)) || began.elapsed() > SETTLE_MAX {
                return Ok(response);
            }
        }
    }

    /// Asks in each version; `code` picks the answer's error code, which must be zero.
    fn each<R: Request>(
        &mut self,
        request: impl Fn(i16) -> anyhow::Result<R>,
        code: impl Fn(&R::Response) -> i16,
    ) -> anyhow::Result<()> {
        for version in self.versions::<R>() {
            let response = self.settled(version, &request(version)?, &code)?;
            let code = code(&response);
            ensure!(
                code == 0,
                "{} of version {version} is answered with {code}: {response:?}",
                R::KEY.name()
            );
        }
        Ok(())
    }

    /// The nearest version to this one that there is.
    fn near<R: Request>(&mut self, version: i16) -> i16 {
        let versions = self.versions::<R>();
        version.clamp(*versions.start(), *versions.end())
    }
}

#[test]
fn every_version_that_is_advertised_is_answered() -> anyhow::Result<()> {
    let mut asker = Asker::start()?;
    let id = topics(&mut asker)?;
    records(&mut asker, id)?;
    settings(&mut asker)?;
    tools(&mut asker)?;
    groups(&mut asker, id)?;
    ends(&mut asker)?;
    others::ask(&mut asker)?;
    let left: Vec<_> = asker.advertised.keys().filter(|key| !asker.asked.contains(key)).collect();
    ensure!(left.is_empty(), "nothing here asks the keys {left:?}, which are advertised");
    asker.broker.stop()?;
    Ok(())
}

/// Creates the topics, and answers the id of the one that is used.
fn topics(asker: &mut Asker) -> anyhow::Result<Uuid> {
    use create_partitions_request::CreatePartitionsTopic;
    use create_topics_request::{CreatableTopic, CreatableTopicConfig};
    asker.each(
        |_| {
            Ok(ApiVersionsRequest {
                client_software_name: "e2e".into(),
                client_software_version: "1".into(),
                ..Default::default()
            })
        },
        |answer| answer.error_code,
    )?;
    let configs = vec![CreatableTopicConfig {
        name: "retention.ms".into(),
        value: Some("-1".into()),
        ..Default::default()
    }];
    let topic = |name: Str| CreatableTopic {
        name,
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.clone(),
        ..Default::default()
    };
    asker.each(
        |version| {
            Ok(CreateTopicsRequest {
                topics: vec![topic(format!("v{version}").into())],
                ..Default::default()
            })
        },
        |answer| answer.topics[0].error_code,
    )?;
    let created = asker.call(5, &CreateTopicsRequest { topics: vec![topic(TOPIC)], ..Default::default() })?;
    ensure!(created.topics[0].error_code == 0, "{created:?}");
    asker.each(
        |version| {
            let topic = CreatePartitionsTopic {
                name: "v5".into(),
                count: 2 + i32::from(version),
                assignments: None,
                ..Default::default()
            };
            Ok(CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() })
        },
        |answer| answer.results[0].error_code,
    )?;
    // Null is "all topics" from version 1 on; in version 0, an empty list is.
    let all = |version| Ok(MetadataRequest { topics: (version == 0).then(Vec::new), ..Default::default() });
    asker.each(all, |answer| answer.topics.iter().map(|topic| topic.error_code).max().unwrap_or(-1))?;
    let answer = asker.call(12, &all(12)?)?;
    let found = answer
        .topics
        .iter()
        .find(|topic| topic.name.as_ref() == Some(&TOPIC))
        .context("the topic is not there")?;
    asker.each(|_| Ok(DescribeClusterRequest::default()), |answer| answer.error_code)?;
    asker.each(
        |_| {
            let topic = describe_topic_partitions_request::TopicRequest { name: TOPIC, ..Default::default() };
            Ok(DescribeTopicPartitionsRequest { topics: vec![topic], ..Default::default() })
        },
        |answer| answer.topics[0].error_code,
    )?;
    Ok(found.topic_id)
}

fn records(asker: &mut Asker, id: Uuid) -> anyhow::Result<()> {
    use fetch_request::{FetchPartition, FetchTopic};
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    use produce_request::{PartitionProduceData, TopicProduceData};
    asker.each(
        |_| Ok(InitProducerIdRequest { transactional_id: None, ..Default::default() }),
        |answer| answer.error_code,
    )?;
    asker.each(
        |version| {
            let mut batch = BatchBuilder::new(BuilderOptions::default());
            batch.push_next(TIMESTAMP, Some(b"key"), Some(b"value"), &[])?;
            let records = Some(Records::Bytes(batch.build()?));
            let partition_data = vec![PartitionProduceData { index: 0, records, ..Default::default() }];
            let topic = match version {
                ..13 => TopicProduceData { name: TOPIC, partition_data, ..Default::default() },
                _ => TopicProduceData { topic_id: id, partition_data, ..Default::default() },
            };
            Ok(ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() })
        },
        |answer| answer.responses[0].partition_responses[0].error_code,
    )?;
    asker.each(
        |version| {
            let partitions = vec![FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() }];
            let topic = match version {
                ..13 => FetchTopic { topic: TOPIC, partitions, ..Default::default() },
                _ => FetchTopic { topic_id: id, partitions, ..Default::default() },
            };
            Ok(FetchRequest { topics: vec![topic], ..Default::default() })
        },
        |answer| answer.error_code.max(answer.responses[0].partitions[0].error_code),
    )?;
    for timestamp in [-2, -1, TIMESTAMP, TIMESTAMP + 1] {
        asker.each(
            |_| {
                let partition = ListOffsetsPartition { timestamp, ..Default::default() };
                let topic =
                    ListOffsetsTopic { name: TOPIC, partitions: vec![partition], ..Default::default() };
                Ok(ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() })
            },
            |answer| answer.topics[0].partitions[0].error_code,
        )?;
    }
    asker.each(
        |_| {
            let topic = OffsetForLeaderTopic {
                topic: TOPIC,
                partitions: vec![OffsetForLeaderPartition::default()],
                ..Default::default()
            };
            Ok(OffsetForLeaderEpochRequest { topics: vec![topic], ..Default::default() })
        },
        |answer| answer.topics[0].partitions[0].error_code,
    )?;
    asker.each(
        |_| {
            let topic = describe_producers_request::TopicRequest {
                name: TOPIC,
                partition_indexes: vec![0],
                ..Default::default()
            };
            Ok(DescribeProducersRequest { topics: vec![topic], ..Default::default() })
        },
        |answer| answer.topics[0].partitions[0].error_code,
    )
}

fn settings(asker: &mut Asker) -> anyhow::Result<()> {
    use describe_configs_request::DescribeConfigsResource;
    asker.each(
        |_| {
            let resource = DescribeConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: TOPIC,
                configuration_keys: None,
                ..Default::default()
            };
            Ok(DescribeConfigsRequest { resources: vec![resource], ..Default::default() })
        },
        |answer| answer.results[0].error_code,
    )?;
    asker.each(
        |_| {
            use alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let config = AlterableConfig {
                name: "retention.ms".into(),
                value: Some("-1".into()),
                ..Default::default()
            };
            let resource = AlterConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: TOPIC,
                configs: vec![config],
                ..Default::default()
            };
            Ok(AlterConfigsRequest { resources: vec![resource], ..Default::default() })
        },
        |answer| answer.responses[0].error_code,
    )?;
    asker.each(
        |_| {
            use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let config = AlterableConfig {
                name: "segment.bytes".into(),
                value: Some("2000000".into()),
                ..Default::default()
            };
            let resource = AlterConfigsResource {
                resource_type: TOPIC_RESOURCE,
                resource_name: TOPIC,
                configs: vec![config],
                ..Default::default()
            };
            Ok(IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() })
        },
        |answer| answer.responses[0].error_code,
    )?;
    asker.each(
        |_| Ok(DescribeLogDirsRequest { topics: None, ..Default::default() }),
        |answer| answer.results[0].error_code,
    )
}

/// What administrators' tools ask.
fn tools(asker: &mut Asker) -> anyhow::Result<()> {
    // Without an authorizer there are no ACLs, which has a code of its own.
    let without_authorizer = |code| if code == SECURITY_DISABLED { 0 } else { code };
    asker.each(
        |_| {
            Ok(DescribeAclsRequest {
                resource_type_filter: 1,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            })
        },
        |answer| without_authorizer(answer.error_code),
    )?;
    asker.each(
        |_| {
            let creation = create_acls_request::AclCreation {
                resource_type: TOPIC_RESOURCE,
                resource_name: TOPIC,
                principal: "User:e2e".into(),
                host: "*".into(),
                operation: 3,
                permission_type: 3,
                ..Default::default()
            };
            Ok(CreateAclsRequest { creations: vec![creation], ..Default::default() })
        },
        |answer| without_authorizer(answer.results[0].error_code),
    )?;
    asker.each(
        |_| {
            let filter = delete_acls_request::DeleteAclsFilter {
                resource_type_filter: TOPIC_RESOURCE,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            };
            Ok(DeleteAclsRequest { filters: vec![filter], ..Default::default() })
        },
        |answer| without_authorizer(answer.filter_results[0].error_code),
    )?;
    asker.each(
        |_| {
            let partitions = elect_leaders_request::TopicPartitions {
                topic: TOPIC,
                partitions: vec![0],
                ..Default::default()
            };
            Ok(ElectLeadersRequest { topic_partitions: Some(vec![partitions]), ..Default::default() })
        },
        |answer| answer.error_code,
    )?;
    asker.each(|_| Ok(ListPartitionReassignmentsRequest::default()), |answer| answer.error_code)?;
    asker.each(|_| Ok(DescribeClientQuotasRequest::default()), |answer| answer.error_code)?;
    asker.each(
        |_| {
            let partitions = vec![describe_quorum_request::PartitionData::default()];
            let topic_name = Str::from_static("__cluster_metadata");
            let topic = describe_quorum_request::TopicData { topic_name, partitions, ..Default::default() };
            Ok(DescribeQuorumRequest { topics: vec![topic], ..Default::default() })
        },
        |answer| answer.error_code.max(answer.topics[0].partitions[0].error_code),
    )?;
    asker.each(|_| Ok(ListConfigResourcesRequest::default()), |answer| answer.error_code)
}

/// For each version of JoinGroup, the life of a group, with the nearest versions of the other keys.
fn groups(asker: &mut Asker, id: Uuid) -> anyhow::Result<()> {
    for key_type in [0, 1] {
        asker.each(
            |version| {
                let key = Str::from("group");
                Ok(match version {
                    0 => FindCoordinatorRequest { key, ..Default::default() },
                    1..4 => FindCoordinatorRequest { key, key_type, ..Default::default() },
                    _ => {
                        FindCoordinatorRequest { coordinator_keys: vec![key], key_type, ..Default::default() }
                    }
                })
            },
            // There need not be a coordinator for transactions.
            |answer| match answer.coordinators.first() {
                _ if key_type == 1 => 0,
                Some(found) => found.error_code,
                None => answer.error_code,
            },
        )?;
    }
    for version in asker.versions::<JoinGroupRequest>() {
        let group = Str::from(format!("group-{version}"));
        let (member, generation) = join(asker, version, &group)?;
        let heartbeat = HeartbeatRequest {
            group_id: group.clone(),
            generation_id: generation,
            member_id: member.clone(),
            ..Default::default()
        };
        let near = asker.near::<HeartbeatRequest>(version);
        let code = asker.call(near, &heartbeat)?.error_code;
        ensure!(code == 0, "Heartbeat of version {near}: {code}");
        offsets(asker, version, &group, &member, generation, id)?;

        let near = asker.near::<DescribeGroupsRequest>(version);
        let described =
            asker.call(near, &DescribeGroupsRequest { groups: vec![group.clone()], ..Default::default() })?;
        ensure!(&*described.groups[0].group_state == "Stable", "{described:?}");
        let near = asker.near::<ListGroupsRequest>(version);
        let listed = asker.call(near, &ListGroupsRequest::default())?;
        ensure!(listed.groups.iter().any(|listed| listed.group_id == group), "{listed:?}");

        let near = asker.near::<LeaveGroupRequest>(version);
        let leave = match near {
            ..3 => LeaveGroupRequest { group_id: group.clone(), member_id: member, ..Default::default() },
            _ => {
                let members =
                    vec![leave_group_request::MemberIdentity { member_id: member, ..Default::default() }];
                LeaveGroupRequest { group_id: group.clone(), members, ..Default::default() }
            }
        };
        let code = asker.call(near, &leave)?.error_code;
        ensure!(code == 0, "LeaveGroup of version {near}: {code}");
        let near = asker.near::<DeleteGroupsRequest>(version);
        let deleted =
            asker.call(near, &DeleteGroupsRequest { groups_names: vec![group], ..Default::default() })?;
        ensure!(deleted.results[0].error_code == 0, "DeleteGroups of version {near}: {deleted:?}");
    }
    Ok(())
}

/// Joins, and syncs as the leader. Answers the member's id and generation.
fn join(asker: &mut Asker, version: i16, group: &Str) -> anyhow::Result<(Str, i32)> {
    let subscription = ConsumerProtocolSubscription { topics: vec![TOPIC], ..Default::default() };
    // What consumers send opens with the version that it is written in.
    let metadata = [&0_i16.to_be_bytes()[..], &subscription.to_bytes(0)?].concat();
    let protocols = vec![join_group_request::JoinGroupRequestProtocol {
        name: "range".into(),
        metadata: metadata.into(),
        ..Default::default()
    }];
    let mut request = JoinGroupRequest {
        group_id: group.clone(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols,
        ..Default::default()
    };
    let mut answer = asker.settled(version, &request, |answer| answer.error_code)?;
    if answer.error_code == MEMBER_ID_REQUIRED {
        request.member_id = answer.member_id;
        answer = asker.call(version, &request)?;
    }
    ensure!(
        answer.error_code == 0 && answer.leader == answer.member_id,
        "JoinGroup of version {version}: {answer:?}"
    );
    let near = asker.near::<SyncGroupRequest>(version);
    let assignment = sync_group_request::SyncGroupRequestAssignment {
        member_id: answer.member_id.clone(),
        assignment: Bytes::from_static(b"mine"),
        ..Default::default()
    };
    let sync = SyncGroupRequest {
        group_id: group.clone(),
        generation_id: answer.generation_id,
        member_id: answer.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![assignment],
        ..Default::default()
    };
    let synced = asker.call(near, &sync)?;
    ensure!(synced.error_code == 0 && synced.assignment == "mine", "SyncGroup of version {near}: {synced:?}");
    Ok((answer.member_id, answer.generation_id))
}

/// Commits in each version, and fetches what is committed.
fn offsets(
    asker: &mut Asker,
    version: i16,
    group: &Str,
    member: &Str,
    generation: i32,
    id: Uuid,
) -> anyhow::Result<()> {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics};
    let committing = asker.near::<OffsetCommitRequest>(version + 1);
    let partitions = vec![OffsetCommitRequestPartition {
        committed_offset: 1,
        committed_metadata: Some("e2e".into()),
        ..Default::default()
    }];
    let topic = match committing {
        ..10 => OffsetCommitRequestTopic { name: TOPIC, partitions, ..Default::default() },
        _ => OffsetCommitRequestTopic { topic_id: id, partitions, ..Default::default() },
    };
    let commit = OffsetCommitRequest {
        group_id: group.clone(),
        generation_id_or_member_epoch: generation,
        member_id: member.clone(),
        topics: vec![topic],
        ..Default::default()
    };
    let answer = asker.call(committing, &commit)?;
    ensure!(
        answer.topics[0].partitions[0].error_code == 0,
        "OffsetCommit of version {committing}: {answer:?}"
    );

    let near = asker.near::<OffsetFetchRequest>(version + 1);
    let asked = OffsetFetchRequestTopic { name: TOPIC, partition_indexes: vec![0], ..Default::default() };
    let fetch = match near {
        ..8 => {
            OffsetFetchRequest { group_id: group.clone(), topics: Some(vec![asked]), ..Default::default() }
        }
        _ => {
            let (name, topic_id) = if near < 10 { (TOPIC, Uuid::nil()) } else { (Str::default(), id) };
            let topics = Some(vec![OffsetFetchRequestTopics {
                name,
                topic_id,
                partition_indexes: vec![0],
                ..Default::default()
            }]);
            let groups =
                vec![OffsetFetchRequestGroup { group_id: group.clone(), topics, ..Default::default() }];
            OffsetFetchRequest { groups, topics: Some(vec![]), ..Default::default() }
        }
    };
    let answer = asker.call(near, &fetch)?;
    let committed = match near {
        ..8 => answer.topics[0].partitions[0].committed_offset,
        _ => answer.groups[0].topics[0].partitions[0].committed_offset,
    };
    ensure!(committed == 1, "OffsetFetch of version {near}: {answer:?}");
    Ok(())
}

fn ends(asker: &mut Asker) -> anyhow::Result<()> {
    asker.each(|_| Ok(OffsetDeleteRequest { group_id: "nobody".into(), ..Default::default() }), |_| 0)?;
    asker.each(
        |_| {
            use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
            let topic = DeleteRecordsTopic {
                name: TOPIC,
                partitions: vec![DeleteRecordsPartition { offset: 1, ..Default::default() }],
                ..Default::default()
            };
            Ok(DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() })
        },
        |answer| answer.topics[0].partitions[0].error_code,
    )?;
    asker.each(
        |version| {
            let name = Str::from(format!("v{}", version.max(2)));
            Ok(match version {
                ..6 => {
                    DeleteTopicsRequest { topic_names: vec![name], timeout_ms: 10_000, ..Default::default() }
                }
                _ => {
                    let topic =
                        delete_topics_request::DeleteTopicState { name: Some(name), ..Default::default() };
                    DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() }
                }
            })
        },
        // Versions 1 and 2 name the same topic.
        |answer| if answer.responses[0].error_code == 3 { 0 } else { answer.responses[0].error_code },
    )
}
