//! Acquiring: what of the records that were read a member gets.
//!
//! - Whole batches of the log are taken (`batch_optimized`): a member gets them as they are, so the number of records
//!   asked for is exceeded rather than a batch cut. `record_limit` (ShareFetch v2) keeps to the number.
//! - A record that was delivered half as often as it may be comes in smaller company each time, and alone at its last
//!   delivery: one bad record must not take its whole batch to the archive.
//! - Offsets that the read skipped are no longer in the log (compaction): they are archived.

use strata_protocol::Str;
use strata_types::TimestampMs;

use super::acknowledge::released;
use super::batch::{Batch, Entry, Run};
use super::{DeliveryState, SharePartition};

/// From this many deliveries on records come in smaller company, whatever the limit.
const THROTTLE_DELIVERY_COUNT_MIN: i16 = 2;

/// How a member wants its records cut (KIP-1206).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AcquireMode {
    #[default]
    BatchOptimized,
    RecordLimit,
}

/// A batch of the log: its first and last offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRange {
    pub first_offset: i64,
    pub last_offset: i64,
}

/// What a member wants, and what was read for it.
#[derive(Debug, Clone)]
pub struct AcquireRequest<'a> {
    pub member: &'a Str,
    pub mode: AcquireMode,
    /// At most this many records, exceeded only to keep a batch whole.
    pub records_max: i32,
    /// Records for which one [`Acquired`] may stand, exceeded only to keep a batch whole.
    pub batch_size: i32,
    /// Where reading started: what [`SharePartition::next_fetch_offset`] said.
    pub fetch_offset: i64,
    /// What was read, in order.
    pub batches: &'a [BatchRange],
    /// Batches among them that belong to aborted transactions, for a group that reads committed records only.
    pub aborted: &'a [BatchRange],
}

/// Records that a member has now acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    pub first_offset: i64,
    pub last_offset: i64,
    /// This delivery included.
    pub delivery_count: i16,
}

impl Acquired {
    pub fn records(&self) -> i64 {
        self.last_offset - self.first_offset + 1
    }
}

/// What one call of [`SharePartition::acquire`] has found so far.
struct Found {
    acquired: Vec<Acquired>,
    count: i64,
}

impl SharePartition {
    /// Acquires what the member may have of what was read, oldest first.
    pub fn acquire(&mut self, now: TimestampMs, request: &AcquireRequest<'_>) -> Vec<Acquired> {
        let (Some(first), Some(last)) = (request.batches.first(), request.batches.last()) else {
            return Vec::new();
        };
        let (until, records_max) = self.room(request, last.last_offset);
        if records_max <= 0 {
            return Vec::new();
        }
        self.archive_missing(request.fetch_offset, first.first_offset);
        let mut found = Found { acquired: Vec::new(), count: 0 };
        let more = self.acquire_again(now, request, first.first_offset, until, records_max, &mut found);
        if more && found.count < records_max {
            self.acquire_new(now, request, until, records_max - found.count, &mut found);
        }
        for aborted in request.aborted {
            self.archive_aborted(request.member, *aborted, &mut found.acquired);
        }
        self.advance_start();
        join(found.acquired, request)
    }

    /// The log has no records from `first` up to `before`: they are settled, in flight or not.
    pub fn nothing_between(&mut self, first: i64, before: i64) {
        let next = self.next_offset();
        self.archive_missing(first, before);
        if first <= next && next < before {
            self.insert(Batch::new(next, before - 1, Entry::new(DeliveryState::Archived, 0)));
            self.end_offset = before - 1;
        }
        self.advance_start();
    }

    /// Up to which offset and how many records may be acquired, so that no more are in flight than may be.
    fn room(&self, request: &AcquireRequest<'_>, last: i64) -> (i64, i64) {
        let wanted = i64::from(request.records_max);
        let room = i64::from(self.limits.record_locks_max) - self.in_flight_count();
        if room > 0 {
            return (last, wanted.min(room));
        }
        // No more may come in flight, but what is in flight and free may be had.
        if self.batches.is_empty() || request.fetch_offset > self.end_offset {
            return (last, 0);
        }
        (last.min(self.end_offset), wanted.min(self.end_offset - request.fetch_offset + 1))
    }

