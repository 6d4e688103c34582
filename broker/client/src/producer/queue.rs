//! What waits to be sent to one partition, and what is under way.
//!
//! ```text
//!   push --> [waiting: open batch last] --take--> (in flight, at most five) --acknowledged--> gone
//!                  ^                                   |
//!                  +------- came back: goes in front --+
//! ```
//!
//! Once a batch has come back, nothing more is sent until everything in flight has: then all go again in their order,
//! with the sequences that they had. If one failed for good, the sequences behind it have a gap, and the queue starts
//! over under a new identity.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::batch::{Batch, Identity, Sequenced};

#[derive(Default)]
pub(crate) struct Queue {
    /// In the order of their ids.
    waiting: VecDeque<Batch>,
    in_flight: BTreeSet<u64>,
    identity: Option<Arc<Identity>>,
    next_sequence: i32,
    is_draining: bool,
    is_broken: bool,
    resume_at: Option<Instant>,
}

impl Queue {
    /// The batch that still takes records, if the last one is such.
    pub(crate) fn open_batch(&mut self, bytes: usize, batch_bytes_max: usize) -> Option<&mut Batch> {
        self.waiting.back_mut().filter(|batch| batch.has_room(bytes, batch_bytes_max))
    }

    pub(crate) fn push(&mut self, batch: Batch) {
        self.waiting.push_back(batch);
    }

    pub(crate) fn front(&self) -> Option<&Batch> {
        self.waiting.front()
    }

    /// Whether the front batch has another behind it, so that no record can join it any more.
    pub(crate) fn front_is_closed(&self) -> bool {
        self.waiting.len() > 1 || self.front().is_some_and(|batch| batch.was_sent)
    }

    /// When the queue may send again after a failure.
    pub(crate) fn resume_at(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Whether the state of retries lets a batch go now.
    pub(crate) fn may_send(&self, now: Instant, in_flight_max: usize) -> bool {
        let settled = !(self.is_draining || self.is_broken) || self.in_flight.is_empty();
        settled && self.in_flight.len() < in_flight_max && self.resume_at.is_none_or(|at| at <= now)
    }

    /// Whether it needs an identity that it has not used yet.
    pub(crate) fn needs_identity(&self, current: Option<&Arc<Identity>>) -> bool {
        match (&self.identity, current) {
            (Some(own), Some(current)) => self.is_broken && Arc::ptr_eq(own, current),
            (None, Some(_)) => false,
            (Some(_), None) => self.is_broken,
            (None, None) => true,
        }
    }

    /// Takes the front batch, with its place in the order if the producer counts.
    pub(crate) fn take(&mut self, current: Option<&Arc<Identity>>) -> Option<Batch> {
        if self.in_flight.is_empty() {
            self.is_draining = false;
        }
        if (self.is_broken || self.identity.is_none())
            && let Some(current) = current
        {
            self.identity = Some(current.clone());
            self.next_sequence = 0;
            self.waiting.iter_mut().for_each(|batch| batch.sequenced = None);
        }
        self.is_broken = false;
        self.resume_at = None;
        let mut batch = self.waiting.pop_front()?;
        if batch.sequenced.is_none()
            && let Some(identity) = &self.identity
        {
            let base_sequence = self.next_sequence;
            batch.sequenced = Some(Sequenced { identity: identity.clone(), base_sequence });
            self.next_sequence = sequence_after(base_sequence, batch.records_count());
        }
        batch.was_sent = true;
        self.in_flight.insert(batch.id);
        Some(batch)
    }

    /// A batch is no longer in flight.
    pub(crate) fn landed(&mut self, batch: &Batch) {
        self.in_flight.remove(&batch.id);
    }

    /// Whether a batch opened before this one has no outcome yet, and so explains why this one is out of order.
    pub(crate) fn has_earlier(&self, batch: &Batch) -> bool {
        let sent = |waiting: &&Batch| waiting.was_sent;
        self.in_flight.first().is_some_and(|id| *id < batch.id)
            || self.waiting.front().filter(sent).is_some_and(|waiting| waiting.id < batch.id)
    }

    /// Puts a batch back in its place, to be sent again no earlier than `resume_at`.
    pub(crate) fn put_back(&mut self, batch: Batch, resume_at: Instant) {
        let at = self.waiting.partition_point(|waiting| waiting.id < batch.id);
        self.waiting.insert(at, batch);
        self.is_draining = true;
        self.resume_at = Some(self.resume_at.map_or(resume_at, |at| at.max(resume_at)));
    }

    /// A batch with a sequence failed for good.
    pub(crate) fn broke(&mut self) {
        self.is_broken = true;
    }

    /// Takes the batches that have waited too long. None is taken while others are in flight: their outcome comes first.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Batch> {
        let mut expired = Vec::new();
        while self.in_flight.is_empty()
            && let Some(batch) = self.waiting.pop_front_if(|batch| batch.deadline <= now)
        {
            // It may be in the log, and then those behind it would look like duplicates.
            self.is_broken |= batch.was_sent;
            expired.push(batch);
        }
        expired
    }

