//! Cleans one log: finds the last offset of each dirty key, then writes the log anew, a group of segments at a time.

use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use strata_protocol::records::{Batch, BatchHeader};
use strata_types::{Offset, TimestampMs};

use super::filter::{BatchFault, Filter, Filtered, Stays, index};
use super::offsets::{OffsetMap, OffsetMapOptions};
use super::plan::{GroupLimits, LogFacts, Plan, groups};
use super::transactions::CleanedTransactions;
use crate::segment::{Located, SEGMENT_BYTES_MAX, Segment};
use crate::{Log, LogConfig, StorageError, disk};

/// Why a log was not cleaned. It is as it was, up to the groups of segments that were already replaced.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CleanError {
    /// The cleaner stops, or the log changed in a way that makes the work void; it is tried again.
    #[error("the cleaning was aborted")]
    Aborted,
    #[error("a batch at offset {offset}: {fault}")]
    Batch { offset: Offset, fault: BatchFault },
    #[error("a batch at offset {offset} has more keys than fit into log.cleaner.dedupe.buffer.size")]
    TooManyKeys { offset: Offset },
    #[error("the cleaned segment {base} would be larger than a segment can be")]
    TooLarge { base: Offset },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How to clean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunOptions {
    pub(crate) map: OffsetMapOptions,
    /// How much is read, and how much written, at a time.
    pub(crate) buffer_bytes: usize,
}

/// What a cleaning did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CleanReport {
    /// Up to where the log is clean now.
    pub cleaned_until: Offset,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub records_read: u64,
    pub records_kept: u64,
    /// What the offset map took, and what share of it was used.
    pub map_bytes: usize,
    pub map_utilization: f64,
    pub seconds: f64,
}

/// Whether the work may go on, asked with the number of bytes read or written since the last time. May take its time, to
/// keep to a rate.
pub(crate) type Pace<'a> = dyn FnMut(usize) -> Result<(), CleanError> + 'a;

