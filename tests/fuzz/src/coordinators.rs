//! The coordinators' logs: their keys and values, and the state that they make.

use bytes::Bytes;
use strata_coordinator::share::persister::PersisterShard;
use strata_coordinator::{GroupShard, Shard, TransactionShard};

use crate::Target;

pub(crate) fn targets() -> Vec<Target> {
    vec![
        Target { name: "coordinator-group", run: decode::<GroupShard> },
        Target { name: "coordinator-share", run: decode::<PersisterShard> },
        Target { name: "coordinator-transaction", run: decode::<TransactionShard> },
    ]
}

/// A record's key, behind one byte that says how long it is, and its value; no value is a tombstone.
fn decode<S: Shard>(input: &[u8]) {
    let Some((&length, behind)) = input.split_first() else { return };
    let (key, value) = behind.split_at(behind.len().min(usize::from(length)));
    let value = (!value.is_empty()).then(|| Bytes::copy_from_slice(value));
    let Ok(Some(record)) = S::decode(Bytes::copy_from_slice(key), value) else { return };
    let encoded = S::encode(&record).expect("what was decoded can be encoded");
    let again = S::decode(encoded.key, encoded.value).expect("what was encoded can be decoded");
    assert_eq!(format!("{again:?}"), format!("{:?}", Some(record)));
}
