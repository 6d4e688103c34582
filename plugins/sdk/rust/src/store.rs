//! Keyed state: one read and one write for a batch.

use std::collections::HashMap;

use crate::bindings::topology::strata::plugin::state as host;
use crate::{Error, Record};

/// Counts records by key. Answers each key's new count once, at its last record's place: updates of a key within a batch
/// coalesce, as Kafka Streams' record cache does. Records without a key are skipped, as in Kafka Streams.
pub(crate) fn count(store: &str, records: &[Record<'_>]) -> Result<Vec<(usize, i64)>, Error> {
    let mut tally: HashMap<&[u8], (usize, i64)> = HashMap::new();
    for (index, record) in records.iter().enumerate() {
        if let Some(key) = record.key {
            let (last, count) = tally.entry(key).or_default();
            *last = index;
            *count += 1;
        }
    }
    let mut tally: Vec<_> = tally.into_iter().collect();
    tally.sort_unstable_by_key(|(_, (last, _))| *last);
    let keys: Vec<_> = tally.iter().map(|(key, _)| key.to_vec()).collect();
    let stored = host::get_many(store, &keys).map_err(Error::retry)?;
    let mut entries = Vec::with_capacity(keys.len());
    for ((key, (_, (_, count))), stored) in keys.into_iter().zip(&mut tally).zip(stored) {
        *count += stored.map_or(Ok(0), |bytes| decode(store, &bytes))?;
        entries.push((key, Some(count.to_be_bytes().to_vec())));
    }
    host::put_many(store, &entries).map_err(Error::retry)?;
    Ok(tally.into_iter().map(|(_, counted)| counted).collect())
}

fn decode(store: &str, bytes: &[u8]) -> Result<i64, Error> {
    let bytes = bytes
        .try_into()
        .map_err(|_| Error::stop(format!("store `{store}` holds something else than counts")))?;
    Ok(i64::from_be_bytes(bytes))
}
