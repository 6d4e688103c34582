//! Source tasks: at least once. A position is stored when the records before it are acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use strata_plugin_host::{PluginError, SourceBatch, SourceInstance, Verdict, records};
use tokio_util::sync::CancellationToken;

use super::retry::Attempts;
use super::{Task, TaskError};
use crate::cluster::NewRecord;
use crate::config::Tolerance;

/// Waits while the source has nothing, doubling from the first to the last.
const IDLE_WAIT_FIRST: Duration = Duration::from_millis(10);
const IDLE_WAIT_LAST: Duration = Duration::from_secs(1);

pub(super) async fn run(
    task: &Task,
    cancel: &CancellationToken,
    started: impl FnOnce(),
) -> Result<(), TaskError> {
    let positions = task.offsets.of(&task.connector);
    let mut source = task.plugin.source(&task.config.grants, &task.properties, &positions).await?;
    started();
    let mut idle_wait = IDLE_WAIT_FIRST;
    while let Some(batches) = poll(task, &mut source, cancel).await? {
        if batches.is_empty() {
            if cancel.run_until_cancelled(tokio::time::sleep(idle_wait)).await.is_none() {
                break;
            }
            idle_wait = (idle_wait * 2).min(IDLE_WAIT_LAST);
            continue;
        }
        idle_wait = IDLE_WAIT_FIRST;
        store(task, batches).await?;
    }
    Ok(())
}

/// None: cancelled.
async fn poll(
    task: &Task,
    source: &mut SourceInstance,
    cancel: &CancellationToken,
) -> Result<Option<Vec<SourceBatch>>, TaskError> {
    let records_max = u32::try_from(task.config.batch_records_max).unwrap_or(u32::MAX);
    let mut attempts = Attempts::new(task.config.retry);
    loop {
        let Some(polled) = cancel.run_until_cancelled(source.poll(records_max)).await else {
            return Ok(None);
        };
        match polled {
            Ok(batches) => return Ok(Some(batches)),
            Err(PluginError::Returned(error)) if error.verdict == Verdict::Retry => {
                tracing::warn!(connector = task.connector, task = task.number, %error, "the source is polled again");
                if !attempts.wait(&error, cancel).await? {
                    return Ok(None);
                }
            }
            // What was rejected is the plugin's own input: it has left it behind and goes on.
            Err(PluginError::Returned(error))
                if error.verdict == Verdict::Reject && task.config.tolerance == Tolerance::All =>
            {
                if task.config.log_errors {
                    tracing::warn!(connector = task.connector, task = task.number, %error, "tolerated");
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The records first, then where to go on behind them.
async fn store(task: &Task, batches: Vec<SourceBatch>) -> Result<(), TaskError> {
    let mut by_topic: BTreeMap<String, Vec<NewRecord>> = BTreeMap::new();
    let mut positions = BTreeMap::new();
    for batch in batches {
        // Not even a source that takes its topics from outside may forge offsets or configs.
        if batch.topic.starts_with("__") || task.internal_topics.contains(&batch.topic) {
            return Err(TaskError::InternalTopic(batch.topic));
        }
        let rows = by_topic.entry(batch.topic).or_default();
        for record in records::records(batch.records, 0, batch.base_timestamp, batch.count) {
            let record = record?;
            rows.push(NewRecord {
                partition: batch.partition,
                timestamp: Some(record.timestamp),
                key: record.key,
                value: record.value,
                headers: record.headers,
            });
        }
        positions.insert(batch.position.partition.clone(), batch.position);
    }
    for (topic, rows) in by_topic {
        task.cluster.append(&topic, rows).await?;
    }
    task.offsets.store(&task.connector, positions.into_values().collect()).await?;
    Ok(())
}
