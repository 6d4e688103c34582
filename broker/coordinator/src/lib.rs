//! The coordinator runtime and its shards: sans-IO.
