//! Settings: DescribeConfigs, IncrementalAlterConfigs, AlterConfigs.

use strata_protocol::Str;
use strata_protocol::messages::describe_configs_request::DescribeConfigsResource;
use strata_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use strata_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, alter_configs_request,
    incremental_alter_configs_request,
};
use strata_types::ErrorCode;

use crate::support::{Broker, Connection, batch};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

async fn describe(
    connection: &mut Connection,
    kind: i8,
    name: &str,
    key: &str,
) -> DescribeConfigsResourceResult {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: Str::from(name),
        configuration_keys: Some(vec![Str::from(key)]),
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    let response = connection.call(4, &request).await;
    assert_eq!(response.results[0].error_code, 0, "{:?}", response.results[0].error_message);
    response.results[0].configs[0].clone()
}

async fn alter(
    connection: &mut Connection,
    kind: i8,
    name: &str,
    key: &str,
    operation: i8,
    value: &str,
) -> (i16, Option<Str>) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![incremental_alter_configs_request::AlterConfigsResource {
            resource_type: kind,
            resource_name: Str::from(name),
            configs: vec![incremental_alter_configs_request::AlterableConfig {
                name: Str::from(key),
                config_operation: operation,
                value: Some(Str::from(value)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = connection.call(1, &request).await;
    (response.responses[0].error_code, response.responses[0].error_message.clone())
}

fn value(described: &DescribeConfigsResourceResult) -> (&str, i8) {
    (described.value.as_deref().unwrap_or("null"), described.config_source)
}

#[tokio::test]
async fn the_first_that_says_something_counts() {
    let broker = Broker::with(&["log.retention.hours=1"]).await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[("segment.bytes", "2000000")]).await;
    let segment = describe(&mut connection, TOPIC, "t", "segment.bytes").await;
    assert_eq!(value(&segment), ("2000000", 1));
    assert_eq!((segment.synonyms.len(), segment.config_type), (2, 3));
    let retention = describe(&mut connection, TOPIC, "t", "retention.ms").await;
    assert_eq!((value(&retention), retention.config_type), (("3600000", 5), 5));
    assert_eq!(retention.synonyms.len(), 0, "what is said in another unit does not show by itself");
    assert!(retention.documentation.is_some());
    assert_eq!(alter(&mut connection, BROKER, "", "log.retention.ms", 0, "7000").await.0, 0);
    assert_eq!(value(&describe(&mut connection, TOPIC, "t", "retention.ms").await), ("7000", 3));
    assert_eq!(alter(&mut connection, BROKER, "1", "log.retention.ms", 0, "8000").await.0, 0);
    let retention = describe(&mut connection, TOPIC, "t", "retention.ms").await;
    assert_eq!(value(&retention), ("8000", 2));
    let synonyms: Vec<_> = retention
        .synonyms
        .iter()
        .map(|said| (said.name.as_str(), said.value.as_deref().unwrap_or("null"), said.source))
        .collect();
    assert_eq!(
        synonyms,
        [
            ("log.retention.ms", "8000", 2),
            ("log.retention.ms", "7000", 3),
            ("log.retention.hours", "1", 4),
            ("log.retention.hours", "168", 5)
        ]
    );
    assert_eq!(alter(&mut connection, TOPIC, "t", "retention.ms", 0, "9000").await.0, 0);
    assert_eq!(value(&describe(&mut connection, TOPIC, "t", "retention.ms").await), ("9000", 1));
    assert_eq!(alter(&mut connection, TOPIC, "t", "retention.ms", 1, "").await.0, 0);
    assert_eq!(value(&describe(&mut connection, TOPIC, "t", "retention.ms").await), ("8000", 2));
}

#[tokio::test]
async fn defaults_are_in_the_topics_unit() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let retention = describe(&mut connection, TOPIC, "t", "retention.ms").await;
    assert_eq!(value(&retention), ("604800000", 5));
}

#[tokio::test]
async fn lists_are_appended_to_and_subtracted_from() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    assert_eq!(alter(&mut connection, TOPIC, "t", "cleanup.policy", 2, "compact").await.0, 0);
    assert_eq!(value(&describe(&mut connection, TOPIC, "t", "cleanup.policy").await), ("delete,compact", 1));
    assert_eq!(alter(&mut connection, TOPIC, "t", "cleanup.policy", 3, "delete").await.0, 0);
    assert_eq!(value(&describe(&mut connection, TOPIC, "t", "cleanup.policy").await), ("compact", 1));
}

#[tokio::test]
async fn a_change_counts_for_the_next_record() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    assert_eq!(connection.produce("t", 0, batch(&[&"x".repeat(500)])).await.error_code, 0);
    assert_eq!(alter(&mut connection, TOPIC, "t", "max.message.bytes", 0, "200").await.0, 0);
    let refused = connection.produce("t", 0, batch(&[&"x".repeat(500)])).await;
    assert_eq!(refused.error_code, ErrorCode::MessageTooLarge.code());
    // And after a restart.
    let broker = broker.restart().await;
    let refused = broker.connect().await.produce("t", 0, batch(&[&"x".repeat(500)])).await;
    assert_eq!(refused.error_code, ErrorCode::MessageTooLarge.code());
}

