//! Configs: the worker's, and a connector's, parsed once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use strata_plugin_host::{Grants, HttpGrant, Limits, Plugin, World};
use strata_types::TopicName;

use crate::cluster::StartAt;
use crate::formats::Properties;

/// What a worker is started with. `WorkerConfig::new` has Kafka Connect's names and defaults.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// `host:port,..`
    pub bootstrap: String,
    /// Shown in statuses: where this worker's REST API is reached.
    pub worker_id: String,
    /// Plugins that come with the program.
    pub shipped: Vec<&'static [u8]>,
    /// Folders with plugins: `*.wasm`, and `*.wasm` one folder deeper.
    pub plugin_dirs: Vec<PathBuf>,
    /// Where compiled plugins are kept between starts.
    pub cache_dir: Option<PathBuf>,
    pub limits: Limits,
    /// Plugin instances that live at a time.
    pub instances_max: u32,
    pub config_topic: String,
    pub offset_topic: String,
    pub status_topic: String,
    pub offset_partitions: i32,
    pub status_partitions: i32,
    /// Of the internal topics and of dead letter queues; -1: the broker's default.
    pub replication_factor: i16,
}

impl WorkerConfig {
    pub fn new(bootstrap: impl Into<String>) -> Self {
        WorkerConfig {
            bootstrap: bootstrap.into(),
            worker_id: "127.0.0.1:8083".into(),
            shipped: Vec::new(),
            plugin_dirs: Vec::new(),
            cache_dir: None,
            limits: Limits::default(),
            instances_max: 100,
            config_topic: "connect-configs".into(),
            offset_topic: "connect-offsets".into(),
            status_topic: "connect-status".into(),
            offset_partitions: 25,
            status_partitions: 5,
            replication_factor: -1,
        }
    }
}

/// Whether a connector brings records in or takes them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Source,
    Sink,
}

/// What happens to a record that the plugin rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerance {
    /// The task fails.
    None,
    /// The record is left out; a sink's goes to the dead letter queue, if there is one.
    All,
}

/// A connector's config, as its tasks use it.
#[derive(Clone, Debug)]
pub(crate) struct ConnectorConfig {
    pub(crate) tasks_max: u32,
    /// A sink's.
    pub(crate) topics: Vec<String>,
    pub(crate) start_at: StartAt,
    pub(crate) grants: Grants,
    pub(crate) tolerance: Tolerance,
    pub(crate) dead_letters: Option<DeadLetters>,
    pub(crate) retry: Retry,
    pub(crate) batch_records_max: usize,
    pub(crate) log_errors: bool,
}

/// `errors.deadletterqueue.*`
#[derive(Clone, Debug)]
pub(crate) struct DeadLetters {
    pub(crate) topic: String,
    pub(crate) with_context: bool,
    pub(crate) replication_factor: i16,
}

/// How a plugin's `retry` is met: waits that double, up to `delay_max`; given up after `timeout`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) delay_max: Duration,
    /// None: never given up, as Kafka Connect does with retriable errors of tasks.
    pub(crate) timeout: Option<Duration>,
}

