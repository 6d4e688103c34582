//! One share partition in memory: the sans-IO core behind a lock, and the task that serves it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use strata_coordinator::share::partition::{
    AcknowledgeError, AcknowledgementBatch, DeadLetters, ShareLimits, SharePartition, StateBatch, Write,
};
use strata_coordinator::share::persister::{PersisterRequest, SharePartitionKey, UNINITIALIZED_START_OFFSET};
use strata_protocol::Str;
use strata_types::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::{Mutex as AsyncMutex, Notify, OnceCell, OwnedMutexGuard, mpsc, oneshot};

use super::dead_letters;
use super::persister;
use super::settings::{OffsetReset, ShareSettings};
use super::waiting::Waiting;
use crate::api::list_offsets::by_time;
use crate::broker::{Broker, now, until};
use crate::partition::Partition;

/// Changes of one share partition that may wait to be stored.
const WRITES_MAX: usize = 1_000;
/// A share partition that nobody has fetched from for so long, and in which nothing is acquired, is forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// Why acknowledgements were not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: ErrorCode,
    pub message: Option<Str>,
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

impl From<AcknowledgeError> for Failure {
    fn from(error: AcknowledgeError) -> Self {
        Self { code: error.code(), message: Some(Str::from(error.to_string())) }
    }
}

/// A change on its way to be stored; nothing to wait for where there was no change.
pub(super) struct Stored(Option<oneshot::Receiver<Result<(), ErrorCode>>>);

impl Stored {
    pub(super) async fn outcome(self) -> Result<(), Failure> {
        match self.0 {
            // Whoever drops it has stopped: the next leader knows better.
            Some(stored) => {
                stored.await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower)).map_err(Failure::from)
            }
            None => Ok(()),
        }
    }
}

/// A share partition.
pub(crate) struct Shared {
    pub key: SharePartitionKey,
    pub partition: Arc<Partition>,
    /// The partition leader's, when this was made.
    leader_epoch: LeaderEpoch,
    loaded: OnceCell<Loaded>,
    /// Held by who reads for a member, so that two do not read the same.
    reading: Arc<AsyncMutex<()>>,
    /// Somebody found `reading` held and waits for it.
    is_wanted: AtomicBool,
    waiting: Waiting,
    /// Told of new deadlines, and of the end.
    task: Notify,
    ended: AtomicBool,
    used_at: AtomicI64,
}

struct Loaded {
    core: Mutex<SharePartition>,
    writes: mpsc::Sender<Job>,
}

/// A write, and who wants to know of it.
struct Job {
    write: Write,
    stored: Option<oneshot::Sender<Result<(), ErrorCode>>>,
}

impl Shared {
    pub(super) fn new(key: SharePartitionKey, partition: Arc<Partition>) -> Arc<Self> {
        let leader_epoch = partition.leader_epoch();
        Arc::new(Self {
            key,
            partition,
            leader_epoch,
            loaded: OnceCell::new(),
            reading: Arc::default(),
            is_wanted: AtomicBool::new(false),
            waiting: Waiting::default(),
            task: Notify::new(),
            ended: AtomicBool::new(false),
            used_at: AtomicI64::new(now()),
        })
    }

    /// Whether this is the share partition of the log as it is led now.
    pub(super) fn is_of(&self, partition: &Arc<Partition>) -> bool {
        Arc::ptr_eq(&self.partition, partition)
            && self.leader_epoch == partition.leader_epoch()
            && !self.ended.load(Ordering::Acquire)
    }

    /// Reads what was stored, once.
    pub(super) async fn load(self: &Arc<Self>, broker: &Arc<Broker>) -> Result<(), ErrorCode> {
        self.used_at.store(now(), Ordering::Relaxed);
        let load = || async {
            let stored = persister::read(broker, &self.key, self.leader_epoch.0).await?;
            let settings = ShareSettings::of(broker, &self.key.group);
            let start = match stored.start_offset {
                UNINITIALIZED_START_OFFSET => self.first_start(broker, settings.offset_reset).await?,
                start => Offset(start),
            };
            let core = SharePartition::load(start.0, &stored.batches, settings.limits);
            let (writes, jobs) = mpsc::channel(WRITES_MAX);
            let task = Task {
                broker: broker.clone(),
                shared: self.clone(),
                state_epoch: stored.state_epoch,
                waiting: VecDeque::new(),
                storing: None,
                letters: VecDeque::new(),
                sending: None,
            };
            broker.tasks.spawn(task.run(jobs));
            Ok(Loaded { core: Mutex::new(core), writes })
        };
        self.loaded.get_or_try_init(load).await?;
        self.task.notify_one();
        Ok(())
    }

