//! What a plugin may use up.

/// Limits of each instance. What goes beyond one of them ends the call, and the instance with it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long one call may run, the host's own work for it left out (HTTP has its own limits).
    pub call_deadline_ms: u64,
    /// All linear memory of an instance.
    pub memory_bytes_max: usize,
    pub table_elements_max: usize,
    /// Calls from the plugin to the host, within one call to the plugin.
    pub host_calls_max: u32,
    /// What may be logged within one call; the rest is dropped and counted.
    pub log_bytes_max: usize,
    /// What one call may return, and what one call to the host may pass.
    pub output_bytes_max: usize,
    pub http: HttpLimits,
}

/// Limits of what a plugin sends over HTTP.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Connecting, sending and receiving one request.
    pub request_deadline_ms: u64,
    /// All HTTP within one call to the plugin.
    pub call_deadline_ms: u64,
    /// Requests in one `send-many` that are under way at a time.
    pub parallel_max: usize,
    pub requests_max: usize,
    pub response_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            call_deadline_ms: 1_000,
            memory_bytes_max: 64 << 20,
            table_elements_max: 100_000,
            host_calls_max: 10_000,
            log_bytes_max: 64 << 10,
            output_bytes_max: 16 << 20,
            http: HttpLimits::default(),
        }
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            request_deadline_ms: 30_000,
            call_deadline_ms: 60_000,
            parallel_max: 8,
            requests_max: 1_000,
            response_bytes_max: 4 << 20,
        }
    }
}

/// Plugins larger than this are not compiled.
pub(crate) const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// Guest stack; recursion beyond it traps.
pub(crate) const STACK_BYTES_MAX: usize = 512 << 10;
/// How often a running guest is looked at: it yields to the executor, or is stopped at its deadline.
pub(crate) const TICK_MS: u64 = 10;
/// Nodes that a topology's graph may have.
pub(crate) const GRAPH_NODES_MAX: usize = 1_000;
