//! The broker by what it answers: raw requests over TCP, on port 0 and a data directory of the test's own.

mod support;

mod archive;
mod compaction;
mod configs;
mod groups;
mod life;
mod log_dirs;
mod metrics;
mod operations;
mod quotas;
mod records;
mod security;
mod share;
mod share_dead_letters;
mod share_groups;
mod share_reads;
mod streams_groups;
mod topics;
mod transactions;
mod wire;
