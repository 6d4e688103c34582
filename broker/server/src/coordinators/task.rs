//! One coordinator's task.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use strata_coordinator::{Append, Effects, RawRecord, ReplyId, Runtime, TxnMarker, TxnProducer};
use strata_log::TxnCheck;
use strata_protocol::records::{
    Batch, BatchBuilder, BuildError, BuilderOptions, ControlType, DecompressLimit, Origin, batches,
};
use strata_types::{ErrorCode, Offset, TimestampMs};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Envelope, Hosted};
use crate::broker::{Broker, now, until};
use crate::markers;
use crate::partition::Partition;
use crate::verification;

/// Bytes of the log that are read at once while loading.
const LOAD_BYTES: usize = 4 * 1024 * 1024;

/// Runs a partition's coordinator until the broker stops or the topic is gone.
pub(super) async fn run<S: Hosted>(
    broker: Arc<Broker>,
    partition: Arc<Partition>,
    requests: mpsc::Receiver<Envelope<S>>,
) {
    let (shard, options) = S::new(&broker, &partition);
    let runtime = Runtime::new(shard, options);
    let mut task = Task { broker, runtime, partition, replies: HashMap::new(), next_reply: 0 };
    if let Err(why) = task.load().await {
        let partition = &task.partition.id.partition;
        tracing::error!(%partition, "the coordinator cannot load: {why}");
        return;
    }
    task.serve(requests).await;
}

struct Task<S: Hosted> {
    broker: Arc<Broker>,
    runtime: Runtime<S>,
    partition: Arc<Partition>,
    replies: HashMap<ReplyId, oneshot::Sender<S::Response>>,
    next_reply: u64,
}

impl<S: Hosted> Task<S> {
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
                self.load_batch(&batch)?;
            }
        }
        self.follow();
        let effects = self.runtime.loaded(now());
        self.perform(effects);
        Ok(())
    }

    fn load_batch(&mut self, batch: &Batch) -> Result<(), ErrorCode> {
        let header = batch.header();
        let producer = TxnProducer { id: header.producer_id, epoch: header.producer_epoch };
        for record in batch.records(DecompressLimit::default()).map_err(|error| error.error_code())? {
            let record = record.map_err(|error| error.error_code())?;
            if header.is_control() {
                let commit = match ControlType::of(&record) {
                    Some(ControlType::Commit) => true,
                    Some(ControlType::Abort) => false,
                    _ => continue,
                };
                self.runtime.load_marker(&TxnMarker {
                    producer,
                    commit,
                    coordinator_epoch: -1,
                    is_bumped: false,
                });
                continue;
            }
            let producer = header.is_transactional().then_some(producer);
            if let Err(error) = self.runtime.load(record.key, record.value, producer) {
                // As in Kafka, a record of a kind that we do not know does not cost the others theirs.
                let partition = &self.partition.id.partition;
                tracing::warn!(%partition, offset = record.offset, "skipped while loading: {error}");
            }
        }
        Ok(())
    }

    async fn serve(&mut self, mut requests: mpsc::Receiver<Envelope<S>>) {
        let stopping = self.broker.stopping.clone();
        let advanced = Arc::new(Notify::new());
        let mut committed = Offset(-1);
        loop {
            // Watched before the look, so that no move between look and wait is missed.
            let watch = self.partition.watch(&advanced);
            let high_watermark = self.partition.high_watermark();
            if high_watermark != committed {
                committed = high_watermark;
                let effects = self.runtime.committed(now(), high_watermark);
                self.perform(effects);
            }
            if self.partition.is_gone() {
                break;
            }
            let deadline = self.runtime.next_deadline();
            tokio::select! {
                () = stopping.cancelled() => break,
                () = advanced.notified() => {}
                () = until(deadline) => {
                    self.follow();
                    let effects = self.runtime.tick(now());
                    self.perform(effects);
                }
                envelope = requests.recv() => match envelope {
                    Some(envelope) => self.accept(envelope),
                    None => break,
                },
            }
            drop(watch);
        }
        let effects = self.runtime.unload();
        self.perform(effects);
    }

    fn accept(&mut self, Envelope { request, reply }: Envelope<S>) {
        let id = ReplyId(self.next_reply);
        self.next_reply += 1;
        self.replies.insert(id, reply);
        self.follow();
        let effects = self.runtime.handle(now(), request, id);
        self.perform(effects);
    }

    fn follow(&mut self) {
        self.runtime.shard_mut().follow(&self.broker);
    }

    /// Sends replies, starts actions and appends records, and whatever follows from that.
    fn perform(&mut self, mut effects: Effects<S>) {
        loop {
            for (id, response) in effects.replies {
                if let Some(reply) = self.replies.remove(&id) {
                    // Whoever has gone does not wait for an answer.
                    let _ = reply.send(response);
                }
            }
            for action in effects.actions {
                S::act(&self.broker, &self.partition, action);
            }
            let Some(append) = effects.append else { return };
            let now = now();
            effects = match self.append(&append, now) {
                Ok(last) => self.runtime.appended(now, last),
                Err(code) => {
                    tracing::warn!(partition = %self.partition.id.partition, %code, "a coordinator's append failed");
                    self.runtime.append_failed(now, code)
                }
            };
        }
    }

    fn append(&self, append: &Append, now: TimestampMs) -> Result<Offset, ErrorCode> {
        let built = match append {
            Append::Records { records, producer, guard } => {
                let check = match producer {
                    Some(_) if verification::is_on(&self.broker) => TxnCheck::Verified(*guard),
                    _ => TxnCheck::Off,
                };
                records_batch(records, *producer, now).map(|batch| (batch, check))
            }
            Append::Marker(marker) => markers::batch(marker, now),
        };
        let (batch, check) = built.map_err(|_| ErrorCode::RecordListTooLarge)?;
        let appended = self.partition.append_checked(batch, now, Origin::Coordinator, check);
        let appended = appended.map_err(|error| error.error_code())?;
        Ok(appended.last_offset)
    }
}

fn records_batch(
    records: &[RawRecord],
    producer: Option<TxnProducer>,
    now: TimestampMs,
) -> Result<Bytes, BuildError> {
    let mut options = BuilderOptions::default();
    if let Some(producer) = producer {
        (options.producer_id, options.producer_epoch) = (producer.id, producer.epoch);
        options.transactional = true;
    }
    let mut batch = BatchBuilder::new(options);
    for record in records {
        batch.push_next(now, Some(&record.key), record.value.as_deref(), &[])?;
    }
    batch.build()
}
