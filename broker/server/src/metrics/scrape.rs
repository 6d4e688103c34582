//! All metrics as text, under the names that Kafka's exporters have made usual.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use strata_coordinator::share::partition::AcknowledgeType;
use strata_log::Times;
use strata_protocol::ApiKey;
use strata_types::TopicId;

use super::cleaner;
use crate::broker::Broker;
use crate::partition::Partition;

/// The most topics that have series of their own.
const TOPICS_MAX: usize = 1_000;
/// The most partitions that have.
const PARTITIONS_MAX: usize = 5_000;

/// Everything, in the OpenMetrics text format.
pub(super) fn text(broker: &Arc<Broker>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(broker.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

struct Scrape(Arc<Broker>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        requests(&self.0, &mut out)?;
        let partitions = self.0.partitions.all();
        topics(&partitions, &mut out)?;
        logs(&self.0, &partitions, &mut out)?;
        cleaner::encode(&self.0, &mut out)?;
        cluster(&self.0, &partitions, &mut out)?;
        groups(&self.0, &mut out)?;
        share_groups(&self.0, &mut out)?;
        clients(&self.0, &mut out)
    }
}

pub(super) type Labels = Vec<(&'static str, String)>;

pub(super) struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            match labels.is_empty() {
                true => metric.encode_gauge(&value)?,
                false => metric.encode_family(&labels)?.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    pub(super) fn one(&mut self, name: &str, help: &str, value: usize) -> fmt::Result {
        self.gauge(name, help, [(Labels::new(), value as f64)])
    }

    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            match labels.is_empty() {
                true => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)?,
                false => {
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)?
                }
            }
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels, Times)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, times) in series {
            let (sum, count, buckets) = (times.sum_seconds(), times.count(), times.buckets());
            match labels.is_empty() {
                true => metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?,
                false => metric
                    .encode_family(&labels)?
                    .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?,
            }
        }
        Ok(())
    }
}

fn requests(broker: &Broker, out: &mut Out<'_>) -> fmt::Result {
    let metrics = &broker.metrics;
    let used = || {
        let all = ApiKey::ALL.iter().map(|&key| (key, metrics.api(key)));
        all.filter(|(_, stats)| stats.total.times().count() > 0)
    };
    let labels = |key: ApiKey| vec![("request", key.to_string())];
    let counted =
        |value: fn(&super::ApiStats) -> f64| used().map(move |(key, stats)| (labels(key), value(stats)));
    out.counter(
        "kafka_network_requestmetrics_requests",
        "Requests that were handled",
        counted(|stats| stats.total.times().count() as f64),
    )?;
    out.counter(
        "kafka_network_requestmetrics_requestbytes",
        "Bytes of requests",
        counted(|stats| stats.request_bytes.load(Relaxed) as f64),
    )?;
    out.counter(
        "kafka_network_requestmetrics_errors",
        "Requests that ended their connection",
        counted(|stats| stats.refused.load(Relaxed) as f64),
    )?;
    out.counter(
        "kafka_network_requestmetrics_localtime_seconds",
        "Processor time of requests, without what they waited for",
        counted(|stats| stats.busy_us.load(Relaxed) as f64 / 1e6),
    )?;
    out.histogram(
        "kafka_network_requestmetrics_totaltime_seconds",
        "Time from a request's arrival to its answer",
        used().map(|(key, stats)| (labels(key), stats.total.times())),
    )?;
    let none = Labels::new;
    out.counter(
        "kafka_server_clientquotamanager_throttled_requests",
        "Answers that told a client to rest",
        [(none(), metrics.throttled_requests.load(Relaxed) as f64)],
    )?;
    out.counter(
        "kafka_server_clientquotamanager_throttle_seconds",
        "For how long clients were told to rest",
        [(none(), metrics.throttle_ms.load(Relaxed) as f64 / 1000.0)],
    )?;
    out.gauge(
        "kafka_server_socketservermetrics_connection_count",
        "Open connections",
        broker
            .limits
            .open()
            .into_iter()
            .map(|(name, count)| (vec![("listener", name.to_string())], count as f64)),
    )?;
    let (exported, dropped) = crate::trace::counts();
    out.counter(
        "strata_traces_spans",
        "Spans of traces, by what became of them",
        [("exported", exported), ("dropped", dropped)]
            .map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count as f64)),
    )?;
    out.gauge(
        "strata_uptime_seconds",
        "Since the broker was started",
        [(none(), metrics.started.elapsed().as_secs_f64())],
    )
}

