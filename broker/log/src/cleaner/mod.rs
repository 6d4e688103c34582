//! Compaction (`cleanup.policy=compact`): of each key, the last record stays.
//!
//! ```text
//! plan ──▶ which log, from where to where      figures in, decision out
//! filter ─▶ what stays of a batch              batches in, batches out
//! run ────▶ reads and writes the segments of one log
//! threads ▶ a bounded number of threads: choose, clean, remember up to where
//! ```
//!
//! It follows Kafka's rules. Nothing is cleaned that is in the active segment, undecided (above the last stable offset) or
//! too new (`min.compaction.lag.ms`). A tombstone stays for `delete.retention.ms` after the first cleaning that meets it
//! (KIP-534). Readers and producers go on meanwhile; see `log/swap.rs` for how the result takes the old segments' place.

mod filter;
mod offsets;
mod plan;
mod reader;
mod run;
mod threads;
mod transactions;

pub(crate) use self::filter::LastOfProducer;
pub(crate) use self::plan::{LogFacts, SegmentFacts};
pub(crate) use self::reader::Source;
pub use self::run::CleanReport;
pub use self::threads::{CleanerHost, CleanerOptions, CleanerStats, LogCleaner, UNCLEANABLE_RETRY};

/// The parts, for tests that clean without threads.
#[cfg(test)]
pub(crate) mod parts {
    pub(crate) use super::offsets::OffsetMapOptions;
    pub(crate) use super::plan::Plan;
    pub(crate) use super::run::{CleanError, RunOptions, clean};
}