/// A key's definition and value, and what is wrong with it: the REST API's validation answers these.
#[derive(Clone, Debug)]
pub struct CheckedKey {
    pub definition: Definition,
    pub value: Option<String>,
    pub errors: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Definition {
    pub name: String,
    /// Kafka's word: STRING, INT, ..
    pub kind: &'static str,
    pub required: bool,
    pub default: Option<String>,
    pub importance: &'static str,
    pub doc: String,
    pub group: Option<&'static str>,
}

/// Tasks of one connector: a slip of the pen must not cost the worker its memory.
const TASKS_MAX: i64 = 1_000;

const BYTES_CONVERTER: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";
const COMMON: &str = "Common";
const ERRORS: &str = "Error Handling";

/// Keys that every connector has: name, kind, default (none: see `check`), group, meaning.
const CONNECTOR_KEYS: [(&str, &str, Option<&str>, &str, &str); 8] = [
    ("name", "STRING", None, COMMON, "Globally unique name to use for this connector."),
    (
        "connector.class",
        "STRING",
        None,
        COMMON,
        "Name of the plugin, or the path of its .wasm file in a plugin folder.",
    ),
    ("tasks.max", "INT", Some("1"), COMMON, "Maximum number of tasks to use for this connector."),
    (
        "key.converter",
        "CLASS",
        Some(BYTES_CONVERTER),
        COMMON,
        "Plugins get keys as bytes: only this converter.",
    ),
    (
        "value.converter",
        "CLASS",
        Some(BYTES_CONVERTER),
        COMMON,
        "Plugins get values as bytes: only this converter.",
    ),
    (
        "strata.http.allow",
        "LIST",
        Some(""),
        COMMON,
        "host:port, ..: what the plugin may send HTTP requests to.",
    ),
    (
        "errors.tolerance",
        "STRING",
        Some("none"),
        ERRORS,
        "none: a rejected record fails the task; all: it is left out.",
    ),
    ("errors.log.enable", "BOOLEAN", Some("false"), ERRORS, "Log what is tolerated."),
];

/// Keys of retries. Both directions have them.
const RETRY_KEYS: [(&str, &str, Option<&str>, &str, &str); 2] = [
    (
        "errors.retry.timeout",
        "LONG",
        Some("0"),
        ERRORS,
        "How long a failing call is retried, in ms; 0 and -1: for ever.",
    ),
    ("errors.retry.delay.max.ms", "LONG", Some("60000"), ERRORS, "The longest wait between two retries."),
];

const SINK_KEYS: [(&str, &str, Option<&str>, &str, &str); 6] = [
    ("topics", "LIST", Some(""), COMMON, "Topics to read, comma separated."),
    ("consumer.override.auto.offset.reset", "STRING", Some("earliest"), COMMON, "earliest or latest."),
    (
        "consumer.override.max.poll.records",
        "INT",
        Some("500"),
        COMMON,
        "Records in one call to the plugin at most.",
    ),
    (
        "errors.deadletterqueue.topic.name",
        "STRING",
        Some(""),
        ERRORS,
        "Where rejected records go; empty: nowhere.",
    ),
    (
        "errors.deadletterqueue.topic.replication.factor",
        "SHORT",
        Some("-1"),
        ERRORS,
        "-1: the broker's default.",
    ),
    (
        "errors.deadletterqueue.context.headers.enable",
        "BOOLEAN",
        Some("false"),
        ERRORS,
        "Headers that say why.",
    ),
];

const SOURCE_KEYS: [(&str, &str, Option<&str>, &str, &str); 1] =
    [("batch.max.records", "INT", Some("500"), COMMON, "Records in one answer of the plugin, about.")];

/// Kafka Connect features that are not here yet: refused, where a connector would silently do something else.
const MISSING: [(&str, &str); 4] = [
    ("transforms", "transforms are not supported yet"),
    ("predicates", "predicates are not supported yet"),
    ("topics.regex", "only `topics` is supported yet"),
    ("header.converter", "headers are bytes, there is no converter"),
];

pub(crate) fn direction(plugin: &Plugin) -> Option<Direction> {
    match plugin.world() {
        World::SourceConnector => Some(Direction::Source),
        World::SinkConnector => Some(Direction::Sink),
        World::Topology | World::Transform => None,
    }
}

/// Every key that the connector has: the common ones, and the plugin's own.
pub(crate) fn definitions(plugin: &Plugin) -> Vec<Definition> {
    let by_direction = match direction(plugin) {
        Some(Direction::Source) => &SOURCE_KEYS[..],
        _ => &SINK_KEYS[..],
    };
    let common = CONNECTOR_KEYS.iter().chain(&RETRY_KEYS).chain(by_direction);
    let common = common.map(|(name, kind, default, group, doc)| Definition {
        name: (*name).into(),
        kind,
        required: default.is_none(),
        default: default.map(Into::into),
        importance: if default.is_none() { "HIGH" } else { "MEDIUM" },
        doc: (*doc).into(),
        group: Some(group),
    });
    let own = plugin.descriptor().config.iter().map(|key| Definition {
        name: key.name.clone(),
        kind: match key.kind {
            strata_plugin_host::ConfigKind::String => "STRING",
            strata_plugin_host::ConfigKind::Int => "LONG",
            strata_plugin_host::ConfigKind::Boolean => "BOOLEAN",
            strata_plugin_host::ConfigKind::List => "LIST",
            strata_plugin_host::ConfigKind::Password => "PASSWORD",
        },
        required: key.required,
        default: key.default.clone(),
        importance: if key.required { "HIGH" } else { "MEDIUM" },
        doc: key.doc.clone(),
        group: None,
    });
    common.chain(own).collect()
}

/// Every key with its value and its errors. No errors at all: `ConnectorConfig::parse` succeeds.
pub(crate) fn check(plugin: &Plugin, config: &Properties) -> Vec<CheckedKey> {
    let mut checked: Vec<_> =
        definitions(plugin).into_iter().map(|definition| check_key(definition, config)).collect();
    for (name, why) in MISSING {
        if let Some(value) = config.get(name) {
            let definition = Definition {
                name: name.into(),
                kind: "STRING",
                required: false,
                default: None,
                importance: "MEDIUM",
                doc: why.into(),
                group: None,
            };
            let errors = vec![format!("Invalid value {value} for configuration {name}: {why}")];
            checked.push(CheckedKey { definition, value: Some(value.clone()), errors });
        }
    }
    if direction(plugin) == Some(Direction::Sink)
        && let Some(topics) = checked.iter_mut().find(|key| key.definition.name == "topics")
        && topics.value.as_deref().unwrap_or_default().trim().is_empty()
    {
        topics.errors.push("Must configure one of topics or topics.regex".into());
    }
    checked
}

fn check_key(definition: Definition, config: &Properties) -> CheckedKey {
    let value = config.get(&definition.name).or(definition.default.as_ref()).cloned();
    let mut errors = Vec::new();
    match &value {
        None if definition.required => errors.push(format!(
            "Missing required configuration \"{}\" which has no default value.",
            definition.name
        )),
        None => {}
        Some(value) => {
            if let Some(why) = fault(&definition, value) {
                errors.push(format!("Invalid value {value} for configuration {}: {why}", definition.name));
            }
        }
    }
    CheckedKey { definition, value, errors }
}

/// What is wrong with one value, whatever the others are.
fn fault(definition: &Definition, value: &str) -> Option<String> {
    let number = value.trim().parse::<i64>();
    let at_least = |least: i64| match number {
        Err(_) => Some("Not a number of type INT".into()),
        Ok(number) if number < least => Some(format!("Value must be at least {least}")),
        Ok(_) => None,
    };
    let one_of = |words: &[&str]| {
        (!words.contains(&value)).then(|| format!("String must be one of: {}", words.join(", ")))
    };
    match definition.name.as_str() {
        "name" if value.is_empty() => Some("String may not be empty".into()),
        "tasks.max" if number.as_ref().is_ok_and(|number| *number > TASKS_MAX) => {
            Some(format!("Value must be at most {TASKS_MAX}"))
        }
        "tasks.max" | "batch.max.records" | "consumer.override.max.poll.records" => at_least(1),
        "errors.retry.timeout" => at_least(-1),
        "errors.retry.delay.max.ms" => at_least(1),
        "errors.tolerance" => one_of(&["none", "all"]),
        "consumer.override.auto.offset.reset" => one_of(&["earliest", "latest"]),
        "key.converter" | "value.converter" => one_of(&[BYTES_CONVERTER]),
        "strata.http.allow" => HttpGrant::parse(value).err().map(|error| error.to_string()),
        "topics" => words(value).find_map(|topic| TopicName::new(topic).err()).map(|why| why.to_string()),
        "errors.deadletterqueue.topic.name" if !value.is_empty() => {
            TopicName::new(value).err().map(|why| why.to_string())
        }
        _ => match definition.kind {
            "INT" | "LONG" | "SHORT" if number.is_err() => {
                Some(format!("Not a number of type {}", definition.kind))
            }
            "BOOLEAN" => one_of(&["true", "false"]),
            _ => None,
        },
    }
}

impl ConnectorConfig {
    /// The error is the first of `check`'s.
    pub(crate) fn parse(plugin: &Plugin, config: &Properties) -> Result<Self, String> {
        let checked = check(plugin, config);
        if let Some(error) = checked.iter().find_map(|key| key.errors.first()) {
            return Err(error.clone());
        }
        let values: BTreeMap<_, _> =
            checked.into_iter().filter_map(|key| Some((key.definition.name, key.value?))).collect();
        let text = |key: &str| values.get(key).map_or("", String::as_str);
        let number = |key: &str| text(key).trim().parse::<i64>().unwrap_or(0);
        let http = HttpGrant::parse(text("strata.http.allow")).map_err(|error| error.to_string())?;
        let retry_ms = u64::try_from(number("errors.retry.timeout")).ok().filter(|ms| *ms > 0);
        let dead_letters = Some(text("errors.deadletterqueue.topic.name")).filter(|topic| !topic.is_empty());
        let batch_records = number("batch.max.records").max(number("consumer.override.max.poll.records"));
        Ok(ConnectorConfig {
            tasks_max: u32::try_from(number("tasks.max")).unwrap_or(u32::MAX),
            topics: words(text("topics")).map(Into::into).collect(),
            start_at: match text("consumer.override.auto.offset.reset") {
                "latest" => StartAt::Latest,
                _ => StartAt::Earliest,
            },
            grants: Grants { http: Some(http).filter(|_| !text("strata.http.allow").trim().is_empty()) },
            tolerance: if text("errors.tolerance") == "all" { Tolerance::All } else { Tolerance::None },
            dead_letters: dead_letters.map(|topic| DeadLetters {
                topic: topic.into(),
                with_context: text("errors.deadletterqueue.context.headers.enable") == "true",
                replication_factor: i16::try_from(number("errors.deadletterqueue.topic.replication.factor"))
                    .unwrap_or(-1),
            }),
            retry: Retry {
                delay_max: Duration::from_millis(number("errors.retry.delay.max.ms").unsigned_abs()),
                timeout: retry_ms.map(Duration::from_millis),
            },
            batch_records_max: usize::try_from(batch_records).unwrap_or(usize::MAX),
            log_errors: text("errors.log.enable") == "true",
        })
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}
