//! A broker that answers as a test tells it to, wrongly if need be.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strata_protocol::messages::api_versions_response::ApiVersion;
use strata_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use strata_protocol::messages::{ApiVersionsResponse, MetadataResponse};
use strata_protocol::{ApiKey, Decoder, Message, Request, decode_request_header, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as the fake broker sees it.
pub struct Asked {
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    body: Decoder,
}

impl Asked {
    pub fn request<R: Request>(&self) -> R {
        assert_eq!(R::KEY, self.key);
        R::decode(&mut self.body.clone(), self.version).expect("a request that can be read")
    }

    /// The answer, as it should be.
    pub fn answer<M: Message>(&self, message: &M) -> Reply {
        let encoded = frame::encode_response(self.correlation_id, self.key, self.version, message);
        Reply::Send(encoded.expect("an answer that can be written").to_bytes())
    }
}

/// What the fake broker does.
pub enum Reply {
    Send(Bytes),
    /// Nothing, for ever.
    Silence,
    Close,
}

/// Listens on a port of its own until it is dropped.
pub struct FakeBroker {
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl FakeBroker {
    /// Answers ApiVersions by itself, and the rest by `answer`.
    pub async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_raw(move |asked| match asked.key {
            ApiKey::ApiVersions => asked.answer(&every_version()),
            _ => answer(asked),
        })
        .await
    }

    /// Answers everything by `answer`.
    pub async fn start_raw(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone()));
            }
        });
        Self { address, task }
    }

    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(&Asked) -> Reply>) {
    let mut received = BytesMut::new();
    loop {
        while let Ok(Some(request)) = frame::take_frame(&mut received, 100 << 20) {
            let mut body = Decoder::new(request);
            let header = decode_request_header(&mut body).expect("a header");
            let asked = Asked {
                key: ApiKey::from_i16(header.request_api_key).expect("a key"),
                version: header.request_api_version,
                correlation_id: header.correlation_id,
                body,
            };
            match answer(&asked) {
                Reply::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Reply::Silence => {}
                Reply::Close => return,
            }
        }
        if !matches!(stream.read_buf(&mut received).await, Ok(1..)) {
            return;
        }
    }
}

/// Every version that we have messages for.
pub fn every_version() -> ApiVersionsResponse {
    let api = |key: &ApiKey| ApiVersion {
        api_key: *key as i16,
        min_version: *key.versions().start(),
        max_version: *key.versions().end(),
        ..Default::default()
    };
    ApiVersionsResponse { api_keys: ApiKey::ALL.iter().map(api).collect(), ..Default::default() }
}

/// A cluster of this one broker, node 1, that leads one topic.
pub fn cluster(port: u16, topic: &str, partitions: i32) -> MetadataResponse {
    let partition = |index| MetadataResponsePartition {
        partition_index: index,
        leader_id: 1,
        leader_epoch: 0,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: 1,
            host: "127.0.0.1".into(),
            port: port.into(),
            ..Default::default()
        }],
        controller_id: 1,
        topics: vec![MetadataResponseTopic {
            name: Some(topic.into()),
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}
