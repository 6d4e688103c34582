//! Spans that are for a collector of traces, and not for the log.

/// The target of all of them. Nobody but the exporter asks for it, so that a span costs a look at an atomic where there is none.
pub const TRACE_TARGET: &str = "strata::trace";
