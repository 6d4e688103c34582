//! How applications are: a record for each runtime that executes one, in a compacted topic.
//!
//! | key | value |
//! |---|---|
//! | `<application>/<runtime id>` | a [`Status`] as JSON; null: this runtime does not execute it any more |

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use strata_client::{Client, Producer, ProducerOptions, ProducerRecord};
use strata_types::{TimestampMs, TopicName};

use crate::error::RuntimeError;

/// The compacted topic, of one partition, in which runtimes report.
pub const STATUS_TOPIC: &str = "__strata_applications";

/// A runtime says at least this often that an application is running.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);
/// One that has not said so for this long is taken for dead.
const SILENT_MS_MAX: TimestampMs = 30_000;
/// How long a report may take. Nothing waits longer for a cluster that is away.
const REPORT_MAX: Duration = Duration::from_secs(5);

/// Where an application is in its life. The order is that of [`Status::merge`]: what runs somewhere is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It stopped by itself, for the reason given. Deploying it again starts it again.
    Failed,
    /// Its plugin is being loaded, its state restored; or it tries again, for the reason given.
    Starting,
    Running,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Failed => "FAILED",
        })
    }
}

/// An application's latest word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub state: State,
    /// Why it failed, or has to try again; empty otherwise.
    pub reason: String,
    /// The offset of the deployment that this is about: an older one's status is not mistaken for the new one's.
    pub deployment: i64,
    /// Tasks that are executed.
    pub tasks: usize,
    /// Records read from source topics, as of the last report, since the application was started.
    pub records_read: u64,
    /// Records written to sink and repartition topics, likewise.
    pub records_written: u64,
}

impl Status {
    pub fn new(state: State, reason: impl Into<String>, deployment: i64) -> Self {
        Self { state, reason: reason.into(), deployment, tasks: 0, records_read: 0, records_written: 0 }
    }

    /// Two runtimes' words on the same deployment as one.
    pub fn merge(self, other: Self) -> Self {
        let reason = if self.reason.is_empty() { other.reason } else { self.reason };
        Self {
            state: self.state.max(other.state),
            reason,
            deployment: self.deployment,
            tasks: self.tasks + other.tasks,
            records_read: self.records_read + other.records_read,
            records_written: self.records_written + other.records_written,
        }
    }

    /// Whether it still counts, if it was said then: only those who run repeat themselves.
    pub fn is_current(&self, said: TimestampMs, now: TimestampMs) -> bool {
        self.state != State::Running || now - said <= SILENT_MS_MAX
    }
}

/// The application that a status record is about.
pub fn application_of(key: &[u8]) -> Option<&str> {
    let (application, _runtime) = std::str::from_utf8(key).ok()?.split_once('/')?;
    Some(application)
}

/// Writes one application's status. That nobody can be told is logged, and is no reason to stop.
pub struct Reporter {
    producer: Producer,
    topic: TopicName,
    application: String,
    key: Bytes,
}

impl Reporter {
    pub fn new(client: &Client, application: &str, runtime: &str) -> Result<Self, RuntimeError> {
        let options = ProducerOptions { linger_ms: 0, ..ProducerOptions::default() };
        Ok(Self {
            producer: Producer::new(client, options)?,
            topic: TopicName::new(STATUS_TOPIC)?,
            application: application.to_owned(),
            key: format!("{application}/{runtime}").into(),
        })
    }

    /// `None` takes the last word back. In order, as one producer writes them all.
    pub async fn say(&self, status: Option<&Status>) {
        let value = status.and_then(|status| serde_json::to_vec(status).ok()).map(Bytes::from);
        let record = ProducerRecord {
            partition: Some(0),
            ..ProducerRecord::new(self.topic.clone(), Some(self.key.clone()), value)
        };
        let why = match tokio::time::timeout(REPORT_MAX, self.producer.send_and_wait(record)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::warn!(application = self.application, why, "its status could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_somewhere_is_running_and_says_what_failed_elsewhere() {
        let failed = Status::new(State::Failed, "disk full", 3);
        let running = Status { tasks: 2, records_read: 5, ..Status::new(State::Running, "", 3) };
        let both = failed.merge(running);
        assert_eq!((both.state, both.reason.as_str(), both.tasks), (State::Running, "disk full", 2));
    }

    #[test]
    fn who_runs_and_falls_silent_does_not_count_and_who_failed_does() {
        let running = Status::new(State::Running, "", 3);
        assert!(running.is_current(0, SILENT_MS_MAX));
        assert!(!running.is_current(0, SILENT_MS_MAX + 1));
        assert!(Status::new(State::Failed, "why", 3).is_current(0, SILENT_MS_MAX + 1));
    }

    #[test]
    fn a_status_key_names_its_application() {
        assert_eq!(application_of(b"word-count/7f"), Some("word-count"));
        assert_eq!(application_of(b"word-count"), None);
    }
}