fn topics(partitions: &[Arc<Partition>], out: &mut Out<'_>) -> fmt::Result {
    let mut by_topic: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
    for partition in partitions {
        let sums = by_topic.entry(partition.id.partition.topic.as_str()).or_default();
        let stats = &partition.stats;
        for (sum, count) in sums.iter_mut().zip([&stats.messages_in, &stats.bytes_in, &stats.bytes_out]) {
            *sum += count.load(Relaxed) as f64;
        }
    }
    let names = [
        ("kafka_server_brokertopicmetrics_messagesin", "Records that were appended"),
        ("kafka_server_brokertopicmetrics_bytesin", "Bytes of batches that were appended"),
        ("kafka_server_brokertopicmetrics_bytesout", "Bytes of batches that were fetched"),
    ];
    for (index, (name, help)) in names.into_iter().enumerate() {
        let series = by_topic.iter().take(TOPICS_MAX);
        out.counter(
            name,
            help,
            series.map(|(topic, sums)| (vec![("topic", (*topic).to_owned())], sums[index])),
        )?;
    }
    let left_out =
        by_topic.len().saturating_sub(TOPICS_MAX) + partitions.len().saturating_sub(PARTITIONS_MAX);
    out.one("strata_metrics_left_out", "Topics and partitions that have no series of their own", left_out)
}

fn logs(broker: &Broker, partitions: &[Arc<Partition>], out: &mut Out<'_>) -> fmt::Result {
    let some = || partitions.iter().take(PARTITIONS_MAX);
    let labels = |partition: &Partition| {
        let id = &partition.id.partition;
        vec![("topic", id.topic.to_string()), ("partition", id.partition.to_string())]
    };
    let of_each =
        |value: fn(&Partition) -> f64| some().map(move |partition| (labels(partition), value(partition)));
    out.gauge("kafka_log_log_size", "Bytes on the local disk", of_each(|p| p.log.bytes() as f64))?;
    out.gauge(
        "kafka_log_log_logstartoffset",
        "The first offset that can be read",
        of_each(|p| p.log.start_offset().0 as f64),
    )?;
    out.gauge("kafka_log_log_logendoffset", "The next offset", of_each(|p| p.log.end_offset().0 as f64))?;
    if let Some(logs) = broker.partitions.manager() {
        out.histogram(
            "kafka_log_logflushstats_flushtime_seconds",
            "Time of a round of flushing, for all logs that waited",
            [(Labels::new(), logs.flush_times())],
        )?;
    }
    let dirs = broker.partitions.manager().map(|logs| logs.describe()).unwrap_or_default();
    let failed = dirs.iter().filter(|dir| dir.failed.is_some()).count();
    out.one("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that have failed", failed)?;
    let Some(remote) = &broker.remote else { return Ok(()) };
    let archived: Vec<_> = some()
        .filter(|partition| partition.log.config().remote_storage_enable)
        .map(|partition| (partition, remote.archived_until(&partition.id).map_or(0, |until| until.0)))
        .collect();
    let until = archived.iter().map(|(partition, until)| (labels(partition), *until as f64));
    out.gauge("strata_archive_archived_offset", "Records below are in the archive", until)?;
    let waiting = archived.iter().map(|(partition, until)| {
        (labels(partition), (partition.log.last_stable_offset().0 - until).max(0) as f64)
    });
    out.gauge("strata_archive_lag_records", "Committed records that are not archived yet", waiting)
}

