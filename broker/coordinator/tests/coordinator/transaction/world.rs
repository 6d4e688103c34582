//! Producers with transactional ids, the coordinators that they speak to, and partitions that hold their records.

use std::collections::BTreeMap;

use strata_coordinator::transaction::{
    AddPartitions, EndTxn, InitProducer, TransactionAction, TransactionConfig, TransactionShard, TxnPartition,
};
use strata_coordinator::{
    GroupConfig, GroupRequest, GroupResponse, GroupShard, ReplyId, Shard, TransactionRequest,
    TransactionResponse, TxnMarker, TxnProducer,
};
use strata_protocol::messages::TxnOffsetCommitRequest;
use strata_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use strata_types::{ErrorCode, ProducerId, VerificationGuard};

use super::host::{Host, Producers};
use super::invariants::{Txn, Txns};

pub(crate) const DATA_PARTITIONS: usize = 2;
/// The place of a group's offsets among a transaction's partitions.
pub(crate) const OFFSETS: usize = DATA_PARTITIONS;
const TIMEOUT_MS: i32 = 20_000;

/// A partition's records, each the number of its transaction, and the markers between them.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) entries: Vec<Entry>,
    pub(crate) producers: Producers,
}

pub(crate) enum Entry {
    Record { producer: ProducerId, txn: u64 },
    Marker(TxnMarker),
}

/// One incarnation after another of an application.
pub(crate) struct Client {
    transactional_id: &'static str,
    version: i16,
    producer: Option<TxnProducer>,
    /// Whether it goes on under its id (KIP-360) when it has lost its place.
    recovers: bool,
    /// It must have its next epoch before it does anything else.
    recovering: bool,
    txn: Option<u64>,
    /// Partitions that the coordinator has confirmed (version 0).
    added: Vec<usize>,
    asked: Option<(ReplyId, Asked)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    /// When so many transactions had begun.
    Init(usize),
    Add(usize),
    /// The broker of a partition asks, before it writes.
    Verify(usize, Option<VerificationGuard>),
    Commit,
    End(bool),
}

/// Markers that are on their way.
struct Job {
    id: strata_protocol::Str,
    marker: TxnMarker,
    left: Vec<TxnPartition>,
}

pub(crate) struct World {
    pub(crate) transactions: Host<TransactionShard>,
    pub(crate) groups: Host<GroupShard>,
    pub(crate) data: Vec<Data>,
    clients: Vec<Client>,
    jobs: Vec<Job>,
    pub(crate) txns: Txns,
    next_producer_id: i64,
}

pub(crate) fn config() -> TransactionConfig {
    TransactionConfig { abort_check_interval_ms: 5_000, ..Default::default() }
}

impl World {
    pub(crate) fn new() -> Self {
        let client = |transactional_id, version, recovers| Client {
            transactional_id,
            version,
            producer: None,
            recovers,
            recovering: false,
            txn: None,
            added: Vec::new(),
            asked: None,
        };
        Self {
            transactions: Host::new(TransactionShard::new(config())),
            groups: Host::new(GroupShard::new(GroupConfig::default())),
            data: (0..DATA_PARTITIONS).map(|_| Data::default()).collect(),
            clients: vec![
                client("a", 2, false),
                client("a", 2, true),
                client("b", 0, false),
                client("b", 0, true),
                client("c", 2, true),
                client("c", 0, false),
            ],
            jobs: Vec::new(),
            txns: Txns::default(),
            next_producer_id: 1_000,
        }
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.jobs.is_empty() || !self.transactions.actions.is_empty()
    }

    /// The application ends, without a word.
    pub(crate) fn crash(&mut self, index: usize) {
        let client = &mut self.clients[index];
        (client.producer, client.txn, client.asked) = (None, None, None);
        client.recovering = false;
        client.added.clear();
    }

