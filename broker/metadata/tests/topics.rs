//! What clients see when they create, grow and delete topics. The texts are those of Apache Kafka 4.3.

mod cluster;

use cluster::{Cluster, error, topic};
use strata_metadata::controller;
use strata_protocol::Str;
use strata_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use strata_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use strata_protocol::messages::delete_topics_request::DeleteTopicState;
use strata_protocol::messages::{CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};
use strata_types::ErrorCode;
use uuid::Uuid;

type Outcome = (i16, Option<Str>);

const OK: Outcome = (0, None);

fn created(cluster: &mut Cluster, topic: CreatableTopic) -> Outcome {
    let result = cluster.create(topic);
    (result.error_code, result.error_message)
}

fn assigned(name: &str, assignment: &[&[i32]]) -> CreatableTopic {
    let assign = |(partition_index, brokers): (i32, &&[i32])| CreatableReplicaAssignment {
        partition_index,
        broker_ids: brokers.to_vec(),
        ..Default::default()
    };
    CreatableTopic { assignments: (0..).zip(assignment).map(assign).collect(), ..topic(name, -1, -1) }
}

#[test]
fn a_created_topic_has_its_partitions_and_its_configs() {
    let mut cluster = Cluster::of(3);
    let config = |name: &str, value: &str| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let wanted = CreatableTopic { configs: vec![config("retention.ms", "5")], ..topic("t", 4, 2) };
    let result = cluster.create(wanted);
    assert_eq!((result.error_code, result.error_message), OK);
    assert_eq!((result.num_partitions, result.replication_factor), (4, 2));
    let configs = result.configs.expect("version 5 and later tell them");
    assert_eq!((&*configs[0].name, configs[0].value.as_deref()), ("retention.ms", Some("5")));

    let topic = cluster.image.topic("t").expect("created");
    assert_eq!(topic.id.0, result.topic_id);
    assert_eq!(topic.partitions.len(), 4);
    for (_, partition) in topic.partitions() {
        assert_eq!(partition.replicas.len(), 2);
        assert_eq!(partition.isr, partition.replicas);
        assert_eq!(partition.leader, partition.replicas.first().copied());
        assert!(!partition.directories.contains(&Uuid::nil()));
    }
    assert_eq!(cluster.image.topic_config("t").get("retention.ms").map(Str::as_str), Some("5"));
}

#[test]
fn minus_one_takes_the_defaults() {
    let mut cluster = Cluster::of(1);
    let result = cluster.create(topic("t", -1, -1));
    assert_eq!((result.num_partitions, result.replication_factor), (2, 1));
}

#[test]
fn numbers_below_one_are_refused() {
    let mut cluster = Cluster::of(1);
    for count in [0, -2, i32::MIN] {
        let expected = error(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        );
        assert_eq!(created(&mut cluster, topic("t", count, 1)), expected);
    }
    for factor in [0, -2, i16::MIN] {
        let expected = error(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        );
        assert_eq!(created(&mut cluster, topic("t", 1, factor)), expected);
    }
}

#[test]
fn more_replicas_than_brokers_are_refused() {
    let mut cluster = Cluster::of(1);
    let expected = error(
        ErrorCode::InvalidReplicationFactor,
        "Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only \
         1 broker(s) are registered or some brokers have all their log directories cordoned.",
    );
    assert_eq!(created(&mut cluster, topic("t", 1, 3)), expected);
}

