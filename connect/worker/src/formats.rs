//! The records of Kafka Connect's three internal topics, as its own workers write them (JSON without schemas).
//!
//! | topic | key | value |
//! |---|---|---|
//! | configs | `connector-NAME` | `{"properties": {..}}`; null: deleted |
//! | | `task-NAME-N` | `{"properties": {..}}` |
//! | | `commit-NAME` | `{"tasks": N}`: the task configs before it are complete |
//! | | `target-state-NAME` | `{"state": "STARTED"}`, `PAUSED`; stopped is `{"state": "PAUSED", "state.v2": "STOPPED"}` |
//! | status | `status-connector-NAME` | `{"state", "trace", "worker_id", "generation", "version"}`; null: deleted |
//! | | `status-task-NAME-N` | the same |
//! | offsets | `["NAME", {partition}]` | `{offset}`; null: deleted |

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strata_plugin_host::SourcePosition;
use strata_protocol::records::Record;

use crate::cluster::NewRecord;
use crate::status::Status;

pub(crate) type Properties = BTreeMap<String, String>;

/// What somebody wants of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TargetState {
    #[default]
    Started,
    Paused,
    /// Its tasks are gone, too.
    Stopped,
}

/// A record of the configs topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigRecord {
    Connector { name: String, config: Option<Properties> },
    Task { name: String, task: u32, config: Properties },
    Commit { name: String, tasks: u32 },
    Target { name: String, state: Option<TargetState> },
}

impl ConfigRecord {
    pub(crate) fn encode(&self) -> NewRecord {
        let (key, value) = match self {
            ConfigRecord::Connector { name, config } => {
                (format!("connector-{name}"), config.as_ref().map(|config| json!({ "properties": config })))
            }
            ConfigRecord::Task { name, task, config } => {
                (format!("task-{name}-{task}"), Some(json!({ "properties": config })))
            }
            ConfigRecord::Commit { name, tasks } => {
                (format!("commit-{name}"), Some(json!({ "tasks": tasks })))
            }
            ConfigRecord::Target { name, state } => {
                let value = state.map(|state| match state {
                    // Workers from before `STOPPED` at least pause.
                    TargetState::Stopped => json!({ "state": "PAUSED", "state.v2": "STOPPED" }),
                    state => json!({ "state": state, "state.v2": state }),
                });
                (format!("target-state-{name}"), value)
            }
        };
        record(key, value.as_ref())
    }

    /// None: a kind that this worker has no use for (session keys, restart requests), or one that cannot be read.
    pub(crate) fn decode(record: &Record) -> Option<Self> {
        let key = std::str::from_utf8(record.key.as_deref()?).ok()?;
        let value: Option<Value> = match record.value.as_deref() {
            None => None,
            Some(bytes) => Some(serde_json::from_slice(bytes).ok()?),
        };
        let properties = |value: &Value| serde_json::from_value(value["properties"].clone()).ok();
        if let Some(name) = key.strip_prefix("connector-") {
            let config = value.as_ref().map(|value| properties(value).ok_or(())).transpose().ok()?;
            Some(ConfigRecord::Connector { name: name.into(), config })
        } else if let Some(rest) = key.strip_prefix("task-") {
            let (name, task) = rest.rsplit_once('-')?;
            Some(ConfigRecord::Task {
                name: name.into(),
                task: task.parse().ok()?,
                config: properties(&value?)?,
            })
        } else if let Some(name) = key.strip_prefix("commit-") {
            let tasks = value?["tasks"].as_u64()?.try_into().ok()?;
            Some(ConfigRecord::Commit { name: name.into(), tasks })
        } else {
            let name = key.strip_prefix("target-state-")?;
            let state = match &value {
                None => None,
                Some(value) => {
                    let newest = value.get("state.v2").unwrap_or(&value["state"]);
                    Some(serde_json::from_value(newest.clone()).ok()?)
                }
            };
            Some(ConfigRecord::Target { name: name.into(), state })
        }
    }
}

/// The status of a connector (no task) or of one of its tasks. No status: it is gone.
pub(crate) fn status_record(
    connector: &str,
    task: Option<u32>,
    status: Option<&Status>,
    worker_id: &str,
) -> NewRecord {
    let key = match task {
        None => format!("status-connector-{connector}"),
        Some(task) => format!("status-task-{connector}-{task}"),
    };
    let value = status.map(|Status { state, trace, version, .. }| {
        json!({ "state": state, "trace": trace, "worker_id": worker_id, "generation": GENERATION, "version": version })
    });
    record(key, value.as_ref())
}

/// A source's position.
pub(crate) fn offset_record(connector: &str, position: &SourcePosition) -> NewRecord {
    let object = |json: &str| serde_json::from_str(json).unwrap_or(Value::Null);
    let key = json!([connector, object(&position.partition)]).to_string();
    record(key, Some(&object(&position.offset)))
}

/// The connector, and its position. No offset: it was deleted.
pub(crate) fn decode_offset(record: &Record) -> Option<(String, String, Option<String>)> {
    let (connector, partition): (String, Value) = serde_json::from_slice(record.key.as_deref()?).ok()?;
    let offset = match record.value.as_deref() {
        None => None,
        Some(bytes) => Some(serde_json::from_slice::<Value>(bytes).ok()?.to_string()),
    };
    Some((connector, partition.to_string(), offset))
}

/// One worker, so one generation of the group.
const GENERATION: u32 = 1;

fn record(key: String, value: Option<&Value>) -> NewRecord {
    NewRecord {
        key: Some(Bytes::from(key)),
        value: value.map(|value| Bytes::from(value.to_string())),
        ..NewRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(record: NewRecord) -> Record {
        Record { key: record.key, value: record.value, ..Record::default() }
    }

    #[test]
    fn config_records_survive_the_topic() {
        let config = Properties::from([("a".into(), "b".into())]);
        let name = || "my-task-1".to_owned();
        let records = [
            ConfigRecord::Connector { name: name(), config: Some(config.clone()) },
            ConfigRecord::Connector { name: name(), config: None },
            ConfigRecord::Task { name: name(), task: 3, config },
            ConfigRecord::Commit { name: name(), tasks: 4 },
            ConfigRecord::Target { name: name(), state: Some(TargetState::Stopped) },
            ConfigRecord::Target { name: name(), state: Some(TargetState::Paused) },
            ConfigRecord::Target { name: name(), state: None },
        ];
        for record in records {
            assert_eq!(ConfigRecord::decode(&stored(record.encode())), Some(record));
        }
    }

    #[test]
    fn records_of_older_workers_are_understood() {
        let record = |key: &'static str, value: &'static str| Record {
            key: Some(key.into()),
            value: Some(value.into()),
            ..Record::default()
        };
        let paused = ConfigRecord::decode(&record("target-state-c", r#"{"state":"PAUSED"}"#));
        assert_eq!(paused, Some(ConfigRecord::Target { name: "c".into(), state: Some(TargetState::Paused) }));
        assert_eq!(ConfigRecord::decode(&record("session-key", r#"{"key":"x"}"#)), None);
        assert_eq!(ConfigRecord::decode(&record("connector-c", "not json")), None);
    }

    #[test]
    fn positions_survive_the_topic() {
        let position =
            SourcePosition { partition: r#"{"file":"a"}"#.into(), offset: r#"{"position":7}"#.into() };
        let record = stored(offset_record("c", &position));
        assert_eq!(record.key.as_deref(), Some(&br#"["c",{"file":"a"}]"#[..]));
        assert_eq!(decode_offset(&record), Some(("c".into(), position.partition, Some(position.offset))));
    }
}
