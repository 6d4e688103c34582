//! How long a connection is not read from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No answer makes a client wait longer than this; the field that says so holds no more.
const WAIT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// Shared by a connection's requests and its reader.
#[derive(Debug)]
pub(crate) struct Throttle {
    base: Instant,
    /// Milliseconds after `base`; 0: not at all.
    until_ms: AtomicU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { base: Instant::now(), until_ms: AtomicU64::new(0) }
    }
}

impl Throttle {
    /// Nothing more is read for so long, from `now` on. Answers the time as an answer's field holds it.
    pub(crate) fn rest(&self, wait_ms: i64, now: Instant) -> i32 {
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)).min(WAIT_MAX);
        if !wait.is_zero() {
            let until = now.saturating_duration_since(self.base) + wait;
            self.until_ms.fetch_max(until.as_millis() as u64, Ordering::Relaxed);
        }
        wait.as_millis() as i32
    }

    /// When reading may go on, if that is later than `now`.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        if until_ms == 0 {
            return None;
        }
        let until = self.base + Duration::from_millis(until_ms);
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rest_counts() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.until(now), None);
        assert_eq!(throttle.rest(500, now), 500);
        assert_eq!(throttle.rest(100, now), 100);
        let left = throttle.until(now).unwrap() - now;
        assert!(left > Duration::from_millis(450) && left <= Duration::from_millis(500), "{left:?}");
        assert_eq!(throttle.until(now + Duration::from_millis(501)), None);
        assert_eq!(throttle.rest(i64::MAX, now), i32::MAX);
    }
}
