//! One log line per cause, not one per frame: a scanner or a broken client must not fill the disk.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a cause stays quiet after a line.
const QUIET: Duration = Duration::from_secs(10);
/// More causes than this at once are told as one.
const CAUSES_MAX: usize = 64;

/// Remembers what was said lately.
#[derive(Default)]
pub(crate) struct Causes(Mutex<HashMap<&'static str, Said>>);

struct Said {
    at: Instant,
    kept_back: u64,
}

impl Causes {
    /// Logs `detail` as a warning, unless its cause was logged less than [`QUIET`] ago; then it is counted, and the next
    /// line says so.
    pub(crate) fn warn(&self, cause: &'static str, detail: &dyn fmt::Display) {
        if let Some(kept_back) = self.may_say(cause, Instant::now()) {
            tracing::warn!(cause, kept_back, "{detail}");
        }
    }

    fn may_say(&self, cause: &'static str, now: Instant) -> Option<u64> {
        let mut causes = self.0.lock();
        let cause = if causes.contains_key(cause) || causes.len() < CAUSES_MAX { cause } else { "other" };
        match causes.get_mut(cause) {
            Some(said) if now.duration_since(said.at) < QUIET => {
                said.kept_back += 1;
                None
            }
            Some(said) => {
                said.at = now;
                Some(std::mem::take(&mut said.kept_back))
            }
            None => {
                causes.insert(cause, Said { at: now, kept_back: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_and_then_counted() {
        let (causes, now) = (Causes::default(), Instant::now());
        assert_eq!(causes.may_say("TLS", now), Some(0));
        assert_eq!(causes.may_say("TLS", now), None);
        assert_eq!(causes.may_say("HTTP", now), Some(0));
        assert_eq!(causes.may_say("TLS", now + QUIET), Some(1));
    }
}
