//! A shell in miniature for any shard: a log in memory that checks producers as a broker's log does, and fails on demand.

use std::collections::{BTreeMap, HashMap};

use strata_coordinator::{
    Append, Effects, RawRecord, ReplyId, Runtime, RuntimeOptions, Shard, TxnMarker, TxnProducer,
};
use strata_types::{ErrorCode, Offset, ProducerId, TimestampMs, VerificationGuard};

/// What a partition knows of producers: the rules of `strata_log`, without sequences.
#[derive(Debug, Clone, Default)]
pub(crate) struct Producers {
    epochs: HashMap<ProducerId, i16>,
    /// In whose epoch a transaction is open.
    open: HashMap<ProducerId, i16>,
    guards: HashMap<ProducerId, (VerificationGuard, i16)>,
    guards_given: u64,
}

impl Producers {
    pub(crate) fn begin_verification(&mut self, producer: TxnProducer) -> Option<VerificationGuard> {
        if self.open.get(&producer.id) == Some(&producer.epoch.0) {
            return None;
        }
        if let Some((guard, _)) =
            self.guards.get(&producer.id).filter(|(_, epoch)| *epoch >= producer.epoch.0)
        {
            return Some(*guard);
        }
        self.guards_given += 1;
        let guard = VerificationGuard(self.guards_given);
        self.guards.insert(producer.id, (guard, producer.epoch.0));
        Some(guard)
    }

    pub(crate) fn write(
        &mut self,
        producer: TxnProducer,
        guard: Option<VerificationGuard>,
    ) -> Result<(), ErrorCode> {
        let (id, epoch) = (producer.id, producer.epoch.0);
        if self.epochs.get(&id).is_some_and(|known| epoch < *known) {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let asked = self.guards.get(&id).map(|(guard, _)| *guard);
        if self.open.get(&id) != Some(&epoch) && (guard.is_none() || guard != asked) {
            return Err(ErrorCode::InvalidTxnState);
        }
        self.guards.remove(&id);
        self.epochs.insert(id, epoch);
        self.open.insert(id, epoch);
        Ok(())
    }

    pub(crate) fn end(&mut self, marker: &TxnMarker) -> Result<(), ErrorCode> {
        let (id, epoch) = (marker.producer.id, marker.producer.epoch.0);
        if self.epochs.get(&id).is_some_and(|known| epoch < *known) {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        self.guards.remove(&id);
        self.epochs.insert(id, epoch);
        self.open.remove(&id);
        Ok(())
    }

    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }
}

#[derive(Debug, Clone)]
enum Entry {
    Record(RawRecord, Option<TxnProducer>),
    Marker(TxnMarker),
}

pub(crate) struct Host<S: Shard> {
    pub(crate) runtime: Runtime<S>,
    log: Vec<Entry>,
    pub(crate) producers: Producers,
    pub(crate) now: TimestampMs,
    /// The next append fails.
    pub(crate) failing: bool,
    /// What is appended is not committed until [`Host::commit`].
    pub(crate) hold_commits: bool,
    replies: BTreeMap<ReplyId, S::Response>,
    pub(crate) actions: Vec<S::Action>,
    next_id: u64,
}

impl<S: Shard> Host<S> {
    pub(crate) fn new(shard: S) -> Self {
        let mut host = Self {
            runtime: Runtime::new(shard, RuntimeOptions::default()),
            log: Vec::new(),
            producers: Producers::default(),
            now: 1_000_000,
            failing: false,
            hold_commits: false,
            replies: BTreeMap::new(),
            actions: Vec::new(),
            next_id: 0,
        };
        let effects = host.runtime.loaded(host.now);
        host.carry_out(effects);
        host
    }

    pub(crate) fn ask(&mut self, request: S::Request) -> ReplyId {
        self.next_id += 1;
        let reply = ReplyId(self.next_id);
        let effects = self.runtime.handle(self.now, request, reply);
        self.carry_out(effects);
        reply
    }

    /// The answer to a request that is answered at once.
    pub(crate) fn answer(&mut self, request: S::Request) -> S::Response {
        let reply = self.ask(request);
        self.take(reply).expect("an answer")
    }

    pub(crate) fn take(&mut self, reply: ReplyId) -> Option<S::Response> {
        self.replies.remove(&reply)
    }

    pub(crate) fn advance(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.runtime.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let effects = self.runtime.tick(self.now);
            self.carry_out(effects);
        }
        self.now = until;
    }

    pub(crate) fn commit(&mut self) {
        let effects = self.runtime.committed(self.now, Offset(self.log.len() as i64));
        self.carry_out(effects);
    }

    /// A new coordinator that has read the log; the old one's open requests and actions are lost.
    pub(crate) fn restart(&mut self, shard: S) {
        self.actions.clear();
        self.replies.clear();
        self.runtime = self.reloaded(shard);
        let effects = self.runtime.loaded(self.now);
        self.carry_out(effects);
        self.commit();
    }

    pub(crate) fn reloaded(&self, shard: S) -> Runtime<S> {
        let mut runtime = Runtime::new(shard, RuntimeOptions::default());
        for entry in &self.log {
            match entry {
                Entry::Record(record, producer) => {
                    let loaded = runtime.load(Some(record.key.clone()), record.value.clone(), *producer);
                    loaded.expect("our own record");
                }
                Entry::Marker(marker) => runtime.load_marker(marker),
            }
        }
        runtime
    }

    fn carry_out(&mut self, mut effects: Effects<S>) {
        loop {
            for (reply, response) in effects.replies {
                assert!(self.replies.insert(reply, response).is_none(), "{reply:?} is answered twice");
            }
            self.actions.extend(effects.actions);
            let Some(append) = effects.append else { break };
            effects = match self.append(append) {
                Ok(()) => self.runtime.appended(self.now, Offset(self.log.len() as i64 - 1)),
                Err(code) => self.runtime.append_failed(self.now, code),
            };
        }
        if !self.hold_commits && self.runtime.next_deadline().is_some() {
            let effects = self.runtime.committed(self.now, Offset(self.log.len() as i64));
            assert!(effects.append.is_none());
            for (reply, response) in effects.replies {
                assert!(self.replies.insert(reply, response).is_none(), "{reply:?} is answered twice");
            }
            self.actions.extend(effects.actions);
        }
    }

    fn append(&mut self, append: Append) -> Result<(), ErrorCode> {
        if std::mem::take(&mut self.failing) {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        match append {
            Append::Records { records, producer, guard } => {
                if let Some(producer) = producer {
                    self.producers.write(producer, guard)?;
                }
                self.log.extend(records.into_iter().map(|record| Entry::Record(record, producer)));
            }
            Append::Marker(marker) => {
                self.producers.end(&marker)?;
                self.log.push(Entry::Marker(marker));
            }
        }
        Ok(())
    }
}
