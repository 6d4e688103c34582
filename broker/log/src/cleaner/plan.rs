//! What to clean, and when: decided from figures alone.
//!
//! ```text
//!  start        first dirty            first uncleanable        active
//!    │  cleaned    │      dirty             │  too new, undecided │
//!    ├─────────────┼────────────────────────┼─────────────────────┤
//!    └── rewritten together with what the dirty part replaces ────┘  (up to first uncleanable)
//! ```

use std::ops::Range;

use strata_types::{Offset, TimestampMs};

use crate::LogConfig;

/// A segment, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub(crate) base: Offset,
    pub(crate) bytes: u64,
    pub(crate) offset_index_bytes: usize,
    pub(crate) time_index_bytes: usize,
    /// The first batch's largest timestamp.
    pub(crate) first_timestamp: Option<TimestampMs>,
    /// The largest timestamp, or when the file last changed.
    pub(crate) newest: TimestampMs,
}

/// A log; the last segment is the active one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFacts {
    pub(crate) segments: Vec<SegmentFacts>,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) last_stable: Offset,
    /// Where the last cleaning ended, if there was one.
    pub(crate) cleaned_until: Option<Offset>,
}

/// What there is to clean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plan {
    /// Keys are looked for from here …
    pub(crate) first_dirty: Offset,
    /// … up to here.
    pub(crate) first_uncleanable: Offset,
    pub(crate) clean_bytes: u64,
    pub(crate) cleanable_bytes: u64,
    /// For how long a record has waited beyond `max.compaction.lag.ms`.
    pub(crate) delay_ms: i64,
}

impl Plan {
    pub(crate) fn of(log: &LogFacts, config: &LogConfig, now: TimestampMs) -> Self {
        let first_dirty = log.cleaned_until.filter(|until| (log.start..=log.end).contains(until));
        let first_dirty = first_dirty.unwrap_or(log.start);
        let (active, sealed) =
            log.segments.split_last().map_or((log.end, &[][..]), |(active, sealed)| (active.base, sealed));
        let dirty = from(&log.segments[..sealed.len()], first_dirty);
        let min_lag = config.min_compaction_lag_ms;
        let too_new = match min_lag {
            ..=0 => None,
            _ => dirty.iter().find(|segment| segment.newest > now.saturating_sub(min_lag)).map(|s| s.base),
        };
        let first_uncleanable =
            log.last_stable.min(active).min(too_new.unwrap_or(Offset(i64::MAX))).max(first_dirty);
        // Segments count as wholes: one that holds the first uncleanable offset in its middle is cleaned up to there.
        let end = sealed
            .iter()
            .map(|segment| segment.base)
            .find(|base| *base >= first_uncleanable)
            .unwrap_or(active);
        let bytes = |segments: &[SegmentFacts]| segments.iter().map(|segment| segment.bytes).sum();
        let cleanable: Vec<_> = dirty.iter().filter(|segment| segment.base < end).copied().collect();
        let clean = &sealed[..sealed.len() - dirty.len()];
        Self {
            first_dirty,
            first_uncleanable,
            clean_bytes: bytes(clean),
            cleanable_bytes: if first_uncleanable > first_dirty { bytes(&cleanable) } else { 0 },
            delay_ms: delay_ms(dirty, config, now),
        }
    }

    /// What share of the log is new.
    pub(crate) fn dirty_ratio(&self) -> f64 {
        match self.clean_bytes + self.cleanable_bytes {
            0 => 0.0,
            total => self.cleanable_bytes as f64 / total as f64,
        }
    }

    pub(crate) fn is_due(&self, config: &LogConfig) -> bool {
        self.cleanable_bytes > 0
            && (self.delay_ms > 0 || self.dirty_ratio() > config.min_cleanable_dirty_ratio)
    }
}

/// The segments from the one that holds `offset` on.
fn from(segments: &[SegmentFacts], offset: Offset) -> &[SegmentFacts] {
    let at = segments.partition_point(|segment| segment.base <= offset).saturating_sub(1);
    // The last one may end below, with the active one holding the offset; then it is asked for nothing.
    &segments[at.min(segments.len())..]
}

fn delay_ms(dirty: &[SegmentFacts], config: &LogConfig, now: TimestampMs) -> i64 {
    let earliest =
        dirty.iter().filter_map(|segment| segment.first_timestamp).filter(|first| *first > 0).min();
    let due = now.saturating_sub(config.max_compaction_lag_ms);
    earliest.map_or(0, |earliest| due.saturating_sub(earliest).max(0))
}

/// The limits of a group of segments that become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    pub(crate) segment_bytes: u64,
    pub(crate) index_bytes: usize,
}

