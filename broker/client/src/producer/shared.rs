//! What those who send and the sender task share: the queues, and the buffer they draw on.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use strata_types::TopicPartition;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

use super::batch::{Batch, Parts};
use super::queue::Queue;
use super::{ProducerOptions, RecordMetadata};
use crate::error::{ClientError, Result};

pub(crate) struct Shared {
    pub(crate) options: ProducerOptions,
    state: Mutex<State>,
    /// Free bytes of the buffer.
    buffer: Semaphore,
    /// How many wait for room: then no batch lingers.
    short_of_room: AtomicUsize,
    /// Something has changed that the sender may act on.
    changed: Notify,
    /// A batch has got its outcome.
    settled: Notify,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) queues: HashMap<TopicPartition, Queue>,
    next_batch_id: u64,
    /// The batches without an outcome.
    unsettled: BTreeSet<u64>,
    /// Batches with lower ids do not linger.
    flush_before: u64,
    is_closed: bool,
}

impl Shared {
    pub(crate) fn new(options: ProducerOptions) -> Self {
        Self {
            state: Mutex::default(),
            buffer: Semaphore::new(options.buffer_bytes_max),
            short_of_room: AtomicUsize::new(0),
            changed: Notify::new(),
            settled: Notify::new(),
            options,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits for room in the buffer. It is given back when the record's batch is settled.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<()> {
        let permits =
            u32::try_from(bytes).map_err(|_| ClientError::InvalidRecord("it is too large".into()))?;
        let permit = match self.buffer.try_acquire_many(permits) {
            Ok(permit) => Ok(permit),
            Err(_) => {
                let _short = Short::of(&self.short_of_room);
                self.changed.notify_one();
                self.buffer.acquire_many(permits).await
            }
        };
        permit.map_err(|_| ClientError::Closed)?.forget();
        Ok(())
    }

    /// Adds a record to its partition's open batch. The room for it has been reserved.
    pub(crate) fn push(
        &self,
        partition: TopicPartition,
        record: &Parts<'_>,
        bytes: usize,
    ) -> Result<oneshot::Receiver<Result<RecordMetadata>>> {
        let mut state = self.state.lock();
        let pushed = self.push_to(&mut state, partition, record, bytes);
        match &pushed {
            Ok((_, true)) => self.changed.notify_one(),
            Ok(_) => {}
            Err(_) => self.buffer.add_permits(bytes),
        }
        pushed.map(|(answer, _)| answer)
    }

    /// Returns also whether the sender should look: a batch is new or full.
    fn push_to(
        &self,
        state: &mut State,
        partition: TopicPartition,
        record: &Parts<'_>,
        bytes: usize,
    ) -> Result<(oneshot::Receiver<Result<RecordMetadata>>, bool)> {
        if state.is_closed {
            return Err(ClientError::Closed);
        }
        let options = &self.options;
        let queue = state.queues.entry(partition).or_default();
        let mut look = false;
        if queue.open_batch(bytes, options.batch_bytes_max).is_none() {
            let now = Instant::now();
            let deadline = now + Duration::from_millis(options.delivery_timeout_ms);
            queue.push(Batch::new(state.next_batch_id, now, deadline, options.compression));
            state.unsettled.insert(state.next_batch_id);
            state.next_batch_id += 1;
            look = true;
        }
        let batch = queue.open_batch(bytes, options.batch_bytes_max).ok_or(ClientError::Closed)?;
        let answer = batch.push(record)?;
        batch.charged_bytes += bytes;
        look |= batch.bytes_len() >= options.batch_bytes_max;
        Ok((answer, look))
    }

    /// When the queue's front batch goes at the latest; `None` when there is none.
    pub(crate) fn due(&self, state: &State, queue: &Queue) -> Option<Instant> {
        let batch = queue.front()?;
        let at_once = queue.front_is_closed()
            || state.is_closed
            || batch.id < state.flush_before
            || batch.bytes_len() >= self.options.batch_bytes_max
            || self.short_of_room.load(Ordering::Relaxed) > 0;
        let due =
            if at_once { batch.opened } else { batch.opened + Duration::from_millis(self.options.linger_ms) };
        Some(queue.resume_at().map_or(due, |resume| resume.max(due)))
    }

    /// A batch has its outcome: its room is free again.
    pub(crate) fn settle(&self, state: &mut State, id: u64, charged_bytes: usize) {
        state.unsettled.remove(&id);
        self.buffer.add_permits(charged_bytes);
        self.settled.notify_waiters();
    }

    /// Settles a batch as failed.
    pub(crate) fn fail(&self, state: &mut State, batch: Batch, error: &ClientError) {
        self.settle(state, batch.id, batch.charged_bytes);
        batch.fail(error);
    }

    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) async fn flush(&self) {
        let target = {
            let mut state = self.state.lock();
            state.flush_before = state.next_batch_id;
            state.next_batch_id
        };
        self.changed.notify_one();
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.state.lock().unsettled.first().is_none_or(|first| *first >= target) {
                return;
            }
            settled.await;
        }
    }

    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Whether nothing is left to do for the sender.
    pub(crate) fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.is_closed && state.unsettled.is_empty()
    }
}

/// Counts one who waits for room, for as long as it does.
struct Short<'a>(&'a AtomicUsize);

impl<'a> Short<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Short<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
