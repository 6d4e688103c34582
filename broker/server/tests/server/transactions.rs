//! Transactions by raw requests: both versions of the protocol, verification, markers, and a broker that is restarted.

use bytes::Bytes;
use strata_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use strata_protocol::messages::describe_producers_request::TopicRequest;
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use strata_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use strata_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use strata_protocol::messages::*;
use strata_protocol::records::BuilderOptions;
use strata_types::{ErrorCode, ProducerEpoch, ProducerId};

use crate::support::{Broker, Connection, batch_with, fetch, only_partition, produce, values};

const ID: &str = "tx";

/// A producer with the transactional id.
#[derive(Clone, Copy)]
pub(super) struct Producer {
    id: i64,
    epoch: i16,
    sequence: i32,
}

async fn init(connection: &mut Connection) -> Producer {
    let ask = InitProducerIdRequest {
        transactional_id: Some(ID.into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    loop {
        let given = connection.call(5, &ask).await;
        if given.error_code == ErrorCode::ConcurrentTransactions.code() {
            continue;
        }
        assert_eq!(given.error_code, 0);
        return Producer { id: given.producer_id, epoch: given.producer_epoch, sequence: 0 };
    }
}

/// A connection to a broker with a topic of one partition and a coordinator, and a producer.
pub(super) async fn start(broker: &Broker) -> (Connection, Producer) {
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    for (key_type, key) in [(0, "g"), (1, ID)] {
        let find = FindCoordinatorRequest { key: key.into(), key_type, ..Default::default() };
        assert_eq!(connection.call(3, &find).await.error_code, 0);
    }
    let producer = init(&mut connection).await;
    (connection, producer)
}

impl Producer {
    fn batch(&self, value: &str) -> Bytes {
        let options = BuilderOptions {
            producer_id: ProducerId(self.id),
            producer_epoch: ProducerEpoch(self.epoch),
            base_sequence: self.sequence,
            transactional: true,
            ..Default::default()
        };
        batch_with(&[value], options, 0)
    }

    pub(super) async fn send(&mut self, connection: &mut Connection, version: i16, value: &str) -> i16 {
        let mut request = produce("t", 0, -1, self.batch(value));
        request.transactional_id = Some(ID.into());
        let answer = connection.call(version, &request).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        if code == 0 {
            self.sequence += 1;
        }
        code
    }

    async fn add(&self, connection: &mut Connection) -> i16 {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: ID.into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: "t".into(),
                partitions: vec![0],
                ..Default::default()
            }],
            ..Default::default()
        };
        loop {
            let answer = connection.call(3, &request).await;
            let code = answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
            if code != ErrorCode::ConcurrentTransactions.code() {
                return code;
            }
        }
    }

    pub(super) async fn end(&mut self, connection: &mut Connection, version: i16, committed: bool) -> i16 {
        let request = EndTxnRequest {
            transactional_id: ID.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed,
            ..Default::default()
        };
        let answer = connection.call(version, &request).await;
        if version >= 5 && answer.error_code == 0 {
            *self = Self { id: answer.producer_id, epoch: answer.producer_epoch, sequence: 0 };
        }
        answer.error_code
    }
}

