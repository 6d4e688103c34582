//! What operators ask and change: quotas, features, groups' and metrics subscriptions' settings, replicas.

use strata_protocol::Str;
use strata_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use strata_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use strata_protocol::messages::describe_client_quotas_request::ComponentData;
use strata_protocol::messages::describe_configs_request::DescribeConfigsResource;
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::update_features_request::FeatureUpdateKey;
use strata_protocol::messages::{
    AddRaftVoterRequest, AlterClientQuotasRequest, AlterReplicaLogDirsRequest, DescribeClientQuotasRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    RemoveRaftVoterRequest, UnregisterBrokerRequest, UnregisterControllerRequest, UpdateFeaturesRequest,
};
use strata_types::ErrorCode;

use crate::support::{Broker, Connection};

const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub(crate) type Part = (&'static str, Option<&'static str>);

/// Sets a quota, or without a value removes it; answers the error code.
pub(crate) async fn set_quota(
    connection: &mut Connection,
    entity: &[Part],
    key: &'static str,
    value: Option<f64>,
) -> i16 {
    let part = |&(kind, name): &Part| EntityData {
        entity_type: kind.into(),
        entity_name: name.map(Str::from),
        ..Default::default()
    };
    let op = OpData {
        key: key.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
        ..Default::default()
    };
    let entry = EntryData { entity: entity.iter().map(part).collect(), ops: vec![op], ..Default::default() };
    let request = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
    connection.call(1, &request).await.entries[0].error_code
}

async fn described(
    connection: &mut Connection,
    components: &[(&'static str, i8, Option<&'static str>)],
    strict: bool,
) -> Result<Vec<String>, i16> {
    let component = |&(kind, match_type, name): &(&'static str, i8, Option<&'static str>)| ComponentData {
        entity_type: kind.into(),
        match_type,
        r#match: name.map(Str::from),
        ..Default::default()
    };
    let components = components.iter().map(component).collect();
    let request = DescribeClientQuotasRequest { components, strict, ..Default::default() };
    let response = connection.call(1, &request).await;
    let entries = response.entries.ok_or(response.error_code)?;
    let mut shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            let parts = entry.entity.iter().map(|part| part.entity_name.as_deref().unwrap_or("*").to_owned());
            parts.collect::<Vec<_>>().join("+")
        })
        .collect();
    shown.sort();
    Ok(shown)
}

#[tokio::test]
async fn quotas_are_found_by_every_kind_of_filter() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    for entity in [
        &[("user", Some("a"))][..],
        &[("user", None)],
        &[("client-id", Some("c"))],
        &[("user", Some("a")), ("client-id", Some("c"))],
        &[("user", None), ("client-id", None)],
    ] {
        assert_eq!(set_quota(&mut connection, entity, "producer_byte_rate", Some(10.0)).await, 0);
    }
    let ip = set_quota(&mut connection, &[("ip", Some("::1"))], "connection_creation_rate", Some(10.0)).await;
    assert_eq!(ip, 0);
    let connection = &mut connection;
    let ok = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(described(connection, &[], false).await.map(|all| all.len()), Ok(6));
    assert_eq!(described(connection, &[], true).await, ok(&[]));
    assert_eq!(described(connection, &[("user", 2, None)], true).await, ok(&["*", "a"]));
    assert_eq!(described(connection, &[("user", 0, Some("a"))], false).await, ok(&["a", "c+a"]));
    assert_eq!(described(connection, &[("user", 1, None)], true).await, ok(&["*"]));
    let both = [("user", 2, None), ("client-id", 2, None)];
    assert_eq!(described(connection, &both, true).await, ok(&["*+*", "c+a"]));
    assert_eq!(described(connection, &[("ip", 2, None)], false).await, ok(&["::1"]));
    for (wrong, code) in [
        (&[("ip", 2, None), ("user", 2, None)][..], ErrorCode::InvalidRequest),
        (&[("user", 2, None), ("user", 2, None)], ErrorCode::InvalidRequest),
        (&[("user", 0, None)], ErrorCode::InvalidRequest),
        (&[("user", 1, Some("a"))], ErrorCode::InvalidRequest),
        (&[("user", 9, None)], ErrorCode::InvalidRequest),
        (&[("", 2, None)], ErrorCode::InvalidRequest),
        (&[("group", 2, None)], ErrorCode::UnsupportedVersion),
    ] {
        assert_eq!(described(connection, wrong, false).await, Err(code.code()));
    }
    // And after a restart.
    let broker = broker.restart().await;
    assert_eq!(described(&mut broker.connect().await, &[], false).await.map(|all| all.len()), Ok(6));
}

