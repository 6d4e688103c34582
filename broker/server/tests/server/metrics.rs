//! What the broker tells of itself, and what clients tell of themselves.

use std::time::Duration;

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use strata_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use strata_protocol::messages::{
    ApiVersionsRequest, ConsumerGroupHeartbeatRequest, FindCoordinatorRequest,
    GetTelemetrySubscriptionsRequest, IncrementalAlterConfigsRequest, OffsetCommitRequest,
    PushTelemetryRequest,
};
use strata_protocol::records::Compression;
use strata_types::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::archive::{RECORDS, archived};
use crate::support::{Broker, Connection, PATIENCE, batch};

pub(super) const METRICS: &str = "strata.metrics.listener=127.0.0.1:0";

/// Status and body of a GET.
pub(super) async fn get(broker: &Broker, path: &str) -> (u16, String) {
    let address = broker.server.metrics_addr().expect("a metrics listener");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// The value of a series.
pub(super) fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

#[tokio::test]
async fn requests_topics_and_logs_are_counted() {
    let broker = Broker::with(&[METRICS]).await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["a", "b", "c"])).await;
    connection.fetch("t", 0, 0).await;
    let (status, metrics) = get(&broker, "/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.ends_with("# EOF\n"), "the text is whole");
    for (series, expected) in [
        ("kafka_server_brokertopicmetrics_messagesin_total{topic=\"t\"}", 3.0),
        ("kafka_network_requestmetrics_requests_total{request=\"Produce\"}", 1.0),
        ("kafka_network_requestmetrics_totaltime_seconds_count{request=\"Produce\"}", 1.0),
        ("kafka_log_log_logendoffset{topic=\"t\",partition=\"0\"}", 3.0),
        ("kafka_cluster_partition_insyncreplicascount{topic=\"t\",partition=\"0\"}", 1.0),
        ("kafka_server_replicamanager_partitioncount", 1.0),
        ("kafka_server_replicamanager_underreplicatedpartitions", 0.0),
        ("kafka_controller_kafkacontroller_activecontrollercount", 1.0),
        ("kafka_server_socketservermetrics_connection_count{listener=\"PLAINTEXT\"}", 1.0),
        ("strata_metrics_left_out", 0.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series} in\n{metrics}");
    }
    for series in ["bytesin_total{topic=\"t\"}", "bytesout_total{topic=\"t\"}"] {
        let series = format!("kafka_server_brokertopicmetrics_{series}");
        assert!(value(&metrics, &series).is_some_and(|bytes| bytes > 60.0), "{series}");
    }
    let flush =
        |series: &str| value(&metrics, &format!("kafka_log_logflushstats_flushtime_seconds_{series}"));
    let rounds = flush("count");
    assert!(rounds.is_some_and(|rounds| rounds > 0.0) && flush("bucket{le=\"+Inf\"}") == rounds, "{metrics}");
}

#[tokio::test]
async fn health_and_readiness_are_told_apart() {
    let broker = Broker::with(&[METRICS]).await;
    assert_eq!(get(&broker, "/health").await, (200, "live\n".to_owned()));
    assert_eq!(get(&broker, "/ready").await, (200, "ready\n".to_owned()));
    assert_eq!(get(&broker, "/").await.0, 404);
    let plain = Broker::start().await;
    assert_eq!(plain.server.metrics_addr(), None, "nothing listens unless it is asked for");
}

#[tokio::test]
async fn a_groups_lag_is_told_in_records_and_in_seconds() {
    let broker = Broker::with(&[METRICS]).await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["a", "b", "c"])).await;
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    connection.call(4, &find).await;
    commit(&mut connection, "g", "", -1, 1).await;
    let (records, seconds) = lag(&broker, "g").await;
    assert_eq!(records, 2.0);
    // The test's records are of November 2023.
    assert!(seconds.is_some_and(|seconds| seconds > 1e6), "{seconds:?}");
}