/// Cleans what the plan says.
pub(crate) fn clean(
    log: &Log,
    facts: &LogFacts,
    plan: &Plan,
    options: &RunOptions,
    now: TimestampMs,
    pace: &mut Pace<'_>,
) -> Result<CleanReport, CleanError> {
    let began = Instant::now();
    let config = log.config();
    let mut report = CleanReport::default();
    let map = build_map(log, facts, plan, options, pace, &mut report)?;
    let until = map.latest().next();
    let mut run = Run {
        log,
        config: &config,
        options,
        now,
        filter: Filter {
            map: &map,
            transactions: CleanedTransactions::default(),
            producers: log.last_of_producers(),
            first_uncleanable: plan.first_uncleanable,
            delete_retention_ms: config.delete_retention_ms,
            now,
        },
        pace,
        report: &mut report,
    };
    let limits = GroupLimits {
        segment_bytes: (config.segment_bytes as u64).min(SEGMENT_BYTES_MAX),
        index_bytes: config.segment_index_bytes,
    };
    let sealed = &facts.segments[..facts.segments.len().saturating_sub(1)];
    for group in groups(sealed, until, plan.first_uncleanable, &limits) {
        let bases: Vec<_> = sealed[group].iter().map(|segment| segment.base).collect();
        run.group(&bases)?;
    }
    report.cleaned_until = until;
    report.map_bytes = map.bytes();
    report.map_utilization = map.utilization();
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// The last offset of each key in the dirty part, as far as the map reaches.
fn build_map(
    log: &Log,
    facts: &LogFacts,
    plan: &Plan,
    options: &RunOptions,
    pace: &mut Pace<'_>,
    report: &mut CleanReport,
) -> Result<OffsetMap, CleanError> {
    let (start, until) = (plan.first_dirty, plan.first_uncleanable);
    let mut map = OffsetMap::new(&options.map, (until.0 - start.0).unsigned_abs());
    let mut transactions = CleanedTransactions::default();
    transactions.add_aborted(log.aborted_transactions(start, until));
    let first = facts.segments.partition_point(|segment| segment.base <= start).saturating_sub(1);
    for (at, segment) in facts.segments.iter().enumerate().skip(first) {
        if segment.base >= until {
            break;
        }
        let source = log.source(segment.base, start)?.ok_or(CleanError::Aborted)?;
        for batch in source.batches(options.buffer_bytes) {
            let batch = batch?;
            let header = batch.header();
            // What is not decided yet must not replace what is.
            if header.last_offset() >= until {
                return Ok(map);
            }
            pace(header.batch_bytes)?;
            report.bytes_read += header.batch_bytes as u64;
            if indexed(&mut map, &mut transactions, &batch, start)? {
                continue;
            }
            if map.latest() < start {
                return Err(CleanError::TooManyKeys { offset: header.base_offset });
            }
            return Ok(map);
        }
        // Where the segment ends in a gap, the gap is clean as well.
        let end = facts.segments.get(at + 1).map_or(until, |next| next.base).min(until);
        map.advance_latest(Offset(end.0 - 1));
    }
    Ok(map)
}

/// Whether the map could take all keys of the batch.
fn indexed(
    map: &mut OffsetMap,
    transactions: &mut CleanedTransactions,
    batch: &Batch,
    start: Offset,
) -> Result<bool, CleanError> {
    index(map, transactions, batch, start)
        .map(|fits| fits.is_ok())
        .map_err(|fault| CleanError::Batch { offset: batch.base_offset(), fault })
}

struct Run<'a, 'p> {
    log: &'a Log,
    config: &'a LogConfig,
    options: &'a RunOptions,
    now: TimestampMs,
    filter: Filter<'a>,
    pace: &'a mut Pace<'p>,
    report: &'a mut CleanReport,
}

impl Run<'_, '_> {
    /// Makes one segment of several.
    fn group(&mut self, bases: &[Offset]) -> Result<(), CleanError> {
        let Some(&first) = bases.first() else { return Ok(()) };
        let segment = self.log.create_cleaned(first)?;
        let mut target =
            Target { segment, buffer: Vec::new(), located: Vec::new(), newest: None, config: self.config };
        let written = bases.iter().try_for_each(|base| self.segment(*base, &mut target));
        let finished = written.and_then(|()| Ok(target.finish()?));
        let Target { segment, .. } = target;
        if let Err(error) = finished {
            segment.remove()?;
            return Err(error);
        }
        match self.log.replace_segments(segment, bases, self.now)? {
            true => Ok(()),
            false => Err(CleanError::Aborted),
        }
    }

    fn segment(&mut self, base: Offset, target: &mut Target<'_>) -> Result<(), CleanError> {
        let source = self.log.source(base, base)?.ok_or(CleanError::Aborted)?;
        self.filter.transactions.add_aborted(self.log.aborted_transactions(base, source.next));
        for batch in source.batches(self.options.buffer_bytes) {
            let batch = batch?;
            let read = batch.header().batch_bytes;
            (self.pace)(read)?;
            let filtered = self.filter.apply(&batch);
            let Filtered { stays, aborted, records_read, records_kept } =
                filtered.map_err(|fault| CleanError::Batch { offset: batch.base_offset(), fault })?;
            let kept = match stays {
                Stays::Nothing => None,
                Stays::All => Some(batch.into_bytes()),
                Stays::Rewritten(bytes) => Some(bytes),
            };
            self.report.bytes_read += read as u64;
            self.report.records_read += records_read;
            self.report.records_kept += records_kept;
            if let Some(bytes) = kept {
                target.push(&bytes, self.options.buffer_bytes)?;
                self.report.bytes_written += bytes.len() as u64;
                (self.pace)(bytes.len())?;
            }
            if let Some(aborted) = aborted {
                target.segment.aborted(aborted)?;
            }
        }
        target.newest = Some(source.file);
        Ok(())
    }
}

/// The segment that is written.
struct Target<'a> {
    segment: Segment,
    buffer: Vec<u8>,
    located: Vec<Located>,
    /// The last file that is replaced.
    newest: Option<Arc<File>>,
    config: &'a LogConfig,
}

impl Target<'_> {
    fn push(&mut self, batch: &[u8], buffer_bytes: usize) -> Result<(), CleanError> {
        let position = self.segment.bytes() + self.buffer.len() as u64;
        if position + batch.len() as u64 > SEGMENT_BYTES_MAX {
            return Err(CleanError::TooLarge { base: self.segment.base() });
        }
        let header = BatchHeader::parse(batch)
            .map_err(|error| StorageError::corrupt(self.segment.path(), error.to_string()))?;
        self.located.push(Located { position, header });
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= buffer_bytes { Ok(self.flush()?) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (file, position) = (self.segment.open()?, self.segment.bytes());
        disk::write_at(&file, self.segment.path(), &mut [IoSlice::new(&self.buffer)], position)?;
        for located in self.located.drain(..) {
            self.segment.reserve()?;
            self.segment.appended(&located, self.config.index_interval_bytes);
        }
        self.buffer.clear();
        Ok(())
    }

    /// Everything is on stable storage. The file is as old as the newest of those that it replaces, which counts where no
    /// record has a timestamp.
    fn finish(&mut self) -> Result<(), StorageError> {
        self.flush()?;
        self.segment.seal()?;
        if let Some(newest) = &self.newest {
            self.segment.set_modified_as(newest)?;
        }
        for file in self.segment.files_to_sync(true)? {
            file.sync()?;
        }
        self.segment.sync_transactions()
    }
}