    /// Acquires records that are in flight and free. `false` if the member is to get nothing beyond them.
    fn acquire_again(
        &mut self,
        now: TimestampMs,
        request: &AcquireRequest<'_>,
        first: i64,
        until: i64,
        records_max: i64,
        found: &mut Found,
    ) -> bool {
        let limits = self.limits;
        let limit = limits.delivery_count_limit;
        let throttle_at = THROTTLE_DELIVERY_COUNT_MIN.max(limit / 2 + limit % 2);
        let lock_until = now + i64::from(self.limits.lock_duration_ms);
        for batch in self.batches.values_mut().skip_while(|batch| batch.last() < first) {
            if found.count >= records_max || batch.first() > until {
                break;
            }
            let free = batch.runs().iter().filter(|run| run.entry.is_available());
            let deliveries = free.filter(|run| run.last >= first && run.first <= until);
            let Some(deliveries_max) = deliveries.map(|run| run.entry.delivery_count).max() else { continue };
            let is_throttled = deliveries_max >= throttle_at;
            // Records that come in small company do not come behind others.
            if is_throttled && found.count > 0 {
                return false;
            }
            let mut take = Take {
                limit,
                throttle_at,
                batch_len: batch.len(),
                records_max: match request.mode {
                    AcquireMode::RecordLimit => records_max - found.count,
                    AcquireMode::BatchOptimized => i64::MAX,
                },
                throttled_max: None,
                taken: 0,
            };
            let mut from = first;
            while let Some((first, last)) = take.next(batch, from, until) {
                let run = &mut batch.runs_within(first, last)[0];
                from = last + 1;
                if run.entry.delivery_count >= limit {
                    // The limit was lowered since the last delivery.
                    (run.entry.state, run.entry.letter) = released(run.entry.delivery_count, &limits);
                    self.letters_wait = true;
                    continue;
                }
                let delivery_count = run.entry.delivery_count + 1;
                run.entry = Entry::acquired(request.member, lock_until, delivery_count);
                take.taken += run.len();
                found.acquired.push(Acquired { first_offset: first, last_offset: last, delivery_count });
            }
            batch.join_runs();
            found.count += take.taken;
            if is_throttled && take.taken > 0 {
                return false;
            }
        }
        true
    }

    /// Acquires records that are not in flight yet.
    fn acquire_new(
        &mut self,
        now: TimestampMs,
        request: &AcquireRequest<'_>,
        until: i64,
        records_max: i64,
        found: &mut Found,
    ) {
        let next = self.next_offset();
        let Some(batch) = request.batches.iter().find(|batch| batch.last_offset >= next) else { return };
        let first = batch.first_offset.max(next);
        if first > until {
            return;
        }
        // The last batch is taken whole.
        let wanted = first + records_max - 1;
        let whole =
            request.batches.iter().find(|batch| batch.first_offset <= wanted && wanted <= batch.last_offset);
        let last =
            if wanted >= until { until } else { whole.map_or(wanted, |batch| batch.last_offset).min(until) };
        if self.batches.is_empty() {
            self.start_offset = first;
        }
        self.end_offset = last;
        let lock_until = now + i64::from(self.limits.lock_duration_ms);
        let locked = match request.mode {
            AcquireMode::RecordLimit => last.min(wanted),
            AcquireMode::BatchOptimized => last,
        };
        for (first, last) in pieces(request, first, last) {
            let mut batch = Batch::new(first, last, Entry::new(DeliveryState::Available, 0));
            for run in batch.runs_within(first, locked) {
                run.entry = Entry::acquired(request.member, lock_until, 1);
                let (first_offset, last_offset) = (run.first, run.last);
                found.acquired.push(Acquired { first_offset, last_offset, delivery_count: 1 });
                found.count += run.len();
            }
            self.insert(batch);
        }
    }

