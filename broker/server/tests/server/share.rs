//! Share groups' data path over the wire: fetch, acknowledge, locks, sessions, and what outlives a restart.

use std::time::Duration;

use strata_protocol::messages::initialize_share_group_state_request::{InitializeStateData, PartitionData};
use strata_protocol::messages::read_share_group_state_summary_request::{self, ReadStateSummaryData};
use strata_protocol::messages::share_fetch_request::{AcknowledgementBatch, FetchPartition, FetchTopic};
use strata_protocol::messages::share_fetch_response::PartitionData as Fetched;
use strata_protocol::messages::{
    InitializeShareGroupStateRequest, ReadShareGroupStateSummaryRequest, ShareAcknowledgeRequest,
    ShareFetchRequest, ShareFetchResponse, share_acknowledge_request,
};
use strata_protocol::records::{BuilderOptions, DecompressLimit, batches};
use strata_types::ErrorCode;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{Broker, Connection, batch, batch_with};

pub(super) const ACCEPT: i8 = 1;
pub(super) const RELEASE: i8 = 2;
pub(super) const REJECT: i8 = 3;

/// A member with a connection of its own.
pub(super) struct Member {
    pub(super) connection: Connection,
    id: String,
    topic: Uuid,
    epoch: i32,
}

impl Member {
    pub(super) async fn new(broker: &Broker, topic: Uuid) -> Self {
        Self { connection: broker.connect().await, id: Uuid::new_v4().to_string(), topic, epoch: 0 }
    }

    pub(super) fn request(&self, max_wait_ms: i32, said: &[(i64, i64, i8)]) -> ShareFetchRequest {
        let acknowledgement_batches = said
            .iter()
            .map(|&(first_offset, last_offset, kind)| AcknowledgementBatch {
                first_offset,
                last_offset,
                acknowledge_types: vec![kind],
                ..Default::default()
            })
            .collect();
        let partition = FetchPartition { acknowledgement_batches, ..Default::default() };
        let topic = FetchTopic { topic_id: self.topic, partitions: vec![partition], ..Default::default() };
        ShareFetchRequest {
            group_id: Some("g".into()),
            member_id: Some(self.id.as_str().into()),
            share_session_epoch: self.epoch,
            max_wait_ms,
            min_bytes: 1,
            max_bytes: 1 << 20,
            max_records: 500,
            batch_size: 500,
            topics: vec![topic],
            ..Default::default()
        }
    }

    async fn send(&mut self, max_wait_ms: i32, said: &[(i64, i64, i8)]) {
        let request = self.request(max_wait_ms, said);
        self.connection.send(2, &request).await;
        self.epoch += 1;
    }

    async fn receive(&mut self) -> ShareFetchResponse {
        let response = self.connection.receive::<ShareFetchRequest>(2).await;
        assert_eq!(response.error_code, 0);
        response
    }

    /// Fetches, and says something of earlier records.
    pub(super) async fn fetch(&mut self, max_wait_ms: i32, said: &[(i64, i64, i8)]) -> ShareFetchResponse {
        self.send(max_wait_ms, said).await;
        self.receive().await
    }

    pub(super) async fn acknowledge(&mut self, first_offset: i64, last_offset: i64, kind: i8) -> i16 {
        let batch = share_acknowledge_request::AcknowledgementBatch {
            first_offset,
            last_offset,
            acknowledge_types: vec![kind],
            ..Default::default()
        };
        let partition = share_acknowledge_request::AcknowledgePartition {
            acknowledgement_batches: vec![batch],
            ..Default::default()
        };
        let topic = share_acknowledge_request::AcknowledgeTopic {
            topic_id: self.topic,
            partitions: vec![partition],
            ..Default::default()
        };
        let request = ShareAcknowledgeRequest {
            group_id: Some("g".into()),
            member_id: Some(self.id.as_str().into()),
            share_session_epoch: self.epoch,
            topics: vec![topic],
            ..Default::default()
        };
        self.epoch += 1;
        let response = self.connection.call(2, &request).await;
        assert_eq!(response.error_code, 0);
        response.responses[0].partitions[0].error_code
    }
}

/// First and last offset and delivery count of what was acquired, with the values of the records.
pub(super) fn acquired(response: &ShareFetchResponse) -> Vec<(i64, i64, i16)> {
    let Some(data) = partition(response) else { return Vec::new() };
    assert_eq!((data.error_code, data.acknowledge_error_code), (0, 0));
    let ranges: Vec<_> =
        data.acquired_records.iter().map(|a| (a.first_offset, a.last_offset, a.delivery_count)).collect();
    // Whatever is acquired is also there.
    let bytes = data.records.as_ref().map(|records| records.to_bytes().unwrap()).unwrap_or_default();
    let offsets: Vec<i64> = batches(bytes)
        .flat_map(|batch| batch.unwrap().records(DecompressLimit::default()).unwrap())
        .map(|record| record.unwrap().offset)
        .collect();
    assert!(ranges.iter().all(|(first, last, _)| (*first..=*last).all(|offset| offsets.contains(&offset))));
    ranges
}

