//! Brokers come, go and come back; leaders follow.

mod cluster;

use cluster::{CLUSTER, Cluster, topic};
use strata_metadata::controller;
use strata_protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use strata_protocol::messages::elect_leaders_request::TopicPartitions;
use strata_protocol::messages::{
    AllocateProducerIdsRequest, AlterPartitionRequest, BrokerHeartbeatRequest, CreateTopicsRequest,
    ElectLeadersRequest, UnregisterBrokerRequest,
};
use strata_types::{ErrorCode, LeaderEpoch};

#[test]
fn a_broker_is_fenced_until_it_has_caught_up() {
    let mut cluster = Cluster::of(0);
    let epoch = cluster.register(1);
    assert!(cluster.image.broker(1).is_some_and(|broker| broker.fenced && broker.epoch == epoch));
    let behind = BrokerHeartbeatRequest {
        broker_id: 1,
        broker_epoch: epoch,
        current_metadata_offset: epoch - 1,
        ..Default::default()
    };
    let response = cluster.commit(controller::broker_heartbeat(&cluster.image, &behind));
    assert!(response.is_fenced && !response.is_caught_up);
    let response = cluster.heartbeat(1, false, false);
    assert!(!response.is_fenced && response.is_caught_up);
    assert!(cluster.image.is_active(1));
}

#[test]
fn an_old_incarnation_is_told_so() {
    let mut cluster = Cluster::of(1);
    let old = cluster.image.broker(1).expect("there").epoch;
    cluster.register(1);
    let request = BrokerHeartbeatRequest { broker_id: 1, broker_epoch: old, ..Default::default() };
    let (records, response) = controller::broker_heartbeat(&cluster.image, &request);
    assert_eq!((records.len(), response.error_code), (0, ErrorCode::StaleBrokerEpoch.code()));
    let request = BrokerHeartbeatRequest { broker_id: 9, broker_epoch: old, ..Default::default() };
    let (_, response) = controller::broker_heartbeat(&cluster.image, &request);
    assert_eq!(response.error_code, ErrorCode::BrokerIdNotRegistered.code());
}

#[test]
fn registrations_that_cannot_be_are_refused() {
    let mut cluster = Cluster::of(2);
    let good = cluster.registration(1);
    let code = |request: &_, session_alive| {
        let (records, response) =
            controller::register_broker(&cluster.image, CLUSTER, request, session_alive);
        assert!(response.error_code == 0 || records.is_empty());
        response.error_code
    };
    assert_eq!(code(&good, false), 0);
    assert_eq!(code(&good, true), ErrorCode::DuplicateBrokerRegistration.code());
    let mut other = good.clone();
    other.cluster_id = "other".into();
    assert_eq!(code(&other, false), ErrorCode::InconsistentClusterId.code());
    let mut old = good.clone();
    old.features.retain(|feature| &*feature.name != "metadata.version");
    assert_eq!(code(&old, false), ErrorCode::UnsupportedVersion.code());
    let mut others_dir = good.clone();
    others_dir.log_dirs = cluster.image.broker(2).expect("there").log_dirs.clone();
    assert_eq!(code(&others_dir, false), ErrorCode::InvalidRegistration.code());
}

#[test]
fn the_same_incarnation_may_register_again() {
    let mut cluster = Cluster::of(0);
    let mut request = cluster.registration(1);
    let first = cluster.commit(controller::register_broker(&cluster.image, CLUSTER, &request, false));
    cluster.heartbeat(1, false, false);
    request.listeners[0].port = 9999;
    let again = cluster.commit(controller::register_broker(&cluster.image, CLUSTER, &request, true));
    assert_eq!(again.broker_epoch, first.broker_epoch);
    let broker = cluster.image.broker(1).expect("there");
    assert!(!broker.fenced && broker.endpoints[0].port == 9999);
}