    /// Archives free records from `first` up to `before`, as the log does not have them any more.
    fn archive_missing(&mut self, first: i64, before: i64) {
        self.archive(first, before - 1, |entry| entry.is_available());
    }

    /// Archives an aborted batch's records that the member was just given, and takes them away from it.
    fn archive_aborted(&mut self, member: &Str, aborted: BatchRange, acquired: &mut Vec<Acquired>) {
        let BatchRange { first_offset, last_offset } = aborted;
        self.archive(first_offset, last_offset, |entry| super::is_held_by(entry, member));
        let without = acquired.iter().flat_map(|a| {
            let before = Acquired { last_offset: a.last_offset.min(first_offset - 1), ..*a };
            let after = Acquired { first_offset: a.first_offset.max(last_offset + 1), ..*a };
            [before, after]
        });
        *acquired = without.filter(|a| a.records() > 0).collect();
    }

    fn archive(&mut self, first: i64, last: i64, which: impl Fn(&Entry) -> bool) {
        if first > last {
            return;
        }
        for batch in self.batches.values_mut().filter(|batch| batch.last() >= first && batch.first() <= last)
        {
            for run in batch.runs_within(first, last).iter_mut().filter(|run| which(&run.entry)) {
                run.entry = Entry::new(DeliveryState::Archived, run.entry.delivery_count);
            }
            batch.join_runs();
        }
    }
}

/// How much of one batch is taken.
struct Take {
    limit: i16,
    throttle_at: i16,
    batch_len: i64,
    records_max: i64,
    /// Once a record was met that comes in smaller company.
    throttled_max: Option<i64>,
    taken: i64,
}

impl Take {
    /// The next free records from `from` on that are taken together.
    fn next(&mut self, batch: &Batch, from: i64, until: i64) -> Option<(i64, i64)> {
        let is_next = |run: &&Run| run.entry.is_available() && run.last >= from && run.first <= until;
        let run = batch.runs().iter().find(is_next)?;
        let (first, last) = (run.first.max(from), run.last.min(until));
        let deliveries = run.entry.delivery_count;
        let is_last_delivery = self.limit > 2 && deliveries == self.limit - 1;
        if is_last_delivery {
            // Alone, once: afterwards `throttled_max` is reached.
            self.throttled_max = Some(1);
        } else if deliveries >= self.throttle_at && self.throttled_max.is_none() {
            let halvings = u32::from((deliveries - self.throttle_at).unsigned_abs()) + 1;
            self.throttled_max = Some(self.batch_len.checked_shr(halvings).unwrap_or(0).max(1));
        }
        let left = self.records_max.min(self.throttled_max.unwrap_or(i64::MAX)).saturating_sub(self.taken);
        (left > 0).then(|| (first, last.min(first.saturating_add(left - 1))))
    }
}

/// New records in pieces of about `batch_size`, cut where batches of the log begin.
fn pieces(request: &AcquireRequest<'_>, first: i64, last: i64) -> Vec<(i64, i64)> {
    let size = i64::from(request.batch_size.max(1));
    if request.mode == AcquireMode::RecordLimit || last - first < size {
        return vec![(first, last)];
    }
    let mut pieces = Vec::new();
    let mut start = first;
    for batch in request.batches.iter().skip_while(|batch| batch.first_offset <= first) {
        if batch.first_offset > last {
            break;
        }
        if batch.first_offset - start >= size {
            pieces.push((start, batch.first_offset - 1));
            start = batch.first_offset;
        }
    }
    pieces.push((start, last));
    pieces
}

/// Makes one of records next to each other with the same delivery count, up to the batch size.
fn join(mut acquired: Vec<Acquired>, request: &AcquireRequest<'_>) -> Vec<Acquired> {
    let size = i64::from(request.batch_size.max(1));
    acquired.dedup_by(|next, acquired| {
        let together = acquired.last_offset + 1 == next.first_offset
            && acquired.delivery_count == next.delivery_count
            && next.last_offset - acquired.first_offset < size;
        if together {
            acquired.last_offset = next.last_offset;
        }
        together
    });
    acquired
}
