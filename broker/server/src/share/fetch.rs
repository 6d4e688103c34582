//! A share fetch: takes what there is for a member, and waits for it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use strata_coordinator::share::partition::{AcquireMode, AcquireRequest, Acquired};
use strata_coordinator::share::sessions::{SessionKey, SessionPartition};
use strata_types::{ErrorCode, Offset};
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::partition::Shared;
use super::read::{self, Batches};
use super::settings::ShareSettings;
use crate::broker::{Broker, now};
use crate::trace::span;

/// How often one partition is read again at once because nothing of what was read was for members: records of aborted
/// transactions, or such that compaction has taken.
const EMPTY_READS_MAX: usize = 16;

/// What a member asks for.
pub(crate) struct Query {
    pub session: SessionKey,
    pub mode: AcquireMode,
    pub records_max: i32,
    pub batch_size: i32,
    pub bytes_min: usize,
    pub bytes_max: usize,
    pub deadline: Instant,
    pub settings: ShareSettings,
}

/// What it gets of one partition.
#[derive(Default)]
pub(crate) struct Fetched {
    pub error: Option<ErrorCode>,
    pub records: Bytes,
    pub acquired: Vec<Acquired>,
}

type Found = Result<Arc<Shared>, ErrorCode>;

/// A partition that was read, and that nobody else reads until the member has what it gets.
struct Reading {
    index: usize,
    shared: Arc<Shared>,
    guard: OwnedMutexGuard<()>,
    from: Offset,
    read: Batches,
    /// Whether these records were delivered before: they are not waited with.
    is_again: bool,
}

impl Query {
    /// Acquires records of `wanted`, in this order, as soon as there are any.
    pub(crate) async fn run(&self, broker: &Arc<Broker>, wanted: &[SessionPartition]) -> Vec<Fetched> {
        let notify = Arc::new(Notify::new());
        let mut is_last = self.deadline <= Instant::now();
        loop {
            let find = |partition| broker.share.partition(broker, &self.session.group, partition);
            let found: Vec<Found> = join_all(wanted.iter().copied().map(find)).await;
            // Watched before the look, so that no move between look and wait is missed.
            let watch = |shared: &Arc<Shared>| {
                shared.watch(&notify);
                shared.partition.watch(&notify)
            };
            let watches: Vec<_> = found.iter().flatten().map(watch).collect();
            let fetched = self.attempt(broker, &found, is_last).await;
            let has_some = fetched.iter().any(|fetched| !fetched.acquired.is_empty());
            if has_some || is_last || watches.is_empty() {
                return fetched;
            }
            let moved = timeout_at(self.deadline, notify.notified()).instrument(span!("await records"));
            let waited = broker.stopping.run_until_cancelled(moved).await;
            drop(watches);
            is_last = !matches!(waited, Some(Ok(())));
        }
    }

    async fn attempt(&self, broker: &Arc<Broker>, found: &[Found], is_last: bool) -> Vec<Fetched> {
        let mut fetched: Vec<Fetched> = found
            .iter()
            .map(|found| Fetched { error: found.as_ref().err().copied(), ..Fetched::default() })
            .collect();
        let readable: Vec<(usize, &Arc<Shared>)> = found
            .iter()
            .enumerate()
            .filter_map(|(index, found)| Some((index, found.as_ref().ok()?)))
            .filter(|(_, shared)| self.offset_to_read(shared).is_some())
            .collect();
        // Each gets its part, as in Kafka, so that the first does not take everything.
        let bytes_each = self.bytes_max / readable.len().max(1);
        let (mut readings, mut bytes) = (Vec::new(), 0);
        for (index, shared) in readable {
            if bytes > 0 && bytes >= self.bytes_max {
                break;
            }
            let Some(guard) = shared.try_read() else { continue };
            match self.read(broker, index, shared, guard, bytes_each).await {
                Ok(Some(reading)) => {
                    bytes += reading.read.bytes();
                    readings.push(reading);
                }
                Ok(None) => {}
                Err(code) => fetched[index].error = Some(code),
            }
        }
        let is_enough = bytes >= self.bytes_min || readings.iter().any(|reading| reading.is_again);
        let mut records_left = i64::from(self.records_max);
        for reading in readings {
            if (is_enough || is_last) && records_left > 0 {
                let fetched = &mut fetched[reading.index];
                self.acquire(broker, &reading, records_left, fetched).await;
                records_left -= fetched.acquired.iter().map(Acquired::records).sum::<i64>();
            }
            reading.shared.end_read(reading.guard);
        }
        fetched
    }

