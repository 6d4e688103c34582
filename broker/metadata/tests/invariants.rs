//! Whatever is asked of the controller in whatever order, the image stays whole.

mod cluster;

use std::collections::BTreeSet;

use cluster::{Cluster, Rules, topic};
use proptest::prelude::*;
use strata_metadata::{Changes, Image, controller};
use strata_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::{
    AllocateProducerIdsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    ElectLeadersRequest, IncrementalAlterConfigsRequest, UnregisterBrokerRequest,
};
use strata_types::LeaderEpoch;

#[derive(Debug, Clone)]
enum Step {
    Create { name: u8, partitions: i32, factor: i16 },
    Delete { name: u8 },
    Grow { name: u8, count: i32 },
    SetConfig { name: u8, key: u8, operation: i8 },
    Restart { broker: i32 },
    Heartbeat { broker: i32, want_fence: bool, want_shut_down: bool },
    Unregister { broker: i32 },
    Elect { unclean: bool },
    Lose { broker: i32 },
    ProducerIds { broker: i32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..5u8;
    let broker = 1..5i32;
    let step = prop_oneof![
        4 => (name.clone(), -2..6i32, -2..5i16)
            .prop_map(|(name, partitions, factor)| Step::Create { name, partitions, factor }),
        2 => name.clone().prop_map(|name| Step::Delete { name }),
        2 => (name.clone(), -1..10i32).prop_map(|(name, count)| Step::Grow { name, count }),
        2 => (name, 0..3u8, 0..5i8).prop_map(|(name, key, operation)| Step::SetConfig { name, key, operation }),
        2 => broker.clone().prop_map(|broker| Step::Restart { broker }),
        6 => (broker.clone(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(broker, want_fence, want_shut_down)| Step::Heartbeat { broker, want_fence, want_shut_down }),
        1 => broker.clone().prop_map(|broker| Step::Unregister { broker }),
        1 => any::<bool>().prop_map(|unclean| Step::Elect { unclean }),
        1 => broker.clone().prop_map(|broker| Step::Lose { broker }),
        1 => broker.prop_map(|broker| Step::ProducerIds { broker }),
    ];
    prop::collection::vec(step, 0..40)
}

fn name_of(name: u8) -> String {
    ["a.b", "a_b", "c", "d", "bad name"][usize::from(name)].to_owned()
}

fn play(cluster: &mut Cluster, step: &Step) {
    match *step {
        Step::Lose { broker } => {
            let lost: Vec<_> = cluster
                .image
                .topics()
                .flat_map(|topic| topic.partitions().map(|(index, _)| (topic.id, index)))
                .collect();
            cluster.commit(controller::logs_lost(&cluster.image, broker, &lost));
        }
        Step::Create { name, partitions, factor } => {
            let topics = vec![topic(&name_of(name), partitions, factor)];
            cluster.create_topics(&CreateTopicsRequest { topics, ..Default::default() });
        }
        Step::Delete { name } => {
            let topic_names = vec![name_of(name).into()];
            let request = DeleteTopicsRequest { topic_names, ..Default::default() };
            cluster.commit(controller::delete_topics(&cluster.image, &request));
        }
        Step::Grow { name, count } => {
            let topic = CreatePartitionsTopic {
                name: name_of(name).into(),
                count,
                assignments: None,
                ..Default::default()
            };
            let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
            cluster.commit(controller::create_partitions(&cluster.image, &request, 7));
        }
        Step::SetConfig { name, key, operation } => {
            let config = AlterableConfig {
                name: ["cleanup.policy", "x", "bad"][usize::from(key)].into(),
                config_operation: operation,
                value: Some("v".into()),
                ..Default::default()
            };
            let resource = AlterConfigsResource {
                resource_type: 2,
                resource_name: name_of(name).into(),
                configs: vec![config],
                ..Default::default()
            };
            let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
            cluster.commit(controller::incremental_alter_configs(&cluster.image, &request, &Rules));
        }
        Step::Restart { broker } => {
            cluster.register(broker);
        }
        Step::Heartbeat { broker, want_fence, want_shut_down } => {
            cluster.heartbeat(broker, want_fence, want_shut_down);
        }
        Step::Unregister { broker } => {
            let request = UnregisterBrokerRequest { broker_id: broker, ..Default::default() };
            cluster.commit(controller::unregister_broker(&cluster.image, &request));
        }
        Step::Elect { unclean } => {
            let request = ElectLeadersRequest {
                election_type: i8::from(unclean),
                topic_partitions: None,
                ..Default::default()
            };
            cluster.commit(controller::elect_leaders(&cluster.image, &request));
        }
        Step::ProducerIds { broker } => {
            let broker_epoch = cluster.image.broker(broker).map_or(-1, |broker| broker.epoch);
            let request =
                AllocateProducerIdsRequest { broker_id: broker, broker_epoch, ..Default::default() };
            cluster.commit(controller::allocate_producer_ids(&cluster.image, &request));
        }
    }
}

fn check(image: &Image) {
    let mut ids = BTreeSet::new();
    for topic in image.topics() {
        assert!(ids.insert(topic.id), "an id has one topic");
        assert_eq!(image.topic(topic.name.as_str()), Some(topic));
        assert_eq!(image.topic_by_id(topic.id), Some(topic));
        assert!(!topic.partitions.is_empty());
        for (_, partition) in topic.partitions() {
            let replicas: BTreeSet<_> = partition.replicas.iter().collect();
            assert_eq!(replicas.len(), partition.replicas.len(), "replicas are distinct");
            assert!(!partition.isr.is_empty() && partition.isr.iter().all(|node| replicas.contains(node)));
            assert_eq!(partition.directories.len(), partition.replicas.len());
            if let Some(leader) = partition.leader {
                assert!(
                    partition.isr.contains(&leader) && image.is_active(leader),
                    "a leader is in sync and active"
                );
                assert!(!partition.is_lost(leader), "and has its log");
            }
            let inactive = partition.isr.iter().filter(|&&node| !image.is_active(node)).count();
            assert!(
                inactive == 0 || partition.isr.len() == 1,
                "who is not active leaves the ISR, but for the last one"
            );
        }
    }
    for (resource, configs) in image.configs() {
        assert!(!configs.is_empty());
        if let strata_metadata::ConfigResource::Topic(name) = resource {
            assert!(image.topic(name.as_str()).is_some(), "configs go with their topic");
        }
    }
}

/// Epochs of a partition that lives on never go back, and a new leader has a new leader epoch.
fn check_progress(before: &Image, after: &Image) {
    for change in Changes::between(before, after).changed {
        for (id, old) in change.before.partitions() {
            let new = change.after.partition(id).expect("partitions do not go away");
            assert!(new.partition_epoch >= old.partition_epoch && new.leader_epoch >= old.leader_epoch);
            assert!(new.leader == old.leader || new.leader_epoch > old.leader_epoch);
            assert!(new.leader_epoch > LeaderEpoch::UNKNOWN);
        }
    }
    assert!(after.next_producer_id() >= before.next_producer_id());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_image_stays_whole(steps in steps()) {
        let mut cluster = Cluster::of(3);
        for step in &steps {
            let before = cluster.image.clone();
            play(&mut cluster, step);
            check(&cluster.image);
            check_progress(&before, &cluster.image);
        }
        let mut replayed = Image::default();
        for record in &cluster.log {
            replayed.apply(record).expect("what fitted once fits again");
        }
        prop_assert_eq!(&replayed, &cluster.image);
        let mut restored = Image::default();
        for record in cluster.image.to_records() {
            restored.apply(&record).expect("a snapshot fits nothing");
        }
        prop_assert_eq!(&restored, &cluster.image);
        check(&restored);
    }
}
