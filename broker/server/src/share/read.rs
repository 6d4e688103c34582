//! Reading the log for a share partition: whole batches, from the disk or from the archive.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use strata_coordinator::share::partition::{Acquired, BatchRange};
use strata_log::ReadError;
use strata_protocol::records::{Batch, ControlType, DecompressLimit, batches};
use strata_types::{ErrorCode, Offset, ProducerId};
use tracing::Instrument;

use crate::broker::Broker;
use crate::partition::Partition;
use crate::server::blocking;
use crate::trace::span;

/// What was read.
#[derive(Default)]
pub(super) struct Batches {
    bytes: Bytes,
    /// Where each batch begins.
    positions: Vec<usize>,
    pub ranges: Vec<BatchRange>,
    /// Those of aborted transactions.
    pub aborted: Vec<BatchRange>,
    /// Up to here there is nothing, where nothing was read.
    pub empty_until: Option<Offset>,
}

impl Batches {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// All that was read.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The batches that hold what was acquired.
    pub(super) fn of(&self, acquired: &[Acquired]) -> Bytes {
        let (Some(first), Some(last)) = (acquired.first(), acquired.last()) else { return Bytes::new() };
        let from = self.ranges.partition_point(|range| range.last_offset < first.first_offset);
        let to = self.ranges.partition_point(|range| range.first_offset <= last.last_offset);
        let position = |index: usize| self.positions.get(index).copied().unwrap_or(self.bytes.len());
        self.bytes.slice(position(from)..position(to.max(from)))
    }
}

/// Reads from the batch that holds `from` on: at least one, if there is one below `until`.
pub(super) async fn read(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    from: Offset,
    until: Offset,
    bytes_max: usize,
    committed: bool,
) -> Result<Batches, ErrorCode> {
    let log = partition.log.clone();
    let local = blocking(move || log.read_batches(from, bytes_max, until)).await;
    let mut empty_until = None;
    let bytes = match local.map_err(|_| ErrorCode::UnknownServerError)? {
        Ok(bytes) => bytes,
        Err(ReadError::BelowLocalStart { .. }) => {
            let archive = broker.remote.as_ref().ok_or(ErrorCode::KafkaStorageError)?;
            let read = archive.fetch(&partition.id, from, bytes_max).instrument(span!("remote read")).await;
            let read = read.map_err(|error| {
                tracing::warn!(partition = %partition.id.partition, %from, "the archive cannot be read: {error}");
                error.error_code()
            })?;
            empty_until = (read.batches.is_empty() && read.next_offset > from).then_some(read.next_offset);
            read.batches
        }
        Err(error) => return Err(error.error_code()),
    };
    let mut read = Batches { bytes: bytes.clone(), empty_until, ..Batches::default() };
    let mut aborted = committed.then(|| Aborted::new(partition, from, until));
    let mut position = 0;
    for batch in batches(bytes) {
        let batch = batch.map_err(|error| error.error_code())?;
        let range = BatchRange { first_offset: batch.base_offset().0, last_offset: batch.last_offset().0 };
        if aborted.as_mut().is_some_and(|aborted| aborted.has(&batch)) {
            read.aborted.push(range);
        }
        read.positions.push(position);
        read.ranges.push(range);
        position += batch.bytes().len();
    }
    Ok(read)
}

/// Tells which batches belong to aborted transactions, in the order of the log.
struct Aborted {
    /// Transactions whose first batch has not come yet.
    ahead: VecDeque<(Offset, ProducerId)>,
    open: HashSet<ProducerId>,
}

impl Aborted {
    fn new(partition: &Partition, from: Offset, until: Offset) -> Self {
        let mut ahead: Vec<_> = partition
            .log
            .aborted_transactions(from, until)
            .into_iter()
            .map(|aborted| (aborted.first_offset, aborted.producer_id))
            .collect();
        ahead.sort();
        Self { ahead: ahead.into(), open: HashSet::new() }
    }

    fn has(&mut self, batch: &Batch) -> bool {
        while let Some((_, producer)) = self.ahead.pop_front_if(|(first, _)| *first <= batch.last_offset()) {
            self.open.insert(producer);
        }
        let header = batch.header();
        if !header.is_transactional() || !self.open.contains(&header.producer_id) {
            return false;
        }
        if header.is_control() {
            // The marker ends it; that it is one is the member's business, as in Kafka.
            let records = batch.records(DecompressLimit::default()).ok();
            let record = records.and_then(|mut records| records.next()?.ok());
            if record.as_ref().and_then(ControlType::of) == Some(ControlType::Abort) {
                self.open.remove(&header.producer_id);
            }
            return false;
        }
        true
    }
}
