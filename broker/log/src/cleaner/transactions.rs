//! Which batches of transactions may go: the records of aborted ones at once, markers once nothing of their transaction
//! is left.

use std::collections::{BTreeSet, HashMap, HashSet};

use strata_protocol::records::{BatchHeader, ControlType};
use strata_types::{Offset, ProducerId};

use crate::AbortedTxn;

/// The state of transactions along a log. Batches and markers are told in the order of their offsets.
#[derive(Default)]
pub(crate) struct CleanedTransactions {
    /// Aborted ones that begin further on: first offset, producer, last offset, last stable offset.
    ahead: BTreeSet<(Offset, ProducerId, Offset, Offset)>,
    aborted: HashMap<ProducerId, Aborted>,
    /// Producers whose committed transaction has left batches behind.
    committed: HashSet<ProducerId>,
}

struct Aborted {
    transaction: AbortedTxn,
    /// Whether a batch of it was still there.
    seen: bool,
}

/// What becomes of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Nothing of its transaction is left, so that the marker may go too.
    pub(crate) removable: bool,
    /// What the index of aborted transactions must still say while the marker stays.
    pub(crate) aborted: Option<AbortedTxn>,
}

impl CleanedTransactions {
    /// Makes aborted transactions known, before the first of their batches is told.
    pub(crate) fn add_aborted(&mut self, transactions: impl IntoIterator<Item = AbortedTxn>) {
        self.ahead.extend(
            transactions
                .into_iter()
                .map(|t| (t.first_offset, t.producer_id, t.last_offset, t.last_stable_offset)),
        );
    }

    /// A batch of records. Tells whether its transaction was aborted.
    pub(crate) fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.begin_aborted(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some(aborted) => {
                aborted.seen = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// A control batch; `kind` is its record's, `None` where an earlier cleaning has left none.
    pub(crate) fn on_marker(&mut self, header: &BatchHeader, kind: Option<ControlType>) -> Marker {
        self.begin_aborted(header.last_offset());
        match kind {
            Some(ControlType::Abort) => match self.aborted.remove(&header.producer_id) {
                Some(Aborted { transaction, seen: true }) => {
                    Marker { removable: false, aborted: Some(transaction) }
                }
                _ => Marker { removable: true, aborted: None },
            },
            Some(ControlType::Commit) => {
                Marker { removable: !self.committed.remove(&header.producer_id), aborted: None }
            }
            Some(ControlType::Other(_)) => Marker { removable: false, aborted: None },
            None => Marker { removable: true, aborted: None },
        }
    }

    fn begin_aborted(&mut self, until: Offset) {
        while let Some(&(first_offset, producer_id, last_offset, last_stable_offset)) = self.ahead.first()
            && first_offset <= until
        {
            self.ahead.pop_first();
            let transaction = AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset };
            // One that reaches over several segments is told with each of them.
            self.aborted.entry(producer_id).or_insert(Aborted { transaction, seen: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_protocol::records::{Batch, BatchBuilder, BuilderOptions};
    use strata_types::ProducerEpoch;

    fn header(offset: i64, producer: i64, transactional: bool, control: bool) -> BatchHeader {
        let mut builder = BatchBuilder::new(BuilderOptions {
            base_offset: Offset(offset),
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            transactional,
            control,
            ..BuilderOptions::default()
        });
        builder.push_next(1, Some(b"k"), None, &[]).unwrap();
        *Batch::try_from_bytes(builder.build().unwrap()).unwrap().header()
    }

    fn data(offset: i64, producer: i64) -> BatchHeader {
        header(offset, producer, true, false)
    }

    fn marker(offset: i64, producer: i64) -> BatchHeader {
        header(offset, producer, true, true)
    }

    fn aborted(producer: i64, first: i64, last: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        }
    }

    #[test]
    fn an_aborted_transaction_goes_and_its_marker_stays_for_one_more_round() {
        let mut transactions = CleanedTransactions::default();
        transactions.add_aborted([aborted(1, 10, 20)]);
        assert!(!transactions.on_batch(&data(5, 1)));
        assert!(!transactions.on_marker(&marker(6, 1), Some(ControlType::Commit)).removable);
        assert!(transactions.on_batch(&data(10, 1)));
        assert!(!transactions.on_batch(&data(11, 2)));
        let marker_1 = transactions.on_marker(&marker(20, 1), Some(ControlType::Abort));
        assert_eq!(marker_1, Marker { removable: false, aborted: Some(aborted(1, 10, 20)) });
        assert!(!transactions.on_batch(&data(21, 1)));
    }

    #[test]
    fn a_marker_without_batches_may_go() {
        let mut transactions = CleanedTransactions::default();
        transactions.add_aborted([aborted(1, 10, 20)]);
        let gone = Marker { removable: true, aborted: None };
        assert_eq!(transactions.on_marker(&marker(20, 1), Some(ControlType::Abort)), gone);
        assert_eq!(transactions.on_marker(&marker(21, 2), Some(ControlType::Commit)), gone);
        assert_eq!(transactions.on_marker(&marker(22, 2), None), gone);
        let other = transactions.on_marker(&marker(23, 2), Some(ControlType::Other(5)));
        assert!(!other.removable);
    }

    #[test]
    fn a_transaction_told_twice_is_one() {
        let mut transactions = CleanedTransactions::default();
        transactions.add_aborted([aborted(1, 10, 30)]);
        assert!(transactions.on_batch(&data(10, 1)));
        transactions.add_aborted([aborted(1, 10, 30)]);
        assert!(transactions.on_batch(&data(25, 1)));
        let end = transactions.on_marker(&marker(30, 1), Some(ControlType::Abort));
        assert_eq!(end.aborted, Some(aborted(1, 10, 30)));
        assert!(!transactions.on_batch(&data(31, 1)));
    }

    #[test]
    fn records_outside_of_transactions_are_nobodys_abort() {
        let mut transactions = CleanedTransactions::default();
        transactions.add_aborted([aborted(1, 10, 30)]);
        assert!(!transactions.on_batch(&header(11, 1, false, false)));
    }
}
