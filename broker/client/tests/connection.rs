//! How a connection behaves towards brokers that are slow, wrong, or gone.

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use fake::{FakeBroker, Reply, every_version};
use strata_client::{Client, ClientError, ClientOptions, Connection};
use strata_protocol::ApiKey;
use strata_protocol::messages::{
    ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse, HeartbeatRequest, HeartbeatResponse,
};
use strata_types::ErrorCode;

fn quick() -> ClientOptions {
    ClientOptions {
        request_timeout_ms: 200,
        bootstrap_timeout_ms: 500,
        api_timeout_ms: 500,
        connect_timeout_ms: 500,
        retry_backoff_ms: 5,
        ..Default::default()
    }
}

#[tokio::test]
async fn answers_reach_the_requests_they_belong_to() {
    let broker = FakeBroker::start(|asked| {
        let generation = asked.request::<HeartbeatRequest>().generation_id;
        asked.answer(&HeartbeatResponse { error_code: generation as i16, ..Default::default() })
    })
    .await;
    let connection = Connection::open(&broker.bootstrap(), &quick()).await.unwrap();
    let calls = (0..100).map(|number| {
        let connection = connection.clone();
        tokio::spawn(async move {
            let request = HeartbeatRequest { generation_id: number, ..Default::default() };
            (number, connection.call(&request).await.unwrap().error_code)
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let (asked, answered) = call.await.unwrap();
        assert_eq!(asked, i32::from(answered));
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_disturb_the_others() {
    let broker = FakeBroker::start(|asked| asked.answer(&HeartbeatResponse::default())).await;
    let connection = Connection::open(&broker.bootstrap(), &quick()).await.unwrap();
    let limit = Duration::from_secs(1);
    drop(connection.start(&HeartbeatRequest::default(), limit).await.unwrap());
    assert!(connection.call(&HeartbeatRequest::default()).await.is_ok());
}

#[tokio::test]
async fn a_request_without_an_answer_times_out_and_closes_the_connection() {
    let broker = FakeBroker::start(|_| Reply::Silence).await;
    let connection = Connection::open(&broker.bootstrap(), &quick()).await.unwrap();
    let error = connection.call(&HeartbeatRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { ms: 200, .. }), "{error}");
    assert!(error.is_retriable());
    assert!(connection.is_closed());
    let error = connection.call(&HeartbeatRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error}");
}

#[tokio::test]
async fn requests_in_flight_are_bounded() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let broker = FakeBroker::start(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Reply::Silence
    })
    .await;
    let options = ClientOptions { in_flight_max: 3, ..quick() };
    let connection = Connection::open(&broker.bootstrap(), &options).await.unwrap();
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.call(&HeartbeatRequest::default()).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_lost_connection_fails_all_who_wait() {
    let asked = AtomicUsize::new(0);
    let broker = FakeBroker::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::Silence,
        _ => Reply::Close,
    })
    .await;
    let connection = Connection::open(&broker.bootstrap(), &quick()).await.unwrap();
    let limit = Duration::from_secs(5);
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(connection.start(&HeartbeatRequest::default(), limit).await.unwrap());
    }
    for answer in waiting {
        let error = answer.await.unwrap_err();
        assert!(matches!(error, ClientError::Disconnected { .. }), "{error}");
    }
}

/// A broker that answers heartbeats with these bytes.
async fn answering(bytes: Bytes) -> FakeBroker {
    FakeBroker::start(move |_| Reply::Send(bytes.clone())).await
}

