//! What this broker counts, and how it is told.
//!
//! ```text
//! requests, appends, reads ─▶ atomics ─┐
//! partitions, image, groups ───────────┴▶ scrape ─▶ /metrics (OpenMetrics text)
//! ```
//!
//! Counting costs a few relaxed additions for each request, none for a record. Everything else is looked up when somebody asks.

mod cleaner;
mod dead_letters;
mod endpoint;
mod lag;
mod scrape;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use strata_coordinator::share::partition::{AcknowledgeType, AcknowledgementBatch};
use strata_log::Histogram;
use strata_protocol::ApiKey;

pub(crate) use self::dead_letters::DeadLetterCounts;
pub(crate) use self::endpoint::{Endpoint, Health};
use self::lag::Lag;
pub(crate) use self::lag::follow as follow_lag;

/// Keys are numbers from 0 to 94; a later one would be counted as the last.
const API_KEYS: usize = 95;

/// What is counted of one API key.
#[derive(Debug, Default)]
pub(crate) struct ApiStats {
    /// From decoded to answered, with what it waited for.
    pub total: Histogram,
    pub busy_us: AtomicU64,
    pub request_bytes: AtomicU64,
    /// Those that ended their connection.
    pub refused: AtomicU64,
}

/// The counters that belong to no partition.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub started: Instant,
    apis: Box<[ApiStats]>,
    pub throttled_requests: AtomicU64,
    pub throttle_ms: AtomicU64,
    /// Records that members of share groups have acknowledged, by the type's number.
    pub acknowledged: [AtomicU64; 5],
    pub dead_letters: DeadLetterCounts,
    /// How far groups are behind, as it was found last.
    lag: ArcSwap<Vec<Lag>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            apis: std::iter::repeat_with(ApiStats::default).take(API_KEYS).collect(),
            throttled_requests: AtomicU64::new(0),
            throttle_ms: AtomicU64::new(0),
            acknowledged: Default::default(),
            dead_letters: DeadLetterCounts::default(),
            lag: ArcSwap::default(),
        }
    }
}

impl Metrics {
    /// A request was handled.
    pub(crate) fn request(&self, key: ApiKey, bytes: usize, total: Duration, busy: Duration, refused: bool) {
        let stats = self.api(key);
        stats.total.observe(total);
        stats.busy_us.fetch_add(busy.as_micros() as u64, Ordering::Relaxed);
        stats.request_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if refused {
            stats.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A client was told to rest.
    pub(crate) fn throttled(&self, ms: i32) {
        self.throttled_requests.fetch_add(1, Ordering::Relaxed);
        self.throttle_ms.fetch_add(u64::try_from(ms).unwrap_or(0), Ordering::Relaxed);
    }

    /// A share group's acknowledgements were taken.
    pub(crate) fn acknowledged(&self, batches: &[AcknowledgementBatch]) {
        let count = |kind: AcknowledgeType, records: i64| {
            self.acknowledged[kind as usize].fetch_add(records.max(0) as u64, Ordering::Relaxed);
        };
        for batch in batches {
            match batch.types.as_slice() {
                [kind] => count(*kind, batch.last_offset - batch.first_offset + 1),
                each => each.iter().for_each(|kind| count(*kind, 1)),
            }
        }
    }

    pub(crate) fn api(&self, key: ApiKey) -> &ApiStats {
        &self.apis[(key as usize).min(API_KEYS - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_place_of_its_own() {
        assert!(ApiKey::ALL.iter().all(|&key| (key as usize) < API_KEYS));
    }
}