#[tokio::test]
async fn what_cannot_be_set_is_refused_with_a_reason() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    for (kind, name, key, text) in [
        (TOPIC, "t", "retention.ms", "soon"),
        (TOPIC, "t", "no.such.setting", "1"),
        (BROKER, "1", "node.id", "2"),
        (BROKER, "1", "num.io.threads", "0"),
        (BROKER, "", "listeners", "PLAINTEXT://:1"),
        (BROKER, "", "log.segment.bytes", "1"),
    ] {
        let (code, message) = alter(&mut connection, kind, name, key, 0, text).await;
        let expected = [ErrorCode::InvalidConfig.code(), ErrorCode::InvalidRequest.code()];
        assert!(expected.contains(&code), "{key}: {code}");
        assert!(message.is_some_and(|message| message.contains(key)), "{key}");
    }
    let (code, _) = alter(&mut connection, TOPIC, "nope", "retention.ms", 0, "1").await;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn all_settings_of_a_topic_can_be_replaced() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[("segment.bytes", "2000000")]).await;
    let request = AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs: vec![alter_configs_request::AlterableConfig {
                name: "retention.ms".into(),
                value: Some("5000".into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(connection.call(2, &request).await.responses[0].error_code, 0);
    assert_eq!(value(&describe(&mut connection, TOPIC, "t", "retention.ms").await), ("5000", 1));
    assert_eq!(value(&describe(&mut connection, TOPIC, "t", "segment.bytes").await), ("1073741824", 5));
}

#[tokio::test]
async fn a_broker_describes_itself_and_hides_passwords() {
    let broker = Broker::with(&["ssl.key.password=secret", "num.partitions=3"]).await;
    let mut connection = broker.connect().await;
    assert_eq!(value(&describe(&mut connection, BROKER, "1", "num.partitions").await), ("3", 4));
    assert_eq!(value(&describe(&mut connection, BROKER, "1", "num.io.threads").await), ("8", 5));
    let password = describe(&mut connection, BROKER, "1", "ssl.key.password").await;
    assert!(password.is_sensitive && password.value.is_none());
    assert!(password.synonyms.iter().all(|synonym| synonym.value.is_none()));
}

#[tokio::test]
async fn other_resources_have_no_settings_here() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    for (resource_type, resource_name) in [(BROKER, "2"), (8, "2"), (0, "x"), (TOPIC, "nope"), (TOPIC, "..")]
    {
        let resource = DescribeConfigsResource {
            resource_type,
            resource_name: resource_name.into(),
            ..Default::default()
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let response = connection.call(4, &request).await;
        assert_ne!(response.results[0].error_code, 0, "{resource_type} {resource_name}");
        assert!(response.results[0].error_message.is_some());
    }
}
