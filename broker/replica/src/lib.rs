//! In-sync replicas and the high watermark: sans-IO.
