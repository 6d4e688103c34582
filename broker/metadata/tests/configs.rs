//! What clients see when they change configs. The texts are those of Apache Kafka 4.3.

mod cluster;

use cluster::{Cluster, Rules, error};
use strata_metadata::{ConfigResource, controller};
use strata_protocol::Str;
use strata_protocol::messages::alter_configs_request as legacy;
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::{AlterConfigsRequest, IncrementalAlterConfigsRequest};
use strata_types::ErrorCode;

type Outcome = (i16, Option<Str>);

const OK: Outcome = (0, None);
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn resource(kind: i8, name: &str, changes: &[(i8, &str, Option<&str>)]) -> AlterConfigsResource {
    let config = |&(config_operation, name, value): &(i8, &str, Option<&str>)| AlterableConfig {
        name: name.into(),
        config_operation,
        value: value.map(Str::from),
        ..Default::default()
    };
    AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: changes.iter().map(config).collect(),
        ..Default::default()
    }
}

fn altered_all(
    cluster: &mut Cluster,
    resources: Vec<AlterConfigsResource>,
    validate_only: bool,
) -> Vec<Outcome> {
    let request = IncrementalAlterConfigsRequest { resources, validate_only, ..Default::default() };
    let decision = controller::incremental_alter_configs(&cluster.image, &request, &Rules);
    let responses = cluster.commit(decision).responses;
    responses.into_iter().map(|response| (response.error_code, response.error_message)).collect()
}

fn altered(cluster: &mut Cluster, kind: i8, name: &str, changes: &[(i8, &str, Option<&str>)]) -> Outcome {
    altered_all(cluster, vec![resource(kind, name, changes)], false).remove(0)
}

fn value(cluster: &Cluster, key: &str) -> Option<String> {
    cluster.image.topic_config("t").get(key).map(|value| value.to_string())
}

fn with_topic() -> Cluster {
    let mut cluster = Cluster::of(1);
    cluster.create_ok("t", 1, 1);
    cluster
}

#[test]
fn configs_are_set_and_deleted_one_by_one() {
    let mut cluster = with_topic();
    let set = [(SET, "a", Some("1")), (SET, "b", Some("2"))];
    assert_eq!(altered(&mut cluster, TOPIC, "t", &set), OK);
    assert_eq!(altered(&mut cluster, TOPIC, "t", &[(DELETE, "a", None)]), OK);
    assert_eq!((value(&cluster, "a"), value(&cluster, "b").as_deref()), (None, Some("2")));
    let before = cluster.log.len();
    assert_eq!(altered(&mut cluster, TOPIC, "t", &[(SET, "b", Some("2")), (DELETE, "none", None)]), OK);
    assert_eq!(cluster.log.len(), before, "what does not change needs no record");
}

#[test]
fn lists_are_appended_to_and_subtracted_from() {
    let mut cluster = with_topic();
    // An append starts from the default.
    assert_eq!(altered(&mut cluster, TOPIC, "t", &[(APPEND, "cleanup.policy", Some("compact,delete"))]), OK);
    assert_eq!(value(&cluster, "cleanup.policy").as_deref(), Some("delete,compact"));
    assert_eq!(altered(&mut cluster, TOPIC, "t", &[(SUBTRACT, "cleanup.policy", Some("delete"))]), OK);
    assert_eq!(value(&cluster, "cleanup.policy").as_deref(), Some("compact"));
    let expected = error(ErrorCode::InvalidConfig, "Can't APPEND to key a because its type is not LIST.");
    assert_eq!(altered(&mut cluster, TOPIC, "t", &[(APPEND, "a", Some("x"))]), expected);
}

#[test]
fn validating_only_changes_nothing() {
    let mut cluster = with_topic();
    let resources = vec![resource(TOPIC, "t", &[(SET, "a", Some("1"))])];
    assert_eq!(altered_all(&mut cluster, resources, true), [OK]);
    assert_eq!(value(&cluster, "a"), None);
}

