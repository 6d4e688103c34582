//! Traces, as a collector sees them: OTLP over HTTP, switched on by OpenTelemetry's own variables.

mod collector;

use std::time::Instant;

use anyhow::ensure;
use collector::{Collector, Received};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use strata_e2e::{Broker, BrokerOptions, Wire};
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use strata_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use strata_protocol::messages::{CreateTopicsRequest, FetchRequest, ProduceRequest};
use strata_protocol::records::{BatchBuilder, BuilderOptions};
use strata_protocol::{Records, Str};
use strata_types::ErrorCode;

const TOPIC: Str = Str::from_static("traced");

/// Spans go out soon, so that a test need not wait for them.
fn options(collector: &Collector) -> BrokerOptions {
    BrokerOptions::default()
        .with_variable("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .with_variable("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn create_topic(wire: &mut Wire) -> anyhow::Result<()> {
    let topic =
        CreatableTopic { name: TOPIC, num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let created = wire.call(5, &request)?;
    ensure!(created.topics[0].error_code == 0, "{created:?}");
    Ok(())
}

fn produce(wire: &mut Wire, topic: Str) -> anyhow::Result<i16> {
    let mut batch = BatchBuilder::new(BuilderOptions::default());
    batch.push_next(1_700_000_000_000, None, Some(b"value"), &[])?;
    let records = Some(Records::Bytes(batch.build()?));
    let partition = PartitionProduceData { index: 0, records, ..Default::default() };
    let topic = TopicProduceData { name: topic, partition_data: vec![partition], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() };
    Ok(wire.call(9, &request)?.responses[0].partition_responses[0].error_code)
}

fn fetch(wire: &mut Wire, offset: i64, max_wait_ms: i32) -> anyhow::Result<i16> {
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: TOPIC, partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_wait_ms, min_bytes: 1, topics: vec![topic], ..Default::default() };
    Ok(wire.call(11, &request)?.responses[0].partitions[0].error_code)
}

#[test]
fn a_collector_sees_requests_and_where_their_time_goes() -> anyhow::Result<()> {
    let collector = Collector::start()?;
    let options = options(&collector)
        .with_variable("OTEL_SERVICE_NAME", "orders")
        .with_variable("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue");
    let broker = Broker::start(options)?;
    let mut wire = broker.connect()?;
    create_topic(&mut wire)?;
    assert_eq!(produce(&mut wire, TOPIC)?, 0);
    assert_eq!(fetch(&mut wire, 0, 0)?, 0);
    assert_eq!(fetch(&mut wire, 1, 20)?, 0);

    let received = collector.until(|all| {
        has_child(all, "CreateTopics", "metadata")
            && has_child(all, "Produce", "append")
            && has_child(all, "Produce", "await commit")
            && has_child(all, "Fetch", "await records")
    })?;
    assert!(received.services.iter().all(|name| name == "orders"), "{:?}", received.services);
    assert!(received.requests.iter().all(|head| head.contains("x-tenant: blue")), "{:?}", received.requests);
    assert!(received.requests.iter().all(|head| head.starts_with("post /v1/traces ")));
    let produce = named(&received, "Produce").next().expect("it was awaited");
    assert_eq!(produce.kind(), SpanKind::Server);
    assert!(produce.parent_span_id.is_empty() && produce.end_time_unix_nano > produce.start_time_unix_nano);
    for (name, value) in [
        ("messaging.system", "kafka".to_owned()),
        ("messaging.operation.name", "Produce".to_owned()),
        ("messaging.client.id", "e2e".to_owned()),
        ("server.address", "127.0.0.1".to_owned()),
        ("server.port", broker.address().port().to_string()),
        ("kafka.api_key", "0".to_owned()),
        ("kafka.api_version", "9".to_owned()),
        ("kafka.correlation_id", "2".to_owned()),
    ] {
        assert_eq!(collector::attribute(produce, name), Some(value), "{name}");
    }
    assert_eq!(collector::attribute(produce, "kafka.error_code"), None);
    Ok(())
}

#[test]
fn an_error_code_marks_the_span() -> anyhow::Result<()> {
    let collector = Collector::start()?;
    let broker = Broker::start(options(&collector))?;
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(produce(&mut broker.connect()?, Str::from_static("nowhere"))?, unknown);
    let received = collector.until(|all| named(all, "Produce").next().is_some())?;
    let produce = named(&received, "Produce").next().expect("it was awaited");
    assert_eq!(collector::attribute(produce, "kafka.error_code"), Some(unknown.to_string()));
    assert_eq!(collector::attribute(produce, "error.type").as_deref(), Some("UNKNOWN_TOPIC_OR_PARTITION"));
    assert_eq!(produce.status.as_ref().map(|status| status.code()), Some(StatusCode::Error));
    Ok(())
}

#[test]
fn what_waits_is_sent_before_the_process_ends() -> anyhow::Result<()> {
    let collector = Collector::start()?;
    let options = options(&collector).with_variable("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let broker = Broker::start(options)?;
    broker.connect()?.api_versions()?;
    assert!(broker.stop()?.success());
    assert!(named(&collector.received(), "ApiVersions").next().is_some());
    Ok(())
}

#[test]
fn nothing_is_sent_where_traces_are_off() -> anyhow::Result<()> {
    let collector = Collector::start()?;
    let broker = Broker::start(options(&collector).with_variable("OTEL_SDK_DISABLED", "true"))?;
    create_topic(&mut broker.connect()?)?;
    assert!(broker.stop()?.success());
    assert_eq!(collector.connections(), 0);
    Ok(())
}

#[test]
fn a_collector_that_does_not_answer_costs_spans_and_no_time() -> anyhow::Result<()> {
    let collector = Collector::start_silent()?;
    let options = options(&collector)
        .with_variable("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
        .with_variable("OTEL_BSP_MAX_QUEUE_SIZE", "64");
    let broker = Broker::start(options)?;
    let mut wire = broker.connect()?;
    create_topic(&mut wire)?;
    // Many more spans than the queue holds, until several exports have failed.
    let began = Instant::now();
    while collector.connections() < 4 {
        assert_eq!(produce(&mut wire, TOPIC)?, 0);
        ensure!(began.elapsed() < collector::SPANS_MAX, "it is not asked again");
    }
    for _ in 0..200 {
        assert_eq!(produce(&mut wire, TOPIC)?, 0);
    }
    let log = broker.log()?;
    assert_eq!(log.matches("the collector of traces does not take spans").count(), 1, "{log}");
    assert!(broker.stop()?.success());
    Ok(())
}

fn named<'a>(received: &'a Received, name: &str) -> impl Iterator<Item = &'a Span> {
    received.spans.iter().filter(move |span| span.name == name)
}

fn has_child(received: &Received, parent: &str, child: &str) -> bool {
    named(received, child).any(|child| {
        named(received, parent)
            .any(|parent| parent.span_id == child.parent_span_id && parent.trace_id == child.trace_id)
    })
}
