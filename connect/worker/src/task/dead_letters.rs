//! Records that a sink rejected, as they stand in its dead letter queue.

use strata_plugin_host::Returned;
use strata_plugin_host::records::{Header, Record};

use super::Task;
use crate::cluster::{Fetched, NewRecord};
use crate::config::DeadLetters;

/// The record as it was, with Kafka Connect's headers that say what became of it, if they are wanted.
pub(super) fn letter(
    task: &Task,
    queue: &DeadLetters,
    from: &Fetched,
    record: &Record,
    error: &Returned,
) -> NewRecord {
    let mut headers = record.headers.clone();
    if queue.with_context {
        let context = [
            ("topic", from.topic.clone()),
            ("partition", from.partition.to_string()),
            ("offset", record.offset.to_string()),
            ("connector.name", task.connector.clone()),
            ("task.id", task.number.to_string()),
            ("stage", "TASK_PUT".to_owned()),
            ("class.name", task.plugin.descriptor().name.clone()),
            ("exception.class.name", "strata.plugin.Rejected".to_owned()),
            ("exception.message", error.message.clone()),
        ];
        headers.extend(context.into_iter().map(|(name, value)| Header {
            key: format!("__connect.errors.{name}").into(),
            value: Some(value.into()),
        }));
    }
    NewRecord {
        partition: None,
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}