    /// Where to read on for a member; `None` if there is nothing that it could get.
    fn offset_to_read(&self, shared: &Shared) -> Option<Offset> {
        let until = shared.partition.visible_until(self.settings.committed);
        let from = shared.with(|core| {
            core.set_limits(self.settings.limits);
            core.log_start_moved(shared.partition.log.start_offset());
            core.can_acquire().then(|| core.next_fetch_offset())
        });
        from.flatten().filter(|from| *from < until)
    }

    async fn read(
        &self,
        broker: &Arc<Broker>,
        index: usize,
        shared: &Arc<Shared>,
        guard: OwnedMutexGuard<()>,
        bytes_max: usize,
    ) -> Result<Option<Reading>, ErrorCode> {
        // Looked at again: whoever had the right to read before has moved it.
        let Some(from) = self.offset_to_read(shared) else {
            shared.end_read(guard);
            return Ok(None);
        };
        match self.read_from(broker, shared, from, bytes_max).await {
            Ok(read) => {
                let in_flight = shared.with(|core| core.in_flight_count()).unwrap_or(0);
                let is_again = shared.with(|core| from < core.start_offset() + in_flight).unwrap_or(false);
                Ok(Some(Reading { index, shared: shared.clone(), guard, from, read, is_again }))
            }
            Err(code) => {
                shared.end_read(guard);
                Err(code)
            }
        }
    }

    async fn read_from(
        &self,
        broker: &Arc<Broker>,
        shared: &Shared,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batches, ErrorCode> {
        let committed = self.settings.committed;
        let until = shared.partition.visible_until(committed);
        match read::read(broker, &shared.partition, from, until, bytes_max, committed).await {
            // Retention was quicker: the next look starts where the log does now.
            Err(ErrorCode::OffsetOutOfRange) => Ok(Batches::default()),
            read => read,
        }
    }

    /// Acquires what was read; where nothing of it was for members, what follows.
    async fn acquire(&self, broker: &Arc<Broker>, first: &Reading, records_left: i64, fetched: &mut Fetched) {
        let shared = &first.shared;
        let mut next: Option<(Offset, Batches)> = None;
        for _ in 0..EMPTY_READS_MAX {
            let (from, read) = next.as_ref().map_or((first.from, &first.read), |(from, read)| (*from, read));
            let request = AcquireRequest {
                member: &self.session.member,
                mode: self.mode,
                records_max: i32::try_from(records_left).unwrap_or(i32::MAX),
                batch_size: self.batch_size,
                fetch_offset: from.0,
                batches: &read.ranges,
                aborted: &read.aborted,
            };
            fetched.acquired = shared.with(|core| core.acquire(now(), &request)).unwrap_or_default();
            if !fetched.acquired.is_empty() {
                shared.acquired();
                fetched.records = read.of(&fetched.acquired);
                return;
            }
            if let Some(until) = read.empty_until {
                shared.with(|core| core.nothing_between(from.0, until.0));
            }
            match self.offset_to_read(shared).filter(|offset| *offset != from) {
                Some(offset) => match self.read_from(broker, shared, offset, self.bytes_max).await {
                    Ok(read) => next = Some((offset, read)),
                    Err(code) => {
                        fetched.error = Some(code);
                        return;
                    }
                },
                None => return,
            }
        }
    }
}
