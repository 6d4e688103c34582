//! The consumer towards brokers that fail and groups that change: no record lost, and the application told in time.

mod fake;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fake::{Asked, FakeBroker, Reply, cluster};
use parking_lot::Mutex;
use strata_client::{
    Assignor, AutoOffsetReset, Client, ClientError, ClientOptions, Consumer, ConsumerEvent, ConsumerOptions,
    SeekTo,
};
use strata_protocol::ApiKey;
use strata_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use strata_protocol::messages::find_coordinator_response::Coordinator;
use strata_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use strata_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use strata_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use strata_protocol::messages::{
    FetchRequest, FetchResponse, FindCoordinatorResponse, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse, join_group_response,
};
use strata_protocol::records::{BatchBuilder, BuilderOptions};
use strata_types::{ErrorCode, Offset, TopicName, TopicPartition};
use tokio::time::timeout;

/// What goes wrong with one Fetch.
#[derive(Clone, Copy)]
enum Fault {
    Error(ErrorCode),
    Close,
}

/// A topic of two partitions with a hundred records each, and a group of one member.
#[derive(Default)]
struct State {
    fetch_faults: VecDeque<Fault>,
    heartbeats: VecDeque<ErrorCode>,
    joins: VecDeque<ErrorCode>,
    generation: i32,
    committed: HashMap<i32, i64>,
    left: bool,
}

const RECORDS: i64 = 100;

impl State {
    fn answer(&mut self, asked: &Asked, port: u16) -> Reply {
        match asked.key {
            ApiKey::Metadata => asked.answer(&cluster(port, "t", 2)),
            ApiKey::ListOffsets => asked.answer(&list_offsets(&asked.request())),
            ApiKey::Fetch => match self.fetch_faults.pop_front() {
                Some(Fault::Close) => Reply::Close,
                Some(Fault::Error(code)) => asked.answer(&fetch(&asked.request(), Some(code))),
                None => asked.answer(&fetch(&asked.request(), None)),
            },
            ApiKey::FindCoordinator => asked.answer(&FindCoordinatorResponse {
                coordinators: vec![Coordinator { key: "g".into(), node_id: 1, ..Default::default() }],
                ..Default::default()
            }),
            ApiKey::JoinGroup => asked.answer(&self.join(&asked.request())),
            ApiKey::SyncGroup => {
                let request: SyncGroupRequest = asked.request();
                let assignment = request.assignments.first().map(|own| own.assignment.clone());
                asked.answer(&SyncGroupResponse {
                    assignment: assignment.unwrap_or_default(),
                    ..Default::default()
                })
            }
            ApiKey::Heartbeat => {
                let code = self.heartbeats.pop_front().unwrap_or(ErrorCode::None);
                asked.answer(&HeartbeatResponse { error_code: code.code(), ..Default::default() })
            }
            ApiKey::OffsetFetch => asked.answer(&self.committed()),
            ApiKey::OffsetCommit => asked.answer(&self.commit(&asked.request())),
            ApiKey::LeaveGroup => {
                self.left = true;
                asked.answer(&LeaveGroupResponse::default())
            }
            key => panic!("{key} was not expected"),
        }
    }