    /// A coordinator is lost, and another reads its log.
    pub(crate) fn restart_transactions(&mut self) {
        self.jobs.clear();
        self.transactions.restart(TransactionShard::new(config()));
        for client in &mut self.clients {
            // Whoever waits finds its connection closed, and asks again, or not.
            client.asked = client.asked.filter(|(_, asked)| *asked == Asked::Commit);
        }
    }

    pub(crate) fn restart_groups(&mut self) {
        self.groups.restart(GroupShard::new(GroupConfig::default()));
        for client in &mut self.clients {
            client.asked = client.asked.filter(|(_, asked)| *asked != Asked::Commit);
        }
    }

    /// The client does what comes next; `choice` decides where it can do one thing or another.
    pub(crate) fn act(&mut self, index: usize, choice: u64) {
        self.listen(index);
        let client = &self.clients[index];
        if client.asked.is_some() {
            return;
        }
        if client.producer.is_none() {
            // Not all at once: who shares an id shuts the others out.
            if choice.is_multiple_of(10) {
                self.init(index, None);
            }
            return;
        }
        if client.recovering {
            return self.init(index, client.producer);
        }
        if client.txn.is_none() {
            let id = client.transactional_id;
            self.clients[index].txn = Some(self.txns.begin(id));
            self.clients[index].added.clear();
        }
        match choice % 10 {
            0..6 => self.write(index, choice as usize / 10 % (DATA_PARTITIONS + 1)),
            6..8 => self.end(index, true),
            8 => self.end(index, false),
            _ if self.clients[index].recovers => {
                self.clients[index].recovering = true;
            }
            _ => {}
        }
    }

    fn init(&mut self, index: usize, expected: Option<TxnProducer>) {
        self.next_producer_id += 1;
        let request = InitProducer {
            transactional_id: self.clients[index].transactional_id.into(),
            timeout_ms: TIMEOUT_MS,
            expected,
            fresh: Some(ProducerId(self.next_producer_id)),
        };
        let reply = self.transactions.ask(TransactionRequest::InitProducerId(request));
        self.clients[index].asked = Some((reply, Asked::Init(self.txns.begun())));
    }

    /// Writes into a partition: what must come before is asked first.
    fn write(&mut self, index: usize, at: usize) {
        let client = &self.clients[index];
        let Some(producer) = client.producer else { return };
        if client.version < 2 && !client.added.contains(&at) {
            let request = TransactionRequest::AddPartitions { add: self.addition(index, at), wait: false };
            let reply = self.transactions.ask(request);
            self.clients[index].asked = Some((reply, Asked::Add(at)));
            return;
        }
        let producers = if at == OFFSETS { &mut self.groups.producers } else { &mut self.data[at].producers };
        let guard = producers.begin_verification(producer);
        if guard.is_none() {
            return self.write_verified(index, at, None);
        }
        let add = self.addition(index, at);
        let request = match self.clients[index].version {
            2.. => TransactionRequest::AddPartitions { add, wait: true },
            _ => TransactionRequest::Verify { add },
        };
        let reply = self.transactions.ask(request);
        self.clients[index].asked = Some((reply, Asked::Verify(at, guard)));
    }

    fn addition(&self, index: usize, at: usize) -> AddPartitions {
        let client = &self.clients[index];
        AddPartitions {
            transactional_id: client.transactional_id.into(),
            producer: client.producer.expect("a producer"),
            partitions: vec![partition(at)],
            transaction_version: client.version,
        }
    }

    fn write_verified(&mut self, index: usize, at: usize, guard: Option<VerificationGuard>) {
        let client = &self.clients[index];
        let (Some(producer), Some(txn)) = (client.producer, client.txn) else { return };
        if at == OFFSETS {
            let request =
                GroupRequest::TxnOffsetCommit { request: offset_commit(client, producer, txn), guard };
            let reply = self.groups.ask(request);
            self.clients[index].asked = Some((reply, Asked::Commit));
            return;
        }
        let data = &mut self.data[at];
        match data.producers.write(producer, guard) {
            Ok(()) => {
                data.entries.push(Entry::Record { producer: producer.id, txn });
                self.txns.wrote(txn, at);
            }
            Err(code) => self.failed(index, code),
        }
    }

