//! A share group's dead-letter queue (KIP-1191): writes what no member will get to the topic that the group names.
//!
//! - One record for each dead one, with headers that say where it came from and why. With
//!   `errors.deadletterqueue.copy.record.enable` its key and value are copied too, not its headers.
//! - The topic must allow it (`errors.deadletterqueue.group.enable`) and be named as the broker wants
//!   (`errors.deadletterqueue.topic.name.prefix`): whoever may write to a topic could otherwise write to another one by a
//!   group's mistake. It is made where the broker may (`errors.deadletterqueue.auto.create.topics.enable`).
//! - A record goes to the partition that has its own partition's number, modulo their count.
//! - What cannot be written is counted, logged, and archived all the same: a queue that is away does not stop the group.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_coordinator::share::partition::{DeadLetterCause, DeadLetters};
use strata_log::LogConfig;
use strata_metadata::ConfigResource;
use strata_protocol::Str;
use strata_protocol::messages::CreateTopicsRequest;
use strata_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use strata_protocol::records::{BatchBuilder, BuilderOptions, DecompressLimit, Header, Origin, batches};
use strata_types::{ErrorCode, Offset, PartitionId};
use tokio::time::{sleep, timeout};

use super::partition::Shared;
use super::read;
use crate::broker::{Broker, now};

/// The group's settings.
pub(super) const TOPIC: &str = "errors.deadletterqueue.topic.name";
const COPY: &str = "errors.deadletterqueue.copy.record.enable";
/// The topic's.
const ALLOWED: &str = "errors.deadletterqueue.group.enable";

/// How often an append is tried, how long is waited before the second time, then twice as long each time up to a limit.
const ATTEMPTS_MAX: u32 = 5;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long an append may take to be committed.
const COMMIT_MAX: Duration = Duration::from_secs(30);
/// How much is read at once to be copied.
const COPY_READ_BYTES: usize = 1 << 20;

/// Writes the letters, and counts them.
pub(super) async fn send(broker: Arc<Broker>, shared: Arc<Shared>, letters: DeadLetters) {
    let group = &shared.key.group;
    if let Err(why) = write(&broker, &shared, &letters).await {
        let DeadLetters { first_offset, last_offset, .. } = letters;
        broker.metrics.dead_letters.failed(group);
        tracing::warn!(
            group = %group, partition = %shared.partition.id.partition, first_offset, last_offset,
            "records are archived without being in the dead-letter queue: {why}"
        );
    }
}

async fn write(broker: &Arc<Broker>, shared: &Shared, letters: &DeadLetters) -> Result<(), String> {
    let own = broker.image().config(&ConfigResource::Group(shared.key.group.clone()));
    let topic = own.get(TOPIC).cloned().unwrap_or_default();
    let copies = own.get(COPY).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    check_name(&topic, &broker.config.settings.dead_letter_topic_prefix)?;
    let config = ensure(broker, &topic).await?;
    let count = broker.partitions.topic(&topic).map_or(0, |topic| topic.partitions.len());
    let index =
        shared.key.partition.checked_rem(count as PartitionId).ok_or("the topic has no partitions")?;
    let mut queue = Queue { broker, shared, letters, topic, index, config, batch: None };
    let mut next = letters.first_offset;
    while next <= letters.last_offset {
        let (copied, until) = match copies {
            true => queue.copies(next).await?,
            false => (HashMap::new(), letters.last_offset),
        };
        for offset in next..=until {
            queue.push(offset, copied.get(&offset)).await?;
        }
        next = until + 1;
    }
    queue.flush().await
}

fn check_name(topic: &str, prefix: &str) -> Result<(), String> {
    if topic.is_empty() {
        return Err("the group names no topic for it any more".to_owned());
    }
    if topic.starts_with("__") {
        return Err(format!("{topic} is an internal topic"));
    }
    match topic.starts_with(prefix) {
        true => Ok(()),
        false => Err(format!("the topic's name {topic} must start with {prefix}")),
    }
}

/// The topic's configuration, which allows it. Makes the topic where that is wanted.
async fn ensure(broker: &Arc<Broker>, topic: &Str) -> Result<LogConfig, String> {
    let image = broker.image();
    if image.topic(topic).is_some() {
        let config = broker.configs.log_config(&image, topic);
        return match config.errors_deadletterqueue_group_enable {
            true => Ok(config),
            false => Err(format!("{ALLOWED} is not set on the topic {topic}")),
        };
    }
    if !broker.config.settings.dead_letter_auto_create_topics_enable {
        return Err(format!("the topic {topic} is not there, and is not to be made by the broker"));
    }
    let config = |name: &'static str, value: &'static str| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let creatable = CreatableTopic {
        name: topic.clone(),
        num_partitions: -1,
        replication_factor: -1,
        configs: vec![config(ALLOWED, "true"), config("message.timestamp.type", "CreateTime")],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![creatable], ..Default::default() };
    let made = broker.create_topics(request).await.map_err(|code| code.to_string())?;
    let code = made.topics.first().and_then(|topic| ErrorCode::from_code(topic.error_code));
    match code {
        // Somebody else was quicker.
        Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => {
            Ok(broker.configs.log_config(&broker.image(), topic))
        }
        code => Err(format!(
            "the topic {topic} cannot be made: {}",
            code.unwrap_or(ErrorCode::UnknownServerError)
        )),
    }
}

type KeyAndValue = (Option<Bytes>, Option<Bytes>);