#[test]
fn each_resource_fails_or_succeeds_by_itself() {
    let mut cluster = with_topic();
    let set = [(SET, "a", Some("1"))];
    let resources = vec![
        resource(TOPIC, "none", &set),
        resource(TOPIC, "t", &set),
        resource(BROKER, "7", &set),
        resource(BROKER, "x", &set),
        resource(BROKER, "", &set),
        resource(BROKER, "1", &set),
        resource(99, "t", &set),
        resource(TOPIC, "", &set),
        resource(TOPIC, "a/b", &set),
    ];
    let outcomes = altered_all(&mut cluster, resources, false);
    let expected = [
        error(ErrorCode::UnknownTopicOrPartition, "The topic 'none' does not exist."),
        OK,
        error(ErrorCode::BrokerIdNotRegistered, "No node with id 7 found."),
        error(ErrorCode::InvalidRequest, "Node id must be an integer, but it is: x"),
        OK,
        OK,
        error(ErrorCode::InvalidRequest, "Unknown resource type 99"),
        error(ErrorCode::InvalidRequest, "Default topic resources are not allowed."),
        error(
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
    ];
    assert_eq!(outcomes, expected);
    for resource in [ConfigResource::BrokerDefault, ConfigResource::Broker(1)] {
        assert_eq!(cluster.image.config(&resource).get("a").map(Str::as_str), Some("1"));
    }
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let mut cluster = with_topic();
    let refused = |message| error(ErrorCode::InvalidRequest, message);
    let twice = [(SET, "a", Some("1")), (DELETE, "a", None)];
    assert_eq!(altered(&mut cluster, TOPIC, "t", &twice), refused("Error due to duplicate config keys"));
    let null = [(SET, "a", None), (APPEND, "b", None)];
    assert_eq!(altered(&mut cluster, TOPIC, "t", &null), refused("Null value not supported for : a, b"));
    let other = [(9, "a", Some("1"))];
    assert_eq!(altered(&mut cluster, TOPIC, "t", &other), refused("Unknown operations type 9"));
    let set = [(SET, "a", Some("1"))];
    let both = vec![resource(TOPIC, "t", &set), resource(TOPIC, "t", &set)];
    let each = refused("Each resource must appear at most once.");
    assert_eq!(altered_all(&mut cluster, both, false), [each.clone(), each]);
    assert_eq!(value(&cluster, "a"), None);
}

#[test]
fn values_that_the_rules_refuse_are_not_set() {
    let mut cluster = with_topic();
    let set = [(SET, "a", Some("1")), (SET, "bad", Some("1"))];
    let expected = error(ErrorCode::InvalidConfig, "Unknown topic config name: bad");
    assert_eq!(altered(&mut cluster, TOPIC, "t", &set), expected);
    let long = "x".repeat(40_000);
    let expected = error(
        ErrorCode::InvalidConfig,
        "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
    );
    assert_eq!(altered(&mut cluster, TOPIC, "t", &[(SET, "a", Some(&long))]), expected);
    assert_eq!(value(&cluster, "a"), None);
}

#[test]
fn the_old_request_replaces_everything() {
    let mut cluster = with_topic();
    altered(&mut cluster, TOPIC, "t", &[(SET, "a", Some("1")), (SET, "b", Some("2"))]);
    let config = |name: &str, value: Option<&str>| legacy::AlterableConfig {
        name: name.into(),
        value: value.map(Str::from),
        ..Default::default()
    };
    let mut replace = |configs| {
        let resource = legacy::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs,
            ..Default::default()
        };
        let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let decision = controller::alter_configs(&cluster.image, &request, &Rules);
        let response = cluster.commit(decision).responses.remove(0);
        (response.error_code, response.error_message)
    };
    assert_eq!(replace(vec![config("b", Some("3")), config("c", Some("4"))]), OK);
    let expected = error(ErrorCode::InvalidRequest, "Null value not supported for : c");
    assert_eq!(replace(vec![config("c", None)]), expected);
    let values = ["a", "b", "c"].map(|key| value(&cluster, key));
    assert_eq!(values, [None, Some("3".to_owned()), Some("4".to_owned())]);
}

#[test]
fn a_deleted_topics_configs_do_not_come_back_with_its_name() {
    let mut cluster = with_topic();
    altered(&mut cluster, TOPIC, "t", &[(SET, "a", Some("1"))]);
    let request = strata_protocol::messages::DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        ..Default::default()
    };
    let decision = controller::delete_topics(&cluster.image, &request);
    cluster.commit(decision);
    cluster.create_ok("t", 1, 1);
    assert_eq!(value(&cluster, "a"), None);
}