fn partition(response: &ShareFetchResponse) -> Option<&Fetched> {
    response.responses.first()?.partitions.first()
}

/// A topic with one partition, whose share state for group `g` starts at 0.
pub(super) async fn topic(broker: &Broker, configs: &[(&str, &str)]) -> (Uuid, Connection) {
    let mut connection = broker.connect().await;
    let topic_id = connection.create_topic("t", 1, configs).await;
    initialize(&mut connection, topic_id).await;
    (topic_id, connection)
}

/// The group's share state of the topic's partition starts at 0.
pub(super) async fn initialize(connection: &mut Connection, topic_id: Uuid) {
    let partitions =
        vec![PartitionData { partition: 0, state_epoch: 1, start_offset: 0, ..Default::default() }];
    let request = InitializeShareGroupStateRequest {
        group_id: "g".into(),
        topics: vec![InitializeStateData { topic_id, partitions, ..Default::default() }],
        ..Default::default()
    };
    let response = connection.call(0, &request).await;
    assert_eq!(response.results[0].partitions[0].error_code, 0, "{response:?}");
}

async fn summary(connection: &mut Connection, topic_id: Uuid) -> (i64, i32) {
    let partitions = vec![read_share_group_state_summary_request::PartitionData {
        partition: 0,
        leader_epoch: -1,
        ..Default::default()
    }];
    let request = ReadShareGroupStateSummaryRequest {
        group_id: "g".into(),
        topics: vec![ReadStateSummaryData { topic_id, partitions, ..Default::default() }],
        ..Default::default()
    };
    let response = connection.call(1, &request).await;
    let partition = &response.results[0].partitions[0];
    (partition.start_offset, partition.delivery_complete_count)
}

#[tokio::test]
async fn members_share_a_partition_and_what_they_accept_is_done() {
    let broker = Broker::start().await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.produce("t", 0, batch(&["a", "b", "c"])).await;
    let mut one = Member::new(&broker, topic_id).await;
    let response = one.fetch(0, &[]).await;
    assert_eq!((acquired(&response), response.acquisition_lock_timeout_ms), (vec![(0, 2, 1)], 30_000));
    let mut two = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&two.fetch(0, &[]).await), []);
    connection.produce("t", 0, batch(&["d"])).await;
    assert_eq!(acquired(&two.fetch(0, &[]).await), [(3, 3, 1)]);
    let response = one.fetch(0, &[(0, 0, ACCEPT), (1, 1, REJECT), (2, 2, RELEASE)]).await;
    assert_eq!(acquired(&response), [(2, 2, 2)], "released, and fetched again");
    assert_eq!(two.acknowledge(2, 2, ACCEPT).await, ErrorCode::InvalidRecordState.code());
    assert_eq!(two.acknowledge(3, 3, ACCEPT).await, 0);
    assert_eq!(summary(&mut connection, topic_id).await, (2, 1), "the start follows with the next write");
    assert_eq!(one.acknowledge(2, 2, ACCEPT).await, 0);
    assert_eq!(acquired(&two.fetch(0, &[]).await), []);
}

#[tokio::test]
async fn a_fetch_waits_for_new_records_and_for_released_ones() {
    let broker = Broker::start().await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    let (mut one, mut two) = (Member::new(&broker, topic_id).await, Member::new(&broker, topic_id).await);
    one.send(60_000, &[]).await;
    connection.produce("t", 0, batch(&["a"])).await;
    assert_eq!(acquired(&one.receive().await), [(0, 0, 1)]);
    two.send(60_000, &[]).await;
    assert_eq!(one.acknowledge(0, 0, RELEASE).await, 0);
    assert_eq!(acquired(&two.receive().await), [(0, 0, 2)]);
    // A member that goes gives back what it holds.
    one.send(60_000, &[]).await;
    drop(two);
    assert_eq!(acquired(&one.receive().await), [(0, 0, 2)], "as if it had not been delivered");
    let waited = Instant::now();
    assert_eq!(acquired(&one.fetch(200, &[]).await), []);
    assert!(waited.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn locks_run_out_and_deliveries_are_counted() {
    let settings =
        ["group.share.record.lock.duration.ms=1000", "group.share.min.record.lock.duration.ms=1000"];
    let limit = ["group.share.delivery.count.limit=2"];
    let broker = Broker::with(&[&settings[..], &limit[..]].concat()).await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.produce("t", 0, batch(&["a"])).await;
    let mut one = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&one.fetch(0, &[]).await), [(0, 0, 1)]);
    assert_eq!(acquired(&one.fetch(60_000, &[]).await), [(0, 0, 2)], "once the lock has run out");
    connection.produce("t", 0, batch(&["b"])).await;
    assert_eq!(acquired(&one.fetch(0, &[]).await), [(1, 1, 1)]);
    assert_eq!(acquired(&one.fetch(60_000, &[]).await), [(1, 1, 2)], "the first one is archived");
    assert_eq!(one.acknowledge(0, 0, ACCEPT).await, 0, "below the start nobody minds");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_restart() {
    let broker = Broker::start().await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.produce("t", 0, batch(&["a", "b", "c", "d"])).await;
    let mut one = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&one.fetch(0, &[]).await), [(0, 3, 1)]);
    assert_eq!(one.acknowledge(1, 1, ACCEPT).await, 0);
    assert_eq!(one.acknowledge(2, 2, RELEASE).await, 0);
    let broker = broker.restart().await;
    let mut one = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&one.fetch(0, &[]).await), [(0, 0, 1), (2, 2, 2), (3, 3, 1)]);
}