fn cluster(broker: &Broker, led: &[Arc<Partition>], out: &mut Out<'_>) -> fmt::Result {
    let image = broker.image();
    let (mut partitions, mut offline, mut short, mut below_min, mut lost) = (0, 0, 0, 0, 0);
    for state in image.topics().flat_map(|topic| &topic.partitions) {
        partitions += 1;
        offline += usize::from(state.leader.is_none());
        lost += usize::from(state.is_lost(broker.node_id));
        short += usize::from(state.isr.len() < state.replicas.len());
    }
    below_min += led.iter().filter(|partition| partition.check_min_isr().is_err()).count();
    let (active, fenced): (Vec<_>, Vec<_>) = image.brokers().partition(|broker| !broker.fenced);
    let is_controller = broker.quorum.leader() == Some(broker.node_id);
    for (name, help, value) in [
        ("kafka_server_replicamanager_partitioncount", "Partitions on this broker", led.len()),
        ("kafka_server_replicamanager_leadercount", "Partitions that this broker leads", led.len()),
        ("kafka_server_replicamanager_offlinereplicacount", "Replicas here whose logs cannot be used", lost),
        (
            "kafka_server_replicamanager_underreplicatedpartitions",
            "Partitions whose in-sync replicas are not all",
            short,
        ),
        (
            "kafka_server_replicamanager_underminisrpartitioncount",
            "Partitions led here that take no acks=all",
            below_min,
        ),
        (
            "kafka_controller_kafkacontroller_activecontrollercount",
            "1 on the active controller",
            usize::from(is_controller),
        ),
        ("kafka_controller_kafkacontroller_activebrokercount", "Brokers that may lead", active.len()),
        ("kafka_controller_kafkacontroller_fencedbrokercount", "Brokers that may not", fenced.len()),
        ("kafka_controller_kafkacontroller_globaltopiccount", "Topics of the cluster", image.topics_count()),
        ("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions of the cluster", partitions),
        ("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without a leader", offline),
    ] {
        out.one(name, help, value)?;
    }
    let some = led.iter().take(PARTITIONS_MAX).filter_map(|partition| {
        let id = &partition.id.partition;
        let state = image.partition(id.topic.as_str(), id.partition)?;
        let labels = vec![("topic", id.topic.to_string()), ("partition", id.partition.to_string())];
        Some((labels, state.isr.len() as f64))
    });
    out.gauge("kafka_cluster_partition_insyncreplicascount", "In-sync replicas", some)
}

fn groups(broker: &Broker, out: &mut Out<'_>) -> fmt::Result {
    let lag = broker.metrics.lag.load();
    let labels = |lag: &super::Lag| {
        vec![
            ("consumergroup", lag.group.to_string()),
            ("topic", lag.topic.to_string()),
            ("partition", lag.partition.to_string()),
        ]
    };
    let committed = lag.iter().map(|lag| (labels(lag), lag.committed as f64));
    out.gauge("kafka_consumergroup_current_offset", "What a group has committed", committed)?;
    let records = lag.iter().map(|lag| (labels(lag), lag.records as f64));
    out.gauge("kafka_consumergroup_lag", "Records that a group has not committed yet", records)?;
    let now = crate::broker::now();
    let seconds = lag.iter().filter_map(|lag| Some((labels(lag), lag.seconds(now)?)));
    out.gauge(
        "kafka_consumergroup_lag_seconds",
        "Age of the first record that a group has not committed",
        seconds,
    )
}

fn share_groups(broker: &Broker, out: &mut Out<'_>) -> fmt::Result {
    let acknowledged = [
        ("Gap", AcknowledgeType::Gap),
        ("Accept", AcknowledgeType::Accept),
        ("Release", AcknowledgeType::Release),
        ("Reject", AcknowledgeType::Reject),
        ("Renew", AcknowledgeType::Renew),
    ];
    out.counter(
        "kafka_server_sharegroupmetrics_recordacknowledgements",
        "Records that members have acknowledged",
        acknowledged.map(|(name, kind)| {
            let count = broker.metrics.acknowledged[kind as usize].load(Relaxed);
            (vec![("acktype", name.to_owned())], count as f64)
        }),
    )?;
    broker.metrics.dead_letters.encode(out)?;
    let image = broker.image();
    let in_flight = broker.share.in_flight(PARTITIONS_MAX).into_iter().filter_map(|(key, count)| {
        let topic = image.topic_by_id(TopicId(key.topic_id))?.name.to_string();
        let labels = vec![
            ("group", key.group.to_string()),
            ("topic", topic),
            ("partition", key.partition.to_string()),
        ];
        Some((labels, count as f64))
    });
    let name = "kafka_server_sharepartitionmetrics_inflightmessagecount";
    out.gauge(name, "Records from the group's start to the last one that was acquired", in_flight)
}

/// What clients have pushed (KIP-714).
fn clients(broker: &Broker, out: &mut Out<'_>) -> fmt::Result {
    let pushed = broker.telemetry.pushed();
    out.one("strata_client_telemetry_clients", "Clients whose metrics are shown", pushed.len())?;
    let series = pushed.iter().flat_map(|client| {
        client.points.iter().map(|point| {
            let mut labels = vec![
                ("metric", point.name.clone()),
                ("client_id", client.client_id.clone()),
                ("client_instance_id", client.instance_id.to_string()),
            ];
            if !point.attributes.is_empty() {
                labels.push(("attributes", point.attributes.clone()));
            }
            (labels, point.value)
        })
    });
    out.gauge("kafka_client_telemetry", "What clients say of themselves", series)
}