#[tokio::test]
async fn answers_that_lie_end_the_connection_and_nothing_else() {
    let frame = |length: i32, body: &[u8]| {
        let mut bytes = BytesMut::new();
        bytes.put_i32(length);
        bytes.extend_from_slice(body);
        bytes.freeze()
    };
    for (name, bytes) in [
        ("negative length", frame(-1, b"")),
        ("a length over the limit", frame(i32::MAX, b"")),
        ("no correlation id", frame(2, b"ab")),
        ("another correlation id", frame(4, &[0, 0, 0, 99])),
        ("not Kafka", Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
    ] {
        let broker = answering(bytes).await;
        let connection = Connection::open(&broker.bootstrap(), &quick()).await.unwrap();
        let error = connection.call(&HeartbeatRequest::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::Disconnected { .. }), "{name}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_decoded_fails_its_request_only() {
    let cut = AtomicUsize::new(0);
    let broker = FakeBroker::start(move |asked| match cut.fetch_add(1, Ordering::SeqCst) {
        0 => {
            let mut bytes = BytesMut::new();
            bytes.put_i32(5);
            bytes.put_i32(asked.correlation_id);
            bytes.put_u8(0);
            Reply::Send(bytes.freeze())
        }
        _ => asked.answer(&HeartbeatResponse::default()),
    })
    .await;
    let connection = Connection::open(&broker.bootstrap(), &quick()).await.unwrap();
    let error = connection.call(&HeartbeatRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Decode(_)), "{error}");
    assert!(connection.call(&HeartbeatRequest::default()).await.is_ok());
}

#[tokio::test]
async fn an_older_broker_is_asked_again_in_its_own_version() {
    let broker = FakeBroker::start_raw(|asked| match asked.key {
        ApiKey::ApiVersions if asked.version > 2 => {
            // A broker that does not know the version answers in version 0.
            let refused = ApiVersionsResponse {
                error_code: ErrorCode::UnsupportedVersion.code(),
                ..only(ApiKey::ApiVersions, 2)
            };
            let old = strata_protocol::frame::encode_response(asked.correlation_id, asked.key, 0, &refused);
            Reply::Send(old.unwrap().to_bytes())
        }
        ApiKey::ApiVersions => asked.answer(&only(ApiKey::Heartbeat, 1)),
        _ => {
            assert_eq!(asked.version, 1);
            asked.answer(&HeartbeatResponse::default())
        }
    })
    .await;
    let connection = Connection::open(&broker.bootstrap(), &quick()).await.unwrap();
    assert!(connection.call(&HeartbeatRequest::default()).await.is_ok());
    let error = connection.call(&DescribeClusterRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::UnsupportedVersion { key: ApiKey::DescribeCluster, .. }), "{error}");
}

fn only(key: ApiKey, max: i16) -> ApiVersionsResponse {
    let mut response = every_version();
    response.api_keys.retain(|api| api.api_key == key as i16);
    response.api_keys[0].max_version = max;
    response
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_an_error_within_the_time_given() {
    let Err(error) = Client::connect("127.0.0.1:1", quick()).await else { panic!("port 1 answered") };
    assert!(matches!(error, ClientError::Timeout { ms: 500, .. }), "{error}");
    assert!(error.to_string().contains("cannot connect to 127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_bootstrap_list_that_makes_no_sense_is_refused() {
    for bootstrap in ["", " , ", "no-port"] {
        let refused = Client::connect(bootstrap, quick()).await;
        assert!(matches!(refused, Err(ClientError::Options(_))), "{bootstrap:?}");
    }
}

#[tokio::test]
async fn retriable_faults_are_retried_and_others_are_not() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let broker = FakeBroker::start(move |asked| match asked.key {
        ApiKey::Metadata => asked.answer(&strata_protocol::messages::MetadataResponse::default()),
        _ => match counter.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Reply::Close,
            _ => {
                let error_code = ErrorCode::ClusterAuthorizationFailed.code();
                asked.answer(&DescribeClusterResponse { error_code, ..Default::default() })
            }
        },
    })
    .await;
    let client = Client::connect(&broker.bootstrap(), quick()).await.unwrap();
    let error = client.admin().describe_cluster().await.unwrap_err();
    assert!(error.is(ErrorCode::ClusterAuthorizationFailed), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}
