//! The partitions that a consumer reads: where it is in each, and what has been fetched ahead.

use std::collections::{HashMap, VecDeque};

use strata_types::{Offset, TopicPartition};
use tokio::time::Instant;

use super::ConsumerRecord;
use super::fetch::Fetched;
use crate::list_offsets::OffsetSpec;

/// Where to read from next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Wherever the group is, or else the policy says.
    Unknown,
    /// An offset that has to be asked for.
    Seek(OffsetSpec),
    At(Offset),
}

#[derive(Debug)]
pub(crate) struct PartitionState {
    pub(crate) position: Position,
    buffer: VecDeque<ConsumerRecord>,
    /// The position once the buffer is empty.
    after_buffer: Option<Offset>,
    pub(crate) is_fetching: bool,
    pub(crate) is_paused: bool,
    /// It is left alone until then, after a failure.
    pub(crate) resume_at: Option<Instant>,
}

impl PartitionState {
    fn new() -> Self {
        Self {
            position: Position::Unknown,
            buffer: VecDeque::new(),
            after_buffer: None,
            is_fetching: false,
            is_paused: false,
            resume_at: None,
        }
    }

    /// Moves to another place; what was fetched is dropped.
    pub(crate) fn seek(&mut self, to: Position) {
        self.position = to;
        self.buffer.clear();
        self.after_buffer = None;
        self.resume_at = None;
    }

    /// From where to fetch, if that is what the partition needs now.
    pub(crate) fn wants_fetch(&self, now: Instant) -> Option<Offset> {
        let ready = self.buffer.is_empty() && !self.is_fetching && !self.is_paused;
        match self.position {
            Position::At(offset) if ready && self.resume_at.is_none_or(|at| at <= now) => Some(offset),
            _ => None,
        }
    }

    /// Takes in what was fetched from an offset, unless the position has changed meanwhile.
    pub(crate) fn fetched(&mut self, from: Offset, fetched: Fetched) {
        if self.position != Position::At(from) || !self.buffer.is_empty() {
            return;
        }
        if fetched.records.is_empty() {
            self.position = Position::At(fetched.next);
        } else {
            self.buffer = fetched.records;
            self.after_buffer = Some(fetched.next);
        }
    }

    /// Moves up to `count` records into `into`. The position follows.
    fn drain(&mut self, count: usize, into: &mut Vec<ConsumerRecord>) {
        let count = count.min(self.buffer.len());
        into.extend(self.buffer.drain(..count));
        if let (Some(last), true) = (into.last(), count > 0) {
            self.position = Position::At(last.offset.next());
        }
        if self.buffer.is_empty()
            && let Some(after) = self.after_buffer.take()
        {
            self.position = Position::At(after);
        }
    }
}

/// All of a consumer's partitions.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    states: HashMap<TopicPartition, PartitionState>,
    /// Whose turn it is, so that one partition cannot starve the others.
    turns: VecDeque<TopicPartition>,
}

impl Partitions {
    pub(crate) fn get_mut(&mut self, partition: &TopicPartition) -> Option<&mut PartitionState> {
        self.states.get_mut(partition)
    }

    pub(crate) fn get(&self, partition: &TopicPartition) -> Option<&PartitionState> {
        self.states.get(partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &PartitionState)> {
        self.states.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut PartitionState)> {
        self.states.iter_mut()
    }

    /// Sorted.
    pub(crate) fn all(&self) -> Vec<TopicPartition> {
        let mut all: Vec<_> = self.states.keys().cloned().collect();
        all.sort();
        all
    }

    /// Keeps those that are wanted, with their positions, drops the others and adds the new.
    pub(crate) fn set(&mut self, wanted: &[TopicPartition]) {
        self.states.retain(|partition, _| wanted.contains(partition));
        self.turns.retain(|partition| wanted.contains(partition));
        for partition in wanted {
            if !self.states.contains_key(partition) {
                self.states.insert(partition.clone(), PartitionState::new());
                self.turns.push_back(partition.clone());
            }
        }
    }

    /// Up to `count` records that are there already, partition by partition in turn.
    pub(crate) fn take_records(&mut self, count: usize) -> Vec<ConsumerRecord> {
        let mut records = Vec::new();
        for _ in 0..self.turns.len() {
            if records.len() >= count {
                break;
            }
            let Some(partition) = self.turns.pop_front() else { break };
            if let Some(state) = self.states.get_mut(&partition).filter(|state| !state.is_paused) {
                state.drain(count - records.len(), &mut records);
            }
            self.turns.push_back(partition);
        }
        records
    }

    /// Where the application is: behind the last record that it was given.
    pub(crate) fn positions(&self) -> HashMap<TopicPartition, Offset> {
        let at = |(partition, state): (&TopicPartition, &PartitionState)| match state.position {
            Position::At(offset) => Some((partition.clone(), offset)),
            _ => None,
        };
        self.states.iter().filter_map(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{LeaderEpoch, TopicName};

    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new(TopicName::new("t").unwrap(), number)
    }

    fn fetched(number: i32, offsets: &[i64], next: i64) -> Fetched {
        let record = |offset: &i64| ConsumerRecord {
            topic: TopicName::new("t").unwrap(),
            partition: number,
            offset: Offset(*offset),
            timestamp: 0,
            leader_epoch: LeaderEpoch(0),
            key: None,
            value: None,
            headers: Vec::new(),
        };
        Fetched { records: offsets.iter().map(record).collect(), next: Offset(next) }
    }

    fn at(partitions: &Partitions, number: i32) -> Position {
        partitions.get(&partition(number)).unwrap().position
    }

    #[test]
    fn the_position_follows_the_application_and_then_skips_what_was_left_out() {
        let mut partitions = Partitions::default();
        partitions.set(&[partition(0)]);
        let state = partitions.get_mut(&partition(0)).unwrap();
        state.seek(Position::At(Offset(5)));
        state.fetched(Offset(5), fetched(0, &[5, 7], 10));
        assert_eq!(partitions.take_records(1).len(), 1);
        assert_eq!(at(&partitions, 0), Position::At(Offset(6)));
        assert_eq!(partitions.take_records(9).len(), 1);
        assert_eq!(at(&partitions, 0), Position::At(Offset(10)));
    }

    #[test]
    fn what_was_fetched_for_another_position_is_dropped() {
        let mut partitions = Partitions::default();
        partitions.set(&[partition(0)]);
        let state = partitions.get_mut(&partition(0)).unwrap();
        state.seek(Position::At(Offset(5)));
        state.seek(Position::At(Offset(9)));
        state.fetched(Offset(5), fetched(0, &[5], 6));
        assert!(partitions.take_records(1).is_empty());
        assert_eq!(at(&partitions, 0), Position::At(Offset(9)));
    }

    #[test]
    fn partitions_take_turns_and_keep_their_place_when_others_come_and_go() {
        let mut partitions = Partitions::default();
        partitions.set(&[partition(0), partition(1)]);
        for number in [0, 1] {
            let state = partitions.get_mut(&partition(number)).unwrap();
            state.seek(Position::At(Offset(0)));
            state.fetched(Offset(0), fetched(number, &[0, 1, 2], 3));
        }
        let taken: Vec<_> = (0..4).map(|_| partitions.take_records(1)[0].partition).collect();
        assert_eq!(taken, [0, 1, 0, 1]);
        partitions.set(&[partition(1), partition(2)]);
        assert_eq!((at(&partitions, 1), at(&partitions, 2)), (Position::At(Offset(2)), Position::Unknown));
    }
}
