//! Trying again, with growing pauses, up to a deadline.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::error::{ClientError, Result};
use crate::options::ClientOptions;

/// The pause before each retry: doubled each time, and varied by a fifth so that clients do not march in step.
pub(crate) struct Backoff {
    next_ms: u64,
    max_ms: u64,
}

impl Backoff {
    pub(crate) fn new(options: &ClientOptions) -> Self {
        Self { next_ms: options.retry_backoff_ms.max(1), max_ms: options.retry_backoff_max_ms.max(1) }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let ms = self.next_ms.min(self.max_ms);
        self.next_ms = ms.saturating_mul(2);
        let fifth = ms / 5;
        let jitter = RandomState::new().build_hasher().finish() % (2 * fifth + 1);
        Duration::from_millis(ms - fifth + jitter)
    }
}

/// Calls `attempt` until it succeeds, fails for good, or `limit_ms` have passed.
///
/// # Errors
/// The attempt's own error when it is not retriable; otherwise a timeout that names the last one.
pub(crate) async fn retry<T>(
    options: &ClientOptions,
    what: &'static str,
    limit_ms: u64,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + Duration::from_millis(limit_ms);
    let mut backoff = Backoff::new(options);
    loop {
        let error = match attempt().await {
            Err(error) if error.is_retriable() => error,
            done => return done,
        };
        let again = Instant::now() + backoff.next();
        if again >= deadline {
            return Err(ClientError::Timeout { what, ms: limit_ms, last: Some(Box::new(error)) });
        }
        tracing::debug!(what, %error, "trying again");
        sleep_until(again).await;
    }
}