/// What a reader of committed records sees, once nothing of the partition is undecided.
pub(super) async fn committed(connection: &mut Connection) -> Vec<String> {
    let ends = |level| ListOffsetsRequest {
        replica_id: -1,
        isolation_level: level,
        topics: vec![list_offsets_request::ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![list_offsets_request::ListOffsetsPartition {
                timestamp: -1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let end = loop {
        let all = connection.call(7, &ends(0)).await.topics[0].partitions[0].offset;
        let stable = connection.call(7, &ends(1)).await.topics[0].partitions[0].offset;
        if all == stable {
            break stable;
        }
    };
    let (mut from, mut read, mut aborted) = (0, Vec::new(), Vec::new());
    while from < end {
        let mut request = fetch("t", 0, from, 60_000);
        request.isolation_level = 1;
        let data = only_partition(connection.call(12, &request).await);
        aborted.extend(data.aborted_transactions.iter().flatten().map(|one| one.first_offset));
        read.extend(values(&data));
        from = read.last().expect("a record at least").0 + 1;
    }
    // Every transaction here has one record; a marker's value begins with its version.
    read.retain(|(offset, value)| !aborted.contains(offset) && !value.starts_with('\0'));
    read.into_iter().map(|(_, value)| value).collect()
}

#[tokio::test]
async fn version_2_adds_partitions_itself_and_raises_the_epoch_with_every_end() {
    let broker = Broker::start().await;
    let (mut connection, mut producer) = start(&broker).await;
    for (value, commit) in [("a", true), ("b", false), ("c", true)] {
        let before = producer.epoch;
        assert_eq!(producer.send(&mut connection, 12, value).await, 0);
        assert_eq!(producer.end(&mut connection, 5, commit).await, 0);
        assert_eq!(producer.epoch, before + 1);
    }
    assert_eq!(committed(&mut connection).await, ["a", "c"]);
}

#[tokio::test]
async fn version_1_verifies_what_the_client_has_added() {
    let broker = Broker::start().await;
    let (mut connection, mut producer) = start(&broker).await;
    assert_eq!(producer.send(&mut connection, 10, "a").await, ErrorCode::InvalidTxnState.code());
    assert_eq!(producer.send(&mut connection, 11, "a").await, ErrorCode::TransactionAbortable.code());
    assert_eq!(producer.add(&mut connection).await, 0);
    assert_eq!(producer.send(&mut connection, 11, "a").await, 0);
    assert_eq!(producer.end(&mut connection, 4, true).await, 0);
    assert_eq!(committed(&mut connection).await, ["a"]);
    // The transaction is over: what comes late does not begin another one.
    assert_eq!(producer.send(&mut connection, 11, "late").await, ErrorCode::TransactionAbortable.code());
    assert_eq!(producer.add(&mut connection).await, 0);
    assert_eq!(producer.send(&mut connection, 11, "b").await, 0);
    assert_eq!(producer.end(&mut connection, 4, false).await, 0);
    assert_eq!(committed(&mut connection).await, ["a"]);
}

#[tokio::test]
async fn an_older_producer_is_fenced_and_its_transaction_undone() {
    let broker = Broker::start().await;
    let (mut connection, mut zombie) = start(&broker).await;
    assert_eq!(zombie.send(&mut connection, 12, "zombie").await, 0);
    let mut next = init(&mut connection).await;
    assert!(next.id == zombie.id && next.epoch > zombie.epoch);
    assert_eq!(zombie.send(&mut connection, 12, "late").await, ErrorCode::InvalidProducerEpoch.code());
    assert_eq!(zombie.end(&mut connection, 5, true).await, ErrorCode::ProducerFenced.code());
    assert_eq!(zombie.end(&mut connection, 1, true).await, ErrorCode::InvalidProducerEpoch.code());
    assert_eq!(next.send(&mut connection, 12, "next").await, 0);
    assert_eq!(next.end(&mut connection, 5, true).await, 0);
    assert_eq!(committed(&mut connection).await, ["next"]);
}

#[tokio::test]
async fn an_open_transaction_outlives_the_broker_and_can_still_be_ended() {
    let broker = Broker::start().await;
    let (mut connection, mut producer) = start(&broker).await;
    assert_eq!(producer.send(&mut connection, 12, "a").await, 0);
    let broker = broker.restart().await;
    let mut connection = broker.connect().await;
    assert_eq!(producer.send(&mut connection, 12, "b").await, 0, "its partition knows the transaction");
    assert_eq!(producer.end(&mut connection, 5, true).await, 0);
    let broker = broker.restart().await;
    let mut connection = broker.connect().await;
    assert_eq!(
        committed(&mut connection).await,
        ["a", "b"],
        "markers are written by whoever loads the decision"
    );
}

#[tokio::test]
async fn offsets_of_a_transaction_count_once_it_commits() {
    let broker = Broker::start().await;
    let (mut connection, mut producer) = start(&broker).await;
    let commit = |producer: Producer, offset| TxnOffsetCommitRequest {
        transactional_id: ID.into(),
        group_id: "g".into(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let offset = |require_stable| OffsetFetchRequest {
        require_stable,
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "t".into(),
                partition_indexes: vec![0],
                ..Default::default()
            }]),
            ..Default::default()
        }],
        ..Default::default()
    };
    for (number, commits) in [(5, false), (7, true)] {
        let answer = connection.call(5, &commit(producer, number)).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        let pending = connection.call(8, &offset(true)).await.groups[0].topics[0].partitions[0].clone();
        assert_eq!(pending.error_code, ErrorCode::UnstableOffsetCommit.code());
        let stable = connection.call(8, &offset(false)).await.groups[0].topics[0].partitions[0].clone();
        assert_eq!(stable.committed_offset, -1);
        assert_eq!(producer.end(&mut connection, 5, commits).await, 0);
        let mut after = pending;
        while after.error_code == ErrorCode::UnstableOffsetCommit.code() {
            after = connection.call(8, &offset(true)).await.groups[0].topics[0].partitions[0].clone();
        }
        assert_eq!(after.committed_offset, if commits { number } else { -1 });
    }
    let broker = broker.restart().await;
    let answer = broker.connect().await.call(8, &offset(true)).await;
    assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, 7);
    // Version 1 must have said so before.
    let answer = broker.connect().await.call(3, &commit(producer, 9)).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::InvalidTxnState.code());
}