/// Which of the segments below `until` become one: neighbours, as many as fit into a segment. `end` is where the last of
/// them ends at the latest.
pub(crate) fn groups(
    segments: &[SegmentFacts],
    until: Offset,
    end: Offset,
    limits: &GroupLimits,
) -> Vec<Range<usize>> {
    let segments = &segments[..segments.partition_point(|segment| segment.base < until)];
    let mut groups = Vec::new();
    let mut at = 0;
    while at < segments.len() {
        let first = at;
        let mut sum = segments[first];
        at += 1;
        while let Some(next) = segments.get(at) {
            let next_end = segments.get(at + 1).map_or(end, |after| after.base);
            let fits = sum.bytes + next.bytes <= limits.segment_bytes
                && sum.offset_index_bytes + next.offset_index_bytes <= limits.index_bytes
                && sum.time_index_bytes + next.time_index_bytes <= limits.index_bytes
                // An index has 31 bits for an offset. A segment without content needs none.
                && (next.bytes == 0 || next_end.0 - 1 - segments[first].base.0 <= i64::from(i32::MAX));
            if !fits {
                break;
            }
            sum.bytes += next.bytes;
            sum.offset_index_bytes += next.offset_index_bytes;
            sum.time_index_bytes += next.time_index_bytes;
            at += 1;
        }
        groups.push(first..at);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(base: i64, bytes: u64) -> SegmentFacts {
        SegmentFacts {
            base: Offset(base),
            bytes,
            offset_index_bytes: 8,
            time_index_bytes: 12,
            first_timestamp: Some(base),
            newest: base + 9,
        }
    }

    /// Four sealed segments of ten records, and an active one.
    fn log() -> LogFacts {
        LogFacts {
            segments: vec![
                segment(0, 100),
                segment(10, 100),
                segment(20, 100),
                segment(30, 100),
                segment(40, 50),
            ],
            start: Offset(0),
            end: Offset(45),
            last_stable: Offset(45),
            cleaned_until: None,
        }
    }

    fn plan(log: &LogFacts, config: &LogConfig) -> Plan {
        Plan::of(log, config, 1_000)
    }

    #[test]
    fn a_new_log_is_dirty_up_to_its_active_segment() {
        let plan = plan(&log(), &LogConfig::default());
        assert_eq!((plan.first_dirty, plan.first_uncleanable), (Offset(0), Offset(40)));
        assert_eq!((plan.clean_bytes, plan.cleanable_bytes), (0, 400));
        assert!(plan.is_due(&LogConfig::default()));
    }

    #[test]
    fn the_ratio_must_be_above_the_limit() {
        let config = LogConfig { min_cleanable_dirty_ratio: 0.5, ..LogConfig::default() };
        let half = LogFacts { cleaned_until: Some(Offset(20)), ..log() };
        assert!(!plan(&half, &config).is_due(&config));
        let more = LogFacts { cleaned_until: Some(Offset(10)), ..log() };
        assert!(plan(&more, &config).is_due(&config));
    }

    #[test]
    fn nothing_undecided_is_cleaned() {
        let open = LogFacts { last_stable: Offset(25), ..log() };
        let plan = plan(&open, &LogConfig::default());
        assert_eq!((plan.first_uncleanable, plan.cleanable_bytes), (Offset(25), 300));
        let all_open = LogFacts { last_stable: Offset(0), ..log() };
        assert_eq!(Plan::of(&all_open, &LogConfig::default(), 1_000).cleanable_bytes, 0);
    }

    #[test]
    fn what_is_too_new_waits() {
        let config = LogConfig { min_compaction_lag_ms: 980, ..LogConfig::default() };
        let plan = plan(&log(), &config);
        assert_eq!((plan.first_uncleanable, plan.cleanable_bytes), (Offset(20), 200));
    }

    #[test]
    fn what_has_waited_too_long_is_due_whatever_the_ratio() {
        let config =
            LogConfig { max_compaction_lag_ms: 975, min_cleanable_dirty_ratio: 1.0, ..LogConfig::default() };
        let old = LogFacts { cleaned_until: Some(Offset(20)), ..log() };
        assert!(plan(&old, &config).is_due(&config));
        let newer = LogFacts { cleaned_until: Some(Offset(30)), ..log() };
        assert!(!plan(&newer, &config).is_due(&config));
    }

    #[test]
    fn an_impossible_checkpoint_counts_for_nothing() {
        for impossible in [-5, 46, 1_000] {
            let log = LogFacts { cleaned_until: Some(Offset(impossible)), ..log() };
            assert_eq!(plan(&log, &LogConfig::default()).first_dirty, Offset(0));
        }
        let started = LogFacts { start: Offset(12), cleaned_until: Some(Offset(5)), ..log() };
        assert_eq!(plan(&started, &LogConfig::default()).first_dirty, Offset(12));
    }

    #[test]
    fn a_log_that_is_all_clean_is_never_due() {
        let config =
            LogConfig { min_cleanable_dirty_ratio: 0.0, max_compaction_lag_ms: 1, ..LogConfig::default() };
        let clean = LogFacts { cleaned_until: Some(Offset(40)), ..log() };
        assert!(!plan(&clean, &config).is_due(&config));
        let empty =
            LogFacts { segments: vec![segment(0, 0)], end: Offset(0), last_stable: Offset(0), ..log() };
        assert!(!plan(&empty, &config).is_due(&config));
    }

    #[test]
    fn neighbours_are_joined_up_to_the_size_of_a_segment() {
        let segments = log().segments;
        let limits = GroupLimits { segment_bytes: 250, index_bytes: 100 };
        let found = groups(&segments[..4], Offset(40), Offset(40), &limits);
        assert_eq!(found, [0..2, 2..4]);
        assert_eq!(groups(&segments[..4], Offset(20), Offset(40), &limits), vec![0..2]);
        let small_index = GroupLimits { index_bytes: 12, ..limits };
        assert_eq!(groups(&segments[..4], Offset(40), Offset(40), &small_index).len(), 4);
    }

    #[test]
    fn a_group_spans_no_more_offsets_than_an_index_can_hold() {
        let limits = GroupLimits { segment_bytes: 1_000, index_bytes: 100 };
        let far = [segment(0, 1), segment(1 << 30, 1), segment(1 << 31, 1), segment(1 << 32, 0)];
        assert_eq!(groups(&far, Offset(1 << 40), Offset(1 << 40), &limits), [0..2, 2..4]);
    }
}
