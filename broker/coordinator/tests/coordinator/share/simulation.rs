//! Seeded runs of many members on one share partition, whose log is compacted and cut, whose writes are slow and fail,
//! and whose broker crashes. The share coordinator behind it is the real one.

use std::collections::BTreeMap;

use strata_coordinator::share::partition::{
    AcknowledgeType, AcknowledgementBatch, AcquireMode, AcquireRequest, BatchRange, DeadLetters,
    DeliveryState, ShareLimits, SharePartition, Write,
};
use strata_coordinator::share::persister::PersisterResponse;
use strata_protocol::Str;
use strata_types::Offset;

use super::persister::{Persister, initialize, write};
use crate::random::Random;

const SEEDS: u64 = 300;
const STEPS: usize = 400;
const MEMBERS: [&str; 3] = ["a", "b", "c"];
const LIMITS: ShareLimits = ShareLimits {
    record_locks_max: 40,
    delivery_count_limit: 4,
    lock_duration_ms: 1_000,
    renew_enabled: true,
    dead_letters: false,
};

#[test]
fn no_record_is_lost_or_delivered_too_often_whatever_happens() {
    let (mut crashes, mut accepted, mut exhausted, mut failed, mut written) = (0, 0, 0, 0, 0);
    for seed in 1..=SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.drain();
        crashes += world.crashes;
        failed += world.failed;
        written += world.records.values().filter(|record| record.is_written).count();
        accepted += world.records.values().filter(|record| record.is_accepted).count();
        exhausted += world.records.values().filter(|record| record.is_exhausted).count();
    }
    // The runs are worth something only if such things happen in them.
    assert!(
        crashes > 1_000 && accepted > 10_000 && exhausted > 150 && failed > 1_000 && written > 500,
        "{crashes} crashes, {accepted} accepted, {exhausted} exhausted, {failed} failed, {written} written"
    );
}

/// What the world outside knows of a record.
#[derive(Debug, Default, Clone)]
struct Record {
    /// Who was given it and has not said anything since, by the last word.
    holder: Option<&'static str>,
    deliveries: i16,
    is_accepted: bool,
    is_rejected: bool,
    /// The last delivery that there may be has ended without a word.
    is_exhausted: bool,
    /// It is in the dead-letter queue.
    is_written: bool,
    is_gone: bool,
}

/// A write on its way: what it is, and what it means once it is stored.
struct OnItsWay {
    write: Write,
    member: Option<&'static str>,
    /// Without a type: the member goes.
    meaning: Vec<(i64, Option<AcknowledgeType>)>,
}

