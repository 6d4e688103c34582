use std::collections::HashMap;

use strata_protocol::records::BatchHeader;
use strata_types::{Offset, ProducerId};

/// The aborted transactions of a stretch of log: which batches a `read_committed` reader, and the archive, leave out.
#[derive(Debug, Clone, Default)]
pub struct AbortedTransactions {
    /// Per producer, `[first, last]` ranges; the last offset is the abort marker's.
    by_producer: HashMap<ProducerId, Vec<(Offset, Offset)>>,
}

impl AbortedTransactions {
    /// Whether this batch belongs to one of them.
    pub fn skips(&self, header: &BatchHeader) -> bool {
        header.is_transactional()
            && self.by_producer.get(&header.producer_id).is_some_and(|ranges| {
                ranges.iter().any(|&(first, last)| first <= header.base_offset && header.base_offset <= last)
            })
    }
}

/// From `(producer id, first offset, offset of the abort marker)`.
impl FromIterator<(ProducerId, Offset, Offset)> for AbortedTransactions {
    fn from_iter<I: IntoIterator<Item = (ProducerId, Offset, Offset)>>(aborted: I) -> Self {
        let mut by_producer: HashMap<_, Vec<_>> = HashMap::new();
        for (producer, first, last) in aborted {
            by_producer.entry(producer).or_default().push((first, last));
        }
        Self { by_producer }
    }
}
