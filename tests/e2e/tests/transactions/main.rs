//! SIGKILL within transactions: while one is open, while its end is being decided, and when it is decided but its markers may
//! not be written. Afterwards the producer goes on, or another takes over; either way a reader of committed records sees all
//! of a transaction or nothing, once, and the group's offset moves with it.
//!
//! ```text
//! send… ── offset ──┬─ Open ────── (a record in flight)  ✗ ── restart ──┬─ the producer goes on, and ends it as it likes
//!                   ├─ Ending ──── (the end in flight)   ✗              └─ another takes over: what was not decided is
//!                   └─ Decided ─── (the end is answered) ✗                 aborted, the first one is fenced
//! ```
//!
//! How far the transaction had come at each kill is read from the killed broker's files; the rounds go on until each state
//! has been met. `STRATA_E2E_SEED` plays a seed again.

mod client;
mod journal;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use strata_e2e::{Broker, BrokerOptions, Wire};
use strata_protocol::messages::CreateTopicsRequest;
use strata_protocol::messages::create_topics_request::CreatableTopic;
use strata_types::ErrorCode;

use crate::client::{ID, PARTITIONS, Producer, TOPIC, committed_offset, committed_values, find_coordinators};
use crate::journal::State;

const ROUNDS_MIN: i64 = 12;
const ROUNDS_MAX: i64 = 80;
/// Longer than deciding an end and writing its markers takes, on most disks.
const END_MAX: Duration = Duration::from_millis(30);

/// Chance by a seed.
struct Chance(u64);

impl Chance {
    /// A number below `limit`: xorshift64*.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Not a wait for anything: the kill has to come at some moment.
    fn pause(&mut self) {
        thread::sleep(Duration::from_micros(self.below(END_MAX.as_micros() as u64)));
    }
}

/// What is in flight when the broker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Open,
    Ending,
    Decided,
}

/// What a reader must see.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Committed {
    values: [Vec<String>; PARTITIONS],
    offset: i64,
}

impl Committed {
    fn read(wire: &mut Wire) -> anyhow::Result<Self> {
        let mut read = Self { offset: committed_offset(wire)?, ..Self::default() };
        for (partition, values) in read.values.iter_mut().enumerate() {
            *values = committed_values(wire, partition)?;
        }
        Ok(read)
    }
}

/// One transaction, over the kill of its broker.
struct Round {
    number: i64,
    moment: Moment,
    commit: bool,
    /// By partition, in order; the last one may be in flight.
    sent: Vec<(usize, String)>,
}

impl Round {
    fn new(number: i64, chance: &mut Chance) -> Self {
        let moment = [Moment::Open, Moment::Ending, Moment::Decided][chance.below(3) as usize];
        let records = 1 + chance.below(6);
        let sent = (0..records).map(|n| (chance.below(PARTITIONS as u64) as usize, format!("{number}/{n}")));
        let sent = sent.collect();
        Self { number, moment, commit: chance.flip(), sent }
    }

    /// Up to the moment of the kill.
    fn begin(&self, wire: &mut Wire, producer: &mut Producer, chance: &mut Chance) -> anyhow::Result<()> {
        // An offset first, so that there is a transaction also where the only record is in flight.
        producer.send_offset(wire, self.number)?;
        let in_flight = usize::from(self.moment == Moment::Open);
        let (sent, last) = self.sent.split_at(self.sent.len() - in_flight);
        for (partition, value) in sent {
            producer.send(wire, *partition, value)?;
        }
        match self.moment {
            Moment::Open => {
                for (partition, value) in last {
                    producer.begin_to_send(wire, *partition, value)?;
                }
            }
            Moment::Ending => producer.begin_to_end(wire, self.commit)?,
            Moment::Decided => {
                let ended = producer.end(wire, self.commit)?;
                ensure!(ended.is_ok(), "EndTxn is answered with {ended:?}");
                if chance.flip() {
                    return Ok(());
                }
            }
        }
        chance.pause();
        Ok(())
    }

    /// The same producer, after the restart: what it was not answered, it sends again. Answers whether it is committed.
    fn go_on(&self, wire: &mut Wire, producer: &mut Producer) -> anyhow::Result<bool> {
        if let (Moment::Open, Some((partition, value))) = (self.moment, self.sent.last()) {
            producer.send(wire, *partition, value)?;
        }
        if self.moment != Moment::Decided {
            let ended = producer.end(wire, self.commit)?;
            ensure!(ended.is_ok(), "EndTxn is answered with {ended:?}, once more");
        }
        Ok(self.commit)
    }

    /// Another producer, after the restart. Answers whether the transaction is committed.
    fn take_over(&self, wire: &mut Wire, producer: &mut Producer, left: State) -> anyhow::Result<bool> {
        let next = Producer::init(wire)?;
        let ended = producer.end(wire, self.commit)?;
        ensure!(
            ended == Err(ErrorCode::ProducerFenced.code()),
            "who was taken over from is answered {ended:?}"
        );
        *producer = next;
        Ok(left.decision().unwrap_or(false))
    }
}

#[test]
fn all_or_nothing_of_a_transaction_survives_sigkill() -> anyhow::Result<()> {
    let seed = match std::env::var("STRATA_E2E_SEED") {
        Ok(given) => given.parse().context("STRATA_E2E_SEED")?,
        Err(_) => RandomState::new().hash_one(()),
    };
    play(Chance(seed | 1)).with_context(|| format!("STRATA_E2E_SEED={seed}"))
}

fn play(mut chance: Chance) -> anyhow::Result<()> {
    let options = BrokerOptions::default()
        .with("transaction.state.log.num.partitions=1")
        .with("offsets.topic.num.partitions=1");
    let mut broker = Broker::start(options)?;
    let mut wire = broker.connect()?;
    create_topic(&mut wire)?;
    find_coordinators(&mut wire)?;
    let mut producer = Producer::init(&mut wire)?;
    let mut expected = Committed { offset: -1, ..Committed::default() };
    let (mut met, mut number) = (BTreeSet::new(), 0);
    while number < ROUNDS_MIN || met.len() < State::ALL.len() {
        ensure!(number < ROUNDS_MAX, "after {number} rounds a kill has met no other states than {met:?}");
        let round = Round::new(number, &mut chance);
        round.begin(&mut wire, &mut producer, &mut chance)?;
        let left;
        (broker, left) = broker.kill_look_and_restart(|data| journal::last_state(data, ID.as_str()))?;
        ensure!(left.decision().is_none_or(|decision| decision == round.commit), "round {number}: {left:?}");
        met.insert(left);
        wire = broker.connect()?;
        let committed = match chance.flip() {
            true => round.go_on(&mut wire, &mut producer)?,
            false => round.take_over(&mut wire, &mut producer, left)?,
        };
        if committed {
            expected.offset = number;
            for (partition, value) in round.sent {
                expected.values[partition].push(value);
            }
        }
        // Now and then the next transaction begins while markers of the last one may still be written.
        if chance.flip() {
            let read = Committed::read(&mut wire)?;
            ensure!(read == expected, "round {number}, {:?}, {left:?}: {read:?}\n{expected:?}", round.moment);
        }
        number += 1;
    }
    let read = Committed::read(&mut wire)?;
    ensure!(read == expected, "after {number} rounds: {read:?}\n{expected:?}");
    Ok(())
}

fn create_topic(wire: &mut Wire) -> anyhow::Result<()> {
    let topic = CreatableTopic {
        name: TOPIC,
        num_partitions: PARTITIONS as i32,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let created = wire.call(5, &request)?;
    ensure!(created.topics[0].error_code == 0, "{created:?}");
    Ok(())
}