    fn join(&mut self, request: &JoinGroupRequest) -> JoinGroupResponse {
        if let Some(code) = self.joins.pop_front() {
            let member_id = "given".into();
            return JoinGroupResponse { error_code: code.code(), member_id, ..Default::default() };
        }
        self.generation += 1;
        let metadata = request.protocols[0].metadata.clone();
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some(request.protocols[0].name.clone()),
            leader: "member".into(),
            member_id: "member".into(),
            members: vec![join_group_response::JoinGroupResponseMember {
                member_id: "member".into(),
                metadata,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn committed(&self) -> OffsetFetchResponse {
        let partition = |(index, offset): (&i32, &i64)| OffsetFetchResponsePartitions {
            partition_index: *index,
            committed_offset: *offset,
            ..Default::default()
        };
        let topic = OffsetFetchResponseTopics {
            name: "t".into(),
            partitions: self.committed.iter().map(partition).collect(),
            ..Default::default()
        };
        let group =
            OffsetFetchResponseGroup { group_id: "g".into(), topics: vec![topic], ..Default::default() };
        OffsetFetchResponse { groups: vec![group], ..Default::default() }
    }

    fn commit(&mut self, request: &OffsetCommitRequest) -> OffsetCommitResponse {
        let mut partitions = Vec::new();
        for partition in request.topics.iter().flat_map(|topic| &topic.partitions) {
            self.committed.insert(partition.partition_index, partition.committed_offset);
            let partition_index = partition.partition_index;
            partitions.push(OffsetCommitResponsePartition { partition_index, ..Default::default() });
        }
        let topic = OffsetCommitResponseTopic { name: "t".into(), partitions, ..Default::default() };
        OffsetCommitResponse { topics: vec![topic], ..Default::default() }
    }
}

fn list_offsets(request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let partition = |asked: &strata_protocol::messages::list_offsets_request::ListOffsetsPartition| {
        ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            offset: match asked.timestamp {
                -2 => 0,
                -1 => RECORDS,
                _ => -1,
            },
            ..Default::default()
        }
    };
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(partition).collect(),
        ..Default::default()
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

/// Ten records from each offset that is asked for.
fn fetch(request: &FetchRequest, code: Option<ErrorCode>) -> FetchResponse {
    let mut partitions = Vec::new();
    for asked in request.topics.iter().flat_map(|topic| &topic.partitions) {
        let base_offset = Offset(asked.fetch_offset);
        let mut builder = BatchBuilder::new(BuilderOptions { base_offset, ..BuilderOptions::default() });
        for offset in asked.fetch_offset..RECORDS.min(asked.fetch_offset + 10) {
            builder.push_next(0, None, Some(offset.to_string().as_bytes()), &[]).unwrap();
        }
        let records = if builder.is_empty() { Bytes::new() } else { builder.build().unwrap() };
        let out_of_range = (asked.fetch_offset > RECORDS).then_some(ErrorCode::OffsetOutOfRange);
        let code = code.or(out_of_range);
        partitions.push(PartitionData {
            partition_index: asked.partition,
            error_code: code.map_or(0, ErrorCode::code),
            high_watermark: RECORDS,
            records: code.is_none().then(|| records.into()),
            ..Default::default()
        });
    }
    let topic = FetchableTopicResponse { topic: "t".into(), partitions, ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

struct Fixture {
    state: Arc<Mutex<State>>,
    client: Client,
    _broker: FakeBroker,
}

async fn fixture(state: State) -> Fixture {
    let state = Arc::new(Mutex::new(state));
    let port = Arc::new(std::sync::OnceLock::new());
    let (of_broker, known_port) = (state.clone(), port.clone());
    let broker =
        FakeBroker::start(move |asked| of_broker.lock().answer(asked, *known_port.get().unwrap())).await;
    port.set(broker.address.port()).unwrap();
    let options = ClientOptions { retry_backoff_ms: 1, retry_backoff_max_ms: 5, ..ClientOptions::default() };
    let client = Client::connect(&broker.bootstrap(), options).await.unwrap();
    Fixture { state, client, _broker: broker }
}

fn options() -> ConsumerOptions {
    ConsumerOptions {
        auto_offset_reset: AutoOffsetReset::Earliest,
        heartbeat_interval_ms: 10,
        poll_records_max: 7,
        ..ConsumerOptions::default()
    }
}

fn in_group() -> ConsumerOptions {
    ConsumerOptions { group_id: Some("g".into()), enable_auto_commit: false, ..options() }
}

fn topic() -> TopicName {
    TopicName::new("t").unwrap()
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new(topic(), number)
}

const LONG: Duration = Duration::from_secs(20);

async fn event(consumer: &mut Consumer) -> ConsumerEvent {
    consumer.next_event(LONG).await.unwrap().expect("an event")
}

/// Reads a partition to its end, and checks that every record comes once and in order.
async fn read_all(consumer: &mut Consumer, number: i32) {
    let mut next = 0;
    while next < RECORDS {
        for record in consumer.poll(LONG).await.unwrap().iter().filter(|record| record.partition == number) {
            assert_eq!(record.offset, Offset(next));
            next += 1;
        }
    }
}

#[tokio::test]
async fn every_record_comes_once_in_spite_of_faults() {
    let faults = [
        Fault::Error(ErrorCode::NotLeaderOrFollower),
        Fault::Close,
        Fault::Error(ErrorCode::KafkaStorageError),
        Fault::Error(ErrorCode::FencedLeaderEpoch),
        Fault::Close,
        Fault::Error(ErrorCode::UnknownTopicOrPartition),
    ];
    let fixture = fixture(State { fetch_faults: faults.into(), ..State::default() }).await;
    let mut consumer = Consumer::new(&fixture.client, options()).unwrap();
    consumer.assign(&[partition(1)]).unwrap();
    read_all(&mut consumer, 1).await;
    assert!(fixture.state.lock().fetch_faults.is_empty());
}

#[tokio::test]
async fn a_poll_that_is_dropped_loses_no_record() {
    let fixture = fixture(State::default()).await;
    let mut consumer = Consumer::new(&fixture.client, options()).unwrap();
    consumer.assign(&[partition(0)]).unwrap();
    let mut next = 0;
    while next < RECORDS {
        // Most of these are dropped while a fetch is under way.
        let Ok(polled) = timeout(Duration::from_micros(50), consumer.poll(LONG)).await else { continue };
        for record in polled.unwrap() {
            assert_eq!(record.offset, Offset(next));
            next += 1;
        }
    }
}

#[tokio::test]
async fn an_offset_out_of_range_follows_the_policy() {
    let fixture = fixture(State::default()).await;
    let mut consumer = Consumer::new(&fixture.client, options()).unwrap();
    consumer.assign(&[partition(0)]).unwrap();
    consumer.seek(&partition(0), SeekTo::Offset(Offset(5000))).unwrap();
    assert_eq!(consumer.poll(LONG).await.unwrap()[0].offset, Offset(0));

    let none = ConsumerOptions { auto_offset_reset: AutoOffsetReset::None, ..options() };
    let mut consumer = Consumer::new(&fixture.client, none).unwrap();
    consumer.assign(&[partition(0)]).unwrap();
    assert!(matches!(consumer.poll(LONG).await, Err(ClientError::NoOffset { .. })), "nothing committed");
    consumer.seek(&partition(0), SeekTo::Offset(Offset(5000))).unwrap();
    assert!(matches!(consumer.poll(LONG).await, Err(ClientError::NoOffset { .. })), "out of range");
    consumer.seek(&partition(0), SeekTo::Offset(Offset(50))).unwrap();
    assert_eq!(consumer.poll(LONG).await.unwrap()[0].offset, Offset(50), "and it goes on");
}

#[tokio::test]
async fn a_time_after_the_last_record_is_the_end() {
    let fixture = fixture(State::default()).await;
    let mut consumer = Consumer::new(&fixture.client, options()).unwrap();
    consumer.assign(&[partition(0)]).unwrap();
    consumer.seek(&partition(0), SeekTo::Timestamp(i64::MAX)).unwrap();
    while consumer.position(&partition(0)).is_none() {
        assert!(consumer.poll(Duration::from_millis(10)).await.unwrap().is_empty());
    }
    assert_eq!(consumer.position(&partition(0)), Some(Offset(RECORDS)));
}

#[tokio::test]
async fn a_paused_partition_gives_nothing_until_it_is_resumed() {
    let fixture = fixture(State::default()).await;
    let mut consumer = Consumer::new(&fixture.client, options()).unwrap();
    consumer.assign(&[partition(0), partition(1)]).unwrap();
    consumer.pause(&partition(0)).unwrap();
    read_all(&mut consumer, 1).await;
    assert!(consumer.poll(Duration::from_millis(20)).await.unwrap().is_empty());
    consumer.resume(&partition(0)).unwrap();
    read_all(&mut consumer, 0).await;
}

#[tokio::test]
async fn a_new_member_joins_with_the_id_that_it_is_given() {
    let joins =
        [ErrorCode::MemberIdRequired, ErrorCode::CoordinatorLoadInProgress, ErrorCode::UnknownMemberId];
    let fixture = fixture(State { joins: joins.into(), ..State::default() }).await;
    let mut consumer = Consumer::new(&fixture.client, in_group()).unwrap();
    consumer.subscribe(&[topic()]).unwrap();
    assert_eq!(event(&mut consumer).await, ConsumerEvent::Assigned(vec![partition(0), partition(1)]));
    assert!(fixture.state.lock().joins.is_empty());
    consumer.close().await.unwrap();
    assert!(fixture.state.lock().left);
}

#[tokio::test]
async fn a_group_that_refuses_us_is_an_error() {
    let joins = [ErrorCode::GroupAuthorizationFailed];
    let fixture = fixture(State { joins: joins.into(), ..State::default() }).await;
    let mut consumer = Consumer::new(&fixture.client, in_group()).unwrap();
    consumer.subscribe(&[topic()]).unwrap();
    let error = consumer.poll(LONG).await.unwrap_err();
    assert!(error.is(ErrorCode::GroupAuthorizationFailed), "{error}");
}

#[tokio::test]
async fn a_rebalance_is_announced_while_the_application_can_still_commit() {
    let fixture = fixture(State::default()).await;
    let mut consumer = Consumer::new(&fixture.client, in_group()).unwrap();
    consumer.subscribe(&[topic()]).unwrap();
    let both = vec![partition(0), partition(1)];
    assert_eq!(event(&mut consumer).await, ConsumerEvent::Assigned(both.clone()));
    let ConsumerEvent::Records(records) = event(&mut consumer).await else { panic!("no records") };
    // So that there is still something to read afterwards.
    both.iter().for_each(|partition| consumer.pause(partition).unwrap());
    fixture.state.lock().heartbeats.push_back(ErrorCode::RebalanceInProgress);
    let revoked = loop {
        match event(&mut consumer).await {
            ConsumerEvent::Records(_) => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert_eq!(revoked, ConsumerEvent::Revoked(both.clone()));
    assert_eq!(consumer.assignment(), both);
    consumer.commit().await.unwrap();
    assert_eq!(fixture.state.lock().committed[&records[0].partition], 7);
    assert_eq!(event(&mut consumer).await, ConsumerEvent::Assigned(both));
    assert_eq!(fixture.state.lock().generation, 2);
    // The other partition may come first; the one that was read goes on where it has committed.
    let again = loop {
        let ConsumerEvent::Records(again) = event(&mut consumer).await else { panic!("no records") };
        match again.into_iter().find(|record| record.partition == records[0].partition) {
            Some(record) => break record,
            None => continue,
        }
    };
    assert_eq!(again.offset, Offset(7));
}

#[tokio::test]
async fn a_member_that_the_group_has_forgotten_loses_everything_and_joins_anew() {
    let fixture = fixture(State::default()).await;
    let mut consumer = Consumer::new(&fixture.client, in_group()).unwrap();
    consumer.subscribe(&[topic()]).unwrap();
    let both = vec![partition(0), partition(1)];
    assert_eq!(event(&mut consumer).await, ConsumerEvent::Assigned(both.clone()));
    fixture.state.lock().heartbeats.push_back(ErrorCode::UnknownMemberId);
    let lost = loop {
        match event(&mut consumer).await {
            ConsumerEvent::Records(_) => tokio::task::yield_now().await,
            other => break other,
        }
    };
    assert_eq!(lost, ConsumerEvent::Lost(both.clone()));
    assert!(consumer.assignment().is_empty());
    assert_eq!(event(&mut consumer).await, ConsumerEvent::Assigned(both));
}

#[tokio::test]
async fn a_cooperative_member_keeps_reading_through_a_rebalance() {
    let fixture = fixture(State::default()).await;
    let options = ConsumerOptions { assignors: vec![Assignor::CooperativeSticky], ..in_group() };
    let mut consumer = Consumer::new(&fixture.client, options).unwrap();
    consumer.subscribe(&[topic()]).unwrap();
    assert_eq!(event(&mut consumer).await, ConsumerEvent::Assigned(vec![partition(0), partition(1)]));
    fixture.state.lock().heartbeats.push_back(ErrorCode::RebalanceInProgress);
    read_all(&mut consumer, 0).await;
    while fixture.state.lock().generation < 2 {
        assert!(
            consumer
                .next_event(Duration::from_millis(1))
                .await
                .unwrap()
                .is_none_or(|event| { matches!(event, ConsumerEvent::Records(_)) })
        );
    }
}

#[tokio::test]
async fn commits_happen_by_themselves_when_asked_for() {
    let fixture = fixture(State::default()).await;
    let options = ConsumerOptions { enable_auto_commit: true, auto_commit_interval_ms: 1, ..in_group() };
    let mut consumer = Consumer::new(&fixture.client, options).unwrap();
    consumer.subscribe(&[topic()]).unwrap();
    consumer.poll(LONG).await.unwrap();
    while fixture.state.lock().committed.is_empty() {
        consumer.poll(Duration::from_millis(1)).await.unwrap();
    }
    let positions = consumer.positions();
    consumer.close().await.unwrap();
    let committed = fixture.state.lock().committed.clone();
    assert!(positions.iter().all(|(partition, offset)| committed[&partition.partition] == offset.0));
}

#[tokio::test]
async fn misuse_is_refused() {
    let fixture = fixture(State::default()).await;
    let mut consumer = Consumer::new(&fixture.client, options()).unwrap();
    assert!(matches!(consumer.subscribe(&[topic()]), Err(ClientError::Options(_))), "without a group");
    assert!(consumer.seek(&partition(0), SeekTo::Earliest).is_err(), "not assigned");
    consumer.assign(&[partition(0)]).unwrap();
    assert!(matches!(consumer.commit().await, Err(ClientError::Options(_))), "without a group");
    let mixed =
        ConsumerOptions { assignors: vec![Assignor::Range, Assignor::CooperativeSticky], ..options() };
    assert!(Consumer::new(&fixture.client, mixed).is_err());
}
