//! The API's JSON, field for field Kafka Connect's.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use strata_worker::{CheckedKey, ConnectorInfo, ConnectorStatus, Definition, Direction, State, Status};

#[derive(Serialize)]
pub(crate) struct InfoView {
    name: String,
    config: BTreeMap<String, String>,
    tasks: Vec<TaskId>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
pub(crate) struct TaskId {
    connector: String,
    task: usize,
}

#[derive(Serialize)]
pub(crate) struct TaskView {
    id: TaskId,
    config: BTreeMap<String, String>,
}

#[derive(Serialize)]
pub(crate) struct StatusView {
    name: String,
    connector: Status,
    tasks: Vec<TaskStatusView>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
pub(crate) struct TaskStatusView {
    id: u32,
    #[serde(flatten)]
    status: Status,
}

#[derive(Serialize)]
pub(crate) struct PluginView {
    class: String,
    #[serde(rename = "type")]
    kind: &'static str,
    version: String,
}

impl InfoView {
    pub(crate) fn new(info: ConnectorInfo) -> Self {
        let ConnectorInfo { name, config, tasks, direction } = info;
        let tasks = (0..tasks.len()).map(|task| TaskId { connector: name.clone(), task }).collect();
        InfoView { name, config, tasks, kind: kind(direction) }
    }
}

pub(crate) fn tasks(info: ConnectorInfo) -> Vec<TaskView> {
    let ConnectorInfo { name, tasks, .. } = info;
    let view = |(task, config)| TaskView { id: TaskId { connector: name.clone(), task }, config };
    tasks.into_iter().enumerate().map(view).collect()
}

impl StatusView {
    pub(crate) fn new(name: String, status: ConnectorStatus) -> Self {
        let ConnectorStatus { connector, tasks, direction } = status;
        let tasks = tasks.into_iter().map(|(id, status)| TaskStatusView { id, status }).collect();
        StatusView { name, connector, tasks, kind: kind(direction) }
    }

    /// What a restart answers: it is on its way.
    pub(crate) fn restarting(mut self, only_failed: bool, include_tasks: bool) -> Self {
        let restarts = |status: &Status| !only_failed || status.state == State::Failed;
        if restarts(&self.connector) {
            self.connector.state = State::Restarting;
        }
        for task in self.tasks.iter_mut().filter(|task| include_tasks && restarts(&task.status)) {
            task.status.state = State::Restarting;
        }
        self
    }

    pub(crate) fn into_task(self, id: u32) -> Option<TaskStatusView> {
        self.tasks.into_iter().find(|task| task.id == id)
    }
}

impl PluginView {
    pub(crate) fn new(class: String, version: String, direction: Direction) -> Self {
        PluginView { class, kind: kind(Some(direction)), version }
    }
}

/// `{"partition": {..}, "offset": {..}}`; what is stored as JSON stays that.
pub(crate) fn position(partition: &str, offset: &str) -> Value {
    let parse = |json: &str| serde_json::from_str::<Value>(json).unwrap_or(Value::Null);
    json!({ "partition": parse(partition), "offset": parse(offset) })
}

pub(crate) fn sink_offset(topic: &str, partition: i32, offset: i64) -> Value {
    json!({
        "partition": { "kafka_topic": topic, "kafka_partition": partition },
        "offset": { "kafka_offset": offset },
    })
}

pub(crate) fn definition(definition: &Definition, order: usize) -> Value {
    json!({
        "name": definition.name,
        "type": definition.kind,
        "required": definition.required,
        "default_value": definition.default,
        "importance": definition.importance,
        "documentation": definition.doc,
        "group": definition.group,
        "order_in_group": order,
        "width": "NONE",
        "display_name": definition.name,
        "dependents": [],
    })
}

pub(crate) fn validation(class: &str, keys: &[CheckedKey]) -> Value {
    let mut groups: Vec<&str> = Vec::new();
    for group in keys.iter().filter_map(|key| key.definition.group) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let config = |(order, key): (usize, &CheckedKey)| {
        // A password is not shown again.
        let value = key.value.as_deref().map(|value| match key.definition.kind {
            "PASSWORD" => "[hidden]",
            _ => value,
        });
        json!({
            "definition": definition(&key.definition, order + 1),
            "value": {
                "name": key.definition.name,
                "value": value,
                "recommended_values": [],
                "errors": key.errors,
                "visible": true,
            },
        })
    };
    json!({
        "name": class,
        "error_count": keys.iter().map(|key| key.errors.len()).sum::<usize>(),
        "groups": groups,
        "configs": keys.iter().enumerate().map(config).collect::<Vec<_>>(),
    })
}

fn kind(direction: Option<Direction>) -> &'static str {
    match direction {
        Some(Direction::Source) => "source",
        Some(Direction::Sink) => "sink",
        None => "unknown",
    }
}
