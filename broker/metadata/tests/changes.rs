//! What a broker learns from two images.

mod cluster;

use cluster::{Cluster, Rules};
use strata_metadata::{Changes, ConfigResource, controller};
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::{DeleteTopicsRequest, IncrementalAlterConfigsRequest};
use strata_types::TopicName;

fn names(topics: &[std::sync::Arc<strata_metadata::Topic>]) -> Vec<&str> {
    topics.iter().map(|topic| topic.name.as_str()).collect()
}

fn delete(cluster: &mut Cluster, name: &str) {
    let request = DeleteTopicsRequest { topic_names: vec![name.into()], ..Default::default() };
    let decision = controller::delete_topics(&cluster.image, &request);
    cluster.commit(decision);
}

fn set(cluster: &mut Cluster, resource: &ConfigResource) {
    let config = AlterableConfig { name: "a".into(), value: Some("1".into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: resource.resource_type(),
        resource_name: resource.resource_name(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let decision = controller::incremental_alter_configs(&cluster.image, &request, &Rules);
    assert_eq!(cluster.commit(decision).responses[0].error_code, 0);
}

#[test]
fn nothing_happened_between_an_image_and_itself() {
    let mut cluster = Cluster::of(2);
    cluster.create_ok("t", 2, 1);
    assert!(Changes::between(&cluster.image, &cluster.image.clone()).is_empty());
}

#[test]
fn topics_come_go_and_change() {
    let mut cluster = Cluster::of(2);
    for name in ["gone", "kept", "moved", "reborn"] {
        cluster.create_ok(name, 1, if name == "moved" { 2 } else { 1 });
    }
    let before = cluster.image.clone();
    delete(&mut cluster, "gone");
    delete(&mut cluster, "reborn");
    cluster.create_ok("reborn", 1, 1);
    cluster.create_ok("new", 1, 1);
    let away = cluster.image.partition("moved", 0).and_then(|p| p.leader).expect("led");
    cluster.heartbeat(away, true, false);

    let changes = Changes::between(&before, &cluster.image);
    assert_eq!(names(&changes.created), ["new", "reborn"]);
    assert_eq!(names(&changes.deleted), ["gone", "reborn"]);
    let moved = changes.changed.iter().find(|change| change.after.name.as_str() == "moved").expect("changed");
    assert_ne!(moved.before.partition(0).map(|p| p.leader), moved.after.partition(0).map(|p| p.leader));
    assert_eq!(changes.brokers, [away]);
}

#[test]
fn changed_configs_are_told_unless_the_topic_is_news_itself() {
    let mut cluster = Cluster::of(1);
    cluster.create_ok("old", 1, 1);
    cluster.create_ok("gone", 1, 1);
    let resource = |name| ConfigResource::Topic(TopicName::new(name).expect("a legal name"));
    set(&mut cluster, &resource("gone"));
    let before = cluster.image.clone();
    cluster.create_ok("new", 1, 1);
    delete(&mut cluster, "gone");
    for resource in
        [resource("new"), resource("old"), ConfigResource::Broker(1), ConfigResource::BrokerDefault]
    {
        set(&mut cluster, &resource);
    }
    let changes = Changes::between(&before, &cluster.image);
    assert_eq!(changes.configs, [resource("old"), ConfigResource::Broker(1), ConfigResource::BrokerDefault]);
}
