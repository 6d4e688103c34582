//! What the cleaner asks of a log.

use std::collections::HashMap;

use strata_types::{Offset, ProducerId, TimestampMs};

use super::Log;
use crate::cleaner::{LastOfProducer, LogFacts, SegmentFacts, Source};
use crate::segment::Segment;
use crate::{StorageError, disk};

impl Log {
    /// Up to where the log was compacted.
    pub fn cleaned_until(&self) -> Option<Offset> {
        self.shared.read().cleaned_until
    }

    pub(crate) fn set_cleaned_until(&self, until: Offset) {
        let mut shared = self.shared.write();
        shared.cleaned_until = Some(until.min(shared.end()));
    }

    pub(crate) fn facts(&self) -> LogFacts {
        let last_stable = self.last_stable_offset();
        let shared = self.shared.read();
        LogFacts {
            segments: shared.segments.iter().map(facts_of).collect(),
            start: shared.start,
            end: shared.end(),
            last_stable,
            cleaned_until: shared.cleaned_until,
        }
    }

    /// The sealed segment at `base`, to be read from the batch that holds `from` on; `None` if it is gone or active.
    pub(crate) fn source(&self, base: Offset, from: Offset) -> Result<Option<Source>, StorageError> {
        let shared = self.shared.read();
        let at = shared.segments.partition_point(|segment| segment.base() < base);
        let Some(next) = shared.segments.get(at + 1).map(Segment::base) else { return Ok(None) };
        let segment = &shared.segments[at];
        if segment.base() != base {
            return Ok(None);
        }
        let first = segment.find(from.max(base))?;
        Ok(Some(Source {
            next,
            path: segment.path().to_path_buf(),
            file: segment.open()?,
            bytes: segment.bytes(),
            from: first.map_or(segment.bytes(), |batch| batch.position),
        }))
    }

    /// A segment to write what stays of others into.
    pub(crate) fn create_cleaned(&self, base: Offset) -> Result<Segment, StorageError> {
        Segment::create_cleaned(&self.dir(), base, &self.files, 0)
    }

    /// Each producer's last word.
    pub(crate) fn last_of_producers(&self) -> HashMap<ProducerId, LastOfProducer> {
        self.writer.lock().producers.last_of_each()
    }
}

fn facts_of(segment: &Segment) -> SegmentFacts {
    let (offset_index_bytes, time_index_bytes) = segment.index_bytes();
    let newest = segment.max_timestamp().map(|max| max.timestamp);
    SegmentFacts {
        base: segment.base(),
        bytes: segment.bytes(),
        offset_index_bytes,
        time_index_bytes,
        first_timestamp: segment.first_timestamp(),
        newest: newest.or_else(|| disk::modified_ms(segment.path())).unwrap_or(TimestampMs::MIN),
    }
}