async fn set(connection: &mut Connection, resource_type: i8, resource: &str, name: &str, value: &str) -> i16 {
    let config = AlterableConfig { name: name.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type,
        resource_name: resource.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    connection.call(1, &request).await.responses[0].error_code
}

/// The value of a setting, whether it is hidden, and where it comes from.
async fn setting(
    connection: &mut Connection,
    resource_type: i8,
    resource: &str,
    name: &str,
) -> Option<(Option<String>, bool, i8)> {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: resource.into(),
        configuration_keys: None,
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = connection.call(4, &request).await;
    let found = response.results[0].configs.iter().find(|config| config.name.as_str() == name)?;
    Some((found.value.as_ref().map(Str::to_string), found.is_sensitive, found.config_source))
}

#[tokio::test]
async fn groups_and_metrics_subscriptions_have_settings() {
    let broker = Broker::start().await;
    let connection = &mut broker.connect().await;
    let heartbeat = "consumer.heartbeat.interval.ms";
    assert_eq!(setting(connection, GROUP, "g", heartbeat).await, Some((Some("5000".into()), false, 5)));
    assert_eq!(set(connection, GROUP, "g", heartbeat, "6000").await, 0);
    assert_eq!(setting(connection, GROUP, "g", heartbeat).await, Some((Some("6000".into()), false, 8)));
    for (name, value) in
        [(heartbeat, "1"), (heartbeat, "99999999"), ("x", "1"), ("share.isolation.level", "x")]
    {
        let code = set(connection, GROUP, "g", name, value).await;
        assert_eq!(code, ErrorCode::InvalidConfig.code(), "{name}={value}");
    }
    assert_eq!(set(connection, CLIENT_METRICS, "m", "interval.ms", "100").await, 0);
    assert_eq!(
        setting(connection, CLIENT_METRICS, "m", "interval.ms").await,
        Some((Some("100".into()), false, 7))
    );
    assert_eq!(setting(connection, CLIENT_METRICS, "none", "interval.ms").await, None);
    assert_eq!(
        set(connection, CLIENT_METRICS, "m", "interval.ms", "99").await,
        ErrorCode::InvalidRequest.code()
    );
    assert_eq!(
        set(connection, CLIENT_METRICS, "m", "match", "client_id=[").await,
        ErrorCode::InvalidConfig.code()
    );
    let listed = connection.call(0, &ListConfigResourcesRequest::default()).await.config_resources;
    assert_eq!(listed.iter().map(|resource| resource.resource_name.as_str()).collect::<Vec<_>>(), ["m"]);
}

#[tokio::test]
async fn what_no_broker_knows_is_kept_and_never_shown() {
    let broker = Broker::start().await;
    let connection = &mut broker.connect().await;
    assert_eq!(set(connection, BROKER, "1", "somebodys.password", "secret").await, 0);
    assert_eq!(setting(connection, BROKER, "1", "somebodys.password").await, Some((None, true, 2)));
}

#[tokio::test]
async fn a_feature_that_is_switched_off_stays_off() {
    let broker = Broker::start().await;
    let connection = &mut broker.connect().await;
    let update = |feature: &str, level: i16| UpdateFeaturesRequest {
        feature_updates: vec![FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            upgrade_type: 2,
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(connection.call(2, &update("group.version", 0)).await.error_code, 0);
    let unknown = connection.call(2, &update("no.such.feature", 1)).await;
    assert_eq!(unknown.error_code, ErrorCode::InvalidUpdateVersion.code());
    assert!(unknown.error_message.is_some_and(|why| why.ends_with("does not support this feature.")));
    let metadata = connection.call(2, &update("metadata.version", 7)).await;
    assert_eq!(metadata.error_code, ErrorCode::InvalidUpdateVersion.code());
}

#[tokio::test]
async fn nodes_that_are_not_there_cannot_be_unregistered_and_this_one_stays() {
    let broker = Broker::start().await;
    let connection = &mut broker.connect().await;
    for (broker_id, code) in [(9, ErrorCode::BrokerIdNotRegistered), (1, ErrorCode::InvalidRequest)] {
        let request = UnregisterBrokerRequest { broker_id, ..Default::default() };
        assert_eq!(connection.call(0, &request).await.error_code, code.code());
    }
    for (controller_id, code) in [(9, ErrorCode::UnknownControllerId), (1, ErrorCode::InvalidRequest)] {
        let request = UnregisterControllerRequest { controller_id, ..Default::default() };
        assert_eq!(connection.call(0, &request).await.error_code, code.code());
    }
    let added = connection
        .call(1, &AddRaftVoterRequest { cluster_id: None, voter_id: 2, ..Default::default() })
        .await;
    assert_eq!(added.error_code, ErrorCode::UnsupportedVersion.code());
    let other = RemoveRaftVoterRequest { cluster_id: Some("other".into()), ..Default::default() };
    assert_eq!(connection.call(0, &other).await.error_code, ErrorCode::InconsistentClusterId.code());
}

#[tokio::test]
async fn a_replica_moves_to_where_it_is_and_nowhere_else() {
    let broker = Broker::start().await;
    let connection = &mut broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    let here = broker.dir.path().display().to_string();
    for (path, topic, code) in [
        (here.as_str(), "t", ErrorCode::None),
        (here.as_str(), "none", ErrorCode::ReplicaNotAvailable),
        ("/nowhere", "t", ErrorCode::LogDirNotFound),
    ] {
        let topics =
            vec![AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![0], ..Default::default() }];
        let dirs = vec![AlterReplicaLogDir { path: path.into(), topics, ..Default::default() }];
        let response = connection.call(2, &AlterReplicaLogDirsRequest { dirs, ..Default::default() }).await;
        assert_eq!(response.results[0].partitions[0].error_code, code.code(), "{path} {topic}");
    }
}