    fn end(&mut self, index: usize, commit: bool) {
        let client = &self.clients[index];
        let (Some(producer), Some(txn)) = (client.producer, client.txn) else { return };
        if commit {
            self.txns.commit_asked(txn);
        }
        self.next_producer_id += 1;
        let reply = self.transactions.ask(TransactionRequest::EndTxn(EndTxn {
            transactional_id: client.transactional_id.into(),
            producer,
            commit,
            transaction_version: client.version,
            fresh: Some(ProducerId(self.next_producer_id)),
        }));
        self.clients[index].asked = Some((reply, Asked::End(commit)));
    }

    /// Takes in the answer that a client waits for, if it is there.
    fn listen(&mut self, index: usize) {
        let Some((reply, asked)) = self.clients[index].asked else { return };
        if asked == Asked::Commit {
            let Some(response) = self.groups.take(reply) else { return };
            self.clients[index].asked = None;
            let GroupResponse::TxnOffsetCommit(response) = response else { panic!("{response:?}") };
            match ErrorCode::from_code(response.topics[0].partitions[0].error_code) {
                Some(ErrorCode::None) => {
                    let txn = self.clients[index].txn.expect("a transaction");
                    self.txns.wrote(txn, OFFSETS);
                }
                code => self.failed(index, code.expect("a known code")),
            }
            return;
        }
        let Some(response) = self.transactions.take(reply) else { return };
        self.clients[index].asked = None;
        match (asked, response) {
            (Asked::Init(begun), TransactionResponse::InitProducerId(Ok(producer))) => {
                let client = &mut self.clients[index];
                self.txns.fence(client.transactional_id, begun);
                (client.producer, client.txn, client.recovering) = (Some(producer), None, false);
            }
            (Asked::Add(at), TransactionResponse::Added(ErrorCode::None)) => {
                self.clients[index].added.push(at)
            }
            (Asked::Verify(at, guard), TransactionResponse::Added(ErrorCode::None)) => {
                self.write_verified(index, at, guard);
            }
            (Asked::Verify(at, guard), TransactionResponse::Verified(codes))
                if codes == [ErrorCode::None] =>
            {
                self.write_verified(index, at, guard);
            }
            (Asked::End(commit), TransactionResponse::EndTxn(Ok(producer))) => {
                self.ended(index, commit, producer)
            }
            (_, TransactionResponse::InitProducerId(Err(code)) | TransactionResponse::EndTxn(Err(code))) => {
                self.failed(index, code);
            }
            (_, TransactionResponse::Added(code)) => self.failed(index, code),
            (_, TransactionResponse::Verified(codes)) => self.failed(index, codes[0]),
            (asked, other) => panic!("{asked:?} is answered {other:?}"),
        }
    }

    fn ended(&mut self, index: usize, commit: bool, producer: TxnProducer) {
        let client = &mut self.clients[index];
        let txn = client.txn.take().expect("a transaction");
        if client.version >= 2 {
            client.producer = Some(producer);
        }
        if commit { self.txns.committed(txn) } else { self.txns.aborted(txn) }
    }

    fn failed(&mut self, index: usize, code: ErrorCode) {
        match code {
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::NotCoordinator => {}
            // Fenced, or what it asks makes no sense any more: the application starts anew.
            _ => self.crash(index),
        }
    }