#[test]
fn a_fenced_brokers_partitions_move_to_who_is_in_sync() {
    let mut cluster = Cluster::of(2);
    cluster.create_ok("t", 4, 2);
    cluster.heartbeat(1, true, false);
    for (_, partition) in cluster.image.topic("t").expect("there").partitions() {
        assert_eq!((partition.leader, &partition.isr[..]), (Some(2), &[2][..]));
    }
    // The last one in sync stays so, and its partitions wait for it.
    cluster.heartbeat(2, true, false);
    let epochs: Vec<LeaderEpoch> = leader_epochs(&cluster);
    for (_, partition) in cluster.image.topic("t").expect("there").partitions() {
        assert_eq!((partition.leader, &partition.isr[..]), (None, &[2][..]));
    }
    cluster.heartbeat(1, false, false);
    assert!(cluster.image.topic("t").expect("there").partitions().all(|(_, p)| p.leader.is_none()));
    cluster.heartbeat(2, false, false);
    for ((_, partition), before) in cluster.image.topic("t").expect("there").partitions().zip(epochs) {
        assert_eq!(partition.leader, Some(2));
        assert!(partition.leader_epoch > before);
    }
}

fn leader_epochs(cluster: &Cluster) -> Vec<LeaderEpoch> {
    cluster.image.topics().flat_map(|topic| topic.partitions().map(|(_, p)| p.leader_epoch)).collect()
}

#[test]
fn a_restart_raises_the_leader_epoch() {
    let mut cluster = Cluster::of(1);
    cluster.create_ok("t", 2, 1);
    let before = leader_epochs(&cluster);
    cluster.register(1);
    cluster.heartbeat(1, false, false);
    for (before, after) in before.into_iter().zip(leader_epochs(&cluster)) {
        assert!(after > before);
    }
    assert!(cluster.image.topic("t").expect("there").partitions().all(|(_, p)| p.leader == Some(1)));
}

#[test]
fn a_controlled_shutdown_moves_leaders_away_first() {
    let mut cluster = Cluster::of(2);
    cluster.create_ok("t", 4, 2);
    let response = cluster.heartbeat(1, false, true);
    assert!(!response.should_shut_down);
    assert!(cluster.image.topic("t").expect("there").partitions().all(|(_, p)| p.leader == Some(2)));
    let response = cluster.heartbeat(1, false, true);
    assert!(response.should_shut_down && response.is_fenced);
    let response = cluster.heartbeat(1, false, false);
    assert!(response.should_shut_down && response.is_fenced, "there is no way back");
    cluster.register(1);
    assert!(!cluster.heartbeat(1, false, false).is_fenced, "but for a new incarnation");
}

#[test]
fn an_unregistered_broker_is_gone() {
    let mut cluster = Cluster::of(2);
    cluster.create_ok("t", 2, 2);
    let request = UnregisterBrokerRequest { broker_id: 1, ..Default::default() };
    let response = cluster.commit(controller::unregister_broker(&cluster.image, &request));
    assert_eq!(response.error_code, 0);
    assert!(cluster.image.broker(1).is_none());
    assert!(cluster.image.topic("t").expect("there").partitions().all(|(_, p)| p.leader == Some(2)));
    let (_, response) = controller::unregister_broker(&cluster.image, &request);
    assert_eq!(response.error_code, ErrorCode::BrokerIdNotRegistered.code());
    assert_eq!(response.error_message.as_deref(), Some("Broker ID 1 is not currently registered"));
}

#[test]
fn producer_ids_come_in_blocks_that_never_overlap() {
    let mut cluster = Cluster::of(1);
    let broker_epoch = cluster.image.broker(1).expect("there").epoch;
    let request = AllocateProducerIdsRequest { broker_id: 1, broker_epoch, ..Default::default() };
    for block in 0..3 {
        let response = cluster.commit(controller::allocate_producer_ids(&cluster.image, &request));
        assert_eq!((response.producer_id_start, response.producer_id_len), (block * 1000, 1000));
    }
    let stale = AllocateProducerIdsRequest { broker_epoch: broker_epoch - 1, ..request };
    let (records, response) = controller::allocate_producer_ids(&cluster.image, &stale);
    assert_eq!((records.len(), response.error_code), (0, ErrorCode::StaleBrokerEpoch.code()));
}

