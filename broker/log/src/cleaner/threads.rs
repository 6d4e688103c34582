//! The cleaner's threads: each takes the log that needs it most, cleans it, and looks again.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use strata_types::{TimestampMs, TopicId, TopicPartition};

use super::offsets::OffsetMapOptions;
use super::plan::{LogFacts, Plan};
use super::run::{CleanError, CleanReport, RunOptions, clean};
use crate::{Log, StorageError};

/// A log that could not be cleaned is let be for this time; the reason stands in the log.
pub const UNCLEANABLE_RETRY: Duration = Duration::from_secs(3600);

/// A pause to keep to the rate is not worth a timer below this.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// Whose logs are cleaned.
pub trait CleanerHost: Send + Sync {
    fn logs(&self) -> Vec<Arc<Log>>;
    /// The log is clean up to [`Log::cleaned_until`] now, which should be remembered.
    fn cleaned(&self, log: &Arc<Log>);
    fn now(&self) -> TimestampMs;
}

/// Kafka's `log.cleaner.*`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerOptions {
    /// `log.cleaner.threads`; none at all cleans nothing.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: for the keys' offsets, in bytes, over all threads. Taken as far as a log needs it,
    /// and given back after each.
    pub dedupe_bytes_max: usize,
    /// `log.cleaner.io.buffer.load.factor`
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: for reading and writing, in bytes, over all threads.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, read and written, over all threads.
    pub bytes_per_second_max: f64,
    /// `log.cleaner.backoff.ms`: how long a thread waits when there is nothing to do.
    pub backoff: Duration,
}

impl Default for CleanerOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            dedupe_bytes_max: 128 << 20,
            load_factor: 0.9,
            io_buffer_bytes: 512 << 10,
            bytes_per_second_max: f64::MAX,
            backoff: Duration::from_secs(15),
        }
    }
}

/// What the cleaner has done since the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CleanerStats {
    pub logs_cleaned: u64,
    pub logs_failed: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub records_read: u64,
    pub records_kept: u64,
    /// The last cleaning's.
    pub last: Option<CleanReport>,
    /// The dirtiest log's share of new bytes, when last looked.
    pub max_dirty_ratio: f64,
    /// For how long a record of a log has waited beyond `max.compaction.lag.ms`, when last looked.
    pub max_delay_ms: i64,
    /// Since a thread last looked for work; `None`: none has yet.
    pub since_look: Option<Duration>,
    /// Threads that have ended, and should not have.
    pub dead_threads: usize,
    /// Those that are let be after a failure.
    pub uncleanable: Vec<TopicPartition>,
}

/// The threads. They end with [`LogCleaner::close`] or when it is dropped; a cleaning that is under way is given up, and the
/// log is as before.
pub struct LogCleaner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    host: Arc<dyn CleanerHost>,
    state: Mutex<State>,
    /// Told when the threads are to end, or to look again.
    changed: Condvar,
}

struct State {
    options: CleanerOptions,
    closing: bool,
    /// Counts calls of [`LogCleaner::wake`].
    wakes: u64,
    busy: Vec<(TopicPartition, TopicId)>,
    uncleanable: HashMap<(TopicPartition, TopicId), Instant>,
    stats: CleanerStats,
    looked: Option<Instant>,
}

impl LogCleaner {
    pub fn start(host: Arc<dyn CleanerHost>, options: CleanerOptions) -> Result<Self, StorageError> {
        let state = State {
            options,
            closing: false,
            wakes: 0,
            busy: Vec::new(),
            uncleanable: HashMap::new(),
            stats: CleanerStats::default(),
            looked: None,
        };
        let shared = Arc::new(Shared { host, state: Mutex::new(state), changed: Condvar::new() });
        let cleaner = Self { shared, threads: Mutex::default() };
        cleaner.spawn(options.threads)?;
        Ok(cleaner)
    }

    /// Goes on with other options. Waits for the threads to give up what they do; it is begun again.
    pub fn reconfigure(&self, options: CleanerOptions) -> Result<(), StorageError> {
        if self.shared.state.lock().options == options {
            return Ok(());
        }
        self.close();
        {
            let mut state = self.shared.state.lock();
            (state.options, state.closing) = (options, false);
        }
        self.spawn(options.threads)
    }

    /// Has the threads look for work now.
    pub fn wake(&self) {
        self.shared.state.lock().wakes += 1;
        self.shared.changed.notify_all();
    }

    pub fn stats(&self) -> CleanerStats {
        let state = self.shared.state.lock();
        let mut stats = state.stats.clone();
        stats.uncleanable = state.uncleanable.keys().map(|(partition, _)| partition.clone()).collect();
        stats.uncleanable.sort_unstable();
        stats.since_look = state.looked.map(|looked| looked.elapsed());
        if !state.closing {
            // Not while the other lock is held by who waits for the threads.
            drop(state);
            let threads = self.threads.try_lock();
            let dead =
                |threads: &Vec<JoinHandle<()>>| threads.iter().filter(|thread| thread.is_finished()).count();
            stats.dead_threads = threads.as_deref().map_or(0, dead);
        }
        stats
    }

    /// Ends the threads.
    pub fn close(&self) {
        self.shared.state.lock().closing = true;
        self.shared.changed.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a cleaner's thread had panicked");
            }
        }
    }

    fn spawn(&self, threads: usize) -> Result<(), StorageError> {
        for number in 0..threads {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("log-cleaner-{number}"))
                .spawn(move || shared.work())
                .map_err(StorageError::io("start the cleaner", std::path::Path::new("")))?;
            self.threads.lock().push(thread);
        }
        Ok(())
    }
}

