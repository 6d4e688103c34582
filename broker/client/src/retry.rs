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

/// One call's retries.
///
/// A loop rather than a function that takes a closure, as futures of asynchronous closures cannot be sent to another
/// thread:
///
/// ```text
/// loop {
///     match attempt().await {
///         Ok(answer) => return Ok(answer),
///         Err(error) => retry.again(error).await?,
///     }
/// }
/// ```
pub(crate) struct Retry {
    what: &'static str,
    limit_ms: u64,
    deadline: Instant,
    backoff: Backoff,
}

impl Retry {
    pub(crate) fn new(options: &ClientOptions, what: &'static str, limit_ms: u64) -> Self {
        let deadline = Instant::now() + Duration::from_millis(limit_ms);
        Self { what, limit_ms, deadline, backoff: Backoff::new(options) }
    }

    /// Waits until it is time to try again.
    ///
    /// # Errors
    /// The attempt's own error when it is not retriable; a timeout that names it when there is no time left.
    pub(crate) async fn again(&mut self, error: ClientError) -> Result<()> {
        if !error.is_retriable() {
            return Err(error);
        }
        let again = Instant::now() + self.backoff.next();
        if again >= self.deadline {
            let last = Some(Box::new(error));
            return Err(ClientError::Timeout { what: self.what, ms: self.limit_ms, last });
        }
        tracing::debug!(what = self.what, %error, "trying again");
        sleep_until(again).await;
        Ok(())
    }
}
