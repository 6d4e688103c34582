//! Listeners, request dispatch and one file per API key.

pub mod config;
mod data_dir;
