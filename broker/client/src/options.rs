//! What every use of the client shares.

use std::time::Duration;

use crate::security::Security;

/// Limits and times of a [`crate::Client`]. The names follow Kafka's.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How we name ourselves to brokers.
    pub client_id: String,
    pub connect_timeout_ms: u64,
    /// How long [`crate::Client::connect`] looks for a broker that answers.
    pub bootstrap_timeout_ms: u64,
    /// How long one request may stay unanswered. Then its connection is closed.
    pub request_timeout_ms: u64,
    /// How long a call may take with all its retries.
    pub api_timeout_ms: u64,
    /// How long to look for a topic that the cluster does not know, as it may have been created a moment ago.
    pub unknown_topic_wait_ms: u64,
    /// The pause before the first retry; doubled for each further one.
    pub retry_backoff_ms: u64,
    pub retry_backoff_max_ms: u64,
    /// How long what we know of a topic is believed.
    pub metadata_max_age_ms: u64,
    /// How many requests may be unanswered on one connection.
    pub in_flight_max: usize,
    /// The largest answer we accept, in bytes.
    pub frame_bytes_max: usize,
    /// TLS and SASL; by default what the process uses, and that plain connections.
    pub security: Security,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            client_id: "strata".into(),
            connect_timeout_ms: 10_000,
            bootstrap_timeout_ms: 60_000,
            request_timeout_ms: 30_000,
            api_timeout_ms: 60_000,
            unknown_topic_wait_ms: 5_000,
            retry_backoff_ms: 50,
            retry_backoff_max_ms: 1_000,
            metadata_max_age_ms: 300_000,
            in_flight_max: 16,
            frame_bytes_max: 100 * 1024 * 1024,
            security: Security::of_process(),
        }
    }
}

impl ClientOptions {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}