/// What the leader of `t-0` says about its ISR, and the code it is answered with.
fn isr(cluster: &mut Cluster, change: impl FnOnce(&mut AlterPartitionRequest)) -> i16 {
    let topic = cluster.image.topic("t").expect("there");
    let partition = topic.partition(0).expect("there");
    let leader = partition.leader.expect("led");
    let data = PartitionData {
        partition_index: 0,
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch,
        ..Default::default()
    };
    let mut request = AlterPartitionRequest {
        broker_id: leader,
        broker_epoch: cluster.image.broker(leader).expect("there").epoch,
        topics: vec![TopicData { topic_id: topic.id.0, partitions: vec![data], ..Default::default() }],
        ..Default::default()
    };
    change(&mut request);
    let response = cluster.commit(controller::alter_partition(&cluster.image, &request));
    match response.error_code {
        0 => response.topics[0].partitions[0].error_code,
        code => code,
    }
}

fn members(request: &mut AlterPartitionRequest, isr: &[i32]) {
    let state = |&broker_id: &i32| BrokerState { broker_id, broker_epoch: -1, ..Default::default() };
    request.topics[0].partitions[0].new_isr_with_epochs = isr.iter().map(state).collect();
}

#[test]
fn a_leader_shrinks_and_grows_its_isr() {
    let mut cluster = Cluster::of(3);
    cluster.create_ok("t", 1, 3);
    let leader = cluster.image.partition("t", 0).and_then(|p| p.leader).expect("led");
    assert_eq!(isr(&mut cluster, |request| members(request, &[leader])), 0);
    assert_eq!(cluster.image.partition("t", 0).map(|p| p.isr.clone()), Some(vec![leader]));
    assert_eq!(isr(&mut cluster, |request| members(request, &[1, 2, 3])), 0);
    assert_eq!(cluster.image.partition("t", 0).map(|p| (p.isr.len(), p.partition_epoch)), Some((3, 2)));
}

#[test]
fn an_isr_change_at_another_epoch_or_of_others_is_refused() {
    let mut cluster = Cluster::of(3);
    cluster.create_ok("t", 1, 2);
    let replicas = cluster.image.partition("t", 0).expect("there").replicas.clone();
    let outsider = (1..=3).find(|id| !replicas.contains(id)).expect("three brokers, two replicas");
    let leader = replicas[0];
    let first = |request: &mut AlterPartitionRequest, edit: fn(&mut PartitionData)| {
        members(request, &[leader]);
        edit(&mut request.topics[0].partitions[0]);
    };
    let before = cluster.log.len();
    for (expected, code) in [
        (ErrorCode::NotController, isr(&mut cluster, |r| first(r, |p| p.leader_epoch += 1))),
        (ErrorCode::NotController, isr(&mut cluster, |r| first(r, |p| p.partition_epoch += 1))),
        (ErrorCode::FencedLeaderEpoch, isr(&mut cluster, |r| first(r, |p| p.leader_epoch -= 1))),
        (ErrorCode::InvalidUpdateVersion, isr(&mut cluster, |r| first(r, |p| p.partition_epoch -= 1))),
        (ErrorCode::UnknownTopicOrPartition, isr(&mut cluster, |r| first(r, |p| p.partition_index = 7))),
        (ErrorCode::InvalidRequest, isr(&mut cluster, |r| members(r, &[leader, outsider]))),
        (ErrorCode::InvalidRequest, isr(&mut cluster, |r| members(r, &[replicas[1]]))),
        (ErrorCode::StaleBrokerEpoch, isr(&mut cluster, |r| r.broker_epoch -= 1)),
    ] {
        assert_eq!(code, expected.code());
    }
    cluster.heartbeat(replicas[1], true, false);
    assert_eq!(isr(&mut cluster, |r| members(r, &replicas)), ErrorCode::IneligibleReplica.code());
    assert!(cluster.log.len() > before);
}