/// A group's lag on `t-0` in records and seconds, once it is looked at.
async fn lag(broker: &Broker, group: &str) -> (f64, Option<f64>) {
    let labels = format!("{{consumergroup=\"{group}\",topic=\"t\",partition=\"0\"}}");
    let told = async {
        loop {
            let (_, metrics) = get(broker, "/metrics").await;
            if let Some(records) = value(&metrics, &format!("kafka_consumergroup_lag{labels}")) {
                return (records, value(&metrics, &format!("kafka_consumergroup_lag_seconds{labels}")));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(2 * PATIENCE, told).await.expect("the lag is looked at")
}

/// A commit of offset `offset` for `t-0`, by a member of the epoch.
async fn commit(connection: &mut Connection, group: &str, member: &str, epoch: i32, offset: i64) {
    let partition =
        OffsetCommitRequestPartition { partition_index: 0, committed_offset: offset, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let commit = OffsetCommitRequest {
        group_id: group.into(),
        member_id: member.into(),
        generation_id_or_member_epoch: epoch,
        topics: vec![topic],
        ..Default::default()
    };
    let answer = connection.call(9, &commit).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

#[tokio::test]
async fn the_lag_of_a_group_that_the_coordinator_assigns_is_told_too() {
    const MEMBER: &str = "5f0a1a5c-5d0b-4f53-8f0e-0d5f1a2b3c4d";
    let broker = Broker::with(&[METRICS]).await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.produce("t", 0, batch(&["a", "b", "c"])).await;
    let find = FindCoordinatorRequest { coordinator_keys: vec!["modern".into()], ..Default::default() };
    connection.call(4, &find).await;
    let join = ConsumerGroupHeartbeatRequest {
        group_id: "modern".into(),
        member_id: MEMBER.into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let joined = connection.call(1, &join).await;
    assert_eq!(joined.error_code, 0, "{joined:?}");
    commit(&mut connection, "modern", MEMBER, joined.member_epoch, 3).await;
    assert_eq!(lag(&broker, "modern").await, (0.0, Some(0.0)));
}

#[tokio::test]
async fn a_group_that_is_behind_the_local_log_has_a_lag_in_seconds_all_the_same() {
    let (broker, _archive, mut connection) = archived(&[METRICS]).await;
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    connection.call(4, &find).await;
    commit(&mut connection, "g", "", -1, 1).await;
    let (records, seconds) = lag(&broker, "g").await;
    assert_eq!(records, (RECORDS - 1) as f64);
    assert!(seconds.is_some_and(|seconds| seconds > 1e6), "{seconds:?}");
}

#[tokio::test]
async fn the_cleaner_tells_what_it_does() {
    let broker = Broker::with(&[METRICS, "log.cleaner.backoff.ms=10"]).await;
    let told = async {
        loop {
            let (_, metrics) = get(&broker, "/metrics").await;
            if value(&metrics, "kafka_log_logcleanermanager_time_since_last_run_ms") > Some(0.0) {
                return metrics;
            }
            tokio::task::yield_now().await;
        }
    };
    let metrics = tokio::time::timeout(PATIENCE, told).await.expect("the cleaner looks for work");
    for series in [
        "logcleaner_cleaner_recopy_percent",
        "logcleaner_max_clean_time_secs",
        "logcleaner_max_buffer_utilization_percent",
        "logcleaner_max_compaction_delay_secs",
        "logcleaner_deadthreadcount",
        "logcleanermanager_max_dirty_percent",
    ] {
        assert_eq!(value(&metrics, &format!("kafka_log_{series}")), Some(0.0), "{series}");
    }
    let dir = broker.dir.path().display();
    let series =
        format!("kafka_log_logcleanermanager_uncleanable_partitions_count{{logdirectory=\"{dir}\"}}");
    assert_eq!(value(&metrics, &series), Some(0.0), "{metrics}");
}

async fn subscribe(connection: &mut Connection, settings: &[(&'static str, &'static str)]) {
    let config = |&(name, value): &(&'static str, &'static str)| AlterableConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 16,
        resource_name: "s".into(),
        configs: settings.iter().map(config).collect(),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(connection.call(1, &request).await.responses[0].error_code, 0);
}

/// A gauge `a.b` of 2.5.
fn otlp() -> Bytes {
    fn message(number: u8, body: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, body.len() as u8][..], body].concat()
    }
    let point = [&[4 << 3 | 1][..], &2.5f64.to_le_bytes()].concat();
    let gauge = [message(1, b"a.b"), message(5, &message(1, &point))].concat();
    message(1, &message(2, &message(2, &gauge))).into()
}

#[tokio::test]
async fn what_a_client_pushes_is_shown() {
    let broker = Broker::with(&[METRICS]).await;
    let mut connection = broker.connect().await;
    subscribe(
        &mut connection,
        &[("metrics", "a."), ("interval.ms", "60000"), ("match", "client_software_name=tester")],
    )
    .await;
    let unknown = connection.call(0, &GetTelemetrySubscriptionsRequest::default()).await;
    assert_eq!((unknown.error_code, unknown.requested_metrics.len()), (0, 0));
    let versions = ApiVersionsRequest {
        client_software_name: "tester".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    connection.call(3, &versions).await;
    let told = connection.call(0, &GetTelemetrySubscriptionsRequest::default()).await;
    assert_eq!((told.requested_metrics.as_slice(), told.push_interval_ms), (&[Str::from("a.")][..], 60_000));
    assert_eq!(told.accepted_compression_types, [4, 3, 1, 2]);
    let push = |metrics: Bytes, compression: Compression, instance: Uuid| PushTelemetryRequest {
        client_instance_id: instance,
        subscription_id: told.subscription_id,
        compression_type: compression as i8,
        metrics,
        ..Default::default()
    };
    let compressed = Compression::Zstd.compress(&otlp()).unwrap();
    let pushed = connection.call(0, &push(compressed, Compression::Zstd, told.client_instance_id)).await;
    assert_eq!(pushed.error_code, 0);
    let again = connection.call(0, &push(otlp(), Compression::None, told.client_instance_id)).await;
    assert_eq!(again.error_code, ErrorCode::ThrottlingQuotaExceeded.code());
    let (_, metrics) = get(&broker, "/metrics").await;
    assert!(metrics.contains("kafka_client_telemetry{metric=\"a.b\",client_id=\"test\""), "{metrics}");
    let stale =
        PushTelemetryRequest { subscription_id: 1, ..push(otlp(), Compression::None, Uuid::from_u128(9)) };
    let stale = connection.call(0, &stale).await;
    assert_eq!(stale.error_code, ErrorCode::UnknownSubscriptionId.code());
    let nobody = connection.call(0, &push(otlp(), Compression::None, Uuid::nil())).await;
    assert_eq!(nobody.error_code, ErrorCode::InvalidRequest.code());
}

/// A small push that becomes gigabytes.
#[tokio::test]
async fn cve_2026_111073_a_telemetry_bomb_is_refused_and_costs_nobody_anything() {
    let broker = Broker::with(&["telemetry.max.bytes=100000"]).await;
    let mut connection = broker.connect().await;
    let told = connection.call(0, &GetTelemetrySubscriptionsRequest::default()).await;
    let zeros = Bytes::from(vec![0; 64 << 20]);
    for (number, compression) in
        [Compression::Zstd, Compression::Lz4, Compression::Gzip, Compression::Snappy].into_iter().enumerate()
    {
        let metrics = compression.compress(&zeros).unwrap();
        let expected = match metrics.len() > 100_000 {
            true => ErrorCode::TelemetryTooLarge,
            false => ErrorCode::InvalidRecord,
        };
        let request = PushTelemetryRequest {
            client_instance_id: Uuid::from_u128(number as u128 + 1),
            subscription_id: told.subscription_id,
            compression_type: compression as i8,
            metrics,
            ..Default::default()
        };
        assert_eq!(connection.call(0, &request).await.error_code, expected.code(), "{compression:?}");
    }
    let request = PushTelemetryRequest {
        client_instance_id: Uuid::from_u128(9),
        subscription_id: told.subscription_id,
        compression_type: 9,
        ..Default::default()
    };
    let unknown = connection.call(0, &request).await;
    assert_eq!(unknown.error_code, ErrorCode::UnsupportedCompressionType.code());
}
