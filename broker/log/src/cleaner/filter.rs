//! What stays of a batch.
//!
//! | batch | what goes |
//! |---|---|
//! | records | those that a later record of the same key replaces; tombstones past the batch's delete horizon; those without a key |
//! | of an aborted transaction | all records |
//! | a transaction's marker | the record, past the delete horizon, once nothing of the transaction is left |
//! | at the first uncleanable offset or above | nothing |
//!
//! A batch without records goes too, unless it is a producer's last (its sequence and epoch must not be forgotten) or the
//! last one below the first uncleanable offset (so must the log's offsets).

use std::collections::HashMap;

use bytes::Bytes;
use strata_protocol::records::{
    Batch, BatchError, BatchHeader, BuildError, ControlType, DecompressLimit, RawRecord, Retained,
    raw_records,
};
use strata_types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::offsets::{Full, OffsetMap};
use super::transactions::{CleanedTransactions, Marker};
use crate::AbortedTxn;

/// Why a batch cannot be cleaned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchFault {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A producer's last word in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastOfProducer {
    /// The last record of its last batch; `None` after a marker of a new epoch.
    pub(crate) offset: Option<Offset>,
    pub(crate) epoch: ProducerEpoch,
}

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stays {
    Nothing,
    All,
    Rewritten(Bytes),
}

/// A batch's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filtered {
    pub(crate) stays: Stays,
    /// For the index of aborted transactions.
    pub(crate) aborted: Option<AbortedTxn>,
    pub(crate) records_read: u64,
    pub(crate) records_kept: u64,
}

/// Takes the keys of a batch into the map, unless it ends at `until` or above. Batches are given in order.
pub(crate) fn index(
    map: &mut OffsetMap,
    transactions: &mut CleanedTransactions,
    batch: &Batch,
    first_dirty: Offset,
) -> Result<Result<(), Full>, BatchFault> {
    let header = batch.header();
    if header.is_control() {
        transactions.on_marker(header, control_type(batch)?);
    } else if !transactions.on_batch(header) {
        let section = batch.record_section(DecompressLimit::default())?;
        for record in raw_records(&section, header) {
            let record = record?;
            if let Some(key) = record.key.filter(|_| record.offset >= first_dirty)
                && let Err(full) = map.put(key, record.offset)
            {
                return Ok(Err(full));
            }
        }
    }
    if header.last_offset() >= first_dirty {
        map.advance_latest(header.last_offset());
    }
    Ok(Ok(()))
}

/// Decides batch after batch, from the log's first one on.
pub(crate) struct Filter<'a> {
    pub(crate) map: &'a OffsetMap,
    pub(crate) transactions: CleanedTransactions,
    pub(crate) producers: HashMap<ProducerId, LastOfProducer>,
    pub(crate) first_uncleanable: Offset,
    pub(crate) delete_retention_ms: i64,
    pub(crate) now: TimestampMs,
}

impl Filter<'_> {
    /// What stays of the next batch.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Result<Filtered, BatchFault> {
        let header = batch.header();
        let (discard, marker) = if header.is_control() {
            let marker = self.transactions.on_marker(header, control_type(batch)?);
            let over = header.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now);
            (marker.removable && over, Some(marker))
        } else {
            (self.transactions.on_batch(header), None)
        };
        if header.last_offset() >= self.first_uncleanable {
            return Ok(untouched(header, marker));
        }
        let aborted = marker.and_then(|marker| marker.aborted);
        let mut filtered = Filtered {
            stays: Stays::Nothing,
            aborted,
            records_read: header.records_count as u64,
            records_kept: 0,
        };
        let section = match discard {
            true => Bytes::new(),
            false => batch.record_section(DecompressLimit::default())?,
        };
        let mut kept: Vec<RawRecord<'_>> = Vec::new();
        if !discard {
            for record in raw_records(&section, header) {
                let record = record?;
                if marker.is_some() || self.stays(header, &record) {
                    kept.push(record);
                }
            }
        }
        filtered.records_kept = kept.len() as u64;
        let due =
            marker.is_some_and(|marker| marker.removable) || kept.iter().any(|record| !record.has_value);
        let due = due && !kept.is_empty() && header.delete_horizon_ms().is_none();
        let horizon = due.then(|| self.now.saturating_add(self.delete_retention_ms));
        let whole = kept.len() as i64 == i64::from(header.records_count);
        filtered.stays = if kept.is_empty() && !self.must_remember(header) {
            Stays::Nothing
        } else if whole && horizon.is_none() {
            Stays::All
        } else {
            let mut retained = Retained::new(header, horizon);
            kept.iter().for_each(|record| retained.push(record));
            Stays::Rewritten(retained.build()?)
        };
        Ok(filtered)
    }

    fn stays(&self, header: &BatchHeader, record: &RawRecord<'_>) -> bool {
        if record.offset > self.map.latest() {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_last = self.map.get(key).is_none_or(|last| record.offset >= last);
        is_last && (record.has_value || header.delete_horizon_ms().is_none_or(|horizon| self.now < horizon))
    }

    /// Whether the batch says something beside its records.
    fn must_remember(&self, header: &BatchHeader) -> bool {
        let last_of_producer =
            self.producers.get(&header.producer_id).is_some_and(|last| match last.offset {
                Some(offset) => header.last_offset() == offset,
                None => header.is_control() && header.producer_epoch == last.epoch,
            });
        (header.has_producer() && last_of_producer) || header.next_offset() == self.first_uncleanable
    }
}

fn untouched(header: &BatchHeader, marker: Option<Marker>) -> Filtered {
    let records = header.records_count as u64;
    let aborted = marker.and_then(|marker| marker.aborted);
    Filtered { stays: Stays::All, aborted, records_read: records, records_kept: records }
}

fn control_type(batch: &Batch) -> Result<Option<ControlType>, BatchError> {
    let record = batch.records(DecompressLimit::default())?.next().transpose()?;
    Ok(record.map(|record| ControlType::of(&record).unwrap_or(ControlType::Other(-1))))
}
