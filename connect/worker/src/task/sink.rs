//! Sink tasks: at least once. Offsets are committed when the plugin has delivered what is before them, or when it went to
//! the dead letter queue.

use std::time::Duration;

use strata_plugin_host::records::{Record, of_records};
use strata_plugin_host::{PluginError, Returned, SinkInstance, Verdict};
use tokio_util::sync::CancellationToken;

use super::retry::Attempts;
use super::{Task, TaskError, dead_letters};
use crate::cluster::{Fetched, Member};
use crate::config::Tolerance;

const POLL_WAIT: Duration = Duration::from_millis(500);
/// Keys and values in one call to the plugin, unless a single record is larger.
const PUT_BYTES_MAX: usize = 1 << 20;

pub(super) async fn run(
    task: &Task,
    cancel: &CancellationToken,
    started: impl FnOnce(),
) -> Result<(), TaskError> {
    let mut sink = task.plugin.sink(&task.config.grants, &task.properties).await?;
    let group = group_of(&task.connector);
    let mut member = task.cluster.join(&group, &task.config.topics, task.config.start_at).await?;
    started();
    let outcome = drain(task, &mut sink, member.as_mut(), cancel).await;
    let left = member.leave().await;
    outcome?;
    left?;
    Ok(())
}

/// As Kafka Connect names it.
pub(crate) fn group_of(connector: &str) -> String {
    format!("connect-{connector}")
}

async fn drain(
    task: &Task,
    sink: &mut SinkInstance,
    member: &mut dyn Member,
    cancel: &CancellationToken,
) -> Result<(), TaskError> {
    loop {
        let Some(polled) = cancel.run_until_cancelled(member.poll(POLL_WAIT)).await else { return Ok(()) };
        let fetched = polled?;
        if fetched.is_empty() {
            continue;
        }
        // Seen through also when the task is to stop: what is delivered but not committed would be delivered twice.
        for part in &fetched {
            for records in chunks(&part.records, task.config.batch_records_max) {
                if deliver(task, sink, part, records, cancel).await?.is_none() {
                    return Ok(());
                }
            }
        }
        member.commit().await?;
    }
}

/// Puts records until each is delivered or rejected. None: cancelled while it waited for another try.
async fn deliver(
    task: &Task,
    sink: &mut SinkInstance,
    from: &Fetched,
    mut records: &[Record],
    cancel: &CancellationToken,
) -> Result<Option<()>, TaskError> {
    let mut attempts = Attempts::new(task.config.retry);
    while !records.is_empty() {
        let (header, section) = of_records(&from.topic, from.partition, records)?;
        match sink.put(&header, section).await {
            Ok(()) => break,
            Err(PluginError::Returned(error)) if error.verdict == Verdict::Retry => {
                tracing::warn!(connector = task.connector, task = task.number, %error, "records are put again");
                if !attempts.wait(&error, cancel).await? {
                    return Ok(None);
                }
            }
            Err(PluginError::Returned(error)) if error.verdict == Verdict::Reject => {
                if task.config.tolerance == Tolerance::None {
                    return Err(PluginError::Returned(error).into());
                }
                let (before, rejected, after) = around(records, error.record);
                // What is before the rejected record was refused with it.
                if Box::pin(deliver(task, sink, from, before, cancel)).await?.is_none() {
                    return Ok(None);
                }
                leave_out(task, from, rejected, &error).await?;
                records = after;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(()))
}

/// The records before the rejected one, that one, and those behind it. All are rejected if the plugin names none.
fn around(records: &[Record], rejected: Option<u32>) -> (&[Record], &[Record], &[Record]) {
    match rejected.map(|index| index as usize).filter(|index| *index < records.len()) {
        Some(index) => (&records[..index], &records[index..=index], &records[index + 1..]),
        None => (&records[..0], records, &records[..0]),
    }
}

/// Into the dead letter queue, if there is one.
async fn leave_out(
    task: &Task,
    from: &Fetched,
    rejected: &[Record],
    error: &Returned,
) -> Result<(), TaskError> {
    if task.config.log_errors {
        let (topic, partition, offset) = (&from.topic, from.partition, rejected[0].offset);
        tracing::warn!(connector = task.connector, task = task.number, topic, partition, offset, %error, "tolerated");
    }
    if let Some(queue) = &task.config.dead_letters {
        let letters =
            rejected.iter().map(|record| dead_letters::letter(task, queue, from, record, error)).collect();
        task.cluster.append(&queue.topic, letters).await?;
    }
    Ok(())
}

/// Cuts records so that none of the parts is too much for one call.
fn chunks(records: &[Record], records_max: usize) -> impl Iterator<Item = &[Record]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let size = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
            bytes += size(&record.key) + size(&record.value);
            bytes <= PUT_BYTES_MAX
        };
        let count = rest.iter().take(records_max).take_while(fits).count().max(1).min(rest.len());
        let (chunk, after) = rest.split_at(count);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_few_enough_records_and_bytes_and_lose_none() {
        let record = |bytes: usize| Record { value: Some(vec![0; bytes].into()), ..Record::default() };
        let records: Vec<_> = [10, 10, 10, PUT_BYTES_MAX, 10, 3 * PUT_BYTES_MAX, 10].map(record).into();
        let lengths: Vec<_> = chunks(&records, 2).map(<[Record]>::len).collect();
        assert_eq!(lengths, [2, 1, 1, 1, 1, 1]);
        assert_eq!(chunks(&[], 2).count(), 0);
    }
}