#[test]
fn the_preferred_leader_gets_its_partition_back() {
    let mut cluster = Cluster::of(2);
    cluster.create_ok("t", 1, 2);
    let preferred = cluster.image.partition("t", 0).expect("there").replicas[0];
    cluster.heartbeat(preferred, true, false);
    let request = ElectLeadersRequest {
        election_type: 0,
        topic_partitions: Some(vec![TopicPartitions {
            topic: "t".into(),
            partitions: vec![0, 5],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let codes = |cluster: &mut Cluster| -> Vec<i16> {
        let response = cluster.commit(controller::elect_leaders(&cluster.image, &request));
        response.replica_election_results[0].partition_result.iter().map(|p| p.error_code).collect()
    };
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(codes(&mut cluster), [ErrorCode::PreferredLeaderNotAvailable.code(), unknown]);
    cluster.heartbeat(preferred, false, false);
    assert_eq!(isr(&mut cluster, |r| members(r, &[1, 2])), 0);
    assert_eq!(codes(&mut cluster), [0, unknown]);
    assert_eq!(cluster.image.partition("t", 0).and_then(|p| p.leader), Some(preferred));
    assert_eq!(codes(&mut cluster), [ErrorCode::ElectionNotNeeded.code(), unknown]);
}

#[test]
fn an_unclean_election_is_the_last_resort() {
    let mut cluster = Cluster::of(2);
    cluster.create_ok("t", 1, 2);
    cluster.heartbeat(1, true, false);
    cluster.heartbeat(2, true, false);
    cluster.heartbeat(1, false, false);
    assert_eq!(cluster.image.partition("t", 0).map(|p| (p.leader, p.isr.clone())), Some((None, vec![2])));
    let request = ElectLeadersRequest { election_type: 1, topic_partitions: None, ..Default::default() };
    let response = cluster.commit(controller::elect_leaders(&cluster.image, &request));
    assert_eq!(response.replica_election_results.len(), 1);
    let partition = cluster.image.partition("t", 0).expect("there");
    assert_eq!((partition.leader, &partition.isr[..], partition.recovering), (Some(1), &[1][..], true));
    let response = cluster.commit(controller::elect_leaders(&cluster.image, &request));
    assert!(response.replica_election_results[0].partition_result.is_empty(), "what has a leader needs none");
}

#[test]
fn a_partition_whose_log_is_lost_is_led_by_another_replica_or_by_nobody() {
    let mut cluster = Cluster::of(2);
    cluster.create_topics(&CreateTopicsRequest {
        topics: vec![topic("a", 1, 1), topic("b", 2, 2)],
        ..Default::default()
    });
    let led = |cluster: &Cluster, name: &str, index: usize| {
        let state = &cluster.image.topic(name).expect("there").partitions[index];
        (state.leader, state.isr.clone(), cluster.image.offline_replicas(state))
    };
    let alone = led(&cluster, "a", 0).0.expect("a leader");
    let ids: Vec<_> = ["a", "b"].map(|name| cluster.image.topic(name).expect("there").id).into();
    let lost = [(ids[0], 0), (ids[1], 0), (ids[1], 1), (ids[1], 9)];
    cluster.commit(controller::logs_lost(&cluster.image, alone, &lost));
    // The only replica stays in the ISR: its log may come back.
    assert_eq!(led(&cluster, "a", 0), (None, vec![alone], vec![alone]));
    let other = 3 - alone;
    for index in 0..2 {
        assert_eq!(led(&cluster, "b", index), (Some(other), vec![other], vec![alone]));
    }
    assert!(controller::logs_lost(&cluster.image, alone, &lost).0.is_empty(), "it is known");
    // Nobody makes a replica the leader that has no log, not even uncleanly.
    let partitions = vec![TopicPartitions { topic: "a".into(), partitions: vec![0], ..Default::default() }];
    let unclean =
        ElectLeadersRequest { election_type: 1, topic_partitions: Some(partitions), ..Default::default() };
    cluster.commit(controller::elect_leaders(&cluster.image, &unclean));
    assert_eq!(led(&cluster, "a", 0).0, None);

    cluster.register(alone);
    cluster.heartbeat(alone, false, false);
    assert_eq!(led(&cluster, "a", 0), (Some(alone), vec![alone], vec![]));
    assert_eq!(led(&cluster, "b", 0), (Some(other), vec![other], vec![]));
}
