use std::collections::BTreeMap;

use strata_types::{Offset, ProducerId};

use crate::producers::CompletedTxn;

/// Which transactions keep the last stable offset back: those that are open, and those whose marker is written but
/// not committed yet.
#[derive(Default)]
pub(crate) struct Transactions {
    open: BTreeMap<Offset, ProducerId>,
    /// First offset to the marker's.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl Transactions {
    pub(crate) fn new(open: impl Iterator<Item = (Offset, ProducerId)>) -> Self {
        Self { open: open.collect(), unreplicated: BTreeMap::new() }
    }

    pub(crate) fn begin(&mut self, first_offset: Offset, producer_id: ProducerId) {
        self.open.insert(first_offset, producer_id);
    }

    /// Ends a transaction. Returns the offset below which all is decided once the marker is there too.
    pub(crate) fn complete(&mut self, transaction: &CompletedTxn) -> Offset {
        self.open.remove(&transaction.first_offset);
        self.unreplicated.insert(transaction.first_offset, transaction.last_offset);
        self.open.first_key_value().map_or(transaction.last_offset.next(), |(first, _)| *first)
    }

    /// Markers below the high watermark are committed.
    pub(crate) fn committed(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= high_watermark);
    }

    /// The first offset whose fate is open.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.first_key_value().map(|(first, _)| *first);
        let unreplicated = self.unreplicated.first_key_value().map(|(first, _)| *first);
        match (open, unreplicated) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