#[tokio::test]
async fn sessions_and_acknowledgements_are_checked_as_kafka_checks_them() {
    let broker = Broker::start().await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.produce("t", 0, batch(&["a"])).await;
    let mut one = Member::new(&broker, topic_id).await;
    let code = |response: ShareFetchResponse| ErrorCode::from_code(response.error_code).unwrap();
    one.epoch = 1;
    let request = one.request(0, &[]);
    assert_eq!(code(one.connection.call(2, &request).await), ErrorCode::ShareSessionNotFound);
    one.epoch = 0;
    let request = one.request(0, &[(0, 0, ACCEPT)]);
    assert_eq!(code(one.connection.call(2, &request).await), ErrorCode::InvalidRequest);
    let request = ShareFetchRequest { member_id: Some("".into()), ..one.request(0, &[]) };
    assert_eq!(code(one.connection.call(2, &request).await), ErrorCode::InvalidRequest);
    let request = ShareFetchRequest { is_renew_ack: true, ..one.request(0, &[]) };
    assert_eq!(code(one.connection.call(2, &request).await), ErrorCode::InvalidRequest);
    assert_eq!(acquired(&one.fetch(0, &[]).await), [(0, 0, 1)]);
    let request = ShareFetchRequest { share_session_epoch: 7, ..one.request(0, &[]) };
    assert_eq!(code(one.connection.call(2, &request).await), ErrorCode::InvalidShareSessionEpoch);
    // A type that there is only in requests that renew, and one that there is not.
    for kind in [4, 5] {
        assert_eq!(one.acknowledge(0, 0, kind).await, ErrorCode::InvalidRequest.code());
    }
    // The end of the session gives everything back.
    one.epoch = -1;
    let last = ShareFetchRequest { topics: Vec::new(), ..one.request(0, &[]) };
    assert_eq!(code(one.connection.call(2, &last).await), ErrorCode::None);
    assert_eq!(code(one.connection.call(2, &last).await), ErrorCode::ShareSessionNotFound);
    let mut two = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&two.fetch(0, &[]).await), [(0, 0, 1)]);
    let unknown = Member { topic: Uuid::from_u128(9), ..Member::new(&broker, topic_id).await };
    let mut unknown = Member { epoch: 0, ..unknown };
    let response = unknown.fetch(0, &[]).await;
    assert_eq!(partition(&response).unwrap().error_code, ErrorCode::UnknownTopicId.code());
}

#[tokio::test]
async fn a_renewal_keeps_the_lock_and_fetches_nothing() {
    let settings =
        ["group.share.record.lock.duration.ms=1000", "group.share.min.record.lock.duration.ms=1000"];
    let broker = Broker::with(&settings).await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.produce("t", 0, batch(&["a"])).await;
    let (mut one, mut two) = (Member::new(&broker, topic_id).await, Member::new(&broker, topic_id).await);
    assert_eq!(acquired(&one.fetch(0, &[]).await), [(0, 0, 1)]);
    two.send(60_000, &[]).await;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let renewal = ShareFetchRequest {
        is_renew_ack: true,
        max_bytes: 0,
        min_bytes: 0,
        max_records: 0,
        ..one.request(0, &[(0, 0, 4)])
    };
    let response = one.connection.call(2, &renewal).await;
    assert_eq!((response.error_code, acquired(&response)), (0, vec![]));
    assert_eq!(acquired(&two.receive().await), [(0, 0, 2)]);
    assert!(start.elapsed() >= Duration::from_millis(1_500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn batches_are_kept_whole_unless_records_are_counted() {
    let broker = Broker::start().await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    for _ in 0..2 {
        connection
            .produce("t", 0, batch_with(&["x"; 10], BuilderOptions::default(), 1_700_000_000_000))
            .await;
    }
    let mut one = Member::new(&broker, topic_id).await;
    let counted = ShareFetchRequest { max_records: 3, share_acquire_mode: 1, ..one.request(0, &[]) };
    one.epoch = 1;
    assert_eq!(acquired(&one.connection.call(2, &counted).await), [(0, 2, 1)]);
    let whole = ShareFetchRequest { max_records: 3, ..one.request(0, &[]) };
    assert_eq!(acquired(&one.connection.call(2, &whole).await), [(3, 9, 1)]);
    one.epoch = 2;
    let whole = ShareFetchRequest { max_records: 3, ..one.request(0, &[]) };
    assert_eq!(acquired(&one.connection.call(2, &whole).await), [(10, 19, 1)]);
}