#[tokio::test]
async fn a_transaction_is_ended_by_hand_where_its_coordinator_does_not_know_of_it() {
    let broker = Broker::with(&["transaction.partition.verification.enable=false"]).await;
    let (mut connection, mut producer) = start(&broker).await;
    // Not verified, and not added: nobody will end it.
    assert_eq!(producer.send(&mut connection, 11, "hanging").await, 0);
    let describe = DescribeProducersRequest {
        topics: vec![TopicRequest { name: "t".into(), partition_indexes: vec![0], ..Default::default() }],
        ..Default::default()
    };
    let described = connection.call(0, &describe).await;
    assert_eq!(described.topics[0].partitions[0].active_producers[0].current_txn_start_offset, 0);
    let marker = |epoch| WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: producer.id,
            producer_epoch: epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: "t".into(),
                partition_indexes: vec![0, 1],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut late = marker(producer.epoch);
    late.markers[0].transaction_version = 2;
    let answer = connection.call(2, &late).await;
    assert_eq!(
        answer.markers[0].topics[0].partitions[0].error_code,
        ErrorCode::InvalidProducerEpoch.code(),
        "under version 2 a marker's epoch is higher"
    );
    let answer = connection.call(1, &marker(producer.epoch)).await;
    let codes: Vec<_> = answer.markers[0].topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UnknownTopicOrPartition.code()]);
    assert_eq!(committed(&mut connection).await, [""; 0]);
}

#[tokio::test]
async fn verification_is_switched_while_the_broker_runs() {
    let broker = Broker::start().await;
    let (mut connection, mut producer) = start(&broker).await;
    let set = |value: &'static str| IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 4,
            configs: vec![AlterableConfig {
                name: "transaction.partition.verification.enable".into(),
                value: Some(value.into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(producer.send(&mut connection, 11, "a").await, ErrorCode::TransactionAbortable.code());
    assert_eq!(connection.call(1, &set("false")).await.responses[0].error_code, 0);
    assert_eq!(producer.send(&mut connection, 11, "a").await, 0);
    assert_eq!(producer.end(&mut connection, 4, false).await, ErrorCode::InvalidTxnState.code());
    assert_eq!(connection.call(1, &set("true")).await.responses[0].error_code, 0);
    let next = init(&mut connection).await;
    assert_eq!(
        Producer { sequence: 0, ..next }.send(&mut connection, 11, "b").await,
        ErrorCode::TransactionAbortable.code()
    );
}

#[tokio::test]
async fn transactions_are_listed_and_described() {
    let broker = Broker::start().await;
    let (mut connection, mut producer) = start(&broker).await;
    assert_eq!(producer.send(&mut connection, 12, "a").await, 0);
    let describe = DescribeTransactionsRequest {
        transactional_ids: vec![ID.into(), "nobody".into()],
        ..Default::default()
    };
    let mut described = connection.call(0, &describe).await.transaction_states;
    described.sort_by_key(|state| state.error_code);
    assert_eq!((&*described[0].transaction_state, described[0].transaction_timeout_ms), ("Ongoing", 60_000));
    assert_eq!((&*described[0].topics[0].topic, &described[0].topics[0].partitions[..]), ("t", &[0][..]));
    assert_eq!(described[1].error_code, ErrorCode::TransactionalIdNotFound.code());
    let list = |pattern: &'static str| ListTransactionsRequest {
        state_filters: vec!["Ongoing".into(), "Odd".into()],
        transactional_id_pattern: Some(pattern.into()),
        ..Default::default()
    };
    let listed = connection.call(2, &list("t.")).await;
    assert_eq!(listed.transaction_states.len(), 1);
    assert_eq!(listed.unknown_state_filters, ["Odd"]);
    assert_eq!(connection.call(2, &list("t")).await.transaction_states.len(), 0);
    let wrong = connection.call(2, &list("(")).await;
    assert_eq!(wrong.error_code, ErrorCode::InvalidRegularExpression.code());
}