impl Drop for LogCleaner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let (wakes, backoff) = {
                let state = self.state.lock();
                if state.closing {
                    return;
                }
                (state.wakes, state.options.backoff)
            };
            match self.choose() {
                Some(chosen) => self.clean(&chosen),
                None => {
                    let mut state = self.state.lock();
                    let until = Instant::now() + backoff.min(UNCLEANABLE_RETRY);
                    while !state.closing && state.wakes == wakes {
                        if self.changed.wait_until(&mut state, until).timed_out() {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// The log with the largest share of new bytes among those that are due. It is this thread's until [`Shared::clean`]
    /// is done.
    fn choose(&self) -> Option<Chosen> {
        let now = self.host.now();
        let logs = self.host.logs();
        let mut state = self.state.lock();
        let retried = Instant::now();
        state.uncleanable.retain(|_, retry| *retry > retried);
        let (mut max_dirty_ratio, mut max_delay_ms) = (0_f64, 0);
        let mut best: Option<(f64, Chosen)> = None;
        for log in logs {
            let config = log.config();
            if !config.cleanup_policy.compact || log.offline().is_some() {
                continue;
            }
            let key = (log.partition().clone(), log.topic_id());
            if state.busy.contains(&key) || state.uncleanable.contains_key(&key) {
                continue;
            }
            let facts = log.facts();
            let plan = Plan::of(&facts, &config, now);
            let ratio = plan.dirty_ratio();
            max_dirty_ratio = max_dirty_ratio.max(ratio);
            max_delay_ms = max_delay_ms.max(plan.delay_ms);
            if plan.is_due(&config) && best.as_ref().is_none_or(|(best, _)| ratio > *best) {
                best = Some((ratio, Chosen { log, key, facts, plan, now }));
            }
        }
        (state.stats.max_dirty_ratio, state.stats.max_delay_ms) = (max_dirty_ratio, max_delay_ms);
        state.looked = Some(retried);
        let (_, chosen) = best?;
        state.busy.push(chosen.key.clone());
        Some(chosen)
    }

    fn clean(&self, chosen: &Chosen) {
        let options = self.state.lock().options;
        let mut rate = Rate { options, began: Instant::now(), bytes: 0.0 };
        let run = RunOptions {
            map: OffsetMapOptions {
                bytes_max: options.dedupe_bytes_max / options.threads.max(1),
                load_factor: options.load_factor,
                seed: (RandomState::new().hash_one(0), RandomState::new().hash_one(1)),
            },
            buffer_bytes: options.io_buffer_bytes / options.threads.max(1) / 2,
        };
        let cleaned = clean(&chosen.log, &chosen.facts, &chosen.plan, &run, chosen.now, &mut |bytes| {
            self.pace(&mut rate, bytes)
        });
        if let Ok(report) = &cleaned {
            chosen.log.set_cleaned_until(report.cleaned_until);
            self.host.cleaned(&chosen.log);
        }
        self.done(chosen, cleaned);
    }

    fn done(&self, chosen: &Chosen, cleaned: Result<CleanReport, CleanError>) {
        let mut state = self.state.lock();
        state.busy.retain(|key| *key != chosen.key);
        let partition = chosen.log.partition();
        match cleaned {
            Ok(report) => {
                tracing::debug!(%partition, ?report, "compacted");
                let stats = &mut state.stats;
                stats.logs_cleaned += 1;
                stats.bytes_read += report.bytes_read;
                stats.bytes_written += report.bytes_written;
                stats.records_read += report.records_read;
                stats.records_kept += report.records_kept;
                stats.last = Some(report);
            }
            Err(_) if chosen.log.is_deleted() => tracing::debug!(%partition, "the log is deleted"),
            Err(CleanError::Aborted) => tracing::debug!(%partition, "the compaction was given up"),
            Err(error) => {
                tracing::error!(%partition, "the log cannot be compacted: {error}");
                state.stats.logs_failed += 1;
                state.uncleanable.insert(chosen.key.clone(), Instant::now() + UNCLEANABLE_RETRY);
            }
        }
    }

    /// Waits where the rate asks for it; the end of the threads ends the wait.
    fn pace(&self, rate: &mut Rate, bytes: usize) -> Result<(), CleanError> {
        let pause = rate.pause(bytes);
        let mut state = self.state.lock();
        if let Some(until) = pause {
            while !state.closing {
                if self.changed.wait_until(&mut state, until).timed_out() {
                    break;
                }
            }
        }
        if state.closing { Err(CleanError::Aborted) } else { Ok(()) }
    }
}

struct Chosen {
    log: Arc<Log>,
    key: (TopicPartition, TopicId),
    facts: LogFacts,
    plan: Plan,
    now: TimestampMs,
}

/// Keeps one thread's share of the rate.
struct Rate {
    options: CleanerOptions,
    began: Instant,
    bytes: f64,
}

impl Rate {
    /// Until when to wait before more is read or written.
    fn pause(&mut self, bytes: usize) -> Option<Instant> {
        let share = self.options.bytes_per_second_max / self.options.threads.max(1) as f64;
        self.bytes += bytes as f64;
        let due = Duration::try_from_secs_f64(self.bytes / share).unwrap_or(UNCLEANABLE_RETRY);
        let until = self.began + due.min(UNCLEANABLE_RETRY);
        (until > Instant::now() + PAUSE_MIN).then_some(until)
    }
}
