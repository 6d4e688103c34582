//! The log cleaner's figures, under the names of Kafka's beans `kafka.log:type=LogCleaner` and `LogCleanerManager`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::scrape::{Labels, Out};
use crate::broker::Broker;

pub(super) fn encode(broker: &Broker, out: &mut Out<'_>) -> fmt::Result {
    let stats = broker.cleaner.stats();
    let last = stats.last.unwrap_or_default();
    let percent = |part: f64| (part * 100.0).round();
    let recopied =
        if last.bytes_read == 0 { 0.0 } else { last.bytes_written as f64 / last.bytes_read as f64 };
    for (name, help, value) in [
        (
            "logcleaner_cleaner_recopy_percent",
            "What the last cleaning wrote of what it read",
            percent(recopied),
        ),
        ("logcleaner_max_clean_time_secs", "How long the last cleaning took", last.seconds),
        (
            "logcleaner_max_buffer_utilization_percent",
            "How full the keys' buffer was in the last cleaning",
            percent(last.map_utilization),
        ),
        (
            "logcleaner_max_compaction_delay_secs",
            "For how long a record has waited beyond max.compaction.lag.ms",
            (stats.max_delay_ms / 1000) as f64,
        ),
        (
            "logcleaner_deadthreadcount",
            "Threads that have ended and should not have",
            stats.dead_threads as f64,
        ),
        (
            "logcleanermanager_max_dirty_percent",
            "The dirtiest log's share of bytes that were not cleaned yet",
            percent(stats.max_dirty_ratio),
        ),
        (
            "logcleanermanager_time_since_last_run_ms",
            "Since a thread last looked for work",
            stats.since_look.unwrap_or_default().as_millis() as f64,
        ),
    ] {
        out.gauge(&format!("kafka_log_{name}"), help, [(Labels::new(), value)])?;
    }
    let Some(logs) = broker.partitions.manager() else { return Ok(()) };
    let mut uncleanable: BTreeMap<PathBuf, (usize, u64)> =
        logs.describe().into_iter().map(|dir| (dir.path, (0, 0))).collect();
    for log in stats.uncleanable.iter().filter_map(|partition| logs.get(partition)) {
        if let Some((count, bytes)) = log.dir().parent().and_then(|dir| uncleanable.get_mut(dir)) {
            *count += 1;
            *bytes += log.bytes();
        }
    }
    let each = |value: fn(&(usize, u64)) -> f64| {
        let label = |dir: &PathBuf| vec![("logdirectory", dir.display().to_string())];
        uncleanable.iter().map(move |(dir, counted)| (label(dir), value(counted))).collect::<Vec<_>>()
    };
    out.gauge(
        "kafka_log_logcleanermanager_uncleanable_partitions_count",
        "Logs that could not be cleaned",
        each(|counted| counted.0 as f64),
    )?;
    out.gauge(
        "kafka_log_logcleanermanager_uncleanable_bytes",
        "Their bytes",
        each(|counted| counted.1 as f64),
    )
}