    /// Where a group starts that was never here.
    async fn first_start(&self, broker: &Arc<Broker>, reset: OffsetReset) -> Result<Offset, ErrorCode> {
        match reset {
            OffsetReset::Earliest => Ok(self.partition.log.start_offset()),
            OffsetReset::Latest => Ok(self.partition.high_watermark()),
            OffsetReset::ByDuration { ago_ms } => {
                let since = now().saturating_sub(ago_ms).max(0);
                let found = by_time(&self.partition, broker.remote.as_deref(), since).await?;
                Ok(found.map_or(self.partition.high_watermark(), |found| found.offset))
            }
        }
    }

    /// Runs `look` on the core; `None` unless it is loaded.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut SharePartition) -> R) -> Option<R> {
        Some(look(&mut self.loaded.get()?.core.lock()))
    }

    /// Records were acquired: there may be a new deadline.
    pub(super) fn acquired(&self) {
        self.task.notify_one();
    }

    /// Takes the right to read for a member; `None` if another one has it. Whoever was refused is woken when it is free.
    pub(super) fn try_read(&self) -> Option<OwnedMutexGuard<()>> {
        if let Ok(guard) = self.reading.clone().try_lock_owned() {
            return Some(guard);
        }
        self.is_wanted.store(true, Ordering::SeqCst);
        // Between the two looks it may have become free, and nobody would tell.
        self.reading.clone().try_lock_owned().ok()
    }

    /// Gives the right to read back.
    pub(super) fn end_read(&self, guard: OwnedMutexGuard<()>) {
        drop(guard);
        if self.is_wanted.swap(false, Ordering::SeqCst) {
            self.waiting.wake();
        }
    }

    /// Has `notify` told of the next change, once.
    pub(super) fn watch(&self, notify: &Arc<Notify>) {
        self.waiting.add(notify);
    }

    pub(super) fn acknowledge(
        &self,
        limits: ShareLimits,
        member: &str,
        batches: &[AcknowledgementBatch],
    ) -> Result<Stored, Failure> {
        let loaded = self.loaded.get().ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let mut core = loaded.core.lock();
        core.set_limits(limits);
        let write = core.acknowledge(now(), member, batches)?;
        loaded.store(&mut core, write)
    }

    /// Frees what a member has acquired.
    pub(super) fn release(&self, member: &str) -> Result<Stored, Failure> {
        let Some(loaded) = self.loaded.get() else { return Ok(Stored(None)) };
        let mut core = loaded.core.lock();
        let write = core.release(member);
        loaded.store(&mut core, write)
    }

    /// Nothing more is stored from here; who waits looks for the next one.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.task.notify_one();
        self.waiting.wake();
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Acquire)
            || self.partition.is_gone()
            || self.leader_epoch != self.partition.leader_epoch()
    }
}

impl Loaded {
    /// Has a change stored. In the order of the changes, as the core's lock is held.
    fn store(&self, core: &mut SharePartition, write: Option<Write>) -> Result<Stored, Failure> {
        let Some(write) = write else { return Ok(Stored(None)) };
        let (sender, stored) = oneshot::channel();
        let id = write.id;
        match self.writes.try_send(Job { write, stored: Some(sender) }) {
            Ok(()) => Ok(Stored(Some(stored))),
            Err(_) => {
                core.written(id, false);
                Err(ErrorCode::CoordinatorNotAvailable.into())
            }
        }
    }
}

/// Serves one share partition: frees what is locked for too long, and stores changes one batch after the other, in their
/// order. What comes while one is being stored is the next one, together.
struct Task {
    broker: Arc<Broker>,
    shared: Arc<Shared>,
    state_epoch: i32,
    waiting: VecDeque<Job>,
    storing: Option<Storing>,
    /// What is to go to the dead-letter queue; one after the other.
    letters: VecDeque<DeadLetters>,
    sending: Option<Sending>,
}

struct Sending {
    letters: DeadLetters,
    outcome: BoxFuture<'static, ()>,
}

struct Storing {
    jobs: Vec<Job>,
    outcome: BoxFuture<'static, Result<(), ErrorCode>>,
}