struct World {
    partition: SharePartition,
    persister: Persister,
    random: Random,
    now: i64,
    log: Vec<BatchRange>,
    log_start: i64,
    next_offset: i64,
    records: BTreeMap<i64, Record>,
    on_its_way: Vec<OnItsWay>,
    limits: ShareLimits,
    /// On their way to the dead-letter queue.
    letters: Vec<DeadLetters>,
    start_seen: i64,
    crashes: usize,
    failed: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut persister = Persister::new(4);
        persister.ask(initialize(1, 0));
        // Every other group has a dead-letter queue.
        let limits = ShareLimits { dead_letters: seed.is_multiple_of(2), ..LIMITS };
        Self {
            limits,
            letters: Vec::new(),
            partition: SharePartition::load(0, &[], limits),
            persister,
            random: Random(seed),
            now: 0,
            log: Vec::new(),
            log_start: 0,
            next_offset: 0,
            records: BTreeMap::new(),
            on_its_way: Vec::new(),
            start_seen: 0,
            crashes: 0,
            failed: 0,
        }
    }

    fn step(&mut self) {
        self.now += self.random.below(60) as i64;
        match self.random.below(100) {
            0..12 => self.produce(),
            12..40 => {
                self.acquire();
            }
            40..65 => self.acknowledge(),
            65..82 => self.finish_write(),
            82..88 => {
                self.write_letters();
                self.tick();
            }
            88..92 => self.leave(),
            92..95 => self.compact(),
            95..98 => self.cut(),
            _ => self.crash(),
        }
        self.check();
    }

    fn check(&mut self) {
        let start = self.partition.start_offset().0;
        assert!(start >= self.start_seen, "the start went back from {} to {start}", self.start_seen);
        self.start_seen = start;
        for (offset, record) in self.records.range(..start) {
            assert!(
                record.is_accepted || record.is_rejected || record.is_exhausted || record.is_gone,
                "{offset} is lost: {record:?}"
            );
            let is_dead = (record.is_rejected || record.is_exhausted) && !record.is_gone;
            assert!(
                !(is_dead && self.limits.dead_letters) || record.is_written,
                "{offset} is in no queue: {record:?}"
            );
        }
    }

    fn produce(&mut self) {
        let first_offset = self.next_offset;
        let last_offset = first_offset + self.random.below(8) as i64;
        self.log.push(BatchRange { first_offset, last_offset });
        self.records.extend((first_offset..=last_offset).map(|offset| (offset, Record::default())));
        self.next_offset = last_offset + 1;
    }

    fn acquire(&mut self) -> usize {
        let member = MEMBERS[self.random.below(3) as usize];
        let fetch_offset = self.partition.next_fetch_offset().0;
        let few = 1 + self.random.below(4) as usize;
        let read: Vec<BatchRange> =
            self.log.iter().filter(|batch| batch.last_offset >= fetch_offset).take(few).copied().collect();
        let mode = [AcquireMode::BatchOptimized, AcquireMode::RecordLimit][self.random.below(2) as usize];
        let request = AcquireRequest {
            member: &Str::from(member),
            mode,
            records_max: 1 + self.random.below(20) as i32,
            batch_size: 1 + self.random.below(10) as i32,
            fetch_offset,
            batches: &read,
            aborted: &[],
        };
        let acquired = self.partition.acquire(self.now, &request);
        let count: i64 = acquired.iter().map(|acquired| acquired.records()).sum();
        assert!(mode == AcquireMode::BatchOptimized || count <= request.records_max.into());
        for acquired in acquired {
            assert!(acquired.delivery_count <= LIMITS.delivery_count_limit, "{acquired:?}");
            for offset in acquired.first_offset..=acquired.last_offset {
                let record = self.records.get_mut(&offset).expect("a record of the log");
                assert!(!record.is_accepted, "{offset} was accepted");
                assert!(!record.is_rejected, "{offset} was rejected");
                assert_eq!(record.holder, None, "{offset} is given to two");
                record.holder = Some(member);
                record.deliveries = acquired.delivery_count;
            }
        }
        let held = self.records.values().filter(|record| record.holder.is_some()).count();
        assert!(held < LIMITS.record_locks_max as usize + 8, "{held} records are acquired");
        count as usize
    }

    /// A member says something of a range that it holds, or of one that it does not.
    fn acknowledge(&mut self) {
        let held: Vec<i64> = self
            .records
            .iter()
            .filter(|(_, record)| record.holder.is_some())
            .map(|(offset, _)| *offset)
            .collect();
        if held.is_empty() {
            return;
        }
        let first = held[self.random.below(held.len() as u64) as usize];
        let member = self.records[&first].holder.expect("a holder");
        let span = self.random.below(6) as i64;
        let last = (first..=first + span)
            .take_while(|offset| self.records.get(offset).is_some_and(|record| record.holder == Some(member)))
            .last()
            .expect("the first one");
        let mut kind = || {
            use AcknowledgeType::*;
            [Accept, Accept, Accept, Release, Release, Reject, Renew][self.random.below(7) as usize]
        };
        let types: Vec<AcknowledgeType> = (first..=last).map(|_| kind()).collect();
        let batch = AcknowledgementBatch { first_offset: first, last_offset: last, types: types.clone() };
        let stranger = MEMBERS.iter().find(|other| **other != member).expect("another");
        if first >= self.partition.start_offset().0 {
            assert!(self.partition.acknowledge(self.now, stranger, std::slice::from_ref(&batch)).is_err());
        }
        let outcome = self.partition.acknowledge(self.now, member, &[batch]).expect("the member holds them");
        let Some(write) = outcome else { return };
        let said = (first..=last).zip(types).filter(|(_, kind)| *kind != AcknowledgeType::Renew);
        let meaning: Vec<_> = said.map(|(offset, kind)| (offset, Some(kind))).collect();
        for (offset, _) in &meaning {
            self.records.get_mut(offset).expect("a record").holder = None;
        }
        self.on_its_way.push(OnItsWay { write, member: Some(member), meaning });
    }

    /// One of the writes is stored, or fails and what it said never was.
    fn finish_write(&mut self) {
        if self.on_its_way.is_empty() {
            return;
        }
        let OnItsWay { write, member, meaning } = self.on_its_way.remove(0);
        let stored = self.random.below(6) > 0;
        if stored {
            self.store(&write);
            self.take_at_word(&meaning);
        } else {
            self.failed += 1;
            // Held as before, unless they are gone.
            for (offset, _) in meaning.iter().filter(|(offset, _)| *offset >= self.log_start) {
                self.records.get_mut(offset).expect("a record").holder = member;
            }
        }
        self.partition.written(write.id, stored);
    }

    /// The shell takes what is to be written, and writes some of it.
    fn write_letters(&mut self) {
        self.letters.extend(self.partition.take_dead_letters());
        if self.letters.is_empty() {
            return;
        }
        let letters = self.letters.remove(0);
        for (offset, record) in self.records.range_mut(letters.first_offset..=letters.last_offset) {
            assert!(!record.is_accepted, "{offset} was accepted, and is in the queue");
            record.is_written = true;
        }
        if let Some(write) = self.partition.dead_lettered(&letters) {
            self.on_its_way.push(OnItsWay { write, member: None, meaning: Vec::new() });
        }
    }

    fn take_at_word(&mut self, meaning: &[(i64, Option<AcknowledgeType>)]) {
        for (offset, kind) in meaning {
            let record = self.records.get_mut(offset).expect("a record");
            match kind {
                None => {}
                Some(AcknowledgeType::Accept) => record.is_accepted = true,
                Some(AcknowledgeType::Reject) => record.is_rejected = true,
                Some(_) => record.is_exhausted |= record.deliveries >= LIMITS.delivery_count_limit,
            }
        }
    }

    fn store(&mut self, sent: &Write) {
        let mut request = write(1, 0, sent.start_offset, &sent.batches);
        if let strata_coordinator::share::persister::PersisterRequest::Write {
            delivery_complete_count, ..
        } = &mut request
        {
            *delivery_complete_count = sent.delivery_complete_count;
        }
        assert_eq!(self.persister.ask(request), PersisterResponse::Done(Ok(())));
    }

    fn tick(&mut self) {
        self.now += 300;
        let Some(write) = self.partition.tick(self.now) else { return };
        for batch in &write.batches {
            for offset in batch.first_offset..=batch.last_offset {
                let record = self.records.get_mut(&offset).expect("a record");
                record.holder = None;
                record.is_exhausted |= record.deliveries >= LIMITS.delivery_count_limit;
            }
        }
        self.on_its_way.push(OnItsWay { write, member: None, meaning: Vec::new() });
    }

    fn leave(&mut self) {
        let member = MEMBERS[self.random.below(3) as usize];
        let Some(write) = self.partition.release(member) else { return };
        let mut meaning = Vec::new();
        for (offset, record) in self.records.iter_mut().filter(|(_, record)| record.holder == Some(member)) {
            record.holder = None;
            meaning.push((*offset, None));
        }
        assert!(!self.partition.holds(member));
        self.on_its_way.push(OnItsWay { write, member: Some(member), meaning });
    }

    fn compact(&mut self) {
        if self.log.len() < 2 {
            return;
        }
        // The last batch is not touched, as in Kafka.
        let index = self.random.below(self.log.len() as u64 - 1) as usize;
        let BatchRange { first_offset, last_offset } = self.log.remove(index);
        for (_, record) in self.records.range_mut(first_offset..=last_offset) {
            record.is_gone = true;
        }
    }

    fn cut(&mut self) {
        let span = (self.next_offset - self.log_start).max(1) as u64;
        self.log_start += self.random.below(span.min(10)) as i64;
        let start = self.log_start;
        self.log.retain(|batch| batch.last_offset >= start);
        for (_, record) in self.records.range_mut(..start) {
            record.is_gone = true;
            record.holder = None;
        }
        self.partition.log_start_moved(Offset(start));
    }

    /// Writes that are on their way may or may not have been stored; everything else in memory is gone.
    fn crash(&mut self) {
        self.crashes += 1;
        for OnItsWay { write, meaning, .. } in std::mem::take(&mut self.on_its_way) {
            if self.random.below(2) == 0 {
                break;
            }
            self.store(&write);
            self.take_at_word(&meaning);
        }
        let log = self.persister.log.len();
        self.persister.restart(0);
        assert_eq!(self.persister.log.len(), log);
        let stored = self.persister.read(-1).expect("what was stored");
        self.partition = SharePartition::load(stored.start_offset, &stored.batches, self.limits);
        self.letters.clear();
        self.partition.log_start_moved(Offset(self.log_start));
        // The start may lag behind what was seen, never behind what was stored.
        self.start_seen = self.partition.start_offset().0;
        let is_settled = |offset: i64| {
            let is_settled = |state: DeliveryState| state.is_terminal() || state == DeliveryState::Archiving;
            let mut batches = stored.batches.iter().filter(|batch| is_settled(batch.state));
            offset < stored.start_offset
                || batches.any(|batch| batch.first_offset <= offset && offset <= batch.last_offset)
        };
        for (offset, record) in &mut self.records {
            record.holder = None;
            // What was archived by time alone, and not stored, is delivered again.
            record.is_exhausted &= is_settled(*offset);
        }
    }

    /// From here on nothing fails: everything that is left comes to members, who accept it.
    fn drain(&mut self) {
        for _ in 0..2_000 {
            for OnItsWay { write, meaning, .. } in std::mem::take(&mut self.on_its_way) {
                self.store(&write);
                self.take_at_word(&meaning);
                self.partition.written(write.id, true);
            }
            self.now += 2_000;
            self.tick();
            self.write_letters();
            if self.acquire() == 0
                && self.on_its_way.is_empty()
                && self.letters.is_empty()
                && self.partition.next_fetch_offset().0 >= self.next_offset
            {
                break;
            }
            let held = self.records.iter().filter_map(|(offset, record)| Some((*offset, record.holder?)));
            for (offset, member) in held.collect::<Vec<_>>() {
                let types = vec![AcknowledgeType::Accept];
                let batch = AcknowledgementBatch { first_offset: offset, last_offset: offset, types };
                let write = self.partition.acknowledge(self.now, member, &[batch]).unwrap().unwrap();
                self.records.get_mut(&offset).expect("a record").holder = None;
                let meaning = vec![(offset, Some(AcknowledgeType::Accept))];
                self.on_its_way.push(OnItsWay { write, member: Some(member), meaning });
            }
        }
        self.check();
        let left: Vec<_> = self.records.range(self.partition.start_offset().0..).collect();
        assert!(left.is_empty(), "never delivered: {left:?}");
    }
}