/// Where letters go, with the batch that is being filled.
struct Queue<'a> {
    broker: &'a Arc<Broker>,
    shared: &'a Shared,
    letters: &'a DeadLetters,
    topic: Str,
    index: PartitionId,
    config: LogConfig,
    batch: Option<BatchBuilder>,
}

impl Queue<'_> {
    /// Keys and values from `from` on, and up to where that is known. What the log does not have any more is left out.
    async fn copies(&self, from: i64) -> Result<(HashMap<i64, KeyAndValue>, i64), String> {
        let last = self.letters.last_offset;
        let until = Offset(last + 1);
        let read =
            read::read(self.broker, &self.shared.partition, Offset(from), until, COPY_READ_BYTES, false)
                .await;
        let bytes = match read {
            Ok(read) => read.into_bytes(),
            // Retention was quicker: what is known of the records is written without them.
            Err(ErrorCode::OffsetOutOfRange) => Bytes::new(),
            Err(code) => return Err(format!("the records cannot be read to be copied: {code}")),
        };
        let (mut copies, mut known) = (HashMap::new(), None);
        for batch in batches(bytes) {
            let batch = batch.map_err(|error| error.to_string())?;
            known = Some(batch.last_offset().0);
            let records = batch.records(DecompressLimit::default()).map_err(|error| error.to_string())?;
            for record in records {
                let record = record.map_err(|error| error.to_string())?;
                if (from..=last).contains(&record.offset) {
                    copies.insert(record.offset, (record.key, record.value));
                }
            }
        }
        Ok((copies, known.unwrap_or(last).clamp(from, last)))
    }

    /// Adds a letter; a batch that is full is appended first.
    async fn push(&mut self, offset: i64, copied: Option<&KeyAndValue>) -> Result<(), String> {
        let headers = self.headers(offset);
        let bytes_max = self.config.max_message_bytes;
        let (mut key, mut value) = copied.cloned().unwrap_or_default();
        let size = |key: &Option<Bytes>, value: &Option<Bytes>| {
            BatchBuilder::size_of(key.as_deref(), value.as_deref(), &headers)
        };
        let empty = BatchBuilder::new(BuilderOptions::default()).bytes_len();
        if empty.saturating_add(size(&key, &value)) > bytes_max {
            // The queue takes smaller records than the topic: better what is known of it than nothing.
            (key, value) = (None, None);
        }
        let filled = self.batch.as_ref().map_or(0, BatchBuilder::bytes_len);
        if filled.saturating_add(size(&key, &value)) > bytes_max {
            self.flush().await?;
        }
        let batch = self.batch.get_or_insert_with(|| BatchBuilder::new(BuilderOptions::default()));
        let pushed = batch.push_next(now(), key.as_deref(), value.as_deref(), &headers);
        pushed.map(|_| ()).map_err(|error| error.to_string())
    }

    fn headers(&self, offset: i64) -> Vec<Header> {
        let partition = &self.shared.partition.id.partition;
        let why = match self.letters.cause {
            DeadLetterCause::Rejected => "Offset rejected by client.",
            DeadLetterCause::DeliveryCountExceeded => "Offset delivery count exceeded the threshold.",
        };
        let named = [
            ("__dlq.errors.topic", partition.topic.to_string()),
            ("__dlq.errors.partition", partition.partition.to_string()),
            ("__dlq.errors.offset", offset.to_string()),
            ("__dlq.errors.group", self.shared.key.group.to_string()),
            ("__dlq.errors.delivery.count", self.letters.delivery_count.to_string()),
            ("__dlq.errors.message", why.to_owned()),
        ];
        named
            .into_iter()
            .map(|(key, value)| Header { key: key.into(), value: Some(Bytes::from(value)) })
            .collect()
    }

    /// Appends what was pushed, and waits until it is committed.
    async fn flush(&mut self) -> Result<(), String> {
        let Some(batch) = self.batch.take() else { return Ok(()) };
        let records = batch.records_count();
        let batch = batch.build().map_err(|error| error.to_string())?;
        let mut backoff = FIRST_BACKOFF;
        for attempt in 1.. {
            self.broker.metrics.dead_letters.sent(&self.shared.key.group);
            match self.append(batch.clone()).await {
                Ok(()) => break,
                Err(code) if code.is_retriable() && attempt < ATTEMPTS_MAX => sleep(backoff).await,
                Err(code) => return Err(format!("{}-{} does not take them: {code}", self.topic, self.index)),
            }
            backoff = (2 * backoff).min(BACKOFF_MAX);
        }
        self.broker.metrics.dead_letters.written(&self.shared.key.group, records);
        Ok(())
    }

    async fn append(&self, batch: Bytes) -> Result<(), ErrorCode> {
        let partition = self.broker.partitions.by_name(&self.topic, self.index)?;
        partition.check_min_isr().map_err(|_| ErrorCode::NotEnoughReplicas)?;
        let appended = partition.append(batch, now(), Origin::Client).map_err(|error| error.error_code())?;
        let committed = partition.committed(appended.last_offset.next());
        timeout(COMMIT_MAX, committed).await.unwrap_or(Err(ErrorCode::RequestTimedOut))
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_are_checked_against_the_brokers_prefix() {
        assert!(check_name("dlq.orders", "dlq.").is_ok());
        assert!(check_name("orders", "dlq.").is_err());
        assert!(check_name("orders", "").is_ok());
        assert!(check_name("__consumer_offsets", "").is_err());
        assert!(check_name("", "").is_err());
    }
}