impl Task {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let shared = self.shared.clone();
        // The cell is filled right after this task was spawned; whoever fills it tells.
        while shared.loaded.get().is_none() && !shared.is_over() {
            shared.task.notified().await;
        }
        let stopping = self.broker.stopping.clone();
        while !shared.is_over() {
            let deadline = shared.loaded.get().and_then(|loaded| loaded.core.lock().next_deadline());
            tokio::select! {
                () = stopping.cancelled() => break,
                () = shared.task.notified() => {}
                () = until(deadline) => self.tick(),
                job = jobs.recv() => self.waiting.extend(job),
                outcome = stored(&mut self.storing) => self.stored(outcome),
                () = sent(&mut self.sending) => self.sent(),
                () = tokio::time::sleep(IDLE) => {
                    if self.is_idle() {
                        break;
                    }
                }
            }
            while let Ok(job) = jobs.try_recv() {
                self.waiting.push_back(job);
            }
            self.send_next();
            self.store_next();
        }
        self.finish(jobs).await;
    }

    /// What has begun is ended; what has not is refused.
    async fn finish(mut self, mut jobs: mpsc::Receiver<Job>) {
        jobs.close();
        while let Ok(job) = jobs.try_recv() {
            self.waiting.push_back(job);
        }
        if let Some(Storing { jobs, outcome }) = self.storing.take() {
            let outcome = outcome.await;
            for stored in jobs.into_iter().filter_map(|job| job.stored) {
                let _ = stored.send(outcome);
            }
        }
        for stored in self.waiting.into_iter().filter_map(|job| job.stored) {
            let _ = stored.send(Err(ErrorCode::NotLeaderOrFollower));
        }
        self.broker.share.forget(&self.shared);
    }

    fn tick(&mut self) {
        let Some(loaded) = self.shared.loaded.get() else { return };
        let write = loaded.core.lock().tick(now());
        self.waiting.extend(write.map(|write| Job { write, stored: None }));
        self.shared.waiting.wake();
    }

    fn store_next(&mut self) {
        if self.storing.is_some() || self.waiting.is_empty() {
            return;
        }
        let jobs: Vec<Job> = self.waiting.drain(..).collect();
        let Some(last) = jobs.last() else { return };
        let batches: Vec<StateBatch> =
            jobs.iter().flat_map(|job| job.write.batches.iter().copied()).collect();
        let request = PersisterRequest::Write {
            key: self.shared.key.clone(),
            state_epoch: self.state_epoch,
            leader_epoch: self.shared.leader_epoch.0,
            start_offset: last.write.start_offset,
            delivery_complete_count: last.write.delivery_complete_count,
            batches,
        };
        let outcome = persister::write(self.broker.clone(), self.shared.key.clone(), request);
        self.storing = Some(Storing { jobs, outcome: Box::pin(outcome) });
    }

    fn stored(&mut self, outcome: Result<(), ErrorCode>) {
        let Some(Storing { jobs, .. }) = self.storing.take() else { return };
        if let Some(loaded) = self.shared.loaded.get() {
            let mut core = loaded.core.lock();
            jobs.iter().for_each(|job| core.written(job.write.id, outcome.is_ok()));
        }
        for stored in jobs.into_iter().filter_map(|job| job.stored) {
            // Whoever has gone does not wait for an answer.
            let _ = stored.send(outcome);
        }
        if let Err(code) = outcome {
            let key = &self.shared.key;
            tracing::warn!(group = %key.group, topic = %key.topic_id, partition = key.partition, %code, "a share partition's state could not be stored");
            if code != ErrorCode::CoordinatorNotAvailable {
                // Another leader or another life of the state: what is in memory counts no more.
                self.shared.end();
            }
        }
        self.shared.waiting.wake();
    }

    fn send_next(&mut self) {
        if self.sending.is_some() {
            return;
        }
        if self.letters.is_empty() {
            self.letters.extend(self.shared.with(|core| core.take_dead_letters()).unwrap_or_default());
        }
        self.sending = self.letters.pop_front().map(|letters| {
            let outcome = dead_letters::send(self.broker.clone(), self.shared.clone(), letters);
            Sending { letters, outcome: Box::pin(outcome) }
        });
    }

    /// Written or not, the records are archived now, as in Kafka.
    fn sent(&mut self) {
        let Some(Sending { letters, .. }) = self.sending.take() else { return };
        let write = self.shared.with(|core| core.dead_lettered(&letters)).flatten();
        self.waiting.extend(write.map(|write| Job { write, stored: None }));
    }

    fn is_idle(&self) -> bool {
        let is_unused = now() - self.shared.used_at.load(Ordering::Relaxed) >= IDLE.as_millis() as i64;
        let holds =
            self.shared.loaded.get().is_some_and(|loaded| loaded.core.lock().next_deadline().is_some());
        let works = self.storing.is_some() || self.sending.is_some() || !self.waiting.is_empty();
        is_unused && !holds && !works
    }
}

async fn sent(sending: &mut Option<Sending>) {
    match sending {
        Some(sending) => (&mut sending.outcome).await,
        None => std::future::pending().await,
    }
}

async fn stored(storing: &mut Option<Storing>) -> Result<(), ErrorCode> {
    match storing {
        Some(storing) => (&mut storing.outcome).await,
        None => std::future::pending().await,
    }
}
