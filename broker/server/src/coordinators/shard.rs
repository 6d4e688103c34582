//! One coordinator's task.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use strata_coordinator::{
    Effects, GroupConfig, GroupCoordinator, GroupResponse, GroupShard, RawRecord, ReplyId, RuntimeOptions,
};
use strata_protocol::records::{BatchBuilder, BuilderOptions, DecompressLimit, Origin, batches};
use strata_types::{ErrorCode, Offset};
use tokio::sync::{Notify, mpsc, oneshot};

use super::Envelope;
use crate::broker::{Broker, now};
use crate::partition::Partition;

/// Bytes of the log that are read at once while loading.
const LOAD_BYTES: usize = 4 * 1024 * 1024;
/// A deadline further off than this is looked at again in between.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Runs a partition's coordinator until the broker stops or the topic is gone.
pub(super) async fn run(broker: Arc<Broker>, partition: Arc<Partition>, requests: mpsc::Receiver<Envelope>) {
    let settings = &broker.config.settings;
    let config = GroupConfig {
        group_initial_rebalance_delay_ms: settings.group_initial_rebalance_delay_ms,
        group_min_session_timeout_ms: settings.group_min_session_timeout_ms,
        group_max_session_timeout_ms: settings.group_max_session_timeout_ms,
        group_max_size: settings.group_max_size,
        offset_metadata_max_bytes: settings.offset_metadata_bytes_max,
        offsets_retention_ms: settings.offsets_retention_ms,
        offsets_retention_check_interval_ms: settings.offsets_retention_check_interval_ms,
        ..Default::default()
    };
    let options = RuntimeOptions {
        append_bytes_max: partition.log.config().max_message_bytes,
        write_timeout_ms: settings.offsets_commit_timeout_ms,
        ..Default::default()
    };
    let coordinator = GroupCoordinator::new(GroupShard::new(config), options);
    let mut shard = Shard { coordinator, partition, replies: HashMap::new(), next_reply: 0 };
    if let Err(why) = shard.load().await {
        tracing::error!(partition = %shard.partition.id.partition, "the group coordinator cannot load: {why}");
        return;
    }
    shard.serve(&broker, requests).await;
}

struct Shard {
    coordinator: GroupCoordinator,
    partition: Arc<Partition>,
    replies: HashMap<ReplyId, oneshot::Sender<GroupResponse>>,
    next_reply: u64,
}

impl Shard {
    /// Replays the log. Everything in it is committed first, so that nothing is loaded that may still go away.
    async fn load(&mut self) -> Result<(), ErrorCode> {
        let end = self.partition.log.end_offset();
        self.partition.committed(end).await?;
        let mut next = self.partition.log.local_start_offset();
        while next < end {
            let log = self.partition.log.clone();
            let read = tokio::task::spawn_blocking(move || log.read_batches(next, LOAD_BYTES, end)).await;
            let bytes =
                read.map_err(|_| ErrorCode::UnknownServerError)?.map_err(|error| error.error_code())?;
            if bytes.is_empty() {
                break;
            }
            for batch in batches(bytes) {
                let batch = batch.map_err(|error| error.error_code())?;
                next = batch.next_offset();
                if batch.header().is_control() {
                    continue;
                }
                for record in batch.records(DecompressLimit::default()).map_err(|error| error.error_code())? {
                    let record = record.map_err(|error| error.error_code())?;
                    if let Err(error) = self.coordinator.load(record.key, record.value) {
                        // As in Kafka, a record of a kind that we do not know does not cost the group its offsets.
                        tracing::warn!(partition = %self.partition.id.partition, offset = record.offset, "skipped while loading: {error}");
                    }
                }
            }
        }
        let effects = self.coordinator.loaded(now());
        self.perform(effects);
        Ok(())
    }

    async fn serve(&mut self, broker: &Broker, mut requests: mpsc::Receiver<Envelope>) {
        let advanced = Arc::new(Notify::new());
        let mut committed = Offset(-1);
        loop {
            // Watched before the look, so that no move between look and wait is missed.
            let watch = self.partition.watch(&advanced);
            let high_watermark = self.partition.high_watermark();
            if high_watermark != committed {
                committed = high_watermark;
                let effects = self.coordinator.committed(now(), high_watermark);
                self.perform(effects);
            }
            if self.partition.is_gone() {
                break;
            }
            let deadline = self.coordinator.next_deadline();
            tokio::select! {
                () = broker.stopping.cancelled() => break,
                () = advanced.notified() => {}
                () = until(deadline) => {
                    let effects = self.coordinator.tick(now());
                    self.perform(effects);
                }
                envelope = requests.recv() => match envelope {
                    Some(envelope) => self.accept(envelope),
                    None => break,
                },
            }
            drop(watch);
        }
        let effects = self.coordinator.unload();
        self.perform(effects);
    }

    fn accept(&mut self, Envelope { request, reply }: Envelope) {
        let id = ReplyId(self.next_reply);
        self.next_reply += 1;
        self.replies.insert(id, reply);
        let effects = self.coordinator.handle(now(), request, id);
        self.perform(effects);
    }

    /// Sends replies and appends records, and whatever follows from that.
    fn perform(&mut self, mut effects: Effects<GroupResponse>) {
        loop {
            for (id, response) in effects.replies {
                if let Some(reply) = self.replies.remove(&id) {
                    // Whoever has gone does not wait for an answer.
                    let _ = reply.send(response);
                }
            }
            let Some(records) = effects.append else { return };
            let now = now();
            effects = match self.append(&records, now) {
                Ok(last) => self.coordinator.appended(now, last),
                Err(code) => {
                    tracing::warn!(partition = %self.partition.id.partition, %code, "a coordinator's append failed");
                    self.coordinator.append_failed(now, code)
                }
            };
        }
    }

    fn append(&self, records: &[RawRecord], now: i64) -> Result<Offset, ErrorCode> {
        let mut batch = BatchBuilder::new(BuilderOptions::default());
        for record in records {
            let appended = batch.push_next(now, Some(&record.key), record.value.as_deref(), &[]);
            appended.map_err(|_| ErrorCode::RecordListTooLarge)?;
        }
        let batch = batch.build().map_err(|_| ErrorCode::RecordListTooLarge)?;
        let appended =
            self.partition.append(batch, now, Origin::Coordinator).map_err(|error| error.error_code())?;
        Ok(appended.last_offset)
    }
}

/// Resolves at `deadline`; never without one.
async fn until(deadline: Option<i64>) {
    match deadline {
        Some(deadline) => {
            let wait = u64::try_from(deadline.saturating_sub(now())).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(wait).min(SLEEP_MAX)).await;
        }
        None => std::future::pending().await,
    }
}
