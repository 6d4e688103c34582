//! Waits between calls that failed for now.

use std::time::{Duration, Instant};

use strata_plugin_host::Returned;
use tokio_util::sync::CancellationToken;

use super::TaskError;
use crate::config::Retry;

const FIRST_DELAY: Duration = Duration::from_millis(100);

/// One call's attempts.
pub(crate) struct Attempts {
    policy: Retry,
    since: Instant,
    delay: Duration,
}

impl Attempts {
    pub(crate) fn new(policy: Retry) -> Self {
        Attempts { policy, since: Instant::now(), delay: FIRST_DELAY.min(policy.delay_max) }
    }

    /// Waits before the next attempt. False: cancelled meanwhile. An error: the time for retries is over.
    pub(crate) async fn wait(
        &mut self,
        error: &Returned,
        cancel: &CancellationToken,
    ) -> Result<bool, TaskError> {
        let waited = self.since.elapsed();
        if self.policy.timeout.is_some_and(|timeout| waited + self.delay > timeout) {
            return Err(TaskError::RetriesUsedUp {
                waited_ms: waited.as_millis(),
                message: error.to_string(),
            });
        }
        let going_on = cancel.run_until_cancelled(tokio::time::sleep(self.delay)).await.is_some();
        self.delay = (self.delay * 2).min(self.policy.delay_max);
        Ok(going_on)
    }
}
