//! A broker and a connection to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use strata_log::RemoteLog;
use strata_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use strata_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use strata_protocol::messages::fetch_response::PartitionData;
use strata_protocol::messages::metadata_request::MetadataRequestTopic;
use strata_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use strata_protocol::messages::produce_response::PartitionProduceResponse;
use strata_protocol::messages::{
    CreateTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
};
use strata_protocol::records::{BatchBuilder, BuilderOptions, DecompressLimit, batches};
use strata_protocol::{Records, Request, Str, frame};
use strata_server::config::Config;
use strata_server::{Server, StartError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

/// Longer than anything here takes; a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A running broker with a directory that goes when it goes.
pub(crate) struct Broker {
    pub server: Server,
    pub dir: TempDir,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With these settings besides what every test wants.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = start_in(dir.path(), settings).await.unwrap();
        Self { server, dir }
    }

    pub(crate) async fn with_archive(archive: Arc<dyn RemoteLog>) -> Self {
        Self::with_archive_and(archive, &[]).await
    }

    pub(crate) async fn with_archive_and(archive: Arc<dyn RemoteLog>, settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(config(dir.path(), settings), Some(archive)).await.unwrap();
        Self { server, dir }
    }

    /// Stops and starts again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        self.server.shutdown().await;
        let server = start_in(self.dir.path(), &[]).await.unwrap();
        Self { server, dir: self.dir }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.server.local_addr()).await
    }
}

pub(crate) async fn start_in(dir: &Path, settings: &[&str]) -> Result<Server, StartError> {
    Server::start(config(dir, settings), None).await
}

fn config(dir: &Path, settings: &[&str]) -> Config {
    let log_dirs = format!("log.dirs={}", dir.display());
    let own = [
        "listeners=PLAINTEXT://127.0.0.1:0",
        "group.initial.rebalance.delay.ms=0",
        "offsets.topic.num.partitions=3",
        log_dirs.as_str(),
    ];
    let none: [(&str, &str); 0] = [];
    Config::load("", none, own.iter().chain(settings)).unwrap()
}

/// A client's end of a connection.
pub(crate) struct Connection {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), correlation_id: 0 }
    }

    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let client = Str::from_static("test");
        let encoded = frame::encode_request(self.correlation_id, &client, version, request).unwrap();
        self.write(&encoded.to_bytes()).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next answer, which must be to a request of this kind.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let frame = self.receive_frame().await.expect("the broker closed the connection");
        frame::decode_response::<R>(frame, version).unwrap().1
    }

    /// The next frame; `None` when the broker closes.
    pub(crate) async fn receive_frame(&mut self) -> Option<Bytes> {
        let receive = async {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await.ok()?;
            let mut frame = BytesMut::zeroed(u32::from_be_bytes(length) as usize);
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.freeze())
        };
        tokio::time::timeout(PATIENCE, receive).await.expect("no answer in time")
    }

    /// Whether the broker has closed the connection, which it is given time for.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.receive_frame().await.is_none()
    }

    pub(crate) async fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Uuid {
        let response = self.call(7, &create_topic(name, partitions, configs)).await;
        let topic = &response.topics[0];
        assert_eq!(topic.error_code, 0, "{:?}", topic.error_message);
        topic.topic_id
    }

    pub(crate) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let response = self.call(9, &produce(topic, partition, -1, batch)).await;
        response.responses[0].partition_responses[0].clone()
    }

    /// Values from an offset on, without waiting.
    pub(crate) async fn fetch(&mut self, topic: &str, partition: i32, from: i64) -> PartitionData {
        let response = self.call(12, &fetch(topic, partition, from, 0)).await;
        only_partition(response)
    }

    /// The id of a topic that is there.
    pub(crate) async fn topic_id(&mut self, name: &str) -> Uuid {
        let topics = vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }];
        let response = self.call(12, &MetadataRequest { topics: Some(topics), ..Default::default() }).await;
        assert_eq!(response.topics[0].error_code, 0);
        response.topics[0].topic_id
    }

    pub(crate) async fn topic_names(&mut self) -> Vec<String> {
        let response = self.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
        response.topics.iter().filter_map(|topic| topic.name.as_ref().map(Str::to_string)).collect()
    }
}

pub(crate) fn create_topic(name: &str, num_partitions: i32, configs: &[(&str, &str)]) -> CreateTopicsRequest {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: Str::from(*name),
        value: Some(Str::from(*value)),
        ..Default::default()
    });
    let topic = CreatableTopic {
        name: Str::from(name),
        num_partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], ..Default::default() }
}

pub(crate) fn produce(topic: &str, index: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let records = Some(Records::Bytes(batch));
    let partition_data = vec![PartitionProduceData { index, records, ..Default::default() }];
    let topic_data = vec![TopicProduceData { name: Str::from(topic), partition_data, ..Default::default() }];
    ProduceRequest { acks, timeout_ms: 10_000, topic_data, ..Default::default() }
}

pub(crate) fn fetch(topic: &str, partition: i32, fetch_offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition =
        FetchPartition { partition, fetch_offset, partition_max_bytes: 1 << 20, ..Default::default() };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: Str::from(topic),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub(crate) fn only_partition(response: FetchResponse) -> PartitionData {
    assert_eq!(response.error_code, 0);
    assert_eq!(response.responses.len(), 1, "{response:?}");
    response.responses[0].partitions[0].clone()
}

/// A batch of records with these values.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_with(values, BuilderOptions::default(), 1_700_000_000_000)
}

pub(crate) fn batch_with(values: &[&str], options: BuilderOptions, timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.push_next(timestamp, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// Offset and value of every record.
pub(crate) fn values(data: &PartitionData) -> Vec<(i64, String)> {
    let bytes = data.records.as_ref().map(|records| records.to_bytes().unwrap()).unwrap_or_default();
    let records =
        batches(bytes).flat_map(|batch| batch.unwrap().records(DecompressLimit::default()).unwrap());
    let pair = |record: strata_protocol::records::Record| {
        (record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap())
    };
    records.map(|record| pair(record.unwrap())).collect()
}
