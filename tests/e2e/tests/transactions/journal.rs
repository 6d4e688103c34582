//! What a broker that was killed has left of a transaction: the last word of its coordinator's log.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use bytes::{Buf, Bytes};
use strata_protocol::messages::{TransactionLogKey, TransactionLogValue};
use strata_protocol::records::{DecompressLimit, batches, whole_batches_len};
use strata_protocol::{Message, TypedRecord};

const BATCH_BYTES_MAX: usize = 1 << 20;

/// How far a transaction has come, by the numbers in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
}

impl State {
    pub const ALL: [Self; 5] =
        [Self::Ongoing, Self::PrepareCommit, Self::PrepareAbort, Self::CompleteCommit, Self::CompleteAbort];

    /// Whether it is decided, and how.
    pub fn decision(self) -> Option<bool> {
        match self {
            Self::Ongoing => None,
            Self::PrepareCommit | Self::CompleteCommit => Some(true),
            Self::PrepareAbort | Self::CompleteAbort => Some(false),
        }
    }
}

/// The state of the transactional id in the data folder of a broker that has one partition for all transactions.
pub fn last_state(data: &Path, transactional_id: &str) -> anyhow::Result<State> {
    let mut segments: Vec<_> = fs::read_dir(data.join("__transaction_state-0"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.sort();
    let mut last = None;
    for segment in segments {
        // The kill may have cut the last batch.
        let mut bytes = Bytes::from(fs::read(segment)?);
        bytes.truncate(whole_batches_len(&bytes));
        for batch in batches(bytes) {
            for record in batch?.records(DecompressLimit(BATCH_BYTES_MAX))? {
                let record = record?;
                let (Some(mut key), Some(mut value)) = (record.key, record.value) else { continue };
                ensure!(key.try_get_i16()? == TransactionLogKey::TYPE, "a key of another kind");
                if TransactionLogKey::from_bytes(key, 0)?.transactional_id.as_str() == transactional_id {
                    let version = value.try_get_i16()?;
                    last = Some(TransactionLogValue::from_bytes(value, version)?.transaction_status);
                }
            }
        }
    }
    let last = last.context("the transactional id is not in the log")?;
    let state = State::ALL.into_iter().find(|state| *state as i8 == last);
    state.with_context(|| format!("the state {last}, which no transaction here should be in"))
}