    pub(crate) fn take_all(&mut self) -> Vec<Batch> {
        self.is_broken |= self.waiting.iter().any(|batch| batch.was_sent);
        self.waiting.drain(..).collect()
    }
}

/// Sequences are counted from 0 to 2^31-1 and then from 0 again.
fn sequence_after(sequence: i32, records_count: i32) -> i32 {
    sequence.wrapping_add(records_count) & i32::MAX
}

#[cfg(test)]
mod tests {
    use strata_protocol::records::Compression;
    use strata_types::{ProducerEpoch, ProducerId};

    use super::super::batch::Parts;
    use super::*;

    fn batch(id: u64) -> Batch {
        let now = Instant::now();
        let mut batch = Batch::new(id, now, now, Compression::None);
        let record = Parts { timestamp: 0, key: None, value: Some(b"v"), headers: &[] };
        drop(batch.push(&record).unwrap());
        batch
    }

    fn identity(id: i64) -> Arc<Identity> {
        Arc::new(Identity { producer_id: ProducerId(id), epoch: ProducerEpoch(0) })
    }

    fn queue(count: u64) -> Queue {
        let mut queue = Queue::default();
        (0..count).for_each(|id| queue.push(batch(id)));
        queue
    }

    fn sequence(batch: &Batch) -> i32 {
        batch.sequenced.as_ref().unwrap().base_sequence
    }

    #[test]
    fn batches_that_came_back_go_again_in_order_with_their_sequences() {
        let (mut queue, me, now) = (queue(4), identity(1), Instant::now());
        let sent: Vec<_> = (0..3).map(|_| queue.take(Some(&me)).unwrap()).collect();
        for batch in sent.into_iter().rev() {
            assert!(!queue.may_send(now, 5) || queue.in_flight.len() == 3);
            queue.landed(&batch);
            queue.put_back(batch, now);
        }
        assert!(queue.may_send(now, 5));
        let again: Vec<_> = (0..4).map(|_| queue.take(Some(&me)).unwrap()).collect();
        assert_eq!(
            again.iter().map(|b| (b.id, sequence(b))).collect::<Vec<_>>(),
            [(0, 0), (1, 1), (2, 2), (3, 3)]
        );
    }

    #[test]
    fn nothing_is_sent_while_one_has_come_back_and_others_are_out() {
        let (mut queue, me, now) = (queue(3), identity(1), Instant::now());
        let first = queue.take(Some(&me)).unwrap();
        let second = queue.take(Some(&me)).unwrap();
        queue.landed(&first);
        queue.put_back(first, now);
        assert!(queue.has_earlier(&second));
        assert!(!queue.may_send(now, 5));
        queue.landed(&second);
        assert!(queue.may_send(now, 5));
    }

    #[test]
    fn a_gap_in_the_sequences_asks_for_a_new_identity() {
        let (mut queue, old, new) = (queue(3), identity(1), identity(2));
        let first = queue.take(Some(&old)).unwrap();
        queue.landed(&first);
        queue.broke();
        assert!(queue.needs_identity(Some(&old)));
        assert!(!queue.needs_identity(Some(&new)));
        let second = queue.take(Some(&new)).unwrap();
        assert_eq!((sequence(&second), second.sequenced.unwrap().identity), (0, new));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_after(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 4), 2);
    }
}
