//! What transactions promise, checked from outside.

use std::collections::{BTreeMap, BTreeSet};

use strata_coordinator::transaction::{Transaction, TransactionsState};
use strata_types::ProducerEpoch;

use super::world::{DATA_PARTITIONS, OFFSETS, World};

/// What is known of a transaction by those who took part in it.
#[derive(Debug, Default)]
pub(crate) struct Txn {
    transactional_id: &'static str,
    /// Records in each partition that were acknowledged to the producer.
    wrote: BTreeMap<usize, usize>,
    commit_asked: bool,
    committed: bool,
    aborted: bool,
    /// Another producer was given the id before this one asked to commit.
    fenced: bool,
}

#[derive(Default)]
pub(crate) struct Txns(Vec<Txn>);

impl Txns {
    pub(crate) fn begin(&mut self, transactional_id: &'static str) -> u64 {
        self.0.push(Txn { transactional_id, ..Default::default() });
        self.0.len() as u64 - 1
    }

    pub(crate) fn wrote(&mut self, txn: u64, at: usize) {
        // Offsets of the same partition replace each other.
        let count = self.0[txn as usize].wrote.entry(at).or_default();
        *count = if at == OFFSETS { 1 } else { *count + 1 };
    }

    pub(crate) fn commit_asked(&mut self, txn: u64) {
        self.0[txn as usize].commit_asked = true;
    }

    pub(crate) fn committed(&mut self, txn: u64) {
        let txn = &mut self.0[txn as usize];
        assert!(!txn.fenced && !txn.aborted, "a fenced producer has committed: {txn:?}");
        txn.committed = true;
    }

    pub(crate) fn aborted(&mut self, txn: u64) {
        let txn = &mut self.0[txn as usize];
        assert!(!txn.committed, "committed and aborted: {txn:?}");
        txn.aborted = true;
    }

    /// A producer has got the id, for which it asked when there were so many transactions: those of them that were not
    /// asked to commit cannot be committed any more.
    pub(crate) fn fence(&mut self, transactional_id: &str, begun: usize) {
        let others = self.0[..begun].iter_mut().filter(|txn| txn.transactional_id == transactional_id);
        others.filter(|txn| !txn.commit_asked).for_each(|txn| txn.fenced = true);
    }

    pub(crate) fn get(&self, txn: u64) -> &Txn {
        &self.0[txn as usize]
    }

    pub(crate) fn begun(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn count(&self, of: impl Fn(&Txn) -> bool) -> usize {
        self.0.iter().filter(|txn| of(txn)).count()
    }
}

impl Txn {
    pub(crate) fn is_committed(&self) -> bool {
        self.committed
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced
    }
}

/// A reader of committed records sees all of a transaction or nothing of it: all where the producer was told so, nothing
/// where it was told so, or fenced, or never asked.
pub(crate) fn all_or_nothing(world: &World) {
    let visible: Vec<_> = (0..=DATA_PARTITIONS).map(|at| world.visible(at)).collect();
    let seen: BTreeSet<u64> = visible.iter().flat_map(|seen| seen.keys().copied()).collect();
    for &number in &seen {
        let txn = world.txn(number);
        assert!(txn.commit_asked && !txn.aborted && !txn.fenced, "{number} is visible: {txn:?}");
    }
    for number in 0..world.txns.begun() as u64 {
        let txn = world.txn(number);
        if !txn.committed && !seen.contains(&number) {
            continue;
        }
        for (at, count) in &txn.wrote {
            let found = visible[*at].get(&number).copied().unwrap_or(0);
            assert!(found >= *count, "{number} has {found} of {count} records in partition {at}: {txn:?}");
        }
    }
}

/// No partition is left with records that nobody will decide on.
pub(crate) fn nothing_hangs(world: &World) {
    assert!(!world.hangs(), "a transaction hangs");
}

/// What a new coordinator reads out of the log is what the old one held, as far as it is meant to last.
pub(crate) fn reload_equals_live(live: &TransactionsState, reloaded: &TransactionsState) {
    let lasting = |state: &TransactionsState| -> Vec<_> {
        let forget = |transaction: &Transaction| Transaction {
            last_epoch: ProducerEpoch::NONE,
            ..transaction.clone()
        };
        state.transactions().map(|(id, transaction)| (id.clone(), forget(transaction))).collect()
    };
    assert_eq!(lasting(live), lasting(reloaded));
}
