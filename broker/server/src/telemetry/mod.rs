//! Client telemetry (KIP-714): which clients shall push which of their metrics, and what becomes of them.

mod matching;

pub(crate) use matching::Match;

/// The push interval of a subscription that names none.
pub(crate) const INTERVAL_DEFAULT_MS: i32 = 5 * 60 * 1000;
/// The shortest and the longest interval that a subscription may ask for.
pub(crate) const INTERVAL_MIN_MS: i32 = 100;
pub(crate) const INTERVAL_MAX_MS: i32 = 3_600_000;