#[test]
fn names_are_checked_as_kafka_checks_them() {
    let mut cluster = Cluster::of(1);
    cluster.create_ok("a.b", 1, 1);
    let long = "x".repeat(250);
    for (name, code, message) in [
        ("", ErrorCode::InvalidTopicException, "Topic name is invalid: the empty string is not allowed"),
        (".", ErrorCode::InvalidTopicException, "Topic name is invalid: '.' is not allowed"),
        ("..", ErrorCode::InvalidTopicException, "Topic name is invalid: '..' is not allowed"),
        (
            "a/b",
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            &long,
            ErrorCode::InvalidTopicException,
            &format!(
                "Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
            ),
        ),
        ("a_b", ErrorCode::InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b"),
        ("a.b", ErrorCode::TopicAlreadyExists, "Topic 'a.b' already exists."),
        (
            "__cluster_metadata",
            ErrorCode::InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
    ] {
        assert_eq!(created(&mut cluster, topic(name, 1, 1)), error(code, message), "{name:?}");
    }
}

#[test]
fn a_name_that_occurs_twice_creates_nothing() {
    let mut cluster = Cluster::of(1);
    let topics = vec![topic("twice", 1, 1), topic("once", 1, 1), topic("twice", 2, 1)];
    let response = cluster.create_topics(&CreateTopicsRequest { topics, ..Default::default() });
    let outcomes: Vec<_> = response.topics.iter().map(|t| (&*t.name, t.error_code)).collect();
    assert_eq!(outcomes, [("twice", ErrorCode::InvalidRequest.code()), ("once", 0)]);
    assert_eq!(cluster.image.topics_count(), 1);
}

#[test]
fn validating_only_answers_alike_and_changes_nothing() {
    let mut cluster = Cluster::of(1);
    let before = cluster.log.len();
    let topics = vec![topic("t", 3, 1)];
    let response =
        cluster.create_topics(&CreateTopicsRequest { topics, validate_only: true, ..Default::default() });
    assert_eq!((response.topics[0].error_code, response.topics[0].num_partitions), (0, 3));
    assert_eq!(cluster.log.len(), before);
}

#[test]
fn a_request_for_too_many_partitions_is_refused_as_a_whole() {
    let mut cluster = Cluster::of(1);
    let topics = vec![topic("big", i32::MAX, 1), topic("small", 1, 1)];
    let response = cluster.create_topics(&CreateTopicsRequest { topics, ..Default::default() });
    for result in response.topics {
        let expected =
            error(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.");
        assert_eq!((result.error_code, result.error_message), expected);
    }
    assert_eq!(cluster.image.topics_count(), 0);
}

#[test]
fn configs_that_the_rules_refuse_create_nothing() {
    let mut cluster = Cluster::of(1);
    let config = |name: &str, value: Option<&str>| CreatableTopicConfig {
        name: name.into(),
        value: value.map(Str::from),
        ..Default::default()
    };
    let bad = CreatableTopic { configs: vec![config("bad", Some("1"))], ..topic("t", 1, 1) };
    let expected = error(ErrorCode::InvalidConfig, "Unknown topic config name: bad");
    assert_eq!(created(&mut cluster, bad), expected);
    let null = CreatableTopic { configs: vec![config("x", None), config("y", None)], ..topic("t", 1, 1) };
    let expected = error(ErrorCode::InvalidConfig, "Null value not supported for topic configs: x,y");
    assert_eq!(created(&mut cluster, null), expected);
    assert_eq!(cluster.image.topics_count(), 0);
}

#[test]
fn a_manual_assignment_is_taken_as_it_is() {
    let mut cluster = Cluster::of(3);
    assert_eq!(created(&mut cluster, assigned("t", &[&[3, 1], &[2, 3]])), OK);
    let topic = cluster.image.topic("t").expect("created");
    let replicas: Vec<_> = topic.partitions().map(|(_, partition)| partition.replicas.clone()).collect();
    assert_eq!(replicas, [[3, 1], [2, 3]]);
}

#[test]
fn a_manual_assignment_that_cannot_be_is_refused() {
    let mut cluster = Cluster::of(2);
    let refused = |message| error(ErrorCode::InvalidReplicaAssignment, message);
    for (assignment, message) in [
        (&[&[][..]][..], "The manual partition assignment includes an empty replica list."),
        (&[&[1, 9]], "The manual partition assignment includes broker 9, but no such broker is registered."),
        (&[&[1, 1]], "The manual partition assignment includes the broker 1 more than once."),
        (
            &[&[1], &[1, 2]],
            "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with \
             previous partitions, which have 1 replica(s).",
        ),
    ] {
        assert_eq!(created(&mut cluster, assigned("t", assignment)), refused(message));
    }
    let mut gap = assigned("t", &[&[1], &[1]]);
    gap.assignments[1].partition_index = 2;
    let message = "partitions should be a consecutive 0-based integer sequence";
    assert_eq!(created(&mut cluster, gap), refused(message));
    let mut twice = assigned("t", &[&[1], &[1]]);
    twice.assignments[1].partition_index = 0;
    let message = "Found multiple manual partition assignments for partition 0";
    assert_eq!(created(&mut cluster, twice), refused(message));
    cluster.heartbeat(2, true, false);
    let message = "All brokers specified in the manual partition assignment for partition 0 are fenced or in \
                   controlled shutdown.";
    assert_eq!(created(&mut cluster, assigned("t", &[&[2]])), refused(message));
    let both = CreatableTopic { replication_factor: 1, ..assigned("t", &[&[1]]) };
    let message = "A manual partition assignment was specified, but replication factor was not set to -1.";
    assert_eq!(created(&mut cluster, both), error(ErrorCode::InvalidRequest, message));
}

#[test]
fn leaders_and_replicas_are_spread_over_racks_and_brokers() {
    let mut cluster = Cluster::of(4);
    cluster.create_ok("t", 40, 2);
    let topic = cluster.image.topic("t").expect("created");
    for broker in 1..=4 {
        let led = topic.partitions().filter(|(_, p)| p.leader == Some(broker)).count();
        let held = topic.partitions().filter(|(_, p)| p.replicas.contains(&broker)).count();
        assert_eq!((led, held), (10, 20), "broker {broker}");
    }
    // Odd and even brokers stand in different racks.
    assert!(topic.partitions().all(|(_, p)| p.replicas[0] % 2 != p.replicas[1] % 2));
}

fn deleted(
    cluster: &mut Cluster,
    request: &DeleteTopicsRequest,
) -> Vec<(Option<Str>, Uuid, i16, Option<Str>)> {
    let decision = controller::delete_topics(&cluster.image, request);
    let responses = cluster.commit(decision).responses;
    responses.into_iter().map(|r| (r.name, r.topic_id, r.error_code, r.error_message)).collect()
}

fn by_name(names: &[&str]) -> DeleteTopicsRequest {
    let topics = names.iter().map(|&name| DeleteTopicState { name: Some(name.into()), ..Default::default() });
    DeleteTopicsRequest { topics: topics.collect(), ..Default::default() }
}

fn by_id(id: Uuid) -> DeleteTopicState {
    DeleteTopicState { name: None, topic_id: id, ..Default::default() }
}

#[test]
fn a_topic_is_deleted_by_name_by_id_and_by_the_old_list_of_names() {
    let mut cluster = Cluster::of(1);
    let ids: Vec<Uuid> = ["a", "b", "c"].iter().map(|name| cluster.create_ok(name, 1, 1)).collect();
    let ok = |name: &str, id| vec![(Some(Str::from(name)), id, 0, None)];
    assert_eq!(deleted(&mut cluster, &by_name(&["a"])), ok("a", ids[0]));
    let request = DeleteTopicsRequest { topics: vec![by_id(ids[1])], ..Default::default() };
    assert_eq!(deleted(&mut cluster, &request), ok("b", ids[1]));
    let request = DeleteTopicsRequest { topic_names: vec!["c".into()], ..Default::default() };
    assert_eq!(deleted(&mut cluster, &request), ok("c", ids[2]));
    assert_eq!(cluster.image.topics_count(), 0);
}

#[test]
fn what_is_not_there_cannot_be_deleted() {
    let mut cluster = Cluster::of(1);
    let (code, message) =
        error(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.");
    let expected = vec![(Some("none".into()), Uuid::nil(), code, message)];
    assert_eq!(deleted(&mut cluster, &by_name(&["none"])), expected);
    let id = Uuid::from_u128(77);
    let (code, message) = error(ErrorCode::UnknownTopicId, "This server does not host this topic ID.");
    let request = DeleteTopicsRequest { topics: vec![by_id(id)], ..Default::default() };
    assert_eq!(deleted(&mut cluster, &request), [(None, id, code, message)]);
}

#[test]
fn a_topic_that_is_named_twice_is_not_deleted() {
    let mut cluster = Cluster::of(1);
    let id = cluster.create_ok("t", 1, 1);
    let outcomes = deleted(&mut cluster, &by_name(&["t", "t"]));
    let (code, message) = error(ErrorCode::InvalidRequest, "Duplicate topic name.");
    assert_eq!(outcomes, [(Some("t".into()), Uuid::nil(), code, message)]);

    let mut request = by_name(&["t"]);
    request.topics.push(by_id(id));
    let outcomes = deleted(&mut cluster, &request);
    assert_eq!(
        outcomes[0].3.as_deref(),
        Some("The provided topic name maps to an ID that was already supplied.")
    );

    let both = DeleteTopicState { name: Some("t".into()), topic_id: id, ..Default::default() };
    let neither = DeleteTopicState { name: None, ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![both, neither], ..Default::default() };
    let messages: Vec<_> =
        deleted(&mut cluster, &request).into_iter().filter_map(|outcome| outcome.3).collect();
    assert_eq!(
        messages,
        [
            "You may not specify both topic name and topic id.".into(),
            Str::from("Neither topic name nor id were specified.")
        ]
    );
}

fn grown(cluster: &mut Cluster, name: &str, count: i32, assignments: Option<Vec<Vec<i32>>>) -> Outcome {
    let assignment = |broker_ids| CreatePartitionsAssignment { broker_ids, ..Default::default() };
    let topic = CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: assignments.map(|all| all.into_iter().map(assignment).collect()),
        ..Default::default()
    };
    let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
    let decision = controller::create_partitions(&cluster.image, &request, 1);
    let result = cluster.commit(decision).results.remove(0);
    (result.error_code, result.error_message)
}

#[test]
fn a_topic_grows_and_never_shrinks() {
    let mut cluster = Cluster::of(3);
    cluster.create_ok("t", 2, 2);
    assert_eq!(grown(&mut cluster, "t", 5, None), OK);
    let topic = cluster.image.topic("t").expect("there");
    assert_eq!(topic.partitions.len(), 5);
    assert!(topic.partitions().all(|(_, partition)| partition.replicas.len() == 2));
    let refused = |message| error(ErrorCode::InvalidPartitions, message);
    let message = "Topic already has 5 partition(s).";
    assert_eq!(grown(&mut cluster, "t", 5, None), refused(message));
    let message = "The topic t currently has 5 partition(s); 4 would not be an increase.";
    assert_eq!(grown(&mut cluster, "t", 4, None), refused(message));
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(grown(&mut cluster, "none", 4, None), (unknown, None));
    let expected = error(ErrorCode::PolicyViolation, "Unable to perform excessively large batch operation.");
    assert_eq!(grown(&mut cluster, "t", i32::MAX, None), expected);
}

#[test]
fn new_partitions_can_be_assigned_by_hand() {
    let mut cluster = Cluster::of(3);
    cluster.create_ok("t", 1, 1);
    assert_eq!(grown(&mut cluster, "t", 3, Some(vec![vec![3], vec![2]])), OK);
    assert_eq!(cluster.image.partition("t", 1).and_then(|p| p.leader), Some(3));
    let refused = |message| error(ErrorCode::InvalidReplicaAssignment, message);
    let message = "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.";
    assert_eq!(grown(&mut cluster, "t", 5, Some(vec![vec![3]])), refused(message));
    let message = "The manual partition assignment includes a partition with 2 replica(s), but this is not consistent \
                   with previous partitions, which have 1 replica(s).";
    assert_eq!(grown(&mut cluster, "t", 4, Some(vec![vec![3, 1]])), refused(message));
}