    /// Writes one marker of those on their way, or tells the coordinator that all are written.
    pub(crate) fn write_marker(&mut self, choice: u64) {
        for TransactionAction::WriteMarkers { transactional_id, marker, partitions } in
            std::mem::take(&mut self.transactions.actions)
        {
            self.jobs.push(Job { id: transactional_id, marker, left: partitions });
        }
        if self.jobs.is_empty() {
            return;
        }
        let at = choice as usize % self.jobs.len();
        let job = &mut self.jobs[at];
        let Some(partition) = job.left.pop() else {
            let Job { id, marker, .. } = self.jobs.swap_remove(at);
            let request = TransactionRequest::MarkersWritten {
                transactional_id: id.clone(),
                producer: marker.producer,
            };
            let reply = self.transactions.ask(request);
            // Not written: it is told again.
            let failed = TransactionResponse::MarkersWritten(ErrorCode::CoordinatorNotAvailable);
            if self.transactions.take(reply) == Some(failed) {
                self.jobs.push(Job { id, marker, left: Vec::new() });
            }
            return;
        };
        let marker = job.marker;
        if &*partition.topic == "offsets" {
            let reply = self.groups.ask(GroupRequest::EndTransaction { marker });
            match self.groups.take(reply) {
                Some(GroupResponse::EndTransaction(ErrorCode::None)) => {}
                // Not written, or not known to be: it is tried again.
                _ => self.jobs[at].left.push(partition),
            }
            return;
        }
        let data = &mut self.data[partition.partition as usize];
        data.producers.end(&marker).expect("a marker of the producer's last transaction");
        data.entries.push(Entry::Marker(marker));
    }

    /// Lets everything come to an end: markers are written, and transactions whose producers are gone time out.
    pub(crate) fn settle(&mut self) {
        (self.transactions.failing, self.groups.failing) = (false, false);
        (self.transactions.hold_commits, self.groups.hold_commits) = (false, false);
        self.transactions.commit();
        self.groups.commit();
        for index in 0..self.clients.len() {
            self.listen(index);
        }
        for _ in 0..20 {
            while self.is_busy() {
                self.write_marker(0);
            }
            self.transactions.advance(5_000);
            self.groups.now = self.transactions.now;
        }
        for index in 0..self.clients.len() {
            self.listen(index);
        }
        let reloaded = self.transactions.reloaded(TransactionShard::new(config()));
        let (live, reloaded) = (self.transactions.runtime.shard().state(), reloaded.shard().state());
        super::invariants::reload_equals_live(live, reloaded);
    }

    /// The transactions whose records a reader of committed records sees in a partition.
    pub(crate) fn visible(&self, at: usize) -> BTreeMap<u64, usize> {
        let mut visible = BTreeMap::new();
        if at == OFFSETS {
            let offsets = self.groups.runtime.committed_state().offsets();
            visible.extend(offsets.map(|(key, _)| (key.partition as u64, 1)));
            return visible;
        }
        let mut open: BTreeMap<ProducerId, Vec<u64>> = BTreeMap::new();
        for entry in &self.data[at].entries {
            match entry {
                Entry::Record { producer, txn } => open.entry(*producer).or_default().push(*txn),
                Entry::Marker(marker) => {
                    let ended = open.remove(&marker.producer.id).unwrap_or_default();
                    for txn in ended.into_iter().filter(|_| marker.commit) {
                        *visible.entry(txn).or_default() += 1;
                    }
                }
            }
        }
        visible
    }

    /// Whether something is left that no marker will come for.
    pub(crate) fn hangs(&self) -> bool {
        self.groups.producers.has_open() || self.data.iter().any(|data| data.producers.has_open())
    }

    pub(crate) fn txn(&self, number: u64) -> &Txn {
        self.txns.get(number)
    }
}

fn partition(at: usize) -> TxnPartition {
    if at == OFFSETS {
        TxnPartition { topic: "offsets".into(), partition: 0 }
    } else {
        TxnPartition { topic: "data".into(), partition: at as i32 }
    }
}

/// Every transaction commits the offset of a partition of its own, so that none hides another's.
fn offset_commit(client: &Client, producer: TxnProducer, txn: u64) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: client.transactional_id.into(),
        group_id: "g".into(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "input".into(),
            partitions: vec![TxnOffsetCommitRequestPartition {
                partition_index: txn as i32,
                committed_offset: 1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}
